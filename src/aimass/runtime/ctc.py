"""The engine that runs our own bundles: features, streaming graph, search."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment
from aimass.base.errors import BundleError, IntegrityError
from aimass.decoding.greedy import GreedyDecoder
from aimass.features.fbank import FbankStream, Frames
from aimass.registry.bundle import Bundle, load

CHUNK_FRAMES = 3000  # the most frames in one graph run: bounds the memory of long input
GOLDEN_TOLERANCE = 0.05  # in probability; int8 arithmetic differs a little between processors


class CtcEngine:
    """A bundle that is ready to recognise. Shared by all threads.

    Raises:
        BundleError: a graph that ONNX Runtime cannot load.
        IntegrityError: a graph that does not reproduce the bundle's golden output.
    """

    max_seconds = 60.0
    invents_on_silence = False

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle = bundle
        self.name = bundle.manifest.name
        self.sample_rate = bundle.features.sample_rate
        self.tokens = bundle.tokens()
        self._graph = bundle.manifest.graph
        self._session = _session(bundle.graph, threads)
        self._inputs = [given.name for given in self._session.get_inputs()]
        self._prove()

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "CtcEngine":
        """Load and prove the bundle in a folder; `workers` need no preparation here."""
        del name, workers
        return cls(load(folder), threads)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise a whole stretch: a stream with one chunk."""
        stream = self.stream(options)
        stream.accept(samples)
        return stream.finish()

    def stream(self, options: RecognizeOptions | None = None) -> "CtcStream":
        """A new speaker."""
        return CtcStream(self, options or RecognizeOptions())

    def close(self) -> None:
        """Nothing to end: the session goes with the last reference to it."""

    def step(
        self, features: Frames, cache: npt.NDArray[np.float32]
    ) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """One run of the graph.

        Args:
            features: ``(batch, frames, bins)``, frames a multiple of ``stack``.
            cache: ``(batch, *graph.cache)``.

        Returns:
            Log-probabilities ``(batch, frames / stack, outputs)`` and the next cache.
        """
        batch, frames, _ = features.shape
        given = (
            np.ascontiguousarray(features.transpose(0, 2, 1)),
            np.full(batch, frames, np.int64),
            cache,
            np.zeros((batch, 1, 1, 1), np.float32),
            np.zeros(batch, np.int64),
        )
        log_probs, _, cache, *_ = self._session.run(None, dict(zip(self._inputs, given, strict=True)))
        return log_probs, cache

    @property
    def frame_seconds(self) -> float:
        """Time between two rows of log-probabilities."""
        return self.bundle.features.frame_shift_ms / 1000 * self._graph.stack

    def first_cache(self) -> npt.NDArray[np.float32]:
        """The past of one stream that has heard nothing."""
        return np.zeros((1, *self._graph.cache), np.float32)

    def log_probs(self, samples: Samples) -> npt.NDArray[np.float32]:
        """Log-probabilities of a whole recording, shape ``(steps, outputs)``."""
        stream = self.stream()
        rows = [*stream.advance(samples), *stream.flush()]
        return np.concatenate(rows)

    def _prove(self) -> None:
        golden = self.bundle.golden()
        try:
            found = self.log_probs(golden.samples)
        except Exception as error:  # whatever an odd graph raises, it is the graph's fault
            raise BundleError(
                f"{self.bundle.graph} does not run: {error}",
                expected="a streaming CTC graph as docs/bundle.md describes it",
                fix="Pack the bundle again",
            ) from error
        decoder = GreedyDecoder(self.tokens, self.frame_seconds)
        decoder.accept(found)
        close = found.shape == golden.log_probs.shape and np.allclose(
            np.exp(found), np.exp(golden.log_probs), atol=GOLDEN_TOLERANCE
        )
        if not close or decoder.text != golden.text:
            raise IntegrityError(
                f"{self.bundle.folder} heard '{decoder.text}' in its golden input",
                expected=f"'{golden.text}' and the packed log-probabilities",
                fix="Fetch or build the bundle again; if that does not help, report your processor",
            )


class CtcStream:
    """One speaker's audio on its way to words."""

    def __init__(self, engine: CtcEngine, options: RecognizeOptions) -> None:
        self._engine = engine
        self._options = options
        spec = engine.bundle.features
        self._fbank = FbankStream(spec)
        self._cache = engine.first_cache()
        self._waiting = np.empty((0, spec.bins), np.float32)
        self._decoder = GreedyDecoder(engine.tokens, engine.frame_seconds)
        self._samples = 0

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        for rows in self.advance(samples):
            self._decoder.accept(rows)

    def results(self) -> Hypothesis:
        """The words so far."""
        return self._hypothesis()

    def finish(self) -> Hypothesis:
        """No more audio: push the last word out and give all words."""
        for rows in self.flush():
            self._decoder.accept(rows)
        return self._hypothesis()

    def advance(self, samples: Samples) -> Iterator[npt.NDArray[np.float32]]:
        """The log-probabilities that new samples complete, ``(steps, outputs)`` at a time."""
        self._samples += len(samples)
        yield from self._run(self._fbank.accept(samples))

    def flush(self) -> Iterator[npt.NDArray[np.float32]]:
        """The log-probabilities of what was still waiting and of the silent tail."""
        spec, graph = self._engine.bundle.features, self._engine.bundle.manifest.graph
        tail = np.zeros(round(graph.tail * spec.sample_rate), np.float32)
        frames = np.concatenate([self._fbank.accept(tail), self._fbank.finish()])
        missing = -(len(self._waiting) + len(frames)) % graph.stack
        if missing and len(frames):
            frames = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        yield from self._run(frames)

    def _run(self, frames: Frames) -> Iterator[npt.NDArray[np.float32]]:
        frames = np.concatenate([self._waiting, frames])
        whole = len(frames) - len(frames) % self._engine.bundle.manifest.graph.stack
        self._waiting = frames[whole:]
        step = CHUNK_FRAMES - CHUNK_FRAMES % self._engine.bundle.manifest.graph.stack
        for first in range(0, whole, step):
            chunk = frames[None, first : min(first + step, whole)]
            log_probs, self._cache = self._engine.step(chunk, self._cache)
            yield log_probs[0]

    def _hypothesis(self) -> Hypothesis:
        text = self._decoder.text
        language = self._engine.bundle.manifest.language
        if not text:
            return Hypothesis((), language)
        duration = self._samples / self._engine.sample_rate
        segment = Segment(
            0.0,
            duration,
            text,
            self._decoder.words(duration) if self._options.word_times else (),
            self._decoder.confidence,
            self._decoder.ids,
        )
        return Hypothesis((segment,), language)


def _session(path: Path, threads: int) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Threads that spin between requests would take a core from the other streams.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime raises many kinds; all mean the same here
        raise BundleError(
            f"{path} is no graph that ONNX Runtime loads: {error}",
            expected="an ONNX graph without custom operators or files beside it",
            fix="Pack the bundle again",
        ) from error

"""The engine that runs our own bundles: features, streaming graph, search."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment
from aimass.base.errors import BundleError, IntegrityError, RequestError
from aimass.decoding.greedy import GreedyDecoder
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream
from aimass.registry.bundle import Bundle, Golden, Graph, load
from aimass.text.normalise import primary_language
from aimass.text.tokens import TokenSet

LogProbs = npt.NDArray[np.float32]
"""Log-probabilities of tokens and blank, shape ``(steps, outputs)``."""

CHUNK_STEPS = 750  # the most output rows of one graph run: bounds the memory of long input
GOLDEN_TOLERANCE = 0.05  # in probability; int8 arithmetic differs a little between processors


class StreamingGraph:
    """The acoustic half of a model: samples to log-probabilities. Shared by all threads.

    Raises:
        BundleError: a graph that ONNX Runtime cannot load.
    """

    def __init__(self, path: Path, graph: Graph, features: FeatureSpec, threads: int = 1) -> None:
        self.graph = graph
        self.features = features
        self._session = _session(path, threads)
        self._inputs = [given.name for given in self._session.get_inputs()]

    @property
    def frame_seconds(self) -> float:
        """Time between two rows of log-probabilities."""
        return self.features.frame_shift_ms / 1000 * self.graph.stack

    def first_cache(self) -> npt.NDArray[np.float32]:
        """The past of one stream that has heard nothing."""
        return np.zeros((1, *self.graph.cache), np.float32)

    def step(
        self, features: Frames, cache: npt.NDArray[np.float32]
    ) -> tuple[LogProbs, npt.NDArray[np.float32]]:
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
        feed = dict(zip(self._inputs, given, strict=True))
        log_probs, _, cache, *_ = self._session.run(None, feed)
        return log_probs, cache

    def log_probs(self, samples: Samples) -> LogProbs:
        """Log-probabilities of a whole recording."""
        stream = PosteriorStream(self)
        parts = [stream.accept(samples), stream.finish()]
        # A part without rows does not know how many outputs there are.
        return np.concatenate([part for part in parts if len(part)] or parts[:1])

    def golden(self, samples: Samples, tokens: TokenSet) -> Golden:
        """What a bundle of this graph must reproduce for `samples`."""
        found = self.log_probs(samples)
        decoder = GreedyDecoder(tokens, self.frame_seconds)
        decoder.accept(found)
        return Golden(samples, found, decoder.text)


class PosteriorStream:
    """One speaker's audio on its way through front end and graph."""

    def __init__(self, graph: StreamingGraph) -> None:
        self._graph = graph
        self._features = FeatureStream(graph.features)
        self._cache = graph.first_cache()
        self._waiting = np.empty((0, graph.features.columns), np.float32)

    def accept(self, samples: Samples) -> LogProbs:
        """The log-probabilities that new samples complete."""
        return self._advance(self._features.accept(samples))

    def finish(self) -> LogProbs:
        """The log-probabilities of what was waiting and of the silent tail."""
        stack = self._graph.graph.stack
        tail = np.zeros(
            round(self._graph.graph.tail * self._graph.features.sample_rate), np.float32
        )
        frames = [self._waiting, self._features.accept(tail), self._features.finish()]
        self._waiting = np.concatenate(frames)
        missing = -len(self._waiting) % stack
        return self._advance(np.repeat(self._waiting[-1:], missing, axis=0))

    def _advance(self, frames: Frames) -> LogProbs:
        stack = self._graph.graph.stack
        frames = np.concatenate([self._waiting, frames])
        whole = len(frames) - len(frames) % stack
        self._waiting = frames[whole:]
        rows = []
        for first in range(0, whole, CHUNK_STEPS * stack):
            chunk = frames[None, first : min(first + CHUNK_STEPS * stack, whole)]
            log_probs, self._cache = self._graph.step(chunk, self._cache)
            rows.append(log_probs[0])
        return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)


class CtcEngine:
    """A bundle that is ready to recognise. Shared by all threads.

    Raises:
        BundleError: a graph that ONNX Runtime cannot load or run.
        IntegrityError: a graph that does not reproduce the bundle's golden output.
    """

    max_seconds = 60.0
    invents_on_silence = False

    def __init__(self, bundle: Bundle, threads: int = 1) -> None:
        self.bundle = bundle
        self.name = bundle.manifest.name
        self.sample_rate = bundle.features.sample_rate
        self.tokens = bundle.tokens()
        self.graph = StreamingGraph(bundle.graph, bundle.manifest.graph, bundle.features, threads)
        self._prove()

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "CtcEngine":
        """Load and prove the bundle in a folder; any number of `workers` may share it."""
        del name, workers
        return cls(load(folder), threads)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise a whole stretch: a stream with one chunk."""
        stream = self.stream(options)
        stream.accept(samples)
        return stream.finish()

    def stream(self, options: RecognizeOptions | None = None) -> "CtcStream":
        """A new speaker.

        Raises:
            RequestError: another language is asked for than the model knows.
        """
        asked = options.language if options else None
        known = self.bundle.manifest.language
        if asked and primary_language(asked) != known:
            raise RequestError(
                f"language '{asked[:20]}' for the model '{self.name}'",
                expected=known,
                fix="Leave the language out, or choose another model",
                param="language",
            )
        return CtcStream(self, options or RecognizeOptions())

    def close(self) -> None:
        """Nothing to end: the session goes with the last reference to it."""

    def _prove(self) -> None:
        golden = self.bundle.golden()
        try:
            found = self.graph.golden(golden.samples, self.tokens)
        except Exception as error:  # whatever an odd graph raises, it is the graph's fault
            raise BundleError(
                f"{self.bundle.graph} does not run: {error}",
                expected="a streaming CTC graph as docs/bundle.md describes it",
                fix="Pack the bundle again",
            ) from error
        close = found.log_probs.shape == golden.log_probs.shape and np.allclose(
            np.exp(found.log_probs), np.exp(golden.log_probs), atol=GOLDEN_TOLERANCE
        )
        if not close or found.text != golden.text:
            raise IntegrityError(
                f"{self.bundle.folder} heard '{found.text}' in its golden input",
                expected=f"'{golden.text}' and the packed log-probabilities",
                fix="Fetch or build the bundle again; if that does not help, report your processor",
            )


class CtcStream:
    """One speaker's audio on its way to words."""

    def __init__(self, engine: CtcEngine, options: RecognizeOptions) -> None:
        self._engine = engine
        self._options = options
        self._posteriors = PosteriorStream(engine.graph)
        self._decoder = GreedyDecoder(engine.tokens, engine.graph.frame_seconds)
        self._samples = 0

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._samples += len(samples)
        self._decoder.accept(self._posteriors.accept(samples))

    def results(self) -> Hypothesis:
        """The words so far."""
        text = self._decoder.text
        language = self._engine.bundle.manifest.language
        if not text:
            return Hypothesis((), language)
        duration = self._samples / self._engine.sample_rate
        words = self._decoder.words(duration) if self._options.word_times else ()
        segment = Segment(0.0, duration, text, words, self._decoder.confidence, self._decoder.ids)
        return Hypothesis((segment,), language)

    def finish(self) -> Hypothesis:
        """No more audio: push the last word out and give all words."""
        self._decoder.accept(self._posteriors.finish())
        return self.results()


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

"""The acoustic half of a bundle: samples to the rows of its graph, whole or as they come in."""

from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from aimass.base.contract import Samples
from aimass.base.errors import BundleError
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import FeatureStream
from aimass.registry.bundle import WHOLE_SECONDS, Graph

LogProbs = npt.NDArray[np.float32]
"""Log-probabilities of tokens and blank, shape ``(steps, outputs)``."""

CHUNK_STEPS = 750  # the most output rows of one graph run: bounds the memory of long input


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

    @property
    def at_once(self) -> int:
        """The most frames of one run, a multiple of ``stack``."""
        if not self.graph.whole:
            return CHUNK_STEPS * self.graph.stack
        frames = int(WHOLE_SECONDS / self.features.frame_shift)
        return frames - frames % self.graph.stack

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


class PosteriorStream:
    """One speaker's audio on its way through front end and graph."""

    def __init__(self, graph: StreamingGraph) -> None:
        self._tail = graph.graph.tail
        self._front = FrontStream(graph.features)
        self._rows = RowStream(graph)

    def accept(self, samples: Samples) -> LogProbs:
        """The log-probabilities that new samples complete."""
        return self._rows.accept(self._front.accept(samples))

    def finish(self) -> LogProbs:
        """The log-probabilities of what was waiting and of the silent tail."""
        return self._rows.finish(self._front.finish(self._tail))


class FrontStream:
    """One speaker's audio on its way to frames, which several graphs may share."""

    def __init__(self, features: FeatureSpec) -> None:
        self._rate = features.sample_rate
        self._features = FeatureStream(features)

    def accept(self, samples: Samples) -> Frames:
        """The frames that new samples complete."""
        return self._features.accept(samples)

    def finish(self, tail: float) -> Frames:
        """The frames that were waiting for more, and those of `tail` seconds of silence."""
        silence = np.zeros(round(tail * self._rate), np.float32)
        return np.concatenate([self._features.accept(silence), self._features.finish()])


class RowStream:
    """One speaker's frames on their way through a graph.

    What goes into a graph that takes whole utterances waits for the end, or until it is full.
    """

    def __init__(self, graph: StreamingGraph) -> None:
        self._graph = graph
        self._cache = graph.first_cache()
        self._waiting = np.empty((0, graph.features.columns), np.float32)

    def accept(self, frames: Frames) -> LogProbs:
        """The log-probabilities that new frames complete."""
        graph = self._graph
        return self._advance(frames, graph.at_once if graph.graph.whole else graph.graph.stack)

    def finish(self, frames: Frames) -> LogProbs:
        """The log-probabilities of what was waiting and of the last frames."""
        stack = self._graph.graph.stack
        self._waiting = np.concatenate([self._waiting, frames])
        missing = -len(self._waiting) % stack
        return self._advance(np.repeat(self._waiting[-1:], missing, axis=0), stack)

    def _advance(self, frames: Frames, least: int) -> LogProbs:
        """Run the graph on a multiple of `least` frames, and keep the rest waiting."""
        frames = np.concatenate([self._waiting, frames])
        ready = len(frames) - len(frames) % least
        self._waiting = frames[ready:]
        rows = []
        for first in range(0, ready, self._graph.at_once):
            chunk = frames[None, first : min(first + self._graph.at_once, ready)]
            log_probs, self._cache = self._graph.step(chunk, self._cache)
            rows.append(log_probs[0])
        return np.concatenate(rows) if rows else np.empty((0, 0), np.float32)


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

"""The engine that runs our own bundles: features, streaming graph, and the decoder of the task."""

from pathlib import Path

import numpy as np

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Stream, Task
from aimass.base.errors import BundleError, IntegrityError, RequestError
from aimass.decoding.greedy import GreedyDecoder
from aimass.decoding.label import LabelDecoder
from aimass.registry.bundle import WHOLE_SECONDS, Bundle, Golden, Manifest, load
from aimass.runtime.dial import Dial
from aimass.runtime.gathered import gathered
from aimass.runtime.graph import PosteriorStream, StreamingGraph
from aimass.text.normalise import primary_language
from aimass.text.tokens import LabelSet, TokenSet

GOLDEN_TOLERANCE = 0.05  # in probability; int8 arithmetic differs a little between processors

Decoder = GreedyDecoder | LabelDecoder


def decoder(symbols: TokenSet | LabelSet, frame_seconds: float) -> Decoder:
    """What turns rows into words: a search among tokens, or the choice of one label."""
    if isinstance(symbols, LabelSet):
        return LabelDecoder(symbols)
    return GreedyDecoder(symbols, frame_seconds)


def golden(graph: StreamingGraph, samples: Samples, symbols: TokenSet | LabelSet) -> Golden:
    """What a bundle of this graph must reproduce for `samples`."""
    found = graph.log_probs(samples)
    search = decoder(symbols, graph.frame_seconds)
    search.accept(found)
    return Golden(samples, found, search.text)


def hypothesis(
    search: Decoder, duration: float, language: str, options: RecognizeOptions
) -> Hypothesis:
    """What a decoder has found in `duration` seconds of sound: one segment, or none."""
    text = search.text
    if not text:
        return Hypothesis((), language)
    words = search.words(duration) if options.word_times else ()
    segment = Segment(0.0, duration, text, words, search.confidence, search.ids)
    return Hypothesis((segment,), language)


def check_language(manifest: Manifest, options: RecognizeOptions | None) -> None:
    """Refuse a language that a model was not trained on. Raises: RequestError."""
    asked = options.language if options else None
    if asked and primary_language(asked) not in manifest.languages:
        raise RequestError(
            f"language '{asked[:20]}' for the model '{manifest.name}'",
            expected=" or ".join(manifest.languages),
            fix="Leave the language out, or choose another model",
            param="language",
        )


def check_golden(bundle: Bundle, packed: Golden, found: Golden) -> None:
    """Hold what a model gives to what it gave when it was packed. Raises: IntegrityError."""
    close = found.log_probs.shape == packed.log_probs.shape and np.allclose(
        np.exp(found.log_probs), np.exp(packed.log_probs), atol=GOLDEN_TOLERANCE
    )
    if not close or found.text != packed.text:
        raise IntegrityError(
            f"{bundle.folder} heard '{found.text}' in its golden input",
            expected=f"'{packed.text}' and the packed log-probabilities",
            fix="Fetch or build the bundle again; if that does not help, report your processor",
        )


class BundleEngine:
    """A bundle that is ready to recognise. Shared by all threads.

    Args:
        dial: says in which chunks a stream is heard; None, as of members, hears at once.

    Raises:
        BundleError: a graph that ONNX Runtime cannot load or run.
        IntegrityError: a graph that does not reproduce the bundle's golden output.
    """

    max_seconds = 60.0
    invents_on_silence = False

    def __init__(self, bundle: Bundle, threads: int = 1, dial: Dial | None = None) -> None:
        self.bundle = bundle
        self.dial = dial
        self.name = bundle.manifest.name
        self.sample_rate = bundle.features.sample_rate
        self.symbols = bundle.symbols()
        self.graph = StreamingGraph(bundle.graph, bundle.form, bundle.features, threads)
        if bundle.form.whole:
            self.max_seconds = WHOLE_SECONDS - bundle.form.tail
        self._prove()

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "BundleEngine":
        """Load and prove the bundle in a folder; any number of `workers` may share it."""
        del name, workers
        return cls(load(folder), threads)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise a whole stretch: a stream with one chunk."""
        stream = self._opened(options)
        stream.accept(samples)
        return stream.finish()

    def stream(self, options: RecognizeOptions | None = None) -> Stream:
        """A new speaker.

        Raises:
            RequestError: another language is asked for than the model knows, or what none of its
                operating points gives.
        """
        options = options or RecognizeOptions()
        point = self.dial.point(options) if self.dial else None
        return gathered(self._opened(options), point, self.sample_rate)

    def _opened(self, options: RecognizeOptions) -> "BundleStream":
        if self.bundle.manifest.task is Task.EMBED:
            raise RequestError(
                f"words are asked of '{self.name}', which gives voiceprints",
                expected="a model that transcribes or classifies",
                fix="Choose another model: aimass models list",
                param="model",
            )
        check_language(self.bundle.manifest, options)
        return BundleStream(self, options)

    def close(self) -> None:
        """Nothing to end: the session goes with the last reference to it."""

    def _prove(self) -> None:
        packed = self.bundle.golden()
        try:
            found = golden(self.graph, packed.samples, self.symbols)
        except Exception as error:  # whatever an odd graph raises, it is the graph's fault
            raise BundleError(
                f"{self.bundle.graph} does not run: {error}",
                expected="a streaming graph as docs/bundle.md describes it",
                fix="Pack the bundle again",
            ) from error
        check_golden(self.bundle, packed, found)


class BundleStream:
    """One speaker's audio on its way to words."""

    def __init__(self, engine: BundleEngine, options: RecognizeOptions) -> None:
        self._engine = engine
        self._options = options
        self._posteriors = PosteriorStream(engine.graph)
        self._decoder = decoder(engine.symbols, engine.graph.frame_seconds)
        self._samples = 0

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._samples += len(samples)
        self._decoder.accept(self._posteriors.accept(samples))

    def results(self) -> Hypothesis:
        """The words so far."""
        duration = self._samples / self._engine.sample_rate
        language = self._engine.bundle.manifest.language
        return hypothesis(self._decoder, duration, language, self._options)

    def finish(self) -> Hypothesis:
        """No more audio: push the last word out and give all words."""
        self._decoder.accept(self._posteriors.finish())
        return self.results()

"""The engine of a massive model: many members, one answer.

Members that share their outputs are combined row by row as sound comes in, and the decoder of the
task runs on the combined rows. Others are combined by what they answer. A member that does not
load, or fails, is reported and left out; the others' weights are renormalised.
"""

from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from aimass.audio.resample import resample
from aimass.base.contract import Engine, Hypothesis, RecognizeOptions, Samples, Stream
from aimass.base.errors import BundleError
from aimass.base.settings import settings
from aimass.decoding.combine import Combination
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, Golden, Massive
from aimass.registry.massive import MemberModel, write_massive
from aimass.registry.points import Point
from aimass.runtime.answers import Alternatives, Jury
from aimass.runtime.bundled import (
    BundleEngine,
    check_golden,
    check_language,
    decoder,
    hypothesis,
)
from aimass.runtime.cascade import (
    AnswersHearing,
    Cascade,
    CascadeStream,
    Evidence,
    Hearing,
    RowsHearing,
)
from aimass.runtime.dial import Dial
from aimass.runtime.gathered import gathered
from aimass.runtime.panel import Panel
from aimass.runtime.pooled import Pool
from aimass.runtime.seats import seated
from aimass.runtime.together import AnswersStream, RowsStream
from aimass.text.tokens import LabelSet

AnyEngine = TypeVar("AnyEngine", bound=Engine)

N_BEST = 5  # alternatives of an engine that gives some, where the answer of least risk is taken


def open_bundle(
    folder: Path,
    *,
    name: str = "",
    workers: int = 1,
    threads: int = 1,
    home: Path | None = None,
) -> "BundleEngine | MassiveEngine":
    """Load and prove the bundle in a folder, of one model or of many.

    Args:
        workers, threads: recognitions at once, and the threads of each; one recognition by a
            massive model may use those of all while they are idle.
        home: where pretrained members are kept; that of the settings when None.

    Raises:
        BundleError: a bundle that cannot be read or run.
        IntegrityError: files that were changed, or another output than the golden one.
    """
    del name
    bundle = bundles.load_outside(folder)
    if bundle.massive is None:
        return BundleEngine(bundle, threads, Dial.of(bundle, home or settings().home))
    return massive_engine(bundle, home=home, threads=workers * threads)


def massive_engine(
    bundle: Bundle, *, home: Path | None = None, threads: int = 1, prove: bool = True
) -> "MassiveEngine":
    """The engine of a massive model; a `StreamingMassiveEngine` where all members stream.

    Args:
        bundle: as `load_outside` gives it; what is inside members is checked here, one by one.
        threads: the budget of all recognitions together.
        prove: compare with the golden output, where all members are there.

    Raises:
        BundleError: members that do not go together, or none that loads.
        IntegrityError: a whole that does not reproduce its golden output.
    """
    home = home or settings().home
    panel = seated(bundle, home, threads)
    streams = all(hasattr(seat.engine, "stream") for seat in panel.seats)
    kind = StreamingMassiveEngine if streams else MassiveEngine
    return kind(bundle, panel, Dial.of(bundle, home), prove)


class MassiveEngine:
    """A massive model that is ready to recognise. Shared by all threads.

    Args:
        panel: its members, as `massive_engine` seats them.
        dial: says which of them answer a request, where it does not take all.
        prove: compare with the golden output, where all members are there.
    """

    def __init__(self, bundle: Bundle, panel: Panel, dial: Dial, prove: bool = True) -> None:
        self.bundle = bundle
        self.name = bundle.manifest.name
        self.sample_rate = bundle.sample_rate
        self.symbols = bundle.symbols()
        self.dial = dial
        self._massive = _massive(bundle)
        self._panel = panel
        self._jury = replace(Jury.of(bundle.manifest), combination=panel.combination)
        self._pool = self._pooled() if bundle.manifest.on_rows else None
        engines = self.members.values()
        self.invents_on_silence = any(engine.invents_on_silence for engine in engines)
        self.max_seconds = min(engine.max_seconds for engine in engines) - self._longer_tail()
        if prove and not self.dead:
            self._prove()
        panel.team.hire()

    @property
    def members(self) -> dict[str, Engine]:
        """The engines of the members that are there, by name."""
        return {seat.name: seat.engine for seat in self._panel.seats}

    @property
    def dead(self) -> dict[str, str]:
        """Members that do not answer, by name, and why."""
        return self._panel.dead

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise a whole stretch.

        Raises:
            RequestError: another language is asked for than the model knows, or what none of its
                operating points gives.
            BundleError: no member answers.
        """
        check_language(self.bundle.manifest, options)
        cascade = self._cascade(self.dial.point(options))
        if cascade is not None:
            return cascade.recognize(self._hearing(samples, options))
        return self._as_it_is(samples, options)

    def _as_it_is(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """What all members say together."""
        if self._pool is None:
            return self._verdict(samples, options)
        search = decoder(self.symbols, self._pool.frame_seconds)
        labels = isinstance(self.symbols, LabelSet)
        search.accept(self._pool.label_row(samples) if labels else self._pool.log_probs(samples))
        duration = len(samples) / self.sample_rate
        return hypothesis(search, duration, self.bundle.manifest.language, options)

    def golden(self, samples: Samples) -> Golden:
        """What a bundle of these members must reproduce for `samples`."""
        if self._pool is None:
            text = self._as_it_is(samples, RecognizeOptions()).text
            return Golden(samples, np.zeros((0, 0), np.float32), text)
        found = self._pool.log_probs(samples)
        search = decoder(self.symbols, self._pool.frame_seconds)
        search.accept(found)
        return Golden(samples, found, search.text)

    def close(self) -> None:
        """Let go of the weights."""
        for engine in self.members.values():
            engine.close()
        self._panel.team.close()

    def _cascade(self, point: Point | None) -> Cascade | None:
        """What runs at an operating point; None where the model runs as it is."""
        if point is None or not point.stages:
            return None
        early = self._massive.stop_early
        return Cascade.of(point.stages, self._panel, early)

    def _hearing(self, samples: Samples, options: RecognizeOptions) -> Hearing:
        """An utterance before the members."""
        if self._pool is not None:
            return RowsHearing(self._pool, samples, self.bundle.manifest.language, options)
        duration = len(samples) / self.sample_rate
        return AnswersHearing(
            self._jury,
            self._answering(samples, options),
            lambda answers: self._judged(answers, duration, options),
        )

    def _verdict(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Ask the members for whole answers, the weightiest first, until the vote is decided."""
        answer = self._answering(samples, options)
        if self._massive.stop_early:
            answers = self._panel.ask_until(answer, self._jury.decided)
        else:
            answers = self._panel.ask(answer)
        return self._judged(answers, len(samples) / self.sample_rate, options)

    def _answering(
        self, samples: Samples, options: RecognizeOptions
    ) -> Callable[[int], Alternatives]:
        """How a member is asked for its whole answer."""
        seats = self._panel.seats
        rates = {seats[number].engine.sample_rate for number in range(len(seats))}
        sound = {rate: resample(samples, self.sample_rate, rate) for rate in rates}
        asked = self._asked(options)

        def answer(number: int) -> Alternatives:
            engine = seats[number].engine
            own = sound[engine.sample_rate]
            if self._jury.combination.method == "mbr" and hasattr(engine, "n_best"):
                listed: Alternatives = engine.n_best(own, asked, N_BEST)
                return listed
            return (engine.recognize(own, asked),)

        return answer

    def _asked(self, options: RecognizeOptions) -> RecognizeOptions:
        """What members are asked when the whole is."""
        known = self.bundle.manifest.languages
        language = options.language or (known[0] if len(known) == 1 else None)
        votes = self._jury.combination.method == "vote"
        times = options.word_times or (votes and self._massive.word_times)
        # The dial is that of the whole; a member has none, or is not asked about it.
        bare = replace(options, quality=None, max_latency_ms=None, max_error=None)
        return replace(bare, language=language, word_times=times)

    def _judged(
        self, answers: Mapping[int, Alternatives], duration: float, options: RecognizeOptions
    ) -> Hypothesis:
        """The members' answers as one."""
        found = self._jury.verdict(answers, duration)
        segments = found.segments
        if not options.word_times:
            segments = tuple(replace(segment, words=()) for segment in segments)
        return Hypothesis(segments, self.bundle.manifest.language)

    def _pooled(self) -> Pool:
        graphs = []
        for seat in self._panel.seats:
            if not isinstance(seat.engine, BundleEngine) or seat.engine.symbols != self.symbols:
                raise BundleError(
                    f"the member '{seat.name}' of '{self.name}' has other outputs than the whole",
                    expected="the tokens or labels of the massive model",
                    fix="Combine its members by voting",
                )
            graphs.append(seat.engine.graph)
        early = self._massive.stop_early
        return Pool(self._panel, tuple(graphs), self.symbols, self.sample_rate, early)

    def _longer_tail(self) -> float:
        """Seconds that the longest silent tail takes from the room of another member."""
        if self._pool is None:
            return 0.0
        return self._pool.tail - min(graph.graph.tail for graph in self._pool.graphs)

    def _prove(self) -> None:
        packed = self.bundle.golden()
        found = self.golden(packed.samples)
        if not self.dead:  # else it is known already that this is not the whole
            check_golden(self.bundle, packed, found)


class StreamingMassiveEngine(MassiveEngine):
    """A massive model whose members all answer while sound comes in."""

    def stream(self, options: RecognizeOptions | None = None) -> Stream:
        """A new speaker; where a cascade runs, words before the end are of its first stage.

        Raises:
            RequestError: as `recognize`.
        """
        check_language(self.bundle.manifest, options)
        options = options or RecognizeOptions()
        point = self.dial.point(options)
        cascade = self._cascade(point)
        found = self._opened(options) if cascade is None else self._staged(cascade, options)
        return gathered(found, point, self.sample_rate)

    def _opened(self, options: RecognizeOptions) -> Stream:
        """All members from the first sample on."""
        if self._pool is not None:
            return RowsStream(self._pool, self.bundle.manifest.language, options)

        def judged(answers: Mapping[int, Hypothesis], duration: float) -> Hypothesis:
            return self._judged({n: (own,) for n, own in answers.items()}, duration, options)

        return AnswersStream(self._panel, self.sample_rate, self._asked(options), judged)

    def _staged(self, cascade: Cascade, options: RecognizeOptions) -> Stream:
        """The first stage from the first sample on, the others at the end."""

        def onward(samples: Samples, known: Evidence) -> Hypothesis:
            return cascade.recognize(self._hearing(samples, options), known)

        most = round(self.max_seconds * self.sample_rate)
        if self._pool is not None:
            language = self.bundle.manifest.language
            rows = RowsStream(self._pool, language, options, cascade.first)
            return CascadeStream(cascade, rows, lambda: rows.kept, onward, most)
        said: dict[int, Alternatives] = {}

        def judged(answers: Mapping[int, Hypothesis], duration: float) -> Hypothesis:
            said.clear()
            said.update({number: (own,) for number, own in answers.items()})
            return self._judged(said, duration, options)

        asked, members = self._asked(options), cascade.first
        inner = AnswersStream(self._panel, self.sample_rate, asked, judged, members)
        return CascadeStream(cascade, inner, lambda: said, onward, most)


def pack(
    folder: Path,
    manifest: Mapping[str, Any],
    combination: Combination,
    members: Mapping[str, MemberModel],
    samples: Samples,
    *,
    home: Path | None = None,
) -> Bundle:
    """Pack models as one, with what they give together for `samples` as the golden output.

    Args:
        folder, manifest, combination, members: as `aimass.registry.massive.write_massive`.
        samples: a real input at the rate of the whole.

    Raises:
        BundleError: models that do not go together, or one that does not answer.
    """
    kept = np.round(samples * 32768).clip(-32768, 32767).astype(np.int16)
    samples = kept.astype(np.float32) / np.float32(32768)  # as they will be read back
    empty = Golden(samples, np.zeros((0, 0), np.float32), "")
    bundle = write_massive(folder, manifest, combination, members, empty)
    engine = massive_engine(bundle, home=home, prove=False)
    golden = whole(engine).golden(samples)
    whole(engine).close()
    content = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
    return bundles.write(folder, content, golden)


def whole(engine: AnyEngine) -> AnyEngine:
    """The engine, if no member of it is dead. Raises: BundleError, with every reason."""
    if isinstance(engine, MassiveEngine) and engine.dead:
        told = "; ".join(f"{name}: {reason}" for name, reason in engine.dead.items())
        raise BundleError(
            f"members of '{engine.name}' do not answer: {told}",
            expected="every member",
            fix="Fetch or build it again, and pull the pretrained models that it names",
        )
    return engine


def as_it_is(engine: AnyEngine) -> AnyEngine:
    """The engine with all its members, however the dial of its model is set on this machine."""
    if isinstance(engine, MassiveEngine):
        engine.dial = Dial(engine.name, parts=True)
    return engine


def _massive(bundle: Bundle) -> Massive:
    assert bundle.massive is not None
    return bundle.massive

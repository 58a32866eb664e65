"""What members say of a corpus, heard once; and what any of them say together, many times.

Everything that weighs, fits and prunes works on `Outputs`: no graph runs again to judge another
subset or other weights.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import lru_cache

import numpy as np

from aimass.audio.types import Audio
from aimass.base.contract import (
    Engine,
    Hypothesis,
    Progress,
    RecognizeOptions,
    Samples,
    Segment,
    Task,
    Transcript,
    Word,
    no_progress,
)
from aimass.base.errors import DataError
from aimass.data.corpus import Clip, Corpus, naming
from aimass.data.sound import sound_of
from aimass.decoding.combine import Combination, LogProbs, combined
from aimass.decoding.voting import Key, VoteSpec, spoken
from aimass.ensemble.kept import Outputs, scored
from aimass.evaluation.cost import Cost, measured
from aimass.evaluation.scorecard import Scored
from aimass.runtime.answers import UNSURE, Jury, one_word
from aimass.runtime.bundled import BundleEngine, decoder
from aimass.runtime.evaluate import peak_memory_mb
from aimass.runtime.pooled import NEVER
from aimass.runtime.transcribe import hear_blocks, put_together
from aimass.text.tokens import LabelSet, TokenSet

__all__ = ["Outputs", "answered", "collect", "joined", "scored"]

FRAME_SECONDS = 0.04  # between rows of a member that does not say
LEAST = 1e-9
MOST_FILLED = 50  # rows that one member may give after another has ended

Symbols = TokenSet | LabelSet


@dataclass(slots=True)
class _Heard:
    """One member's share of what is collected, clip by clip."""

    engine: Engine
    rows: list[LogProbs] = field(default_factory=list)
    answers: list[Scored] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    work: list[float] = field(default_factory=list)

    def hear(self, clip: Clip, samples: Samples) -> None:
        """Recognise one clip; the sound is read already, so that its reading costs nobody."""
        started = time.perf_counter()
        answer = (
            self._own(self.engine, clip, samples)
            if isinstance(self.engine, BundleEngine)
            else _foreign(self.engine, clip, samples)
        )
        self.work.append(time.perf_counter() - started)
        self.seconds.append(len(samples) / self.engine.sample_rate)
        self.answers.append(answer)

    def _own(self, engine: BundleEngine, clip: Clip, samples: Samples) -> Scored:
        rows = engine.graph.log_probs(samples)
        seconds = len(samples) / engine.sample_rate
        if isinstance(engine.symbols, LabelSet):
            rows = rows[-1:].copy()  # not a view, which would hold all the others
        self.rows.append(rows)
        return _decoded(clip, rows, engine.symbols, engine.graph.frame_seconds, seconds)

    @property
    def cost(self) -> Cost:
        bundle = getattr(self.engine, "bundle", None)
        adds = None if bundle is None else bundle.manifest.scores.get("multiply_adds")
        counted = adds if isinstance(adds, int) else None
        return measured(self.seconds, self.work, peak_memory_mb(), counted)


def collect(
    engines: Mapping[str, Engine], corpus: Corpus, progress: Progress = no_progress
) -> Outputs:
    """Run every member over a corpus once.

    Of our own bundles the posteriors are kept; of other engines the answers with the times and
    confidences of their words.

    Args:
        engines: members by name; each is used by one thread.

    Raises:
        AudioError: a recording that cannot be read.
        DataError: a member that gives voiceprints, or no member at all.
    """
    _check(engines)
    heard = {name: _Heard(engine) for name, engine in engines.items()}
    total = len(corpus.clips)
    for number, clip in enumerate(corpus.clips, start=1):
        with naming(clip):
            sound = {rate: sound_of(clip, rate) for rate in _rates(engines)}
            for own in heard.values():
                own.hear(clip, sound[own.engine.sample_rate])
        progress("collect", number, total)
    return Outputs(
        tuple(heard),
        tuple(corpus.clips),
        tuple(
            tuple(o.rows) if isinstance(o.engine, BundleEngine) else None for o in heard.values()
        ),
        tuple(tuple(own.answers) for own in heard.values()),
        tuple(own.cost for own in heard.values()),
        tuple(
            own.engine.graph.frame_seconds if isinstance(own.engine, BundleEngine) else None
            for own in heard.values()
        ),
    )


def joined(parts: Sequence[Outputs]) -> Outputs:
    """The members of several collections over the same utterances, which may be apart in time.

    Raises:
        DataError: other utterances in one of them, or a name twice.
    """
    first, *others = parts
    if any(part.clips != first.clips for part in others):
        raise DataError(
            "outputs of different utterances",
            expected="members that heard the same clips in the same order",
            fix="Collect all members on the same data",
        )
    return Outputs(
        tuple(name for part in parts for name in part.names),
        first.clips,
        tuple(rows for part in parts for rows in part.rows),
        tuple(answers for part in parts for answers in part.answers),
        tuple(cost for part in parts for cost in part.costs),
        tuple(s for part in parts for s in part.frame_seconds or (None,) * len(part.names)),
    )


def answered(
    outputs: Outputs,
    combination: Combination,
    symbols: Symbols,
    members: Sequence[int] | None = None,
) -> list[Scored]:
    """What the massive model answers to every utterance.

    Args:
        combination: of all members of `outputs`.
        symbols: what the rows stand for; of a classifier without rows, its labels.
        members: use these alone, their weights renormalised; all when None.

    Raises:
        DataError: weights for another number of members, or rows asked of members that have none
            or have others.
    """
    if len(combination.weights) != len(outputs.names):
        raise DataError(
            f"{len(combination.weights)} weights for {len(outputs.names)} members",
            expected="a weight for each member",
            fix="Fit the combination on these outputs",
        )
    chosen = range(len(outputs.names)) if members is None else members
    some = [m for m in chosen if combination.weights[m] > 0]
    part = outputs.only(some or list(chosen))
    return _METHODS[combination.method](part, combination.only(some or list(chosen)), symbols)


def _check(engines: Mapping[str, Engine]) -> None:
    for name, engine in engines.items():
        bundle = getattr(engine, "bundle", None)
        if bundle is not None and bundle.manifest.task is Task.EMBED:
            raise DataError(
                f"the member '{name}' gives voiceprints",
                expected="members that transcribe or classify",
                fix="Leave it out",
            )
    if not engines:
        raise DataError(
            "a massive model without members",
            expected="at least one",
            fix="Name the models that answer together",
        )


def _rates(engines: Mapping[str, Engine]) -> set[int]:
    return {engine.sample_rate for engine in engines.values()}


def _foreign(engine: Engine, clip: Clip, samples: Samples) -> Scored:
    options = RecognizeOptions(language=clip.language, word_times=True)
    block = Audio(samples[None], engine.sample_rate)
    found = put_together(list(hear_blocks([block], engine, options)), engine.name)
    words = tuple(word for segment in found.segments if segment.text for word in segment.words)
    return scored(clip, found.text, _confidence(found), len(samples) / engine.sample_rate, words)


def _confidence(found: Transcript) -> float | None:
    """The geometric mean over the segments, each counted by its words; None without any."""
    kept = [segment for segment in found.segments if segment.text]
    if not kept or not all(math.isfinite(segment.confidence) for segment in kept):
        return None
    counts = [max(1, len(segment.text.split())) for segment in kept]
    logs = [math.log(min(1.0, max(segment.confidence, LEAST))) for segment in kept]
    return math.exp(float(np.average(logs, weights=counts)))


def _decoded(
    clip: Clip, rows: LogProbs, symbols: Symbols, frame_seconds: float, seconds: float | None
) -> Scored:
    search = decoder(symbols, frame_seconds)
    search.accept(rows)
    text = search.text
    words = search.words(math.inf if seconds is None else seconds)
    return scored(clip, text, search.confidence if text else None, seconds, words)


def _by_rows(outputs: Outputs, combination: Combination, symbols: Symbols) -> list[Scored]:
    """The decoder of the task over the mean of posteriors; all utterances in one piece."""
    rows, lengths = _stacked(outputs, combination, symbols)
    whole = combined(rows, combination)
    if isinstance(symbols, LabelSet):
        return _labelled(outputs, whole, symbols)
    step = next((s for s in outputs.frame_seconds if s), FRAME_SECONDS)
    parts = np.split(whole, np.cumsum(lengths)[:-1])
    return [
        _decoded(a_clip, own, symbols, step, answer.seconds)
        for a_clip, own, answer in zip(outputs.clips, parts, outputs.answers[0], strict=True)
    ]


def _labelled(outputs: Outputs, whole: LogProbs, symbols: LabelSet) -> list[Scored]:
    """What `LabelDecoder` says of each row, without a decoder for each."""
    best, sure = whole.argmax(1).tolist(), np.exp(whole.max(1).astype(float)).tolist()
    return [
        replace(
            answer,
            hypothesis=symbols.symbols[label],
            confidence=confidence,
            words=(Word(symbols.symbols[label], 0.0, answer.seconds or 0.0, confidence),),
        )
        for answer, label, confidence in zip(outputs.answers[0], best, sure, strict=True)
    ]


def _stacked(
    outputs: Outputs, combination: Combination, symbols: Symbols
) -> tuple[list[LogProbs], list[int]]:
    """Each member's rows of all utterances one after the other, and the rows of each utterance."""
    kept = [own for own in outputs.rows if own is not None]
    widths = {rows.shape[1] for own in kept for rows in own if len(rows)}
    if len(kept) < len(outputs.names) or widths - {symbols.size}:
        raise DataError(
            f"the method {combination.method} for members of {sorted(widths)} outputs, "
            f"{len(outputs.names) - len(kept)} without posteriors",
            expected=f"posteriors over the same {symbols.size} outputs",
            fix="Combine these members by voting",
        )
    lengths = [max(len(rows) for rows in of_each) for of_each in zip(*kept, strict=True)]
    return [np.concatenate(_filled(own, lengths, symbols)) for own in kept], lengths


def _filled(
    own: Sequence[LogProbs], lengths: Sequence[int], symbols: Symbols
) -> Sequence[LogProbs]:
    """One member's rows, as many as the longest member gives.

    Members of one frame rate may differ by the silence they want after the last sound; who is
    done has nothing more to say, which is a blank.
    """
    if all(len(rows) == length for rows, length in zip(own, lengths, strict=True)):
        return own
    most = max(length - len(rows) for rows, length in zip(own, lengths, strict=True))
    if isinstance(symbols, LabelSet) or most > MOST_FILLED:
        raise DataError(
            f"members of which one gives {most} rows more than another for the same sound",
            expected="members of one frame rate",
            fix="Combine these members by voting",
        )
    silent = np.full((most, symbols.size), NEVER, np.float32)
    silent[:, symbols.blank] = 0.0
    return [
        np.concatenate([rows, silent[: length - len(rows)]])
        for rows, length in zip(own, lengths, strict=True)
    ]


def _by_answers(outputs: Outputs, combination: Combination, symbols: Symbols) -> list[Scored]:
    """A method that looks at the answers to one utterance at a time, as the engine does."""
    jury = _jury(outputs, combination, symbols)
    found = []
    for clip, *own in zip(outputs.clips, *outputs.answers, strict=True):
        heard = {number: (_hypothesis(answer),) for number, answer in enumerate(own)}
        said = jury.verdict(heard, own[0].seconds or 0.0)
        sure = said.segments[0].confidence if said.segments else None
        words = tuple(word for segment in said.segments for word in segment.words)
        found.append(scored(clip, said.text, sure, own[0].seconds, words))
    return found


def _jury(outputs: Outputs, combination: Combination, symbols: Symbols) -> Jury:
    """Labels are compared as they are, words as scoring compares those of the one language."""
    labels = isinstance(symbols, LabelSet)
    languages = {clip.language for clip in outputs.clips}
    language = languages.pop() if len(languages) == 1 else None
    return Jury(combination, labels, one_word if labels else _spoken(language), VoteSpec())


@lru_cache(maxsize=8)
def _spoken(language: str | None) -> Key:
    """The same for every call, for it remembers what it has normalised."""
    return spoken(language)


def _hypothesis(answer: Scored) -> Hypothesis:
    """An answer as the engine gave it."""
    if not answer.hypothesis:
        return Hypothesis()
    sure = UNSURE if answer.confidence is None else answer.confidence
    end = answer.seconds or 0.0
    return Hypothesis((Segment(0.0, end, answer.hypothesis, answer.words, sure),))


_METHODS: Mapping[str, Callable[[Outputs, Combination, Symbols], list[Scored]]] = {
    "arithmetic": _by_rows,
    "geometric": _by_rows,
    "vote": _by_answers,
    "mbr": _by_answers,
    "choose": _by_answers,
}

"""A long recording and its text to the time of each word, with a confidence.

A bundle that transcribes aligns by force: the text is laid along its log-probabilities. Any other
engine that tells word times, such as Whisper, is listened to, and what it heard is laid beside the
text by edit distance (Levenshtein 1966; rapidfuzz).
"""

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import pairwise

import numpy as np
from rapidfuzz.distance import Levenshtein

from aimass.audio.decode import Source, blocks
from aimass.audio.resample import Resampler
from aimass.audio.types import Audio, Limits
from aimass.audio.voice import voice_activity
from aimass.base.contract import Engine, Progress, RecognizeOptions, Word, no_progress
from aimass.base.errors import DataError, RequestError
from aimass.decoding import forced
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.graph import LogProbs, PosteriorStream
from aimass.runtime.transcribe import hear_blocks
from aimass.text.normalise import normalise
from aimass.text.tokens import TokenSet

MOST_WORDS = 20_000  # of a text: two hours of speech; the edit distance keeps a bit for each pair
_SPEECH = 0.2  # probability from which a window belongs to speech; weak onsets count
_SMOOTH = np.ones(3, np.float32) / 3
_LATE = 0.05  # seconds that a word may seem to begin before its stretch of speech
# Chinese and Japanese are written without spaces: each character is a word of its own here.
_ALONE = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]")
_WORD = re.compile(rf"{_ALONE.pattern}|[^\s\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")


@dataclass(frozen=True, slots=True)
class Unit:
    """A word of the text, or a character where words are not parted.

    Args:
        begin, stop: where it stands in the text; punctuation after it is its own.
        spoken: its words in normal form.
        joined: whether it follows the one before without a space.
    """

    begin: int
    stop: int
    spoken: str
    joined: bool


@dataclass(frozen=True, slots=True)
class Placed:
    """A unit and when it is said.

    Args:
        start, end: seconds.
        confidence: how sure it is that it is said there, in [0, 1].
        gap: how well what lies between it and the unit before goes without any word, in [0, 1].
    """

    unit: Unit
    start: float
    end: float
    confidence: float
    gap: float = 1.0


@dataclass(frozen=True, slots=True)
class Alignment:
    """A text along its recording.

    Args:
        placed: its units, in order.
        gap: after the last unit, as `Placed.gap`.
        speech: stretches in which somebody speaks, ``(start, end)`` in seconds.
        duration: of the recording, seconds.
    """

    text: str
    placed: tuple[Placed, ...]
    gap: float
    speech: tuple[tuple[float, float], ...]
    duration: float


def align(
    source: Source,
    text: str,
    engine: Engine,
    *,
    language: str | None = None,
    limits: Limits | None = None,
    progress: Progress = no_progress,
) -> Alignment:
    """Find out when each word of a text is said.

    Args:
        language: of the text; needed to read numbers and symbols as they are spoken.
        progress: told seconds of sound.

    Raises:
        AudioError: a recording that cannot be read.
        DataError: no word in the text, or more than the recording can hold.
        RequestError: an engine that cannot tell when words are said.
    """
    written = units(text, language)
    listener = _Listener()
    sound = listener.through(blocks(source, rate=engine.sample_rate, limits=limits), progress)
    if isinstance(engine, BundleEngine):
        placed, gap = _forced(sound, written, engine)
        where = _begun
    else:
        placed, gap = _heard(sound, written, engine, language)
        where = _shared
    found = Alignment(text, tuple(placed), gap, listener.speech(), listener.seconds)
    return _settled(found, where(found))


def units(text: str, language: str | None) -> list[Unit]:
    """The words of a text, or characters of scripts without spaces.

    Raises:
        DataError: no words, or more than ``MOST_WORDS``.
    """
    found: list[Unit] = []
    for match in _WORD.finditer(text):
        spoken = normalise(match[0], language)
        if spoken:
            joined = bool(found) and found[-1].stop == match.start()
            found.append(Unit(match.start(), match.end(), spoken, joined))
        elif found:  # a dash or a mark belongs to the word before it
            found[-1] = replace(found[-1], stop=match.end())
    if not 0 < len(found) <= MOST_WORDS:
        raise DataError(
            f"the text has {len(found)} words",
            expected=f"1 to {MOST_WORDS}",
            fix="Check the text; a longer one is cut into parts together with its recording",
        )
    return found


class _Listener:
    """Hears where somebody speaks, in sound on its way to an engine."""

    def __init__(self) -> None:
        self._voice = voice_activity()
        self._stream = self._voice.stream()
        self._known: list[np.ndarray] = []
        self.seconds = 0.0

    def through(self, sound: Iterable[Audio], progress: Progress) -> Iterator[Audio]:
        """The same sound."""
        resampler: Resampler | None = None
        for block in sound:
            samples = block.mono()
            if block.rate != self._voice.rate:
                resampler = resampler or Resampler(block.rate, self._voice.rate)
                samples = resampler.accept(samples)
            self._known.append(self._stream.accept(samples))
            self.seconds += block.duration
            yield block
            progress("align", round(self.seconds), None)

    def speech(self) -> tuple[tuple[float, float], ...]:
        """Stretches with speech; the whole recording where none is heard."""
        heard = np.concatenate([np.zeros(0, np.float32), *self._known])
        if not len(heard):
            return ((0.0, self.seconds),)
        active = np.convolve(heard, _SMOOTH, "same") >= _SPEECH
        edges = np.flatnonzero(np.diff(np.concatenate([[False], active, [False]])))
        window = self._voice.window / self._voice.rate
        found = [
            (float(a * window), min(float(b * window), self.seconds))
            for a, b in edges.reshape(-1, 2)
        ]
        return tuple(found) or ((0.0, self.seconds),)


def _forced(
    sound: Iterable[Audio], written: Sequence[Unit], engine: BundleEngine
) -> tuple[list[Placed], float]:
    """Lay the text along the log-probabilities of a bundle."""
    if not isinstance(engine.symbols, TokenSet):
        raise RequestError(
            f"the model '{engine.name}' chooses one label for all it hears",
            expected="a model that transcribes",
            fix="Choose another model",
            param="model",
        )
    tokens = _tokens(written, engine.symbols)
    known = np.unique([token for word in tokens for token in word]).astype(int)
    stream = PosteriorStream(engine.graph)
    kept = partial(_columns, known=known, blank=engine.symbols.blank)
    rows = [kept(stream.accept(block.mono())) for block in sound]
    rows.append(kept(stream.finish()))
    column = {int(token): number for number, token in enumerate(known)}
    words = [[column[token] for token in word] for word in tokens if word]
    found = forced.align(np.concatenate(rows), words, len(known))
    return _with_times(written, tokens, found, engine.graph.frame_seconds), found.gaps[-1]


def _columns(rows: LogProbs, known: np.ndarray, blank: int) -> LogProbs:
    """The columns of known tokens, the blank, and the best of all others; for less memory."""
    if not len(rows):
        return np.empty((0, len(known) + 2), np.float32)
    others = np.delete(rows, [*known, blank], axis=1).max(axis=1, initial=-np.inf)
    return np.concatenate([rows[:, known], rows[:, [blank]], others[:, None]], axis=1)


def _tokens(written: Sequence[Unit], symbols: TokenSet) -> list[list[int]]:
    """The tokens of each unit; none for one that the model cannot spell."""
    found: list[list[int]] = []
    first = 0
    while first < len(written):
        end = first + 1
        while end < len(written) and written[end].joined:
            end += 1
        found += _of_word([unit.spoken for unit in written[first:end]], symbols)
        first = end
    return found


def _of_word(parts: Sequence[str], symbols: TokenSet) -> list[list[int]]:
    """The tokens of units written without a space: only the first one begins a word."""
    whole = "".join(parts)
    try:
        ids = symbols.encode(whole)
    except DataError:
        if len(parts) == 1:
            return [[]]
        return [_of_word([part], symbols)[0] for part in parts]
    if len(ids) != len(whole):
        return [ids, *([] for _ in parts[1:])]
    edges = np.cumsum([0, *map(len, parts)])
    return [ids[a:b] for a, b in pairwise(edges)]


def _with_times(
    written: Sequence[Unit], tokens: Sequence[Sequence[int]], found: forced.Alignment, frame: float
) -> list[Placed]:
    """Units with the times of their words; one without tokens is said after the one before."""
    placed: list[Placed] = []
    spans = iter(zip(found.spans, found.gaps, strict=False))
    end = 0.0
    for unit, own in zip(written, tokens, strict=True):
        if own:
            span, gap = next(spans)
            end = (span.last + 1) * frame
            placed.append(Placed(unit, span.first * frame, end, span.score, gap))
        else:
            placed.append(Placed(unit, end, end, 0.0))
    return placed


def _heard(
    sound: Iterable[Audio], written: Sequence[Unit], engine: Engine, language: str | None
) -> tuple[list[Placed], float]:
    """Lay the text beside the words that an engine heard."""
    options = RecognizeOptions(language=language, word_times=True)
    segments = [s for h in hear_blocks(sound, engine, options) for s in h.hypothesis.segments]
    if any(segment.text and not segment.words for segment in segments):
        raise RequestError(
            f"the model '{engine.name}' does not tell when words are said",
            expected="a model with word times, or a bundle that transcribes",
            fix="Choose another model",
            param="model",
        )
    heard = [part for s in segments for word in s.words for part in _parts(word, language)]
    if len(heard) > 2 * MOST_WORDS:
        raise DataError(
            f"the model heard {len(heard)} words",
            expected=f"at most {2 * MOST_WORDS}",
            fix="Cut the recording and its text into parts",
        )
    return beside(written, heard)


def _parts(word: Word, language: str | None) -> list[Word]:
    """A heard word in normal form; several where it is a number or has no spaces."""
    parts = _WORD.findall(normalise(word.text, language))
    step = (word.end - word.start) / max(1, len(parts))
    return [
        Word(part, word.start + n * step, word.start + (n + 1) * step, word.confidence)
        for n, part in enumerate(parts)
    ]


def beside(written: Sequence[Unit], heard: Sequence[Word]) -> tuple[list[Placed], float]:
    """Units of a text beside heard words, and the gap after the last.

    A unit that was not heard lies where it must be, with no confidence.
    """
    said = [(n, part) for n, unit in enumerate(written) for part in _WORD.findall(unit.spoken)]
    pairs: list[list[tuple[Word, float]]] = [[] for _ in written]
    gaps = [1.0] * (len(written) + 1)
    steps = Levenshtein.opcodes([part for _, part in said], [word.text for word in heard])
    for step in steps:
        if step.tag == "insert":
            at = said[step.src_start][0] if step.src_start < len(said) else len(written)
            sure = max(word.confidence for word in heard[step.dest_start : step.dest_end])
            gaps[at] = min(gaps[at], 1 - sure)
        elif step.tag != "delete":
            ours, theirs = said[step.src_start : step.src_end], heard[step.dest_start :]
            for (number, part), word in zip(ours, theirs, strict=False):
                pairs[number].append((word, _agreement(part, word)))
    parts = [len(_WORD.findall(unit.spoken)) for unit in written]
    placed: list[Placed] = []
    end = 0.0
    for unit, found, count, gap in zip(written, pairs, parts, gaps, strict=False):
        start, end = (found[0][0].start, found[-1][0].end) if found else (end, end)
        placed.append(Placed(unit, start, end, sum(c for _, c in found) / count, gap))
    return placed, gaps[-1]


def _agreement(written: str, heard: Word) -> float:
    """How sure a word is: at least a half where text and engine agree, else less."""
    if written == heard.text:
        return max(0.5, heard.confidence)
    return 0.5 * Levenshtein.normalized_similarity(written, heard.text)


def _begun(found: Alignment) -> list[int]:
    """The last stretch of speech that has begun when each word is told.

    A model that hears no future tells a word when it is over, maybe in the pause after it.
    """
    starts = np.array([start for start, _ in found.speech])
    said = np.array([one.start for one in found.placed])
    return list(np.maximum(0, np.searchsorted(starts, said + _LATE, "right") - 1))


def _shared(found: Alignment) -> list[int]:
    """The stretch of speech that each word shares most time with, never one before another's.

    Whisper lets a word begin where the one before ends, however long the pause between them.
    """
    at: list[int] = []
    for one in found.placed:
        from_here = range(at[-1] if at else 0, len(found.speech))
        shared = [
            min(one.end, found.speech[n][1]) - max(one.start, found.speech[n][0]) for n in from_here
        ]
        at.append(from_here[int(np.argmax(np.maximum(shared, 0)))])
    return at


def _settled(found: Alignment, at: Sequence[int]) -> Alignment:
    """Put the ends of words where speech begins and ends, and halve what lies between them.

    Args:
        at: the stretch of speech that each word belongs to.
    """
    settled: list[Placed] = []
    for number, one in enumerate(found.placed):
        first = number == 0 or at[number - 1] != at[number]
        last = number + 1 == len(at) or at[number + 1] != at[number]
        start = found.speech[at[number]][0] if first else settled[-1].end
        if last:
            end = found.speech[at[number]][1]
        else:
            end = (one.end + found.placed[number + 1].start) / 2
        end = min(max(start, end), found.duration)
        settled.append(replace(one, start=min(start, found.duration), end=end))
    return replace(found, placed=tuple(settled))

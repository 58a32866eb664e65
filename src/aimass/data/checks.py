"""What is wrong with a corpus: findings with a reason code, and the policy that acts on them.

Nothing is dropped for a finding unless the caller names its code: see `apply_policy`.
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from aimass.base.errors import DataError
from aimass.data.corpus import Clip, Corpus
from aimass.data.measure import FLOOR_DB, MISSING, SILENT, Measurement
from aimass.data.scripts import expected_scripts, foreign_scripts, spoken_length, unspeakable
from aimass.text.normalise import normalise
from aimass.text.tokens import LabelSet, TokenSet


class Code(StrEnum):
    """Why a clip was found."""

    MISSING = "missing"
    UNREADABLE = "unreadable"
    UNREADABLE_RATE = "unreadable_rate"
    SILENT = "silent"
    EMPTY_TEXT = "empty_text"
    TOO_SHORT_FOR_TEXT = "too_short_for_text"
    TOO_SHORT = "too_short"
    TOO_LONG = "too_long"
    TOO_LONG_FOR_TEXT = "too_long_for_text"
    UNUSUAL_PACE = "unusual_pace"
    CLIPPED = "clipped"
    WRONG_RATE = "wrong_rate"
    DUPLICATE_AUDIO = "duplicate_audio"
    DUPLICATE_OTHER_TEXT = "duplicate_other_text"
    DUPLICATE_OTHER_SPLIT = "duplicate_other_split"
    SPEAKER_IN_TWO_SPLITS = "speaker_in_two_splits"
    UNEXPECTED_SCRIPT = "unexpected_script"
    UNTOKENISABLE = "untokenisable"
    LABEL_NOT_IN_TRAIN = "label_not_in_train"
    LABEL_SUSPECT = "label_suspect"


MEANINGS = {
    Code.MISSING: "No recording where the corpus names one",
    Code.UNREADABLE: "A recording that does not decode",
    Code.UNREADABLE_RATE: "A sample rate that we do not read: convert it to 8 to 48 kHz",
    Code.SILENT: "There is nothing to hear",
    Code.EMPTY_TEXT: "There is nothing to say",
    Code.TOO_SHORT_FOR_TEXT: "Nobody speaks that fast, and CTC has no room for it",
    Code.TOO_SHORT: "Shorter than any word",
    Code.TOO_LONG: "Longer than training likes: cut it at pauses",
    Code.TOO_LONG_FOR_TEXT: "Far more speech than the text accounts for",
    Code.UNUSUAL_PACE: "Much faster or slower than is usual for its language, or for its own text",
    Code.CLIPPED: "Overdriven: the tops of the wave are cut off",
    Code.WRONG_RATE: "Another sample rate than most",
    Code.DUPLICATE_AUDIO: "The same sound as another clip, with the same text",
    Code.DUPLICATE_OTHER_TEXT: "The same sound with another text: one of the two is wrong",
    Code.DUPLICATE_OTHER_SPLIT: "The same sound in another split: the test knows the answer",
    Code.SPEAKER_IN_TWO_SPLITS: "Its speaker is also in dev or test, which then judge no stranger",
    Code.UNEXPECTED_SCRIPT: "Letters that the language is not written with",
    Code.UNTOKENISABLE: "Characters outside the token set, or that nobody can say",
    Code.LABEL_NOT_IN_TRAIN: "A label of dev or test that no training clip has: never answered",
    Code.LABEL_SUSPECT: "A classifier or an engine is sure to hear something else",
}

STOPS = frozenset(
    {
        Code.MISSING,
        Code.UNREADABLE,
        Code.UNREADABLE_RATE,
        Code.SILENT,
        Code.EMPTY_TEXT,
        Code.TOO_SHORT_FOR_TEXT,
        Code.TOO_SHORT,
    }
)
"""With these a clip cannot train or judge a model."""

_ORDER = {"test": 0, "dev": 1, None: 2, "train": 3}  # which of several copies is the one to keep


@dataclass(frozen=True, slots=True)
class Finding:
    """One clip and what is wrong with it.

    Args:
        clip: its id.
        detail: what was found, for people.
        value: the number behind it, where there is one; larger is not always worse.
    """

    code: Code
    clip: str
    detail: str
    value: float | None = None


@dataclass(frozen=True, slots=True)
class Thresholds:
    """Where a measurement becomes a finding.

    Args:
        min_seconds, max_seconds: of one clip.
        silent_db: level of the loudest twentieth of a clip below which nothing can be heard.
        clipped_share: of the samples that stand at the clip's highest level; speech that was not
            cut off has about 0.0003.
        clipped_db: a clip whose peak lies below this was not overdriven where it was recorded.
        letters_per_second: the fastest speech; also one CTC frame of 40 ms for each.
        spare_letters: allowed beyond that, for words cut out closely.
        seconds_per_letter: the slowest speech.
        spare_seconds: allowed beyond that, for noises around a word.
        deviations: robust standard deviations from the median pace of a language or text.
        pace_factor: and at least this many times faster or slower than that median.
        few: fewer clips than this tell no median.
    """

    min_seconds: float = 0.1
    max_seconds: float = 30.0
    silent_db: float = -60.0
    clipped_share: float = 0.003
    clipped_db: float = -6.0
    letters_per_second: float = 25.0
    spare_letters: float = 5.0
    seconds_per_letter: float = 1.0
    spare_seconds: float = 3.0
    deviations: float = 6.0
    pace_factor: float = 2.5
    few: int = 20


Measurements = Mapping[str, Measurement]
"""By the id of the clip."""


def check(
    corpus: Corpus,
    measurements: Measurements,
    *,
    thresholds: Thresholds = Thresholds(),
) -> list[Finding]:
    """All findings of a corpus, in the order of `Code` and then of the clips.

    Args:
        measurements: of every clip, as `aimass.data.measure.measure` gives them.
    """
    findings = list(_missing(corpus))
    texts = _Texts()
    for clip in corpus.clips:
        sound = measurements[clip.id]
        findings += _check_sound(clip, sound, thresholds)
        findings += _check_text(clip, texts(clip))
        if not sound.fault:
            findings += _check_length(clip, sound, texts(clip), thresholds)
    # What is known to be broken says nothing of the others.
    broken = {finding.clip for finding in findings if finding.code in STOPS}
    whole = [clip for clip in corpus.clips if clip.id not in broken]
    findings += _check_rates(whole, measurements)
    findings += _check_pace(whole, measurements, texts, thresholds)
    findings += _check_duplicates(whole, measurements, texts)
    findings += _check_scripts(corpus.clips)
    findings += _check_speakers(corpus.clips)
    return ordered(corpus, findings)


def unwritable(
    clips: Iterable[Clip], symbols: TokenSet | LabelSet, written: Callable[[Clip], str]
) -> Iterator[Finding]:
    """Clips of dev and test that a model of these symbols can only get wrong.

    Args:
        symbols: of the training data.
        written: the text of a clip as models write it.
    """
    code = Code.LABEL_NOT_IN_TRAIN if isinstance(symbols, LabelSet) else Code.UNTOKENISABLE
    for clip in clips:
        try:
            symbols.encode(written(clip))
        except DataError as error:
            yield Finding(code, clip.id, error.found)


def ordered(corpus: Corpus, findings: Iterable[Finding]) -> list[Finding]:
    """Findings in the order of `Code` and then of the clips."""
    codes = {code: number for number, code in enumerate(Code)}
    places = {clip.id: number for number, clip in enumerate(corpus.clips)}
    return sorted(findings, key=lambda one: (codes[one.code], places.get(one.clip, -1)))


def counts(findings: Iterable[Finding]) -> dict[Code, int]:
    """How many clips each code was found for, in the order of `Code`."""
    found = Counter(code for code, _ in {(one.code, one.clip) for one in findings})
    return {code: found[code] for code in Code if found[code]}


def apply_policy(
    corpus: Corpus, findings: Sequence[Finding], exclude: Collection[Code] = ()
) -> tuple[Corpus, tuple[Finding, ...]]:
    """The clips that stay, and the findings for which the others are left out.

    Args:
        exclude: the codes whose clips are left out; every other finding leaves its clip in.

    Raises:
        DataError: a clip that stays stops a training, or none stays.
    """
    left_out = {finding.clip for finding in findings if finding.code in exclude}
    stopping = counts(one for one in findings if one.code in STOPS and one.clip not in left_out)
    if stopping:
        first = next(one for one in findings if one.code in stopping and one.clip not in left_out)
        listed = ", ".join(f"{code}: {count}" for code, count in stopping.items())
        codes = ", ".join(sorted({*map(str, exclude), *map(str, stopping)}))
        raise DataError(
            f"{corpus.source} holds clips that cannot train a model ({listed}); the first is "
            f"{first.clip}: {first.detail}",
            expected="recordings that can be heard, each with its text",
            fix=f"Correct them, or leave them out by writing under data in the scenario: "
            f"exclude: [{codes}]",
        )
    kept = tuple(clip for clip in corpus.clips if clip.id not in left_out)
    if not kept:
        raise DataError(
            f"nothing is left of {corpus.source} without {', '.join(sorted(map(str, exclude)))}",
            expected="clips to train on",
            fix="Look at the report of aimass data check, and exclude fewer codes",
        )
    gone = tuple(finding for finding in findings if finding.code in exclude)
    # What the policy leaves out is missed by nobody after it.
    missing = tuple(one for one in corpus.missing if one.id not in left_out)
    return replace(corpus, clips=kept, missing=missing), gone


class _Texts:
    """Normalised texts, each computed once."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str | None], str] = {}

    def __call__(self, clip: Clip) -> str:
        key = clip.text, clip.language
        if key not in self._known:
            self._known[key] = normalise(*key)
        return self._known[key]


def _missing(corpus: Corpus) -> Iterator[Finding]:
    for one in corpus.missing:
        yield Finding(Code.EMPTY_TEXT if one.what == "text" else Code.MISSING, one.id, one.found)


def _check_sound(clip: Clip, sound: Measurement, limits: Thresholds) -> Iterator[Finding]:
    if sound.fault == MISSING:
        yield Finding(Code.MISSING, clip.id, sound.detail)
    elif sound.fault == SILENT:
        yield Finding(Code.SILENT, clip.id, sound.detail, FLOOR_DB)
    elif sound.fault == "unsupported_rate":
        yield Finding(Code.UNREADABLE_RATE, clip.id, sound.detail)
    elif sound.fault:
        yield Finding(Code.UNREADABLE, clip.id, sound.detail)
    elif sound.loud_db < limits.silent_db:
        detail = f"its loudest part has {sound.loud_db:.0f} dB of full scale"
        yield Finding(Code.SILENT, clip.id, detail, sound.loud_db)
    elif sound.clipped >= limits.clipped_share and sound.peak_db >= limits.clipped_db:
        detail = f"{sound.clipped:.1%} of its samples stand at the highest level"
        yield Finding(Code.CLIPPED, clip.id, detail, sound.clipped)


def _check_text(clip: Clip, text: str) -> Iterator[Finding]:
    if not text:
        yield Finding(Code.EMPTY_TEXT, clip.id, f"its text {clip.text!r} holds no word")
        return
    strange = unspeakable(clip.text)
    if strange:
        named = ", ".join(f"U+{ord(char):04X}" for char in strange)
        yield Finding(Code.UNTOKENISABLE, clip.id, f"its text {clip.text!r} holds {named}")


def _check_scripts(clips: Sequence[Clip]) -> Iterator[Finding]:
    written: dict[str | None, set[str]] = defaultdict(set)
    for clip in clips:
        written[clip.language].add(clip.text)
    expected = {language: expected_scripts(language, own) for language, own in written.items()}
    for clip in clips:
        foreign = foreign_scripts(clip.text, expected[clip.language])
        if foreign:
            named = ", ".join(sorted(script.capitalize() for script in foreign))
            detail = f"{named} letters in '{_short(clip.text)}'"
            yield Finding(Code.UNEXPECTED_SCRIPT, clip.id, detail)


def _check_length(
    clip: Clip, sound: Measurement, text: str, limits: Thresholds
) -> Iterator[Finding]:
    seconds, letters = sound.seconds, spoken_length(text)
    if seconds < limits.min_seconds:
        yield Finding(Code.TOO_SHORT, clip.id, f"it lasts {seconds:.2f} s", seconds)
    elif letters > limits.letters_per_second * seconds + limits.spare_letters:
        detail = f"{seconds:.2f} s are too short to say '{_short(clip.text)}'"
        yield Finding(Code.TOO_SHORT_FOR_TEXT, clip.id, detail, letters / seconds)
    if seconds > limits.max_seconds:
        yield Finding(Code.TOO_LONG, clip.id, f"it lasts {seconds:.1f} s", seconds)
    slowest = limits.seconds_per_letter * letters + limits.spare_seconds
    if text and sound.active > slowest:
        detail = f"{sound.active:.1f} s of speech or noise for '{_short(clip.text)}'"
        yield Finding(Code.TOO_LONG_FOR_TEXT, clip.id, detail, letters / sound.active)


def _check_rates(clips: Sequence[Clip], sounds: Measurements) -> Iterator[Finding]:
    rates = Counter(sounds[clip.id].rate for clip in clips if sounds[clip.id].rate)
    if len(rates) < 2:
        return
    usual, count = rates.most_common(1)[0]
    for clip in clips:
        rate = sounds[clip.id].rate
        if rate and rate != usual:
            detail = f"{rate} Hz, where {count} of {rates.total()} clips have {usual} Hz"
            yield Finding(Code.WRONG_RATE, clip.id, detail, rate)


def _check_pace(
    clips: Sequence[Clip], sounds: Measurements, texts: _Texts, limits: Thresholds
) -> Iterator[Finding]:
    """Clips far from the median pace of their text where it is heard often, else language.

    Medians and median absolute deviations of the logarithm, as fast and slow are ratios.
    """
    often = Counter(texts(clip) for clip in clips)
    groups: dict[tuple[str, str | None], list[tuple[Clip, float]]] = defaultdict(list)
    for clip in clips:
        sound, text = sounds[clip.id], texts(clip)
        if text and sound.active > 0:
            group = ("text", text) if often[text] >= limits.few else ("language", clip.language)
            groups[group].append((clip, math.log(spoken_length(text) / sound.active)))
    for (kind, name), members in groups.items():
        if len(members) < limits.few:
            continue
        paces = np.array([pace for _, pace in members])
        middle = float(np.median(paces))
        spread = 1.4826 * float(np.median(np.abs(paces - middle)))
        allowed = max(limits.deviations * spread, math.log(limits.pace_factor))
        for clip, pace in members:
            if abs(pace - middle) > allowed:
                factor = math.exp(abs(pace - middle))
                way = "faster" if pace > middle else "slower"
                whose = f"'{_short(clip.text)}'" if kind == "text" else name or "this corpus"
                detail = f"spoken {factor:.1f} times {way} than the median of {whose}"
                yield Finding(Code.UNUSUAL_PACE, clip.id, detail, math.exp(pace))


def _check_duplicates(
    clips: Sequence[Clip], sounds: Measurements, texts: _Texts
) -> Iterator[Finding]:
    same: dict[str, list[Clip]] = defaultdict(list)
    for clip in clips:
        if sounds[clip.id].sound:
            same[sounds[clip.id].sound].append(clip)
    for copies in same.values():
        if len({texts(clip) for clip in copies}) > 1:
            for clip in copies:
                other = next(one for one in copies if texts(one) != texts(clip))
                detail = f"'{_short(clip.text)}' here, '{_short(other.text)}' at {other.id}"
                yield Finding(Code.DUPLICATE_OTHER_TEXT, clip.id, detail)
            continue
        # Leaving out the others must not take a clip from the test set, nor leave a leak.
        first, *others = sorted(copies, key=lambda clip: _ORDER.get(clip.split, 2))
        for clip in others:
            leak = clip.split != first.split and None not in (clip.split, first.split)
            code = Code.DUPLICATE_OTHER_SPLIT if leak else Code.DUPLICATE_AUDIO
            where = f", which is in {first.split}" if leak else ""
            yield Finding(code, clip.id, f"the same sound as {first.id}{where}")


def _check_speakers(clips: Sequence[Clip]) -> Iterator[Finding]:
    """The clips outside test, or outside dev, of speakers who are also there."""
    heard: dict[str, set[str]] = defaultdict(set)
    for clip in clips:
        if clip.speaker is not None and clip.split is not None:
            heard[clip.speaker].add(clip.split)
    for clip in clips:
        if clip.speaker is None or clip.split is None or len(heard[clip.speaker]) < 2:
            continue
        kept = min(heard[clip.speaker], key=lambda split: _ORDER.get(split, 2))
        if clip.split != kept:
            detail = f"{clip.speaker} is in {clip.split} and in {kept}"
            yield Finding(Code.SPEAKER_IN_TWO_SPLITS, clip.id, detail)


def _short(text: str) -> str:
    return text if len(text) <= 60 else text[:59] + "…"

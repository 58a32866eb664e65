"""Which clips train, tune and judge a model.

Whole speakers are held out wherever speakers are known, so that a model is judged on voices that
it never heard. What decides is a hash of each speaker's own name (of the clip's, where nobody
knows who speaks), so that recordings which join later move nobody, and no seed is needed. Who alone
is left to say a label stays in training, or a model would be judged on what it never heard.
Synthetic speech only ever trains.
"""

import hashlib
import math
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.corpus import Clip

DEV_SHARE = 0.1
ROUNDING = 1e-3  # seconds that neighbouring cuts of one recording may share
MIN_SPEAKERS = 10  # below this a share of them is counted out, as chance would take none or all
MIN_OF_LABEL = 4  # a label with fewer clips cannot spare one


@dataclass(frozen=True, slots=True)
class Splits:
    """Three disjoint sets of clips."""

    train: tuple[Clip, ...]
    dev: tuple[Clip, ...]
    test: tuple[Clip, ...]


def hold_out(
    clips: Sequence[Clip],
    share: float = DEV_SHARE,
    salt: str = "",
    *,
    least: int = 1,
    labels: Collection[str] = (),
) -> tuple[list[Clip], list[Clip]]:
    """Split clips into ``(kept, held out)``: whole speakers where there are two or more.

    From `MIN_SPEAKERS` speakers on each is drawn by its own name alone, and so are clips without
    speakers: data that is added moves nobody, but for those whom a label needs. With fewer
    speakers the share is counted, which a new speaker may enter in place of one other. Clips of
    one lone speaker are drawn as if nobody knew who speaks: no split of them could tell how
    strangers are heard. Clips without speakers are held out label by label, one at least of every
    label that is heard `MIN_OF_LABEL` times.

    Args:
        share: of the speakers, or of the clips.
        salt: another choice; what is held out of the clips that an earlier call kept needs one.
        least: speakers to hold out where speakers are known, but never all of them.
        labels: texts that stay among what is kept, as far as whole speakers allow.

    Raises:
        DataError: too few clips to hold one out.
    """
    real = [clip for clip in clips if not clip.synthetic]
    by_speaker = len({clip.speaker for clip in real if clip.speaker is not None}) > 1
    said: Said = defaultdict(set)
    for clip in real:
        said[_key(clip, by_speaker)] |= {clip.text}.intersection(labels)
    held = _speakers(said, share, salt, least) if by_speaker else set()
    alone = [clip for clip in real if not (by_speaker and clip.speaker)]
    left = {key: own for key, own in said.items() if key not in held}
    held |= _alone(alone, share, salt, left)
    held = held or _alone(alone, share, salt, {})
    out = [clip for clip in real if _key(clip, by_speaker) in held]
    kept = [clip for clip in clips if clip.synthetic or _key(clip, by_speaker) not in held]
    if not kept or not out:
        raise DataError(
            f"only {len(real)} training clip{'s' * (len(real) != 1)} of real speech",
            expected="at least two, so that one can be held out",
            fix="Add recordings",
        )
    return kept, out


def how_held_out(clips: Sequence[Clip]) -> str:
    """One sentence on what `hold_out` holds out of clips, for a report."""
    real = [clip for clip in clips if not clip.synthetic]
    speakers = {clip.speaker for clip in real if clip.speaker is not None}
    unknown = sum(clip.speaker is None for clip in real)
    if not speakers:
        return (
            "Speakers are not known: clips are held out label by label, and the same voice may "
            "train and judge a model, which then looks better than it is on strangers"
        )
    if len(speakers) == 1:
        return (
            "There is one speaker: clips are held out, and no figure says how other voices will "
            "be heard"
        )
    told = f"Whole speakers are held out ({len(speakers)} are known)"
    if len(speakers) == 2:
        told += "; after one of them is held out to test, dev can only be other clips of the other"
    if unknown:
        told += f"; {unknown} clips have no speaker and are held out one by one"
    return told


def rotation(clips: Sequence[Clip], folds: int, fold: int) -> Splits:
    """Cross-validation by speaker: one group of speakers tests, the next is dev, the rest train.

    Groups are as equal in clips as taking the largest speaker first into the smallest group makes
    them. Clips without a speaker are dealt out one by one, label after label.

    Args:
        folds: number of groups, at least 3.
        fold: which of them tests, from 0.

    Raises:
        DataError: fewer speakers (or clips without one) than groups.
    """
    real = [clip for clip in clips if not clip.synthetic]
    sizes = Counter(_key(clip, True) for clip in real)
    if not 3 <= folds <= len(sizes) or not 0 <= fold < folds:
        raise DataError(
            f"fold {fold} of {folds} over {len(sizes)} speakers",
            expected=f"3 to {len(sizes)} folds counted from 0, each with a speaker of its own",
            fix="Ask for fewer folds, or add speakers",
        )
    label = {_key(clip, True): clip.text for clip in real if clip.speaker is None}
    groups: list[int] = [0] * folds
    group_of: dict[tuple[str, str], int] = {}
    for key in sorted(sizes, key=lambda key: (-sizes[key], label.get(key, ""), _drawn(key[1], ""))):
        smallest = min(range(folds), key=lambda group: (groups[group], group))
        group_of[key] = smallest
        groups[smallest] += sizes[key]

    def group(*wanted: int) -> tuple[Clip, ...]:
        return tuple(clip for clip in real if group_of[_key(clip, True)] in wanted)

    dev, test = group((fold + 1) % folds), group(fold)
    judges = {id(clip) for clip in (*dev, *test)}
    return Splits(tuple(clip for clip in clips if id(clip) not in judges), dev, test)


Key = tuple[str, str]
"""What is held out as one: ``("speaker", name)`` or ``("clip", id)``."""

Said = dict[Key, set[str]]
"""The labels of each."""


def _key(clip: Clip, by_speaker: bool) -> Key:
    if by_speaker and clip.speaker is not None:
        return "speaker", clip.speaker
    return "clip", clip.id


def _drawn(name: str, salt: str) -> float:
    """A number in [0, 1) that depends on a name alone."""
    return int.from_bytes(hashlib.sha256((salt + name).encode()).digest()[:4], "big") / 2**32


def _spared(keys: Iterable[Key], said: Said) -> list[Key]:
    """Those of some keys, one after another, without whom the others still say every label."""
    left = Counter(label for own in said.values() for label in own)
    free = []
    for key in keys:
        own = said.get(key, set())
        if all(left[label] > 1 for label in own):
            left.subtract(own)
            free.append(key)
    return free


def _speakers(said: Said, share: float, salt: str, least: int) -> set[Key]:
    """The speakers to hold out: so many at least, and never all."""
    keys = sorted(key for key in said if key[0] == "speaker")
    keys.sort(key=lambda key: _drawn(key[1], salt))
    free = _spared(keys, said)
    if len(free) < least:
        free = keys
    count = sum(_drawn(name, salt) < share for _, name in free)
    if len(keys) < MIN_SPEAKERS:
        count = round(share * len(keys))
    return set(free[: min(max(count, least), len(keys) - 1)])


def _alone(clips: Sequence[Clip], share: float, salt: str, said: Said) -> set[Key]:
    """The clips to hold out one by one, of every label that is heard often enough."""
    labels: dict[str, list[str]] = defaultdict(list)
    for clip in clips:
        labels[clip.text].append(clip.id)
    held: set[str] = set()
    for names in labels.values():
        names.sort(key=lambda name: _drawn(name, salt))
        drawn = {name for name in names if _drawn(name, salt) < share}
        if len(names) >= MIN_OF_LABEL:
            drawn = drawn or {names[0]}
        held |= drawn
    keys = [("clip", clip.id) for clip in clips]
    keys.sort(key=lambda key: _drawn(key[1], salt))
    chosen = _spared([key for key in keys if key[1] in held], said) or _spared(keys, said)[:1]
    return set(chosen[: len(clips) - 1])


def refuse_leaks(splits: Splits, recording: Callable[[Path], str] = str) -> None:
    """Raise `DataError` when the same stretch of a recording is in two of the sets.

    Args:
        recording: what tells recordings apart: their resolved path, or the digest of their
            content, which also finds copies.
    """
    named = {"train": splits.train, "dev": splits.dev, "test": splits.test}
    stretches: dict[str, list[tuple[float, float, str, Clip]]] = {}
    for name, clips in named.items():
        for clip in clips:
            end = math.inf if clip.duration is None else clip.start + clip.duration
            own = stretches.setdefault(recording(clip.path.resolve()), [])
            own.append((clip.start, end, name, clip))
    for own in stretches.values():
        _refuse_overlap(sorted(own, key=lambda stretch: stretch[:3]))


def _refuse_overlap(stretches: Sequence[tuple[float, float, str, Clip]]) -> None:
    """Refuse stretches of one recording, in order of their start, that two sets share."""
    latest: dict[str, tuple[float, Clip]] = {}
    for start, end, name, clip in stretches:
        for other, (ended, before) in latest.items():
            if other != name and start < ended - ROUNDING:
                same = "" if before.path == clip.path else f", there as {before.path}"
                raise DataError(
                    f"{clip.path} is in both {name} and {other}{same}",
                    expected="training, dev and test data without common recordings",
                    fix="Give other folders, or a split column in metadata.tsv",
                )
        if name not in latest or end > latest[name][0]:
            latest[name] = (end, clip)

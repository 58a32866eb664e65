"""Augmented passes over the training data, made once and read by every epoch that returns to them.

Waveform augmentation and features cost more than a step of a small model. So the data is drawn
anew not in every epoch but in a few passes, kept as frames on disk, that epochs take in turn; what
is cheap (order, batches, spectrogram masks) is drawn anew in every epoch. Members that hear alike
share the passes. A pass is a function of names and the seed: deleting it costs time alone.
"""

import json
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cached_property, lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from aimass.augment import policy as policies
from aimass.augment.join import Join, connected
from aimass.augment.policy import Policy, Record
from aimass.augment.sounds import Recording, Sounds
from aimass.augment.step import Entry
from aimass.base.contract import Progress, Samples, no_progress
from aimass.base.digests import of_value
from aimass.base.files import new_folder
from aimass.base.randomness import generator
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract_batch

FRAMES, ENDS, RECORDS = "frames.f16", "ends.npy", "records.jsonl"
AT_ONCE = 64  # utterances that are augmented together


@dataclass(frozen=True)
class Example:
    """One labelled utterance.

    Args:
        name: tells it from all others of the set.
        targets: token ids, or the one label.
        load: gives the samples, mono, at the rate of the features.
        language: decides no sound; a sampler may draw rare ones more often.
    """

    name: str
    targets: tuple[int, ...]
    speaker: str | None
    load: Callable[[], Samples]
    language: str | None = None

    @cached_property
    def samples(self) -> Samples:
        """The sound, decoded when a pass is made that needs it."""
        return self.load()


@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """How far training examples stray from the recordings, and how often they are drawn anew.

    Args:
        most_joined: utterances of one speaker put together at most, so that isolated words also
            teach connected speech.
        pause: shortest and longest pause around each, seconds.
        ramp_epochs: epochs until the augmentation is at its full strength: a new CTC model first
            says nothing but blank, and leaves that plateau sooner on plain isolated examples
            (curriculum learning, Bengio et al. 2009).
        passes: drawn at full strength; later epochs return to them in turn.
    """

    policy: Policy
    most_joined: int = 1
    pause: tuple[float, float] = (0.02, 0.3)
    ramp_epochs: int = 4
    passes: int = 6

    def pass_of(self, epoch: int) -> int:
        """Which pass an epoch takes: those of the ramp once, the others in turn."""
        if epoch < self.ramp_epochs:
            return epoch
        return self.ramp_epochs + (epoch - self.ramp_epochs) % self.passes

    def policy_of(self, number: int) -> Policy:
        """The policy of a pass."""
        return self.policy.at(self.strength(number))

    def strength(self, number: int) -> float:
        """How much of the augmentation a pass has, 0 to 1."""
        return min(1.0, number / self.ramp_epochs) if self.ramp_epochs else 1.0

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for digests and lineage."""
        return {name: getattr(self, name) for name in self.__slots__} | {
            "policy": self.policy.to_dict()
        }


@dataclass(frozen=True, slots=True)
class Utterance:
    """One utterance of a pass: all that is needed to make it again.

    Args:
        examples: the names of those that were joined.
        join: the pauses around them.
        record: what augmentation did to them together.
    """

    examples: tuple[str, ...]
    join: Entry
    record: Record

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for the file of records."""
        return {"examples": list(self.examples), "join": self.join, "record": self.record}


@dataclass(frozen=True, slots=True)
class Pass:
    """The frames of a pass.

    Args:
        frames: of all utterances in a row, ``(frames, columns)``, half precision, on disk.
        ends: where each utterance ends.
        groups: the examples of each.
    """

    frames: npt.NDArray[np.float16]
    ends: npt.NDArray[np.int64]
    groups: list[tuple[int, ...]]

    @property
    def lengths(self) -> npt.NDArray[np.int64]:
        """Frames of each utterance."""
        return np.diff(self.ends, prepend=0)

    def utterance(self, number: int) -> Frames:
        """The frames of one utterance."""
        first = self.ends[number - 1] if number else 0
        return self.frames[first : self.ends[number]].astype(np.float32)


class Front(Protocol):
    """What stands between feature frames and the frames of a pass."""

    columns: int

    @property
    def inputs(self) -> list[Any]:
        """What decides its outputs, as plain values."""

    def __call__(self, utterances: Sequence[Frames]) -> list[Frames]:
        """Map the frames ``(frames, columns)`` of each utterance."""


class Passes:
    """The passes over a set of examples.

    Args:
        tail: seconds of silence after everything, as a stream hears them before it ends.
        folder: where passes stand, each in a folder named by the digest of what decides it.
        front: maps the frames before they are kept; None keeps them as they are.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        features: FeatureSpec,
        augment: AugmentSpec,
        folder: Path,
        *,
        sounds: Sounds = policies.NO_SOUNDS,
        tail: float = 0.0,
        seed: int = 0,
        progress: Progress = no_progress,
        front: Front | None = None,
    ) -> None:
        self.examples = examples
        self.features = features
        self.augment = augment
        self.tail = tail
        self._sounds = sounds
        self._seed = seed
        self._folder = folder
        self._progress = progress
        names = [[e.name, list(e.targets), e.speaker] for e in examples]
        heard = [_named(sounds.noises), _named(sounds.rooms), _named(sounds.talkers)]
        self._inputs = [of_value(names), features.to_dict(), augment.to_dict(), heard, tail, seed]
        spoken = of_value([[e.name, e.speaker] for e in examples])
        self._sound = [spoken, features.sample_rate, augment.to_dict(), heard, tail, seed]
        self._front = front
        self._columns = front.columns if front else features.columns
        self._inputs += [front.inputs] if front else []
        self._by_name = {example.name: example for example in examples}
        self._policy = lru_cache(maxsize=2)(augment.policy_of)
        self._loaded = lru_cache(maxsize=2)(self._load)

    @property
    def sound(self) -> list[Any]:
        """What decides `waveforms` of every pass, as plain values: not what is made of them."""
        return self._sound

    @property
    def frames(self) -> FeatureSpec | None:
        """What the frames of a pass are; None where a front has mapped them."""
        return self.features if self._front is None else None

    def get(self, number: int) -> Pass:
        """A pass, made unless it is there."""
        return self._loaded(number)

    def groups(self, number: int) -> list[tuple[int, ...]]:
        """Which examples are joined in a pass; each is used once."""
        strength = self.augment.strength(number)
        most = 1 + round((self.augment.most_joined - 1) * strength)
        rng = generator(self._seed, "join", number)
        speakers: dict[str | None, list[int]] = defaultdict(list)
        for index in rng.permutation(len(self.examples)) if most > 1 else ():
            speakers[self.examples[index].speaker].append(int(index))
        groups: list[tuple[int, ...]] = []
        if most == 1:
            groups = [(index,) for index in range(len(self.examples))]
        for indices in speakers.values():
            while indices:
                size = int(rng.integers(1, most + 1))
                groups.append(tuple(indices[:size]))
                del indices[:size]
        return groups

    def utterance(self, number: int, group: Sequence[int]) -> Utterance:
        """What is drawn for one utterance of a pass."""
        chosen = [self.examples[index] for index in group]
        names = tuple(example.name for example in chosen)
        rng = generator(self._seed, "augment", number, *names)
        strength = self.augment.strength(number)
        low, high = self.augment.pause
        join = Join((low, low + (high - low) * strength)).draw(rng, len(group))
        rate = self.features.sample_rate
        seconds = sum(len(e.samples) for e in chosen) / rate + sum(join["pauses"])
        record = policies.draw(self._policy(number), rng, seconds, self._sounds)
        return Utterance(names, join, record)

    def waveforms(self, utterances: Sequence[Utterance]) -> list[Samples]:
        """Utterances as they sound: the same for the same records, whenever it is asked.

        Raises:
            KeyError: an example that is not in the set.
        """
        rate = self.features.sample_rate
        plain = [
            connected([self._by_name[name].samples for name in u.examples], u.join, rate)
            for u in utterances
        ]
        sound = policies.apply(plain, [u.record for u in utterances], rate, self._sounds)
        tail = np.zeros(round(self.tail * rate), np.float32)
        return [np.concatenate([samples, tail]) for samples in sound]

    def _load(self, number: int) -> Pass:
        target = self._folder / f"pass-{of_value([*self._inputs, number])[:24]}"
        if not target.is_dir():
            with alone(target):
                if not target.is_dir():
                    with new_folder(target) as fresh:
                        self._make(number, fresh)
        frames = np.memmap(target / FRAMES, np.float16, "r").reshape(-1, self._columns)
        return Pass(frames, np.load(target / ENDS), self.groups(number))

    def _make(self, number: int, folder: Path) -> None:
        lengths: list[int] = []
        with (
            (folder / FRAMES).open("wb") as sink,
            (folder / RECORDS).open("w", encoding="utf-8") as records,
        ):
            for utterances in self.blocks(number):
                self._progress(f"augment {number}", len(lengths), len(self.examples))
                heard = extract_batch(self.waveforms(utterances), self.features)
                for frames in self._front(heard) if self._front else heard:
                    lengths.append(len(frames))
                    sink.write(frames.astype(np.float16).tobytes())
                for utterance in utterances:
                    records.write(json.dumps(utterance.to_dict()) + "\n")
        np.save(folder / ENDS, np.cumsum(lengths, dtype=np.int64))

    def blocks(self, number: int) -> Iterator[list[Utterance]]:
        """The utterances of a pass in order, as many as are augmented together."""
        groups = self.groups(number)
        for first in range(0, len(groups), AT_ONCE):
            yield [self.utterance(number, group) for group in groups[first : first + AT_ONCE]]


@contextmanager
def alone(target: Path) -> Iterator[None]:
    """One process makes a folder; the others that need it too wait for it."""
    target.parent.mkdir(parents=True, exist_ok=True)
    with target.with_name(f"{target.name}.lock").open("w") as file:
        flock(file, LOCK_EX)
        yield


def _named(recordings: Mapping[str, Recording]) -> list[list[str]]:
    """Recordings by name and content."""
    return [
        [name, sha256(recordings[name].samples.tobytes()).hexdigest()]
        for name in sorted(recordings)
    ]

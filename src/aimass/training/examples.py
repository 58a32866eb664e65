"""Labelled recordings to augmented training batches, replayable from names alone."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
import numpy.typing as npt

from aimass.augment.spectrogram import masked
from aimass.augment.waveform import SPEEDS, at_speed, joined, with_gain, with_noise
from aimass.base.contract import Samples
from aimass.base.randomness import generator
from aimass.features.fbank import FeatureSpec, Frames, fbank

POOL = 8  # batches that are sorted by length together: little padding, yet shuffled


@dataclass(frozen=True, slots=True)
class Example:
    """One labelled utterance: samples at the model's rate and its token ids."""

    samples: Samples
    tokens: tuple[int, ...]
    speaker: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded model input.

    Args:
        features: ``(batch, frames, bins)``; frames a multiple of the model's stack.
        lengths: model frames of each utterance, ``(batch,)``.
        tokens: all targets in a row.
        token_lengths: number of targets of each utterance, ``(batch,)``.
    """

    features: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    tokens: npt.NDArray[np.int64]
    token_lengths: npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class AugmentSpec:
    """How far training examples stray from the recordings.

    Args:
        most_joined: utterances of one speaker put together at most, so that isolated words
            also teach connected speech.
        pause: shortest and longest pause around each, seconds.
        gain_db: range of loudness changes.
        noise_db: range of signal-to-noise ratios.
        noise_share: share of examples that get noise.
        mask_times: masks along time.
        mask_bands: masks along frequency.
        ramp_epochs: epochs until all of this is at its full strength.
    """

    most_joined: int = 3
    pause: tuple[float, float] = (0.02, 0.3)
    gain_db: tuple[float, float] = (-20.0, 6.0)
    noise_db: tuple[float, float] = (5.0, 40.0)
    noise_share: float = 0.7
    mask_times: int = 2
    mask_bands: int = 2
    ramp_epochs: int = 10

    def in_epoch(self, epoch: int) -> "AugmentSpec":
        """The augmentation of one epoch: it grows to its full strength over ``ramp_epochs``.

        A new CTC model first says nothing but blank, and leaves that plateau sooner on plain
        isolated examples (curriculum learning, Bengio et al. 2009).
        """
        strength = min(1.0, max(0, epoch) / max(1, self.ramp_epochs))
        return replace(
            self,
            most_joined=1 + round((self.most_joined - 1) * strength),
            pause=(self.pause[0], self.pause[0] + (self.pause[1] - self.pause[0]) * strength),
            gain_db=(self.gain_db[0] * strength, self.gain_db[1] * strength),
            noise_share=self.noise_share * strength,
            mask_times=round(self.mask_times * strength),
            mask_bands=round(self.mask_bands * strength),
        )


class TrainingSet:
    """Batches of one epoch after the other, each a function of ``(seed, epoch, index)``.

    Args:
        tail: seconds of silence after the last word, which the model may use to decide.
        stack: feature frames in a model frame.
    """

    def __init__(
        self,
        examples: Sequence[Example],
        features: FeatureSpec,
        augment: AugmentSpec,
        *,
        batch_size: int,
        stack: int,
        tail: float,
        seed: int,
    ) -> None:
        self._examples = examples
        self._features = features
        self._augment = augment
        self._batch_size = batch_size
        self._stack = stack
        self._tail = tail
        self._seed = seed

    @cached_property
    def _faster(self) -> list[dict[float, Samples]]:
        """Every recording at every speed: resampling once costs less than once an epoch."""
        rate = self._features.sample_rate
        return [{s: at_speed(e.samples, s, rate) for s in SPEEDS} for e in self._examples]

    @cached_property
    def moments(self) -> tuple[Frames, Frames]:
        """Mean and standard deviation of every feature bin, each ``(bins,)``.

        Taken over augmented batches, because these are what the model hears.
        """
        epoch = self._augment.ramp_epochs
        batches = [self.batch(epoch, groups) for groups in self.plan(epoch)[:10]]
        rows = np.concatenate(
            [
                features[: length * self._stack]
                for batch in batches
                for features, length in zip(batch.features, batch.lengths, strict=True)
            ]
        )
        return rows.mean(axis=0), rows.std(axis=0) + np.float32(1e-3)

    def plan(self, epoch: int) -> list[list[tuple[int, ...]]]:
        """The epoch's batches; each utterance is a tuple of examples to join. All are used."""
        rng = generator(self._seed, "plan", epoch)
        groups = self._joined_by_speaker(rng, self._augment.in_epoch(epoch).most_joined)
        rng.shuffle(groups)
        length = [sum(len(self._examples[i].samples) for i in group) for group in groups]
        pool = POOL * self._batch_size
        batches = []
        for first in range(0, len(groups), pool):
            order = sorted(range(first, min(first + pool, len(groups))), key=length.__getitem__)
            batches += [
                [groups[i] for i in order[k : k + self._batch_size]]
                for k in range(0, len(order), self._batch_size)
            ]
        rng.shuffle(batches)
        return batches

    def _joined_by_speaker(self, rng: np.random.Generator, most: int) -> list[tuple[int, ...]]:
        speakers = defaultdict(list)
        for index in rng.permutation(len(self._examples)):
            speakers[self._examples[index].speaker].append(int(index))
        groups = []
        for indices in speakers.values():
            while indices:
                size = int(rng.integers(1, most + 1))
                groups.append(tuple(indices[:size]))
                del indices[:size]
        return groups

    def batch(self, epoch: int, groups: Sequence[tuple[int, ...]]) -> Batch:
        """Augment, compute features, pad and mask the utterances of one batch."""
        rng = generator(self._seed, "batch", epoch, *groups[0])
        a = self._augment.in_epoch(epoch)
        frames = [fbank(self._waveform(group, rng, a), self._features) for group in groups]
        batch = collate(frames, [self._tokens(group) for group in groups], self._stack)
        fill = batch.features.mean(axis=(0, 1))
        features = masked(batch.features, rng, fill=fill, times=a.mask_times, bands=a.mask_bands)
        return Batch(features, batch.lengths, batch.tokens, batch.token_lengths)

    def _waveform(
        self, group: tuple[int, ...], rng: np.random.Generator, a: AugmentSpec
    ) -> Samples:
        rate = self._features.sample_rate
        speed = SPEEDS[rng.integers(len(SPEEDS))]
        samples = joined([self._faster[i][speed] for i in group], rate, rng, a.pause)
        samples = np.concatenate([samples, np.zeros(round(self._tail * rate), np.float32)])
        if rng.random() < a.noise_share:
            samples = with_noise(samples, rng, *a.noise_db)
        return with_gain(samples, rng, *a.gain_db)

    def _tokens(self, group: tuple[int, ...]) -> list[int]:
        return [token for index in group for token in self._examples[index].tokens]


def collate(frames: Sequence[Frames], tokens: Sequence[Sequence[int]], stack: int) -> Batch:
    """Pad utterances to a common length that is a multiple of `stack`."""
    lengths = np.array([-(-len(f) // stack) for f in frames], np.int64)
    features = np.zeros((len(frames), int(lengths.max()) * stack, frames[0].shape[1]), np.float32)
    for row, utterance in zip(features, frames, strict=True):
        row[: len(utterance)] = utterance
        row[len(utterance) :] = utterance[-1]  # silence of the same kind, not a step in level
    return Batch(
        features,
        lengths,
        np.array([t for ts in tokens for t in ts], np.int64),
        np.array([len(ts) for ts in tokens], np.int64),
    )

"""Training batches: an epoch's order over a pass, padded and masked."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aimass.augment.spectrogram import hide
from aimass.base.randomness import generator
from aimass.features.spec import Frames
from aimass.training.passes import Passes
from aimass.training.sampling import EVERYTHING, Sampler, drawn

POOL = 8  # batches that are sorted by length together: little padding, yet shuffled
SAMPLE = 500


@dataclass(frozen=True, slots=True)
class Batch:
    """Padded model input.

    Args:
        features: ``(batch, frames, columns)``; frames a multiple of the model's stack.
        lengths: model frames of each utterance, ``(batch,)``.
        targets: all targets in a row.
        target_lengths: number of targets of each utterance, ``(batch,)``.
        names: the examples that each utterance was made of.
    """

    features: npt.NDArray[np.float32]
    lengths: npt.NDArray[np.int64]
    targets: npt.NDArray[np.int64]
    target_lengths: npt.NDArray[np.int64]
    names: tuple[tuple[str, ...], ...] = ()

    def part(self, rows: slice) -> "Batch":
        """Some utterances of the batch."""
        ends = np.cumsum(self.target_lengths)
        chosen = range(len(self.lengths))[rows]
        targets = [self.targets[ends[i] - self.target_lengths[i] : ends[i]] for i in chosen]
        return Batch(
            self.features[rows],
            self.lengths[rows],
            np.concatenate(targets) if targets else self.targets[:0],
            self.target_lengths[rows],
            self.names[rows],
        )


class TrainingSet:
    """Batches of one epoch after the other, each a function of ``(seed, epoch, utterances)``.

    Args:
        stack: feature frames in a model frame.
        seed: of order and masks; what augments the sound has the seed of the passes.
        sampler: which utterances of a pass an epoch hears.

    Raises:
        TrainingError: examples that the sampler cannot draw.
    """

    def __init__(
        self,
        passes: Passes,
        *,
        batch_size: int,
        stack: int,
        seed: int,
        sampler: Sampler = EVERYTHING,
    ) -> None:
        self.passes = passes
        self.sampler = sampler
        self._weights = sampler.weights(passes.examples)
        self.batch_size = batch_size
        self._stack = stack
        self._seed = seed

    def prepare(self, epoch: int) -> None:
        """Make what `plan` and `batch` of an epoch read, unless it is there."""
        self.passes.get(self.passes.augment.pass_of(epoch))

    def steps(self, epochs: int) -> int:
        """Batches in so many epochs; no sound is touched for it."""
        per_pass = {
            number: -(-len(self.passes.groups(number)) // self.batch_size)
            for number in {self.passes.augment.pass_of(epoch) for epoch in range(epochs)}
        }
        return sum(per_pass[self.passes.augment.pass_of(epoch)] for epoch in range(epochs))

    def sample(self) -> Frames:
        """Frames of some utterances ``(frames, columns)``, augmented as the model hears them."""
        first = self.passes.get(self.passes.augment.pass_of(self.passes.augment.ramp_epochs))
        step = max(1, len(first.ends) // SAMPLE)
        return np.concatenate([first.utterance(n) for n in range(0, len(first.ends), step)])

    def plan(self, epoch: int) -> list[list[int]]:
        """The epoch's batches as utterances of its pass, similar lengths together.

        All are used, unless the sampler leaves some out and draws others instead.
        """
        rng = generator(self._seed, "plan", epoch)
        heard = self.passes.get(self.passes.augment.pass_of(epoch))
        lengths = heard.lengths
        order = drawn(rng, heard.groups, self._weights)
        pool = POOL * self.batch_size
        batches: list[list[int]] = []
        for first in range(0, len(order), pool):
            near = order[first : first + pool]
            near = near[np.argsort(lengths[near], kind="stable")]
            size = self.batch_size
            batches += [near[k : k + size].tolist() for k in range(0, len(near), size)]
        rng.shuffle(batches)
        return batches

    def batch(self, epoch: int, utterances: Sequence[int]) -> Batch:
        """Read, pad and mask the utterances of one batch."""
        augment = self.passes.augment
        number = augment.pass_of(epoch)
        heard = self.passes.get(number)
        examples = self.passes.examples
        groups = [heard.groups[one] for one in utterances]
        batch = collate(
            [heard.utterance(one) for one in utterances],
            [[t for index in group for t in examples[index].targets] for group in groups],
            self._stack,
        )
        rng = generator(self._seed, "masks", epoch, utterances[0])
        masks = augment.policy_of(number).masks
        names = tuple(tuple(examples[index].name for index in group) for group in groups)
        features = hide(batch.features, rng, masks, lengths=batch.lengths * self._stack)
        return Batch(features, batch.lengths, batch.targets, batch.target_lengths, names)


def collate(frames: Sequence[Frames], targets: Sequence[Sequence[int]], stack: int) -> Batch:
    """Pad utterances to a common length that is a multiple of `stack`."""
    lengths = np.array([-(-len(f) // stack) for f in frames], np.int64)
    features = np.zeros((len(frames), int(lengths.max()) * stack, frames[0].shape[1]), np.float32)
    for row, utterance in zip(features, frames, strict=True):
        row[: len(utterance)] = utterance
        row[len(utterance) :] = utterance[-1]  # silence of the same kind, not a step in level
    return Batch(
        features,
        lengths,
        np.array([t for ts in targets for t in ts], np.int64),
        np.array([len(ts) for ts in targets], np.int64),
    )

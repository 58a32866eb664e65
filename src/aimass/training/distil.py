"""Students: models that learn what a teacher says beside what is written, or instead of it.

::

    loss = alpha * T^2 * KL(teacher at T || student at T)  +  (1 - alpha) * loss of the label

Hinton, Vinyals and Dean 2015, "Distilling the knowledge in a neural network", equations 1 to 4: T
shows how wrong outputs differ, and T^2 keeps the slope of both terms comparable. Sound that nobody
labelled has the first term alone.

A CTC teacher says a token in one frame and blank in all others, and models that were trained apart
choose other frames, so the mean of their rows says next to nothing (Kurata and Audhkhasi 2019,
"Guiding CTC posterior spike timings for improved posterior fusion and knowledge distillation").
Their rows teach only where they are those of one model or of members trained jointly. Else the
teacher's words take the place of its rows, several answers weighed by their probability:

    loss = alpha * sum over answers (weight * CTC of the answer)  +  (1 - alpha) * CTC of the label

Kim and Rush 2016, "Sequence-level knowledge distillation"; for CTC Takashima, Li and Kawai 2018,
"An investigation of a knowledge distillation method for CTC acoustic models", and 2019,
"Investigation of sequence-level knowledge distillation methods for CTC acoustic models".
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import groupby
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.models.spec import Head
from aimass.training.examples import Batch, TrainingSet
from aimass.training.objective import divergence, posteriors
from aimass.training.passes import Passes
from aimass.training.sampling import EVERYTHING, Sampler
from aimass.training.teacher import NEVER, Lessons, LogProbs, Said, aligned

Alternatives = tuple[tuple[tuple[int, ...], float], ...]
"""What a teacher answers to an utterance, as targets, each with its share of 1."""


@dataclass(frozen=True, slots=True)
class DistilSpec:
    """How a student weighs its teacher.

    Args:
        alpha: share of the teacher, 0 to 1; the label has the rest.
        temperature: at which both speak; 1 leaves posteriors as they are.
        keep: likeliest outputs of the teacher that are kept of each row.

    Raises:
        TrainingError: values outside their range.
    """

    alpha: float = 0.9
    temperature: float = 2.0
    keep: int = 20

    def __post_init__(self) -> None:
        if not (0 <= self.alpha <= 1 and 0 < self.temperature <= 100):
            raise TrainingError(
                f"a teacher with alpha {self.alpha} at the temperature {self.temperature}",
                expected="alpha from 0 to 1, and a temperature above 0 and at most 100",
                fix="Set alpha: 0.9 and temperature: 2",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for digests and lineage."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class TaughtBatch(Batch):
    """A batch with what the teacher says of it; an utterance without targets has no label.

    Args:
        wanted: log-posteriors ``(batch, 1 or frames, outputs)``; None where answers teach.
        tokens: by which a sum over frames is divided: those of the label, or of the teacher's rows.
        said: the teacher's answers to each utterance; none where its posteriors teach.
    """

    wanted: LogProbs | None = None
    tokens: npt.NDArray[np.int64] | None = None
    said: tuple[Alternatives, ...] = ()

    def part(self, rows: slice) -> "TaughtBatch":
        """Some utterances of the batch."""
        own = Batch.part(self, rows)
        return TaughtBatch(
            own.features,
            own.lengths,
            own.targets,
            own.target_lengths,
            own.names,
            None if self.wanted is None else self.wanted[rows],
            None if self.tokens is None else self.tokens[rows],
            self.said[rows],
        )


class TaughtSet(TrainingSet):
    """Batches with what a teacher says of each utterance, as the student hears it but for masks.

    An utterance of which any example has no targets counts as not labelled.

    Args:
        lessons: what the teacher says of the passes; None where answers teach.
        answers: the teacher's answers by the name of the example.
        frame_seconds: of the student; 0 where a label is given.
    """

    def __init__(
        self,
        passes: Passes,
        *,
        batch_size: int,
        stack: int,
        seed: int,
        sampler: Sampler = EVERYTHING,
        lessons: Lessons | None = None,
        answers: Mapping[str, Alternatives] | None = None,
        frame_seconds: float = 0.0,
    ) -> None:
        super().__init__(passes, batch_size=batch_size, stack=stack, seed=seed, sampler=sampler)
        self._lessons = lessons
        self._answers = answers or {}
        self._frame_seconds = frame_seconds

    def prepare(self, epoch: int) -> None:
        """Make the pass, and ask the teacher about it, unless both are there."""
        super().prepare(epoch)
        if self._lessons is not None:
            self._lessons.get(self.passes.augment.pass_of(epoch))

    def batch(self, epoch: int, utterances: Sequence[int]) -> TaughtBatch:
        """Read, pad and mask the utterances of one batch, and what is said of them."""
        plain = super().batch(epoch, utterances)
        number = self.passes.augment.pass_of(epoch)
        groups = [self.passes.get(number).groups[one] for one in utterances]
        targets = [self._targets(group) for group in groups]
        wanted = tokens = None
        lengths = np.array([len(own) for own in targets], np.int64)
        if self._lessons is not None:
            said = self._lessons.get(number)
            wanted = self._wanted(said, utterances, plain)
            tokens = np.where(lengths > 0, lengths, _counted(wanted, plain.lengths))
        return TaughtBatch(
            plain.features,
            plain.lengths,
            np.array([token for own in targets for token in own], np.int64),
            lengths,
            plain.names,
            wanted,
            tokens,
            tuple(self._said(group) for group in groups) if self._answers else (),
        )

    def _targets(self, group: Sequence[int]) -> tuple[int, ...]:
        each = [self.passes.examples[index].targets for index in group]
        return tuple(token for own in each for token in own) if all(each) else ()

    def _wanted(self, said: Said, utterances: Sequence[int], plain: Batch) -> LogProbs:
        """The teacher's rows at the student's frame rate, padded."""
        if not said.row_seconds:
            return np.stack([said.rows(one) for one in utterances])
        blank = said.outputs - 1
        found = np.full((len(utterances), plain.lengths.max(), said.outputs), NEVER, np.float32)
        found[:, :, blank] = 0.0
        ratio = self._frame_seconds / said.row_seconds
        for row, one, count in zip(found, utterances, plain.lengths.tolist(), strict=True):
            row[:count] = aligned(said.rows(one), ratio, count, blank)
        return found

    def _said(self, group: Sequence[int]) -> Alternatives:
        """The answers to utterances that are joined: the first of each, the second, and so on."""
        names = [self.passes.examples[index].name for index in group]
        each = [self._answers.get(name, ()) for name in names]
        if not all(each):
            return ()
        found = []
        for rank in range(max(map(len, each))):
            own = [some[min(rank, len(some) - 1)] for some in each]
            tokens = tuple(token for targets, _ in own for token in targets)
            found.append((tokens, float(np.prod([share for _, share in own]))))
        total = sum(share for _, share in found)
        return tuple((tokens, share / total) for tokens, share in found)


class Distilled(nn.Module):
    """What a student lowers: its distance from the teacher, and the loss of the label.

    Args:
        hard: the objective of labels.
    """

    def __init__(self, hard: nn.Module, head: Head, spec: DistilSpec) -> None:
        super().__init__()
        self.hard = hard
        self._head = head
        self._spec = spec

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Map outputs ``(batch, frames, outputs)`` to ``(batch,)``."""
        alpha = self._spec.alpha
        if not alpha or not isinstance(batch, TaughtBatch):
            hard: Tensor = self.hard(outputs, batch)
            return hard
        soft = self._by_rows if batch.wanted is not None else self._by_answers
        return alpha * soft(outputs, batch) + (1 - alpha) * self._by_labels(outputs, batch)

    def _by_rows(self, outputs: Tensor, batch: TaughtBatch) -> Tensor:
        """Divergence from the teacher's posteriors, both at the temperature."""
        assert batch.wanted is not None and batch.tokens is not None
        temperature = self._spec.temperature
        wanted = torch.from_numpy(batch.wanted).to(outputs.device)
        own = posteriors(outputs, self._head, batch)
        apart = divergence(
            (wanted / temperature).log_softmax(dim=-1),
            (own / temperature).log_softmax(dim=-1),
            self._head,
            replace(batch, target_lengths=batch.tokens),
        )
        return temperature**2 * apart

    def _by_answers(self, outputs: Tensor, batch: TaughtBatch) -> Tensor:
        """The expected loss over the teacher's answers; 0 where it gave none."""
        rows = [row for row, own in enumerate(batch.said) for _ in own]
        shares = [share for own in batch.said for _, share in own]
        targets = [tokens for own in batch.said for tokens, _ in own]
        losses = self._loss(outputs, batch, rows, targets)
        return losses.new_zeros(len(batch.lengths)).index_add(
            0, _index(rows, outputs), losses * losses.new_tensor(shares)
        )

    def _by_labels(self, outputs: Tensor, batch: TaughtBatch) -> Tensor:
        """The loss of the label; 0 where there is none."""
        if (batch.target_lengths > 0).all():
            whole: Tensor = self.hard(outputs, batch)
            return whole
        rows = np.flatnonzero(batch.target_lengths).tolist()
        parts = np.split(batch.targets, np.cumsum(batch.target_lengths)[:-1])
        losses = self._loss(outputs, batch, rows, [parts[row].tolist() for row in rows])
        none = losses.new_zeros(len(batch.lengths))
        return none.index_add(0, _index(rows, outputs), losses)

    def _loss(
        self, outputs: Tensor, batch: Batch, rows: list[int], targets: Sequence[Sequence[int]]
    ) -> Tensor:
        """The objective of labels for some rows of a batch with given targets."""
        if not rows:
            return outputs.float().new_zeros(0)
        some = Batch(
            batch.features[:0],
            batch.lengths[rows],
            np.array([token for own in targets for token in own], np.int64),
            np.array([len(own) for own in targets], np.int64),
        )
        found: Tensor = self.hard(outputs[_index(rows, outputs)], some)
        return found


def _index(rows: list[int], outputs: Tensor) -> Tensor:
    return torch.tensor(rows, dtype=torch.int64, device=outputs.device)


def _counted(wanted: LogProbs, lengths: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """How many tokens the likeliest path of each utterance has, one at least."""
    blank = wanted.shape[2] - 1
    counts = []
    for rows, length in zip(wanted, lengths.tolist(), strict=True):
        path = [token for token, _ in groupby(rows[:length].argmax(axis=1).tolist())]
        counts.append(max(1, sum(token != blank for token in path)))
    return np.array(counts, np.int64)

"""What training lowers for each head: a loss for each utterance, so that a bad one has a name."""

import torch
from torch import Tensor, nn

from aimass.models.spec import Head, ModelSpec
from aimass.training.examples import Batch

SMOOTHING = 0.1
SCALE, MARGIN = 30.0, 0.2


class CtcObjective(nn.Module):
    """CTC loss per token (Graves et al. 2006); sound too short for its text weighs nothing."""

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Map log-probabilities ``(batch, frames, outputs)``, blank last, to ``(batch,)``."""
        targets, device = torch.from_numpy(batch.targets), outputs.device
        lengths = torch.from_numpy(batch.target_lengths).to(device)
        losses = nn.functional.ctc_loss(
            outputs.transpose(0, 1).float(),
            targets.to(device),
            torch.from_numpy(batch.lengths).to(device),
            lengths,
            blank=outputs.shape[2] - 1,
            zero_infinity=True,
            reduction="none",
        )
        return losses / lengths.clamp(min=1)


class ClassifyObjective(nn.Module):
    """Cross-entropy with smoothed labels (Szegedy et al. 2016) where the utterance ends."""

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Map log-probabilities ``(batch, frames, outputs)`` to ``(batch,)``."""
        last = last_rows(outputs, batch)
        labels = torch.from_numpy(batch.targets).to(outputs.device).unsqueeze(1)
        return -(1 - SMOOTHING) * last.gather(1, labels)[:, 0] - SMOOTHING * last.mean(dim=1)


class EmbedObjective(nn.Module):
    """Additive angular margin (Deng et al. 2019, "ArcFace") around a centre for each speaker."""

    def __init__(self, size: int, speakers: int) -> None:
        super().__init__()
        self.centres = nn.Parameter(torch.randn(speakers, size) * 0.1)

    def forward(self, outputs: Tensor, batch: Batch) -> Tensor:
        """Map embeddings ``(batch, frames, size)`` of unit length to ``(batch,)``."""
        cosine = last_rows(outputs, batch) @ nn.functional.normalize(self.centres, dim=1).T
        labels = torch.from_numpy(batch.targets).to(outputs.device)
        own = nn.functional.one_hot(labels, cosine.shape[1]).bool()
        angle = torch.acos(cosine.clamp(-1 + 1e-6, 1 - 1e-6))
        scores = SCALE * torch.where(own, torch.cos(angle + MARGIN), cosine)
        return nn.functional.cross_entropy(scores, labels, reduction="none")


def objective(spec: ModelSpec, classes: int) -> nn.Module:
    """The objective of a model.

    Args:
        classes: speakers to tell apart, where the head is ``embed``.
    """
    if spec.head == "ctc":
        return CtcObjective()
    return ClassifyObjective() if spec.head == "classify" else EmbedObjective(spec.outputs, classes)


def last_rows(outputs: Tensor, batch: Batch) -> Tensor:
    """The row at the end of each utterance, ``(batch, outputs)``."""
    rows = torch.from_numpy(batch.lengths - 1).to(outputs.device)
    return outputs[torch.arange(len(rows), device=outputs.device), rows]


def posteriors(outputs: Tensor, head: Head, batch: Batch) -> Tensor:
    """The log-posteriors that count: ``(utterances, 1 or frames, outputs)``."""
    rows = outputs.float()
    return last_rows(rows, batch).unsqueeze(1) if head == "classify" else rows


def divergence(wanted: Tensor, own: Tensor, head: Head, batch: Batch) -> Tensor:
    """Kullback-Leibler divergence of `own` from `wanted`, of each utterance ``(utterances,)``.

    Of frames it is summed and divided by the tokens, as the CTC loss is, so that one weight fits
    both heads.

    Args:
        wanted, own: log-posteriors as `posteriors` gives them.
    """
    rows = (wanted.exp() * (wanted - own)).sum(dim=-1)
    if head == "classify":
        return rows[:, 0]
    lengths = torch.from_numpy(batch.lengths).to(rows.device)
    tokens = torch.from_numpy(batch.target_lengths).to(rows.device)
    inside = torch.arange(rows.shape[1], device=rows.device) < lengths.unsqueeze(1)
    return (rows * inside).sum(dim=1) / tokens.clamp(min=1)

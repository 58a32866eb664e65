"""A streaming model put together: stem, encoder of one family, head of one task."""

import math
from dataclasses import replace

import torch
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.models.attention import attention
from aimass.models.conv import conv
from aimass.models.heads import ClassifyHead, CtcHead, EmbedHead
from aimass.models.recurrent import recurrent
from aimass.models.spec import ModelSpec
from aimass.models.stem import LearnedFilters, Normalise, Plain, Stack, Subsample
from aimass.models.whisper import STRIDE, WhisperEncoder

ENCODERS = {"conv": conv, "recurrent": recurrent, "attention": attention, "whisper": conv}
HEADS = {"ctc": CtcHead, "classify": ClassifyHead, "embed": EmbedHead}
SMALLEST, LARGEST = 30_000, 15_000_000  # parameters
# At 30 k, more each tenfold.
_BLOCKS = {"conv": (4, 2), "recurrent": (1, 1), "attention": (2, 2), "whisper": (1, 1)}
_WIDTHS = range(16, 2049, 8)  # multiples of the number of attention heads


class SpeechModel(nn.Module):
    """Feature frames to outputs, one row for every ``stack`` frames."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.spec = spec
        self.front = _front(spec)
        self.stack = _stack(behind_front(spec), self.front.columns)
        self.encoder = ENCODERS[spec.family](spec)
        self.head = HEADS[spec.head](spec)
        self._chain = [self.front, self.stack, self.encoder, self.head]
        self._sizes = [layer.state_size for layer in self._chain]
        self.state_size = sum(self._sizes)

    def start(self, batch: int) -> Tensor:
        """The state before the first frame, ``(batch, state_size)``."""
        return torch.zeros(batch, self.state_size, device=next(self.parameters()).device)

    def forward(self, features: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Outputs and the next state.

        Args:
            features: ``(batch, frames, columns)``, frames a multiple of ``stack``.
            state: what `start` or the call before gave.

        Returns:
            ``(batch, frames / stack, outputs)`` and the shape of `state`.
        """
        x = features
        following = []
        for layer, past in zip(self._chain, torch.split(state, self._sizes, dim=1), strict=True):
            x, latest = layer(x, past)
            following.append(latest)
        return x, torch.cat(following, dim=1)


def _front(spec: ModelSpec) -> LearnedFilters | Normalise | Plain | WhisperEncoder:
    if spec.family == "whisper":
        return WhisperEncoder(spec.whisper) if spec.whisper else Plain(spec.columns)
    return (
        LearnedFilters(spec.columns, spec.bands)
        if spec.bands
        else Normalise(spec.columns, spec.floor)
    )


def _stack(spec: ModelSpec, columns: int) -> Stack | Subsample:
    if spec.subsampling == "stack":
        return Stack(spec, columns)
    halvings = spec.stack.bit_length() - 1
    if spec.stack != 1 << halvings or not 1 <= halvings <= 4:
        raise TrainingError(
            f"2-D convolutions that make one of {spec.stack} frames",
            expected="2, 4, 8 or 16 frames",
            fix="Set stack: 4, or subsampling: stack",
        )
    return Subsample(spec, columns)


def behind_front(spec: ModelSpec) -> ModelSpec:
    """The shape of a model that is given what the front gives."""
    if spec.whisper is None:
        return spec
    if spec.stack % STRIDE:
        raise TrainingError(
            f"'stack: {spec.stack}' for the family whisper",
            expected="an even number: Whisper's encoder gives a frame for every two",
            fix="Set stack: 4",
        )
    return replace(spec, whisper=None, columns=spec.whisper.width, stack=spec.stack // STRIDE)


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)


def sized(spec: ModelSpec, wanted: int) -> ModelSpec:
    """The size dial: depth by order of magnitude, then the greatest width that stays in `wanted`.

    Args:
        spec: family, head, columns and outputs; its channels and blocks are replaced.
        wanted: parameters, 30 thousand to 15 million; those of the output layer count, those of
            Whisper's encoder do not.

    Raises:
        TrainingError: a number outside that range, or too small for so many outputs.
    """
    if not SMALLEST <= wanted <= LARGEST:
        raise TrainingError(
            f"a model of {wanted} parameters",
            expected=f"from {SMALLEST} to {LARGEST}",
            fix="Correct 'parameters'",
        )
    deep = _deep(spec, wanted)
    low, high = 0, len(_WIDTHS)  # widths below `low` fit, widths from `high` on do not
    while low < high:
        middle = (low + high) // 2
        if _size(deep.wide(_WIDTHS[middle])) <= wanted:
            low = middle + 1
        else:
            high = middle
    if not low:
        raise TrainingError(
            f"{spec.outputs} outputs in a model of {wanted} parameters",
            expected=f"at least {_least(spec)} parameters for this vocabulary",
            fix="Raise 'parameters'",
        )
    return deep.wide(_WIDTHS[low - 1])


def _deep(spec: ModelSpec, wanted: int) -> ModelSpec:
    first, more = _BLOCKS[spec.family]
    return replace(spec, blocks=first + round(more * math.log10(wanted / SMALLEST)))


def _least(spec: ModelSpec) -> int:
    """The smallest number that `sized` takes: a larger one asks for more depth, and so on."""
    least = SMALLEST
    while (needed := _size(_deep(spec, least).wide(_WIDTHS[0]))) > least:
        least = needed
    return least


def _size(spec: ModelSpec) -> int:
    """Parameters of a model that is not really made."""
    with torch.device("meta"):
        return parameters(SpeechModel(behind_front(spec)))

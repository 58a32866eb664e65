"""A causal convolutional CTC model: ConvNeXt blocks over stacked frames.

The block follows Liu et al. 2022, "A ConvNet for the 2020s" (depthwise convolution, norm, two
pointwise layers), made causal: each depthwise convolution sees its own past alone, kept in a
cache, so chunks and the whole file give the same outputs.
"""

from dataclasses import asdict, dataclass
from typing import Any

import torch
from torch import Tensor, nn


@dataclass(frozen=True, slots=True)
class CausalConvSpec:
    """The size of a model.

    Args:
        bins: features a frame.
        outputs: tokens and the blank.
        channels: width.
        blocks: depth.
        kernel: frames that one depthwise convolution sees.
        stack: feature frames that make one model frame.
        dropout: share of block outputs dropped in training.
    """

    bins: int
    outputs: int
    channels: int = 112
    blocks: int = 5
    kernel: int = 9
    stack: int = 4
    dropout: float = 0.1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or a bundle."""
        return asdict(self)


class CausalBlock(nn.Module):
    """Depthwise causal convolution, norm, and two pointwise layers around a residual."""

    def __init__(self, spec: CausalConvSpec) -> None:
        super().__init__()
        width = spec.channels
        self.depthwise = nn.Conv1d(width, width, spec.kernel, groups=width)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, channels)`` and ``past (batch, channels, kernel - 1)``."""
        seen = torch.cat([past, x.transpose(1, 2)], dim=2)
        y = self.norm(self.depthwise(seen).transpose(1, 2))
        y = self.contract(nn.functional.silu(self.expand(y)))
        return x + self.dropout(y), seen[:, :, -past.shape[2] :]


class CausalConv(nn.Module):
    """Feature frames to token log-probabilities, one row for every ``stack`` frames."""

    mean: Tensor
    scale: Tensor

    def __init__(self, spec: CausalConvSpec) -> None:
        super().__init__()
        self.spec = spec
        # Normalisation lives in the model, so that every front end may give plain features.
        self.register_buffer("mean", torch.zeros(spec.bins))
        self.register_buffer("scale", torch.ones(spec.bins))
        self.stem = nn.Linear(spec.stack * spec.bins, spec.channels)
        self.blocks = nn.ModuleList(CausalBlock(spec) for _ in range(spec.blocks))
        self.norm = nn.LayerNorm(spec.channels)
        self.head = nn.Linear(spec.channels, spec.outputs)

    def start(self, batch: int) -> Tensor:
        """The past before the first frame, ``(batch, blocks, channels, kernel - 1)``."""
        s = self.spec
        return torch.zeros(batch, s.blocks, s.channels, s.kernel - 1)

    def forward(self, features: Tensor, past: Tensor) -> tuple[Tensor, Tensor]:
        """Log-probabilities and the next past.

        Args:
            features: ``(batch, frames, bins)``, frames a multiple of ``stack``.
            past: what `start` or the call before gave.

        Returns:
            ``(batch, frames / stack, outputs)`` and the shape of `past`.
        """
        x = (features - self.mean) * self.scale
        x = self.stem(x.reshape(x.shape[0], -1, self.spec.stack * self.spec.bins))
        pasts = []
        for index, block in enumerate(self.blocks):
            x, latest = block(x, past[:, index])
            pasts.append(latest)
        log_probs = nn.functional.log_softmax(self.head(self.norm(x)), dim=-1)
        return log_probs, torch.stack(pasts, dim=1)


def parameters(model: nn.Module) -> int:
    """Number of trainable parameters."""
    return sum(p.numel() for p in model.parameters() if p.requires_grad)

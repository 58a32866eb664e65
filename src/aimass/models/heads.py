"""From encoder frames to what the task asks: tokens, one label, or a voiceprint."""

import torch
from torch import Tensor, nn

from aimass.models.spec import ModelSpec
from aimass.models.streaming import StreamingLayer


class CtcHead(StreamingLayer):
    """Log-probabilities of tokens and blank for each frame (Graves et al. 2006)."""

    state_size = 0

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.channels)
        self.output = nn.Linear(spec.channels, spec.outputs)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, frames, outputs)``."""
        return nn.functional.log_softmax(self.output(self.norm(x)), dim=-1), state


class Pool(StreamingLayer):
    """Attentive statistics of all frames so far (Okabe et al. 2018), at every frame.

    Weighted mean and deviation of the frames, with a learned weight for each frame that a bounded
    score keeps within e^±4; sums carry over chunks, so the last frame's row is the whole input's.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.state_size = 2 * width + 1
        self.score = nn.Linear(width, 1)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, width)`` to ``(batch, frames, 2 * width)``."""
        weight = torch.exp(4 * torch.tanh(self.score(x)))
        sums = torch.cat([weight * x, weight * x * x, weight], dim=2)
        sums = state.unsqueeze(1) + torch.cumsum(sums, dim=1)
        first, second, total = torch.split(sums, [self.width, self.width, 1], dim=2)
        mean = first / total
        deviation = torch.sqrt(torch.clamp(second / total - mean * mean, min=1e-4))
        return torch.cat([mean, deviation], dim=2), sums[:, -1]


class ClassifyHead(StreamingLayer):
    """Log-probabilities of labels given all frames so far, one row a frame."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.channels)
        self.pool = Pool(spec.channels)
        self.dropout = nn.Dropout(spec.dropout)
        self.output = nn.Linear(2 * spec.channels, spec.outputs)
        self.state_size = self.pool.state_size

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, frames, outputs)``."""
        pooled, latest = self.pool(self.norm(x), state)
        return nn.functional.log_softmax(self.output(self.dropout(pooled)), dim=-1), latest


class EmbedHead(StreamingLayer):
    """A voiceprint of unit length given all frames so far, one row a frame."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(spec.channels)
        self.pool = Pool(spec.channels)
        self.output = nn.Linear(2 * spec.channels, spec.outputs)
        self.state_size = self.pool.state_size

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """``(batch, frames, outputs)``."""
        pooled, latest = self.pool(self.norm(x), state)
        return nn.functional.normalize(self.output(pooled), dim=-1), latest

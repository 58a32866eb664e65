"""Attention encoder: Conformer blocks whose frames see a limited past and no future.

Gulati et al. 2020, "Conformer" (half feed-forward, attention, convolution, half feed-forward).
Every frame attends to itself and to the `context` frames before it, whichever chunk they came in,
so that chunks of any size give the same; Shi et al. 2021, "Emformer" and Povey et al. 2023,
"Zipformer" carry keys and values in the same way. Distance lowers the scores of a head in a line
(Press et al. 2022, "Train short, test long"), which needs no position that grows with the stream.
"""

import torch
from torch import Tensor, nn

from aimass.models.spec import ModelSpec
from aimass.models.streaming import CausalConvolution, Chain, FeedForward, StreamingLayer

_FAR = -1e4  # a score that softmax makes 0, also in half precision


class LocalAttention(StreamingLayer):
    """Multi-head attention of each frame to itself and the `context` frames before it.

    The state holds keys and values of the last `context` frames, and for each a mark that it was
    heard: before the first frame there is nothing to attend to.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.width, self.heads, self.context = spec.channels, spec.heads, spec.context
        self.state_size = self.context * (2 * self.width + 1)
        self.project = nn.Linear(self.width, 3 * self.width)
        self.output = nn.Linear(self.width, self.width)
        slopes = 2.0 ** -torch.arange(1, spec.heads + 1, dtype=torch.float32)
        self.slopes = nn.Parameter(slopes.reshape(1, -1, 1, 1))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, width)``."""
        queries, own = torch.split(self.project(x), [self.width, 2 * self.width], dim=2)
        heard = torch.ones_like(own[:, :, :1])
        past = state.reshape(-1, self.context, 2 * self.width + 1)
        seen = torch.cat([past, torch.cat([own, heard], dim=2)], dim=1)
        keys, values, heard = torch.split(seen, [self.width, self.width, 1], dim=2)
        scores = self._heads(queries) @ self._heads(keys).transpose(2, 3)
        scores = scores * (self.width // self.heads) ** -0.5
        scores = scores + self._bias(scores) + (heard.transpose(1, 2).unsqueeze(1) - 1) * -_FAR
        mixed = torch.softmax(scores, dim=3) @ self._heads(values)
        y = self.output(mixed.transpose(1, 2).reshape(-1, x.shape[1], self.width))
        latest = seen[:, -self.context :]
        return y, latest.reshape(-1, self.state_size)

    def _heads(self, x: Tensor) -> Tensor:
        """``(batch, frames, width)`` to ``(batch, heads, frames, width / heads)``."""
        split = x.reshape(-1, x.shape[1], self.heads, self.width // self.heads)
        return split.transpose(1, 2)

    def _bias(self, scores: Tensor) -> Tensor:
        """What distance takes from a score ``(1, heads, frames, context + frames)``."""
        query = torch.arange(scores.shape[2]).unsqueeze(1) + self.context
        distance = (query - torch.arange(scores.shape[3]).unsqueeze(0)).to(scores.device)
        outside = (distance < 0) | (distance > self.context)
        falls = -self.slopes.abs() * distance.to(scores.dtype)
        return torch.where(outside, torch.full_like(falls, _FAR), falls)


class ConvolutionModule(StreamingLayer):
    """Gated depthwise causal convolution."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width = spec.channels
        self.norm = nn.LayerNorm(width)
        self.gate = nn.Linear(width, 2 * width)
        self.depthwise = CausalConvolution(width, spec.kernel)
        self.inner_norm = nn.LayerNorm(width)
        self.output = nn.Linear(width, width)
        self.state_size = self.depthwise.state_size

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, channels)``."""
        y, latest = self.depthwise(nn.functional.glu(self.gate(self.norm(x)), dim=2), state)
        return self.output(nn.functional.silu(self.inner_norm(y))), latest


class ConformerBlock(StreamingLayer):
    """Half feed-forward, attention, convolution, half feed-forward, norm."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        width = spec.channels
        self.before = FeedForward(width, 2 * width, spec.dropout, 0.5)
        self.norm = nn.LayerNorm(width)
        self.attention = LocalAttention(spec)
        self.convolution = ConvolutionModule(spec)
        self.after = FeedForward(width, 2 * width, spec.dropout, 0.5)
        self.last_norm = nn.LayerNorm(width)
        self.dropout = nn.Dropout(spec.dropout)
        self.sizes = [self.attention.state_size, self.convolution.state_size]
        self.state_size = sum(self.sizes)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, channels)``."""
        attended, convolved = torch.split(state, self.sizes, dim=1)
        x = self.before(x)
        y, attended = self.attention(self.norm(x), attended)
        x = x + self.dropout(y)
        y, convolved = self.convolution(x, convolved)
        x = self.after(x + self.dropout(y))
        return self.last_norm(x), torch.cat([attended, convolved], dim=1)


def attention(spec: ModelSpec) -> Chain:
    """The encoder of the ``attention`` family."""
    return Chain(ConformerBlock(spec) for _ in range(spec.blocks))

"""The contract of every layer that remembers: one flat state in, the next one out.

A layer's state is a tensor ``(batch, state_size)``, zero before the first frame. Layers in a row
keep theirs side by side in one tensor, so that a runtime carries one array for each stream,
whatever the architecture. Chunks of any size give what the whole input gives.
"""

from collections.abc import Iterable
from typing import cast

import torch
from torch import Tensor, nn


class StreamingLayer(nn.Module):
    """Maps ``x (batch, frames, width)`` and a state to outputs and the next state."""

    state_size: int

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk."""
        raise NotImplementedError


class Chain(StreamingLayer):
    """Streaming layers one after the other."""

    def __init__(self, layers: Iterable[StreamingLayer]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layers)
        self.sizes = [cast(StreamingLayer, layer).state_size for layer in self.layers]
        self.state_size = sum(self.sizes)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """One chunk through all layers."""
        following = []
        for layer, past in zip(self.layers, torch.split(state, self.sizes, dim=1), strict=True):
            x, latest = layer(x, past)
            following.append(latest)
        return x, torch.cat(following, dim=1)


class CausalConvolution(StreamingLayer):
    """Depthwise convolution over a frame and its past."""

    def __init__(self, width: int, kernel: int, dilation: int = 1) -> None:
        super().__init__()
        self.width = width
        self.past = (kernel - 1) * dilation
        self.state_size = width * self.past
        self.convolution = nn.Conv1d(width, width, kernel, groups=width, dilation=dilation)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, width)``."""
        seen = torch.cat([state.reshape(-1, self.width, self.past), x.transpose(1, 2)], dim=2)
        latest = seen[:, :, -self.past :].reshape(-1, self.state_size)
        return self.convolution(seen).transpose(1, 2), latest


class FeedForward(nn.Module):
    """Norm and two pointwise layers around a residual."""

    def __init__(self, width: int, inner: int, dropout: float, scale: float = 1.0) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, inner)
        self.contract = nn.Linear(inner, width)
        self.dropout = nn.Dropout(dropout)
        self.scale = scale

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, frames, width)``."""
        y: Tensor = self.contract(nn.functional.silu(self.expand(self.norm(x))))
        y = self.scale * self.dropout(y)
        return x + y

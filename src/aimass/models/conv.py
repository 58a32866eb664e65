"""Causal convolutional encoder: ConvNeXt blocks with dilation.

The block follows Liu et al. 2022, "A ConvNet for the 2020s" (depthwise convolution, norm, two
pointwise layers), made causal: each depthwise convolution sees its own past alone. Dilations
widen what it sees at no cost (van den Oord et al. 2016, "WaveNet").
"""

from torch import Tensor, nn

from aimass.models.spec import ModelSpec
from aimass.models.streaming import CausalConvolution, Chain, StreamingLayer


class ConvBlock(StreamingLayer):
    """Depthwise causal convolution, norm, and two pointwise layers around a residual."""

    def __init__(self, spec: ModelSpec, dilation: int) -> None:
        super().__init__()
        width = spec.channels
        self.depthwise = CausalConvolution(width, spec.kernel, dilation)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 2 * width)
        self.contract = nn.Linear(2 * width, width)
        self.dropout = nn.Dropout(spec.dropout)
        self.state_size = self.depthwise.state_size

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, channels)``."""
        y, latest = self.depthwise(x, state)
        y = self.contract(nn.functional.silu(self.expand(self.norm(y))))
        return x + self.dropout(y), latest


def conv(spec: ModelSpec) -> Chain:
    """The encoder of the ``conv`` family."""
    dilations = (spec.dilations[index % len(spec.dilations)] for index in range(spec.blocks))
    return Chain(ConvBlock(spec, dilation) for dilation in dilations)

"""Recurrent encoder: one convolutional block for the local shape of sounds, then GRU layers.

A convolutional front before recurrent layers is the form of Amodei et al. 2016, "Deep Speech 2";
the GRU is that of Cho et al. 2014. Each layer has a norm before it and a residual around it, so
that depth trains as easily as width.
"""

from torch import Tensor, nn

from aimass.models.conv import ConvBlock
from aimass.models.spec import ModelSpec
from aimass.models.streaming import Chain, StreamingLayer


class GruBlock(StreamingLayer):
    """Norm and GRU around a residual."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.state_size = spec.channels
        self.norm = nn.LayerNorm(spec.channels)
        self.gru = nn.GRU(spec.channels, spec.channels, batch_first=True)
        self.dropout = nn.Dropout(spec.dropout)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, channels)``."""
        y, latest = self.gru(self.norm(x), state.unsqueeze(0))
        return x + self.dropout(y), latest.squeeze(0)


def recurrent(spec: ModelSpec) -> Chain:
    """The encoder of the ``recurrent`` family."""
    front: list[StreamingLayer] = [ConvBlock(spec, 1)]
    return Chain(front + [GruBlock(spec) for _ in range(spec.blocks)])

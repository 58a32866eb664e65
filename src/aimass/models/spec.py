"""What a model is made of, and the size dial from a number of parameters to width and depth."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Family = Literal["conv", "recurrent", "attention"]
Head = Literal["ctc", "classify", "embed"]


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The shape of a streaming model; saved with its weights.

    Args:
        family: ``conv`` (depthwise, dilated), ``recurrent`` (convolutional front, GRU) or
            ``attention`` (Conformer blocks with limited left context).
        head: ``ctc`` (tokens and blank), ``classify`` (one of N labels) or ``embed``.
        columns: width of a feature frame.
        outputs: width of an output row.
        channels: width.
        blocks: depth.
        kernel: frames that one depthwise convolution sees.
        stack: feature frames that make one model frame.
        dilations: of the depthwise convolutions, block by block and around again.
        context: model frames of the past that attention sees.
        heads: of attention.
        bands: of the learned filter bank; 0 where the features are a spectrum already.
        dropout: share of block outputs dropped in training.
    """

    family: Family = "conv"
    head: Head = "ctc"
    columns: int = 80
    outputs: int = 2
    channels: int = 112
    blocks: int = 5
    kernel: int = 9
    stack: int = 4
    dilations: tuple[int, ...] = (1,)
    context: int = 32
    heads: int = 4
    bands: int = 0
    dropout: float = 0.1

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or a bundle."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelSpec":
        """What `to_dict` gave, also after JSON."""
        return cls(**values | {"dilations": tuple(values["dilations"])})

    def wide(self, channels: int) -> "ModelSpec":
        """The same model at another width."""
        return replace(self, channels=channels)

"""What a model is made of, and the size dial from a number of parameters to width and depth."""

from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

Family = Literal["conv", "recurrent", "attention", "whisper"]
Head = Literal["ctc", "classify", "embed"]
Subsampling = Literal["stack", "conv"]


@dataclass(frozen=True, slots=True)
class WhisperSpec:
    """The shape of Whisper's encoder.

    Args:
        layers: transformer blocks, from the first on.
        bins: mel bands.
        positions: frames at most, each of 20 ms.
    """

    width: int = 512
    layers: int = 6
    heads: int = 8
    bins: int = 80
    positions: int = 1500


@dataclass(frozen=True, slots=True)
class ModelSpec:
    """The shape of a streaming model; saved with its weights.

    Args:
        family: ``conv`` (depthwise, dilated), ``recurrent`` (convolutional front, GRU),
            ``attention`` (Conformer blocks with limited left context) or ``whisper`` (blocks of
            ``conv`` behind Whisper's encoder, which takes whole utterances).
        head: ``ctc`` (tokens and blank), ``classify`` (one of N labels) or ``embed``.
        columns: width of a feature frame.
        outputs: width of an output row.
        channels: width.
        blocks: depth.
        kernel: frames that one depthwise convolution sees.
        stack: feature frames that make one model frame.
        subsampling: how they do: ``stack`` maps them side by side, ``conv`` passes them through
            2-D convolutions.
        dilations: of the depthwise convolutions, block by block and around again.
        context: model frames of the past that attention sees.
        heads: of attention.
        bands: of the learned filter bank; 0 where the features are a spectrum already.
        floor: log energies far below this are lifted to it; None for features of other kinds.
        dropout: share of block outputs dropped in training.
        whisper: the encoder of the family ``whisper``; None where its outputs are the features.
    """

    family: Family = "conv"
    head: Head = "ctc"
    columns: int = 80
    outputs: int = 2
    channels: int = 112
    blocks: int = 5
    kernel: int = 9
    stack: int = 4
    subsampling: Subsampling = "stack"
    dilations: tuple[int, ...] = (1,)
    context: int = 32
    heads: int = 4
    bands: int = 0
    floor: float | None = None
    dropout: float = 0.1
    whisper: WhisperSpec | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a checkpoint or a bundle."""
        return {key: value for key, value in asdict(self).items() if value is not None}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "ModelSpec":
        """What `to_dict` gave, also after JSON."""
        changed: dict[str, Any] = {"dilations": tuple(values["dilations"])}
        if values.get("whisper") is not None:
            changed["whisper"] = WhisperSpec(**values["whisper"])
        return cls(**values | changed)

    @property
    def whole(self) -> bool:
        """Whether the model takes an utterance in one piece."""
        return self.whisper is not None

    def wide(self, channels: int) -> "ModelSpec":
        """The same model at another width."""
        return replace(self, channels=channels)

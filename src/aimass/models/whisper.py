"""Whisper's encoder in torch: what stands before a head of ours.

Radford et al. 2022, "Robust Speech Recognition via Large-Scale Weak Supervision": two convolutions,
positions, and transformer blocks with the norm before each part (Vaswani et al. 2017). Every frame
attends to the whole utterance, so this encoder takes an utterance in one piece and remembers
nothing. Whisper was trained on stretches of 30 s filled up with silence; here the utterance stays
as long as it is, with the first positions, which costs a fraction of that.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from aimass.base.errors import BundleError, TrainingError
from aimass.features.whisper import CLAMP
from aimass.models import ctranslate
from aimass.models.spec import WhisperSpec
from aimass.models.streaming import StreamingLayer

STRIDE = 2  # feature frames to one frame of the encoder
PREFIX = "encoder/"


class SelfAttention(nn.Module):
    """Multi-head attention of every frame to all frames."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.width, self.heads = width, heads
        self.project = nn.Linear(width, 3 * width)
        self.output = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, frames, width)``."""
        queries, keys, values = torch.split(self.project(x), self.width, dim=2)
        scores = self._heads(queries) @ self._heads(keys).transpose(2, 3)
        weights = torch.softmax(scores * (self.width // self.heads) ** -0.5, dim=3)
        mixed = (weights @ self._heads(values)).transpose(1, 2)
        y: Tensor = self.output(mixed.reshape(-1, x.shape[1], self.width))
        return y

    def _heads(self, x: Tensor) -> Tensor:
        """``(batch, frames, width)`` to ``(batch, heads, frames, width / heads)``."""
        split = x.reshape(-1, x.shape[1], self.heads, self.width // self.heads)
        return split.transpose(1, 2)


class TransformerBlock(nn.Module):
    """Attention and feed-forward, each behind a norm and around a residual."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, heads)
        self.norm = nn.LayerNorm(width)
        self.expand = nn.Linear(width, 4 * width)
        self.contract = nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        """Map ``x (batch, frames, width)``."""
        x = x + self.attention(self.attention_norm(x))
        y: Tensor = self.contract(nn.functional.gelu(self.expand(self.norm(x))))
        return x + y


class WhisperEncoder(StreamingLayer):
    """Whisper's encoder, or its first layers, over whole utterances."""

    positions: Tensor
    state_size = 0

    def __init__(self, spec: WhisperSpec) -> None:
        super().__init__()
        self.columns = spec.width
        self.first = nn.Conv1d(spec.bins, spec.width, 3, padding=1)
        self.second = nn.Conv1d(spec.width, spec.width, 3, stride=STRIDE, padding=1)
        self.register_buffer("positions", torch.zeros(spec.positions, spec.width))
        self.layers = nn.ModuleList(
            TransformerBlock(spec.width, spec.heads) for _ in range(spec.layers)
        )
        self.norm = nn.LayerNorm(spec.width)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map frames of kind ``whisper`` to ``(batch, frames / 2, width)``.

        Raises:
            TrainingError: an utterance that is longer than Whisper's 30 s.
        """
        if x.shape[1] > STRIDE * len(self.positions):
            raise TrainingError(
                f"an utterance of {x.shape[1]} frames",
                expected=f"at most {STRIDE * len(self.positions)}, Whisper's 30 s",
                fix="Cut the recordings, or join fewer of them (augment: joined)",
            )
        x = torch.maximum(x, x.amax(dim=(1, 2), keepdim=True) - CLAMP).transpose(1, 2)
        x = nn.functional.gelu(self.second(nn.functional.gelu(self.first(x)))).transpose(1, 2)
        x = x + self.positions[: x.shape[1]]
        for layer in self.layers:
            x = layer(x)
        return self.norm(x), state


def spec_of(folder: Path, layers: int | None = None) -> WhisperSpec:
    """The shape of the encoder in a folder that holds CTranslate2's ``model.bin``.

    Args:
        layers: how many of its layers to take, from the first; all when None.

    Raises:
        BundleError: no weights of Whisper.
        TrainingError: more layers than it has.
    """
    return _shape(folder, _read(folder), layers)


def load_encoder(folder: Path, layers: int | None = None) -> WhisperEncoder:
    """The encoder itself, with its weights.

    Behind fewer than all layers the last norm does not fit what it norms and is a plain one.

    Raises:
        BundleError, TrainingError: as `spec_of`.
    """
    variables = _read(folder)
    spec = _shape(folder, variables, layers)
    with torch.device("meta"):
        encoder = WhisperEncoder(spec)
    norm = "encoder/layer_norm" if spec.layers == _layers(variables) else None
    try:
        weights = {k: torch.from_numpy(v) for k, v in _weights(variables, spec, norm).items()}
        encoder.load_state_dict(weights, assign=True)
    except (KeyError, RuntimeError) as error:
        raise _no_whisper(folder, " ".join(str(error).split())[:200]) from error
    return encoder.requires_grad_(True).eval()


def _read(folder: Path) -> ctranslate.Variables:
    return ctranslate.read(folder / ctranslate.FILE, lambda name: name.startswith(PREFIX))


def _shape(folder: Path, variables: ctranslate.Variables, layers: int | None) -> WhisperSpec:
    there = _layers(variables)
    try:
        width, bins, _ = variables["encoder/conv1/weight"].shape
        heads = int(variables["encoder/num_heads"])
        positions = len(variables["encoder/position_encodings/encodings"])
    except (KeyError, ValueError, TypeError) as error:
        raise _no_whisper(folder, f"it lacks {error}") from error
    if not there or heads < 1 or width % heads:
        raise _no_whisper(folder, f"{there} layers, {heads} heads, width {width}")
    if not 1 <= (layers or there) <= there:
        raise TrainingError(
            f"layers: {layers} of the encoder in {folder.name}",
            expected=f"at most {there}",
            fix="Lower 'layers', or leave it out to take all",
        )
    return WhisperSpec(width, layers or there, heads, bins, positions)


def _layers(variables: ctranslate.Variables) -> int:
    starts = {name.split("/")[1] for name in variables}
    return sum(start.startswith("layer_") and start[6:].isdigit() for start in starts)


def _weights(
    variables: ctranslate.Variables, spec: WhisperSpec, norm: str | None
) -> ctranslate.Variables:
    """Whisper's variables under the names of `WhisperEncoder`."""
    found = {"positions": variables["encoder/position_encodings/encodings"]}
    places = {"first": "conv1", "second": "conv2"}
    norms = {"norm": norm} if norm else {}
    for n in range(spec.layers):
        theirs, ours = f"layer_{n}", f"layers.{n}"
        places[f"{ours}.attention.project"] = f"{theirs}/self_attention/linear_0"
        places[f"{ours}.attention.output"] = f"{theirs}/self_attention/linear_1"
        places[f"{ours}.expand"] = f"{theirs}/ffn/linear_0"
        places[f"{ours}.contract"] = f"{theirs}/ffn/linear_1"
        norms[f"{ours}.attention_norm"] = f"encoder/{theirs}/self_attention/layer_norm"
        norms[f"{ours}.norm"] = f"encoder/{theirs}/ffn/layer_norm"
    for ours, theirs in places.items():
        for part in ("weight", "bias"):
            found[f"{ours}.{part}"] = variables[f"encoder/{theirs}/{part}"]
    for ours, theirs in norms.items():
        found[f"{ours}.weight"] = variables[f"{theirs}/gamma"]
        found[f"{ours}.bias"] = variables[f"{theirs}/beta"]
    if norm is None:
        found["norm.weight"] = np.ones(spec.width, np.float32)
        found["norm.bias"] = np.zeros(spec.width, np.float32)
    return found


def _no_whisper(folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{folder / ctranslate.FILE} holds no encoder of Whisper: {why}",
        expected="the weights of a Whisper model in CTranslate2's format",
        fix="Pull the model again: aimass models pull whisper-base",
    )

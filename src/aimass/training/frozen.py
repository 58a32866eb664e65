"""A pretrained front that is not trained: its outputs are computed once and are the features.

Whisper's encoder costs a hundred times what stands behind it. While it stays as it is, a pass over
the data keeps what it gives instead of the frames that it hears, and only what stands behind it is
trained and kept in checkpoints.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import nn

from aimass.features.spec import Frames
from aimass.models.model import SpeechModel, behind_front

FRONT = "front."


class FrozenFront:
    """The front of a model, over whole utterances, each alone as when it serves.

    Args:
        model: its weights are not changed.
        device: where it computes.
    """

    def __init__(self, model: SpeechModel, device: str = "cpu") -> None:
        self.columns = model.front.columns
        self._front: nn.Module = model.front.to(device).eval()
        self._stack = model.spec.stack
        self._device = device

    @property
    def inputs(self) -> list[Any]:
        """What decides its outputs, as plain values."""
        weights = hashlib.sha256()
        for name, values in self._front.state_dict().items():
            weights.update(f"{name} {list(values.shape)}".encode())
            weights.update(values.cpu().numpy().tobytes())
        return [self._stack, weights.hexdigest()]

    @torch.no_grad()
    def __call__(self, utterances: Sequence[Frames]) -> list[Frames]:
        """Map feature frames ``(frames, columns)`` of each to the front's, in order."""
        return [self._one(frames) for frames in utterances]

    def _one(self, frames: Frames) -> Frames:
        missing = -len(frames) % self._stack
        whole = np.concatenate([frames, np.repeat(frames[-1:], missing, axis=0)])
        given = torch.from_numpy(whole).to(self._device).unsqueeze(0)
        found, _ = self._front(given, given.new_zeros(1, 0))
        return np.asarray(found[0].float().cpu().numpy())


def behind(model: SpeechModel) -> SpeechModel:
    """What stands behind a model's front, as a model of its own that starts with its weights."""
    rest = SpeechModel(behind_front(model.spec))
    own = {k: v for k, v in model.state_dict().items() if not k.startswith(FRONT)}
    rest.load_state_dict(own)
    return rest


def joined(model: SpeechModel, rest: SpeechModel) -> SpeechModel:
    """`model` with the weights that were trained behind its front."""
    front = {k: v for k, v in model.state_dict().items() if k.startswith(FRONT)}
    model.load_state_dict(front | rest.state_dict())
    return model.eval()

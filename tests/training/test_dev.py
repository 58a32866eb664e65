"""The dev metric of every head, by hand, and the same however utterances are put together."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from aimass.features.spec import Frames
from aimass.models.model import SpeechModel
from aimass.training import dev
from aimass.training.dev import DevSet

from . import tiny


class Says(SpeechModel):
    """Gives its input back, as a model that is right or wrong by plan would."""

    def forward(
        self, features: torch.Tensor, state: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        return features[:, :: self.spec.stack], state


def says(head: str) -> Says:
    return Says(replace(tiny.SHAPE, head=head, stack=2))  # type: ignore[arg-type]


def path(*tokens: int, outputs: int = 4) -> Frames:
    """Frames in which each of the tokens is the best for two."""
    return np.repeat(np.eye(outputs, dtype=np.float32)[list(tokens)], 2, axis=0)


def test_token_errors() -> None:
    frames = [path(3, 0, 0, 3, 0, 1), path(3, 3), path(2, 1, 3, 1)]
    targets: list[tuple[int, ...]] = [(0, 0, 1), (2,), (2, 1)]
    assert DevSet(frames, targets).error(says("ctc")) == pytest.approx(2 / 6)
    assert DevSet(frames[:1], targets[:1]).error(says("ctc")) == 0


def test_classification_errors() -> None:
    frames = [path(0, 0, 1), path(2), path(3, 0), path(1, 1)]
    assert DevSet(frames, [(1,), (2,), (3,), (1,)]).error(says("classify")) == 0.25


def test_equal_errors() -> None:
    voices = [path(0), path(0, 0), path(1), path(3, 1)]
    assert DevSet(voices, [(0,), (0,), (1,), (1,)]).error(says("embed")) == 0
    assert DevSet(voices, [(0,), (1,), (0,), (1,)]).error(says("embed")) > 0.4


def test_how_many_are_put_together_does_not_matter(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny.fresh_model()
    frames, targets = tiny.held_out()
    wanted = DevSet(frames, targets).error(model)
    monkeypatch.setattr(dev, "AT_ONCE", 1)
    assert DevSet(frames[::-1], targets[::-1]).error(model) == wanted


def test_a_model_goes_on_as_it_was() -> None:
    model = tiny.fresh_model().train()
    tiny.dev().error(model)
    assert model.training
    assert all(p.grad is None for p in model.parameters())
    tiny.dev().error(model.eval())
    assert not model.training

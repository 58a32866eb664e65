"""Soups: greedy on dev, never worse than the best model, and of one shape alone."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.training import soup
from aimass.training.checkpoint import mean_of
from aimass.training.dev import DevSet
from aimass.training.loop import train

from . import tiny

LABELS = replace(tiny.SHAPE, head="classify", outputs=3)
TINY = ModelSpec("conv", "classify", 2, 2, channels=4, blocks=1, kernel=3)
BIAS = "head.output.bias"


def biased(value: float) -> SpeechModel:
    """A model that is told from others by one number."""
    model = tiny.fresh_model(TINY)
    with torch.no_grad():
        dict(model.named_parameters())[BIAS].fill_(value)
    return model


class Wanted(DevSet):
    """A dev set on which the error is the distance of that number from the wanted one."""

    def __init__(self, wanted: float) -> None:
        super().__init__(*tiny.held_out())
        self.wanted = wanted

    def error(self, model: SpeechModel) -> float:
        return abs(float(model.state_dict()[BIAS][0]) - self.wanted)


@pytest.mark.parametrize(
    ("values", "taken"),
    [
        ([1.0, -1.0, 9.0], [0, 1]),  # the mean of both is right, the third spoils it
        ([0.0, 1.0, -1.0], [0]),  # the best one is right already
        ([3.0, 2.0, 1.0], [2]),  # all err on one side
        ([2.0, -1.0, -1.0], [1, 2, 0]),  # two that are the same, and a third against them
    ],
)
def test_it_takes_what_makes_it_no_worse(values: Sequence[float], taken: list[int]) -> None:
    models = [biased(value) for value in values]
    assert soup.ingredients(models, Wanted(0.0)) == taken
    wanted = mean_of([models[number].state_dict() for number in taken])
    found = soup.greedy(models, Wanted(0.0))
    assert all(torch.equal(found[name], wanted[name]) for name in wanted)


@given(st.lists(st.floats(-5, 5, width=16), min_size=1, max_size=6), st.floats(-2, 2, width=16))
def test_it_is_never_worse_than_the_best(values: list[float], wanted: float) -> None:
    models, dev = [biased(value) for value in values], Wanted(wanted)
    mixed = biased(0)
    mixed.load_state_dict(soup.greedy(models, dev))
    assert dev.error(mixed) <= min(dev.error(model) for model in models) + 1e-6
    for model, value in zip(models, values, strict=True):
        assert float(model.state_dict()[BIAS][0]) == value  # none of them is changed


def test_a_copy_adds_nothing() -> None:
    models = [biased(1.5)] * 3
    found = soup.greedy(models, Wanted(0.0))
    assert all(torch.equal(found[name], values) for name, values in models[0].state_dict().items())


def test_runs_from_one_start(tmp_path: Path) -> None:
    spec = replace(tiny.SPEC, epochs=6)
    augment = replace(tiny.AUGMENT, most_joined=1, ramp_epochs=0)
    start = tiny.weights(tmp_path / "start", shape=LABELS, spec=spec)
    models = []
    for seed in (6, 7, 8):
        model = tiny.fresh_model(LABELS)
        model.load_state_dict(start)
        (folder := tmp_path / str(seed)).mkdir()
        data = tiny.data(tmp_path, seed=seed, augment=augment)
        tuned = replace(spec, seed=seed, epochs=3, learning_rate=1e-3, matrix_rate=0.005)
        models.append(train(model, tiny.fresh_aim(LABELS), data, tiny.dev(), tuned, folder))
    mixed = tiny.fresh_model(LABELS)
    mixed.load_state_dict(soup.greedy(models, tiny.dev()))
    errors = [tiny.dev().error(model) for model in models]
    assert tiny.dev().error(mixed) <= min(errors)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"channels": 8}, "channels 8 and not 4"),
        ({"blocks": 2}, "blocks 2 and not 1"),
        ({"outputs": 3, "kernel": 5}, "kernel 5 and not 3, outputs 3 and not 2"),
        ({"dilations": (1, 3)}, "dilations"),  # same shapes, and yet another model
        ({"family": "recurrent"}, "family recurrent and not conv"),
    ],
)
def test_models_of_another_shape(change: dict[str, object], what: str) -> None:
    models = [biased(0.0), biased(0.0), SpeechModel(replace(TINY, **change))]  # type: ignore[arg-type]
    with pytest.raises(TrainingError, match=f"model 3 of a soup has .*{what}"):
        soup.greedy(models, Wanted(0.0))


def test_no_models() -> None:
    with pytest.raises(TrainingError, match="no models"):
        soup.greedy([], Wanted(0.0))

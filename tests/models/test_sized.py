"""The size dial: what is asked for is nearly reached and never passed, whatever the family."""

from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.errors import TrainingError
from aimass.models.model import LARGEST, SMALLEST, SpeechModel, parameters, sized
from aimass.models.spec import Family, Head, ModelSpec

from .shapes import FAMILIES, HEADS

WANTED = [30_000, 100_000, 300_000, 1_000_000, 3_000_000, 15_000_000]
each_family = pytest.mark.parametrize("family", FAMILIES)


def count(spec: ModelSpec) -> int:
    with torch.device("meta"):
        return parameters(SpeechModel(spec))


@each_family
@pytest.mark.parametrize("bands", [0, 40])
@pytest.mark.parametrize("wanted", WANTED)
def test_every_size_of_the_dial(family: Family, wanted: int, bands: int) -> None:
    spec = ModelSpec(family, columns=80, outputs=21, bands=bands)
    found = sized(spec, wanted)
    assert 0.7 * wanted <= count(found) <= wanted
    assert replace(found, channels=spec.channels, blocks=spec.blocks) == spec


@settings(max_examples=15)
@given(
    family=st.sampled_from(FAMILIES),
    head=st.sampled_from(HEADS),
    wanted=st.floats(4.4772, 7.176).map(lambda power: int(10**power)),
    outputs=st.integers(2, 200),
    stack=st.integers(1, 8),
)
def test_any_size_of_the_dial(
    family: Family, head: Head, wanted: int, outputs: int, stack: int
) -> None:
    spec = ModelSpec(family, head, 40, outputs, stack=stack)
    assert 0.6 * wanted <= count(sized(spec, wanted)) <= wanted


@each_family
def test_the_dial_turns_width_and_depth(family: Family) -> None:
    spec = ModelSpec(family, columns=40, outputs=11)
    sizes = [sized(spec, wanted) for wanted in WANTED]
    assert all(a.blocks <= b.blocks and count(a) < count(b) for a, b in pairwise(sizes))
    assert sizes[-1].blocks > sizes[0].blocks
    assert sizes[-1].channels > 4 * sizes[0].channels


@each_family
def test_a_size_is_really_made(family: Family) -> None:
    spec = sized(ModelSpec(family, columns=40, outputs=11), 60_000)
    model = SpeechModel(spec)
    assert parameters(model) == count(spec)
    assert spec.channels % spec.heads == 0
    assert torch.isfinite(model(torch.zeros(1, 8, 40), model.start(1))[0]).all()


@pytest.mark.parametrize("wanted", [-1, 0, SMALLEST - 1, LARGEST + 1, 10**12])
def test_a_size_outside_the_dial(wanted: int) -> None:
    with pytest.raises(TrainingError, match=f"a model of {wanted} parameters") as caught:
        sized(ModelSpec(), wanted)
    assert caught.value.expected == "from 30000 to 15000000"
    assert "parameters" in caught.value.fix


@each_family
def test_a_vocabulary_that_does_not_fit(family: Family) -> None:
    spec = ModelSpec(family, outputs=8000)
    with pytest.raises(TrainingError, match="8000 outputs in a model of 30000") as caught:
        sized(spec, 30_000)
    least = int(caught.value.expected.split()[2])
    assert least > 30_000
    assert 0.9 * least < count(sized(spec, least)) <= least
    with pytest.raises(TrainingError):
        sized(spec, round(0.9 * least))

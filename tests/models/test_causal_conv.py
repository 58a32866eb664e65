"""A streaming architecture: chunks equal the whole, and the future never reaches the past."""

from functools import cache

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from aimass.models.causal_conv import CausalConv, CausalConvSpec, parameters

SPECS = [
    CausalConvSpec(40, 11),
    CausalConvSpec(80, 30, channels=24, blocks=2, kernel=5, stack=2),
    CausalConvSpec(8, 4, channels=6, blocks=1, kernel=2, stack=1),
    CausalConvSpec(8, 4, channels=6, blocks=3, kernel=15, stack=8),
]
FRAMES = 96  # a multiple of every stack


@cache
def model_of(spec: CausalConvSpec) -> CausalConv:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = CausalConv(spec).eval()
        model.mean.normal_()
        model.scale.uniform_(0.5, 2)
    return model


def sound(spec: CausalConvSpec, batch: int = 2, seed: int = 0) -> Tensor:
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, FRAMES, spec.bins, generator=random)


@torch.no_grad()
def run(model: CausalConv, features: Tensor, *sizes: int) -> tuple[Tensor, Tensor]:
    """Outputs and last past of chunks with so many model frames each, then all that is left."""
    stack, past, found, start = model.spec.stack, model.start(len(features)), [], 0
    for size in (*sizes, FRAMES):
        chunk = features[:, start : start + size * stack]
        start += chunk.shape[1]
        if chunk.shape[1]:
            log_probs, past = model(chunk, past)
            found.append(log_probs)
    return torch.cat(found, dim=1), past


@given(st.sampled_from(SPECS), st.lists(st.integers(1, 30), max_size=20))
def test_chunks_are_the_whole(spec: CausalConvSpec, sizes: list[int]) -> None:
    model, features = model_of(spec), sound(spec)
    whole, last = run(model, features)
    found, past = run(model, features, *sizes)
    assert whole.shape == (2, FRAMES // spec.stack, spec.outputs)
    assert torch.allclose(found, whole, atol=1e-5)
    assert torch.allclose(past, last, atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_a_past_that_is_lost_is_heard(spec: CausalConvSpec) -> None:
    model, features = model_of(spec), sound(spec)
    half = FRAMES // 2
    with torch.no_grad():
        second, _ = model(features[:, half:], model.start(2))
    whole, _ = run(model, features)
    assert not torch.allclose(second, whole[:, half // spec.stack :], atol=1e-5)


@given(st.sampled_from(SPECS), st.integers(0, FRAMES - 1))
def test_the_future_does_not_change_the_past(spec: CausalConvSpec, at: int) -> None:
    model, features = model_of(spec), sound(spec)
    changed = features.clone()
    changed[:, at:] = sound(spec, seed=1)[:, at:] * 5
    before, after = run(model, features)[0], run(model, changed)[0]
    untouched = at // spec.stack
    assert torch.equal(before[:, :untouched], after[:, :untouched])
    assert not torch.equal(before[:, untouched:], after[:, untouched:])


@pytest.mark.parametrize("spec", SPECS)
def test_members_of_a_batch_do_not_hear_each_other(spec: CausalConvSpec) -> None:
    model, features = model_of(spec), sound(spec, batch=5)
    together = run(model, features)[0]
    for row in range(5):
        alone = run(model, features[row : row + 1])[0]
        assert torch.allclose(alone[0], together[row], atol=1e-5)


@pytest.mark.parametrize("spec", SPECS)
def test_outputs_are_log_probabilities(spec: CausalConvSpec) -> None:
    log_probs, _ = run(model_of(spec), sound(spec))
    assert torch.allclose(log_probs.exp().sum(dim=2), torch.ones(2, FRAMES // spec.stack))


@pytest.mark.parametrize("spec", SPECS)
def test_the_past_has_the_shape_it_started_with(spec: CausalConvSpec) -> None:
    model = model_of(spec)
    wanted = (3, spec.blocks, spec.channels, spec.kernel - 1)
    assert tuple(model.start(3).shape) == wanted
    assert not model.start(3).any()
    assert tuple(run(model, sound(spec, batch=3), 1)[1].shape) == wanted


@pytest.mark.parametrize("spec", SPECS)
def test_normalisation_lives_in_the_model(spec: CausalConvSpec) -> None:
    model = model_of(spec)
    plain = CausalConv(spec).eval()
    plain.load_state_dict(model.state_dict() | {
        "mean": torch.zeros(spec.bins), "scale": torch.ones(spec.bins),
    })  # fmt: skip
    features = sound(spec)
    normalised = (features - model.mean) * model.scale
    assert torch.allclose(run(model, features)[0], run(plain, normalised)[0], atol=1e-5)


@pytest.mark.parametrize("bins", [40, 80])
def test_the_default_model_is_small(bins: int) -> None:
    count = parameters(CausalConv(CausalConvSpec(bins, 11)))
    assert 200_000 < count <= 300_000


def test_dropout_acts_in_training_alone() -> None:
    model = CausalConv(SPECS[0])
    features = sound(SPECS[0])
    model.train()
    assert not torch.equal(run(model, features)[0], run(model, features)[0])
    model.eval()
    assert torch.equal(run(model, features)[0], run(model, features)[0])


@pytest.mark.parametrize("spec", SPECS)
def test_a_spec_survives_its_plain_values(spec: CausalConvSpec) -> None:
    assert CausalConvSpec(**spec.to_dict()) == spec

"""Every family with every head: chunks equal the whole, the future never reaches the past."""

import json
from dataclasses import replace
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import Family, ModelSpec
from aimass.models.stem import Normalise

from .shapes import FRAMES, SPECS, model_of, named, run, sound

each = pytest.mark.parametrize("spec", SPECS, ids=named)


@each
@settings(max_examples=25)
@given(sizes=st.lists(st.integers(1, 30), max_size=20))
def test_chunks_are_the_whole(spec: ModelSpec, sizes: list[int]) -> None:
    model, features = model_of(spec), sound(spec)
    whole, last = run(model, features)
    found, state = run(model, features, *sizes)
    assert whole.shape == (2, FRAMES // spec.stack, spec.outputs)
    assert torch.allclose(found, whole, atol=2e-5)
    assert torch.allclose(state, last, rtol=1e-5, atol=1e-4)  # a pool's sums are large


@each
def test_a_state_that_is_lost_is_heard(spec: ModelSpec) -> None:
    model, features = model_of(spec), sound(spec)
    half = FRAMES // 2
    with torch.no_grad():
        second, _ = model(features[:, half:], model.start(2))
    whole, _ = run(model, features)
    assert not torch.allclose(second, whole[:, half // spec.stack :], atol=1e-4)


@each
@settings(max_examples=10)
@given(at=st.integers(0, FRAMES - 1))
def test_the_future_does_not_change_the_past(spec: ModelSpec, at: int) -> None:
    model, features = model_of(spec), sound(spec)
    changed = features.clone()
    changed[:, at:] = sound(spec, seed=1)[:, at:] * 5
    before, after = run(model, features)[0], run(model, changed)[0]
    untouched = at // spec.stack
    assert torch.equal(before[:, :untouched], after[:, :untouched])
    assert not torch.equal(before[:, untouched:], after[:, untouched:])


@each
def test_members_of_a_batch_do_not_hear_each_other(spec: ModelSpec) -> None:
    model, features = model_of(spec), sound(spec, batch=5)
    together, states = run(model, features)
    for row in range(5):
        alone, state = run(model, features[row : row + 1])
        assert torch.allclose(alone[0], together[row], atol=2e-5)
        assert torch.allclose(state[0], states[row], rtol=1e-5, atol=1e-4)


@each
def test_outputs_are_what_the_head_promises(spec: ModelSpec) -> None:
    outputs, _ = run(model_of(spec), sound(spec))
    size = outputs.norm(dim=2) if spec.head == "embed" else outputs.exp().sum(dim=2)
    assert torch.allclose(size, torch.ones(2, FRAMES // spec.stack), atol=1e-5)


@each
def test_all_that_is_carried_is_one_row_a_stream(spec: ModelSpec) -> None:
    model = model_of(spec)
    assert tuple(model.start(3).shape) == (3, model.state_size)
    assert not model.start(3).any()
    assert tuple(run(model, sound(spec, batch=3), 1)[1].shape) == (3, model.state_size)


@each
def test_every_weight_learns(spec: ModelSpec) -> None:
    model = SpeechModel(spec)
    model.load_state_dict(model_of(spec).state_dict())
    outputs, _ = model(sound(spec), model.start(2))
    outputs[:, :, 0].sum().backward()
    idle = [name for name, p in model.named_parameters() if p.grad is None or not p.grad.any()]
    assert idle == []


@each
def test_normalisation_lives_in_the_model(spec: ModelSpec) -> None:
    model = model_of(spec)
    if not isinstance(model.front, Normalise):
        assert not any("mean" in name for name in model.state_dict())
        return
    plain = SpeechModel(spec).eval()
    plain.load_state_dict(model.state_dict() | {
        "front.mean": torch.zeros(spec.columns), "front.scale": torch.ones(spec.columns),
    })  # fmt: skip
    features = sound(spec)
    normalised = (features - model.front.mean) * model.front.scale
    assert torch.allclose(run(model, features)[0], run(plain, normalised)[0], atol=1e-5)


@each
def test_dropout_acts_in_training_alone(spec: ModelSpec) -> None:
    features = sound(spec)
    model = SpeechModel(replace(spec, dropout=0.3)).train()
    assert not torch.equal(run(model, features)[0], run(model, features)[0])
    model.eval()
    assert torch.equal(run(model, features)[0], run(model, features)[0])
    model = SpeechModel(replace(spec, dropout=0.0)).train()
    assert torch.equal(run(model, features)[0], run(model, features)[0])


@each
def test_a_spec_survives_json(spec: ModelSpec) -> None:
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


@pytest.mark.parametrize("family", ["conv", "attention"])
def test_a_bounded_past(family: Family) -> None:
    """What lies further back than kernels, dilations and context reach is forgotten."""
    spec = replace(SPECS[0], family=family, dilations=(1, 2))
    model, features = model_of(spec), sound(spec, frames=400)
    reach = sum((spec.kernel - 1) * d for d in (1, 2)) if family == "conv" else 2 * (4 + 6)
    changed = features.clone()
    changed[:, : 10 * spec.stack] *= 3
    before, after = run(model, features)[0], run(model, changed)[0]
    heard = (before - after).abs().amax(dim=(0, 2)) > 0
    assert heard[: 10 + reach].any()
    assert not heard[10 + reach :].any()


def test_an_unknown_shape_of_chunk_is_no_model_frame() -> None:
    model = model_of(SPECS[0])
    with pytest.raises(RuntimeError):
        model(sound(SPECS[0])[:, :7], model.start(2))


def test_seeds_make_models() -> None:
    def weights(seed: int) -> torch.Tensor:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            return torch.cat([p.flatten() for p in SpeechModel(SPECS[0]).parameters()])

    assert torch.equal(weights(1), weights(1))
    assert all(not torch.equal(a, b) for a, b in pairwise(map(weights, range(3))))


def test_frozen_weights_do_not_count() -> None:
    model = SpeechModel(SPECS[0])
    count = parameters(model)
    model.head.requires_grad_(False)
    assert parameters(model) == count - sum(p.numel() for p in model.head.parameters())

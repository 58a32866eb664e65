"""Pruned models: what leaves is what counts least."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.compression.prune import groups, magnitudes, narrowed, pruned, taylor
from aimass.models.model import SpeechModel, parameters
from aimass.models.spec import ModelSpec, WhisperSpec
from aimass.training.start import save_weights, start_from
from models.shapes import FAMILIES, SPECS, model_of, named, run, sound

WIDE = [
    ModelSpec(family, head, 20, 7, channels=32, blocks=2, kernel=5, context=6, subsampling=sub)  # type: ignore[arg-type]
    for family in FAMILIES
    for head, sub in (("ctc", "stack"), ("classify", "conv"), ("embed", "stack"))
]
each = pytest.mark.parametrize("spec", WIDE, ids=named)


@each
def test_every_weight_is_cut_where_its_shape_says(spec: ModelSpec) -> None:
    small = spec.wide(16)
    with torch.device("meta"):
        before, after = (dict(SpeechModel(one).state_dict()) for one in (spec, small))
    cut: set[tuple[str, int]] = set()
    for group in groups(model_of(spec)):
        for use in group.uses:
            assert before[use.name].shape[use.axis] == use.copies * group.size
            assert (use.name, use.axis) not in cut
            cut.add((use.name, use.axis))
    wanted = {
        (name, axis)
        for name, weight in before.items()
        for axis, size in enumerate(weight.shape)
        if after[name].shape[axis] != size
    }
    assert cut == wanted


@each
def test_idle_channels_leave_and_nothing_changes(spec: ModelSpec) -> None:
    """A model widened by channels that do nothing is found again, but for its norms."""
    model = model_of(spec)
    for group in groups(model):
        parts = torch.arange(group.size).reshape(group.parts, -1)
        idle = parts[:, parts.shape[1] // 2 :].flatten()
        for use in group.uses:
            weight = model.state_dict()[use.name]
            for copy in range(use.copies):
                weight.index_fill_(use.axis, idle + copy * group.size, 0)
    wanted = parameters(SpeechModel(spec.wide(16)))
    small = pruned(model, wanted)
    model_of.cache_clear()
    assert small.spec == spec.wide(16)
    state = model.state_dict()
    for name, weight in small.state_dict().items():
        assert weight.abs().sum().item() == pytest.approx(state[name].abs().sum().item(), rel=1e-5)


@each
def test_what_is_left_runs_in_any_chunks_and_starts_a_training(
    spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory
) -> None:
    small = pruned(model_of(spec), 9000)
    assert parameters(small) <= 9000
    given_ = sound(small.spec)
    whole, _ = run(small, given_)
    chunked, _ = run(small, given_, 3, 5)
    assert torch.allclose(whole, chunked, atol=1e-4)
    folder = tmp_path_factory.mktemp("bundle")
    save_weights(small, folder / "weights.safetensors")
    fresh = SpeechModel(small.spec)
    assert start_from(fresh, folder) == len(small.state_dict())


@given(wanted=st.integers(3000, 60_000))
@settings(deadline=None, max_examples=20)
def test_the_widest_that_fits(wanted: int) -> None:
    spec = ModelSpec("conv", "ctc", 20, 7, channels=96, blocks=3)
    try:
        found = narrowed(spec, wanted)
    except TrainingError:
        assert parameters(SpeechModel(spec.wide(8))) > wanted
        return
    assert parameters(SpeechModel(found)) <= wanted
    wider = spec.wide(found.channels + 8)
    assert wider.channels == 96 or parameters(SpeechModel(wider)) > wanted


def test_taylor_keeps_what_the_loss_needs() -> None:
    """One inner channel alone decides the loss, though its weights are the smallest."""
    spec = ModelSpec("conv", "ctc", 20, 7, channels=16, blocks=1)
    model = SpeechModel(spec).eval()
    weights = model.state_dict()
    inner = "encoder.layers.0"
    weights[f"{inner}.expand.weight"][5] *= 0.1
    weights[f"{inner}.contract.weight"][:, 5] *= 0.1
    target = model.get_parameter(f"{inner}.contract.weight")

    def losses() -> Iterator[Tensor]:
        for _ in range(3):
            yield target[:, 5].sum()

    scores = taylor(model, losses())
    assert scores[f"{inner}.contract.weight"][:, 5].sum() > 0
    (group,) = [g for g in groups(model) if any("expand.bias" in use.name for use in g.uses)]
    assert group.size == 32
    kept_column = weights[f"{inner}.contract.weight"][:, 5]
    columns = [
        pruned(model, 4000, own).state_dict()[f"{inner}.contract.weight"].T
        for own in (scores, magnitudes(model))
    ]
    small = columns[0].shape[1]
    norms = [one.norm(dim=1).min().item() for one in columns]
    assert norms[0] < 0.5 * kept_column.norm().item() * 1.01 + 1e-6 or small == 8
    assert norms[0] < norms[1]


@pytest.mark.parametrize("wanted", [100, 0, -5])
def test_a_size_that_cannot_be_is_refused(wanted: int) -> None:
    with pytest.raises(TrainingError, match=f"{wanted} parameters for a model of 16 channels"):
        pruned(model_of(SPECS[0]), wanted)


def test_whisper_is_refused() -> None:
    spec = ModelSpec("whisper", "ctc", whisper=WhisperSpec(32, 1, 2))
    with pytest.raises(TrainingError, match="Whisper's encoder"):
        pruned(SpeechModel(spec), 1000)

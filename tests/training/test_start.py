"""Starting from other weights: round trip, what stays frozen, and what does not fit."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.models.spec import Family, ModelSpec
from aimass.runtime.load import shipped
from aimass.training.loop import train
from aimass.training.start import WEIGHTS, save_weights, start_from, whisper_of

from . import tiny

FAMILIES: tuple[Family, ...] = ("conv", "recurrent", "attention")


def other_model(shape: ModelSpec = tiny.SHAPE) -> SpeechModel:
    """Weights unlike those of `tiny.fresh_model`, and moments that were measured elsewhere."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(9)
        model = SpeechModel(shape)
        for weights in model.state_dict().values():
            weights += 0.1 * torch.rand(weights.shape)
    return model


@pytest.fixture
def bundle(tmp_path: Path) -> Path:
    (tmp_path / "bundle").mkdir()
    save_weights(other_model(), tmp_path / "bundle" / WEIGHTS)
    return tmp_path / "bundle"


def half(model: SpeechModel) -> dict[str, Tensor]:
    return {name: values.half().float() for name, values in model.state_dict().items()}


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_there_and_back(tmp_path: Path, family: Family) -> None:
    shape = ModelSpec(family, "ctc", 20, 5, channels=8, blocks=2)
    save_weights(other_model(shape), tmp_path / WEIGHTS)
    model = tiny.fresh_model(shape)
    assert start_from(model, tmp_path) == len(model.state_dict())
    for name, wanted in half(other_model(shape)).items():
        assert torch.equal(model.state_dict()[name], wanted), name
        assert model.state_dict()[name].dtype == torch.float32
    assert all(p.requires_grad for p in model.parameters())
    stored = sum(values.nbytes for values in load_file(tmp_path / WEIGHTS).values())
    assert stored * 2 == sum(values.nbytes for values in model.state_dict().values())


@pytest.mark.parametrize("change", [{"outputs": 9}, {"head": "classify"}, {"head": "embed"}])
def test_another_vocabulary_or_task_keeps_its_own_last_layer(
    bundle: Path, change: dict[str, str]
) -> None:
    shape = replace(tiny.SHAPE, **change)  # type: ignore[arg-type]
    model, fresh = tiny.fresh_model(shape), tiny.fresh_model(shape).state_dict()
    count = start_from(model, bundle)
    taken = half(other_model())
    for name, values in model.state_dict().items():
        if name.startswith(("front.", "stack.", "encoder.")):
            assert torch.equal(values, taken[name]), name
    assert torch.equal(model.state_dict()["head.output.weight"], fresh["head.output.weight"])
    assert 0 < count < len(fresh)


@pytest.mark.parametrize(
    "change",
    [{"family": "attention"}, {"channels": 16}, {"kernel": 9}, {"blocks": 3}],
    ids=["family", "channels", "kernel", "blocks"],
)
def test_a_bundle_of_another_shape(bundle: Path, change: dict[str, int]) -> None:
    model = tiny.fresh_model(replace(tiny.SHAPE, **change))  # type: ignore[arg-type]
    before = {name: values.clone() for name, values in model.state_dict().items()}
    with pytest.raises(TrainingError, match=r"holds \d+ tensors, of which \d+ fit") as caught:
        start_from(model, bundle)
    assert "the same family, size, kernel, stack and" in caught.value.expected
    assert all(torch.equal(model.state_dict()[name], before[name]) for name in before)


@pytest.mark.parametrize("content", [None, b"", b"nonsense" * 9])
def test_a_bundle_without_weights(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / WEIGHTS).write_bytes(content)
    with pytest.raises(TrainingError, match=r"weights\.safetensors cannot be read") as caught:
        start_from(tiny.fresh_model(), tmp_path)
    assert caught.value.fix


def test_a_model_that_ships_with_the_package_is_no_start() -> None:
    digits = shipped()["digits"]
    for start in (lambda: start_from(tiny.fresh_model(), digits), lambda: whisper_of(digits)):
        with pytest.raises(TrainingError, match="digits serves only") as caught:
            start()
        assert "ship with the package" in caught.value.expected
        assert "start_from: NAME" in caught.value.fix


@pytest.mark.parametrize("frozen", [True, False])
def test_what_is_frozen_stays(bundle: Path, tmp_path: Path, frozen: bool) -> None:
    model = tiny.fresh_model()
    start_from(model, bundle, frozen=frozen)
    before = {name: values.clone() for name, values in model.state_dict().items()}
    spec = replace(tiny.SPEC, epochs=3)
    best = train(model, tiny.fresh_aim(), tiny.data(tmp_path), tiny.dev(), spec, tmp_path)
    for name, values in best.state_dict().items():
        stays = name.startswith("front.") or (frozen and not name.startswith("head."))
        assert torch.equal(values, before[name]) == stays, name


def test_a_frozen_run_resumes(bundle: Path, tmp_path: Path) -> None:
    def run(folder: Path, epochs: int) -> dict[str, Tensor]:
        folder.mkdir(exist_ok=True)
        model = tiny.fresh_model()
        start_from(model, bundle, frozen=True)
        spec = replace(tiny.SPEC, epochs=4)
        told: list[dict[str, float]] = []

        def stop(row: dict[str, float]) -> None:
            told.append(row)
            if len(told) == epochs:
                raise KeyboardInterrupt

        try:
            train(model, tiny.fresh_aim(), tiny.data(folder), tiny.dev(), spec, folder, report=stop)
        except KeyboardInterrupt:
            return run(folder, 9)
        return model.state_dict()

    one, other = run(tmp_path / "a", 2), run(tmp_path / "b", 9)
    assert all(torch.equal(one[name], other[name]) for name in one)

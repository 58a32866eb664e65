"""Training behind Whisper's encoder, frozen ahead of the passes or fine-tuned."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from aimass.base.errors import TrainingError
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec, WhisperSpec
from aimass.models.whisper import WhisperEncoder, load_encoder
from aimass.registry import pretrained
from aimass.training.dev import DevSet
from aimass.training.examples import TrainingSet
from aimass.training.frozen import FrozenFront, behind, joined
from aimass.training.loop import PRETRAINED, optimizers, train
from aimass.training.passes import Example, Passes
from aimass.training.start import save_weights, start_from, whisper_of

from .tiny import AUGMENT, SPEC, WORDS, examples, fresh_aim, fresh_model

FEATURES = FeatureSpec(kind="whisper")
WHISPER = WhisperSpec(width=16, layers=1, heads=2, positions=600)
SHAPE = ModelSpec("whisper", "classify", 80, len(WORDS), channels=16, blocks=1, whisper=WHISPER)
PLAIN = replace(AUGMENT, most_joined=1, ramp_epochs=0, passes=1)
SHORT = replace(SPEC, epochs=2)


@pytest.fixture(scope="module")
def tiny(test_home: Path) -> Path:
    return pretrained.pull("whisper-tiny.en", home=test_home)


def at_16k() -> list[Example]:
    return [
        Example(one.name, one.targets, one.speaker, lambda one=one: one.samples.repeat(2))  # type: ignore[misc]
        for one in examples()
    ]


def passes(folder: Path, front: FrozenFront | None) -> Passes:
    return Passes(at_16k(), FEATURES, PLAIN, folder, tail=0.4, front=front)


def test_a_front_gives_what_the_model_gives() -> None:
    model = fresh_model(SHAPE).eval()
    front, rest = FrozenFront(model), behind(model).eval()
    for one in at_16k()[:3]:
        frames = extract(one.samples, FEATURES)
        (given,) = front([frames])
        whole = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % 4, axis=0)])
        assert given.shape == (len(whole) // 2, 16)
        with torch.no_grad():
            expected = model(torch.from_numpy(whole).unsqueeze(0), model.start(1))[0]
            found = rest(torch.from_numpy(given).unsqueeze(0), rest.start(1))[0]
        assert torch.allclose(found, expected, atol=1e-5)


def test_passes_keep_what_the_front_gives(tmp_path: Path) -> None:
    front = FrozenFront(fresh_model(SHAPE))
    plain, frozen = passes(tmp_path, None).get(0), passes(tmp_path, front).get(0)
    assert (plain.frames.shape[1], frozen.frames.shape[1]) == (80, 16)
    for number in range(len(plain.groups)):
        expected = front([plain.utterance(number)])[0]
        assert np.abs(frozen.utterance(number) - expected).max() < 0.02  # half precision, twice
    assert len(list(tmp_path.glob("pass-*/"))) == 2
    other = fresh_model(SHAPE)
    with torch.no_grad():
        next(other.front.parameters()).add_(0.1)
    assert FrozenFront(other).inputs != front.inputs
    assert FrozenFront(fresh_model(SHAPE)).inputs == front.inputs


def test_frozen_training_leaves_the_encoder_as_it_was(tmp_path: Path) -> None:
    model = fresh_model(SHAPE)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    front, rest = FrozenFront(model), behind(model)
    frames = [extract(one.samples, FEATURES) for one in at_16k()]
    dev = DevSet(front(frames), [one.targets for one in at_16k()])
    data = TrainingSet(
        passes(tmp_path / "passes", front), batch_size=4, stack=rest.spec.stack, seed=1
    )
    best = joined(model, train(rest, fresh_aim(SHAPE), data, dev, SHORT, tmp_path))
    after = best.state_dict()
    assert best.spec == SHAPE
    assert all(torch.equal(after[k], v) for k, v in before.items() if k.startswith("front."))
    assert not torch.equal(after["head.output.weight"], before["head.output.weight"])
    held = DevSet(frames, [one.targets for one in at_16k()])
    assert abs(held.error(best) - dev.error(rest)) < 0.2  # a batch pads, the front does not


def test_fine_tuning_moves_the_encoder_gently(tmp_path: Path) -> None:
    model = fresh_model(SHAPE)
    before = {k: v.clone() for k, v in model.state_dict().items()}
    made = optimizers(model, fresh_aim(SHAPE), SPEC)
    rates = {id(p): o.defaults["lr"] for o in made for g in o.param_groups for p in g["params"]}
    assert len(rates) == len(list(model.parameters()))
    for name, parameter in model.named_parameters():
        if name.startswith("front."):
            assert rates[id(parameter)] == pytest.approx(PRETRAINED * SPEC.learning_rate)
        else:
            assert rates[id(parameter)] >= SPEC.learning_rate
    data = TrainingSet(passes(tmp_path / "passes", None), batch_size=4, stack=4, seed=1)
    frames = [extract(one.samples, FEATURES) for one in at_16k()]
    dev = DevSet(frames, [one.targets for one in at_16k()])
    after = train(model, fresh_aim(SHAPE), data, dev, SHORT, tmp_path).state_dict()
    moved = {k: (after[k] - v).abs().max().item() for k, v in before.items()}
    assert 0 < moved["front.first.weight"] < moved["stack.project.weight"]
    assert moved["front.positions"] == 0


def test_a_model_starts_from_whisper(tiny: Path) -> None:
    shape = replace(SHAPE, whisper=whisper_of(tiny, 1))
    model = fresh_model(shape)
    assert start_from(model, tiny, frozen=True) == len(load_encoder(tiny, 1).state_dict())
    expected = load_encoder(tiny, 1).state_dict()
    assert isinstance(model.front, WhisperEncoder)
    for name, values in model.front.state_dict().items():
        assert torch.equal(values, expected[name])
    assert not any(p.requires_grad for p in model.front.parameters())
    assert all(p.requires_grad for p in model.stack.parameters())


def test_a_model_starts_from_a_bundle_of_its_family(tmp_path: Path) -> None:
    model = fresh_model(SHAPE)
    save_weights(model, tmp_path / "weights.safetensors")
    assert whisper_of(tmp_path) == whisper_of(tmp_path, 1) == WHISPER
    other = SpeechModel(replace(SHAPE, outputs=7))
    fitting = start_from(other, tmp_path)
    assert fitting == len(model.state_dict()) - 2  # all but the last layer
    expected = model.front.state_dict()
    for name, values in other.front.state_dict().items():
        assert torch.allclose(values, expected[name], atol=1e-3)  # half precision
    with pytest.raises(TrainingError, match="a Whisper of 1 layers"):
        whisper_of(tmp_path, 2)


def test_other_starts_are_refused(tmp_path: Path, tiny: Path) -> None:
    save_weights(fresh_model(), tmp_path / "weights.safetensors")
    with pytest.raises(TrainingError, match="holds no Whisper"):
        whisper_of(tmp_path)
    with pytest.raises(TrainingError, match="cannot be read"):
        whisper_of(tmp_path / "nowhere")
    with pytest.raises(TrainingError, match="fit a model of the family whisper"):
        start_from(fresh_model(SHAPE), tmp_path)
    with pytest.raises(TrainingError, match="cannot be read"):
        start_from(fresh_model(), tiny)  # a Whisper model is no start for another family

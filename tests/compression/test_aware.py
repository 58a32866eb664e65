"""Training that hears int8: what torch rounds is what the graph rounds."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.compression.aware import (
    RoundedLinear,
    aware,
    plain,
    rounded,
    rounded_weight,
    spans,
)
from aimass.compression.export import export
from aimass.compression.quantise import fed, static, windows_of
from aimass.models.model import SpeechModel
from aimass.models.spec import Family, ModelSpec
from aimass.training.loop import TrainSpec, optimizers

from .speech import clips

COLUMNS = 40


def model(family: Family = "conv") -> SpeechModel:
    torch.manual_seed(1)
    return SpeechModel(ModelSpec(family, "ctc", COLUMNS, 9, channels=16, blocks=1)).eval()


@given(
    values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=20),
    low=st.floats(-50, 0),
    high=st.floats(0.01, 50),
)
@settings(deadline=None)
def test_rounding_is_near_within_the_span(values: list[float], low: float, high: float) -> None:
    x = torch.tensor(values)
    found = rounded(x, torch.tensor(low), torch.tensor(high))
    step = (high - low) / 255
    inside = (x >= low + step) & (x <= high - step)
    assert ((found - x).abs()[inside] <= 0.51 * step + 1e-5).all()
    assert found.min() >= low - step
    assert found.max() <= high + step
    assert rounded(torch.zeros(1), torch.tensor(low), torch.tensor(high)).item() == 0
    again = rounded(found, torch.tensor(low), torch.tensor(high))
    assert torch.allclose(found, again, atol=1e-4)


def test_the_gradient_goes_past_the_rounding_and_to_the_span() -> None:
    x = torch.tensor([-9.0, 0.3, 9.0], requires_grad=True)
    low, high = (torch.tensor(v, requires_grad=True) for v in (-1.0, 2.0))
    rounded(x, low, high).sum().backward()  # type: ignore[no-untyped-call]
    assert x.grad is not None
    assert x.grad.tolist() == [0, 1, 0]
    assert high.grad is not None
    assert high.grad.item() == pytest.approx(1, abs=0.02)


def test_weights_have_a_scale_for_each_output() -> None:
    weight = torch.randn(5, 300) * torch.tensor([1e-3, 1, 10, 0, 1e3]).unsqueeze(1)
    steps = weight.abs().amax(dim=1) / 127
    assert ((rounded_weight(weight) - weight).abs().amax(dim=1) <= 0.5001 * steps).all()


@pytest.mark.parametrize("family", ["conv", "recurrent", "attention"])
def test_a_graph_gives_what_training_heard(tmp_path: Path, family: Family) -> None:
    given_ = model(family)
    heard = aware(given_, clips(COLUMNS))
    export(plain(heard), tmp_path / "float.onnx")
    static(tmp_path / "float.onnx", tmp_path / "static.onnx", clips(COLUMNS), ranges=spans(heard))
    outputs = {}
    window = windows_of(clips(COLUMNS))[2]
    for name in ("float", "static"):
        session = onnxruntime.InferenceSession(tmp_path / f"{name}.onnx")
        outputs[name] = session.run(None, fed(session.get_inputs(), window.T[None]))[0]
    with torch.no_grad():
        torch_ = heard.eval()(torch.from_numpy(window).unsqueeze(0), heard.start(1))[0].numpy()
    as_heard, as_float = (np.abs(torch_ - outputs[name]).mean() for name in ("static", "float"))
    assert as_heard < 0.02
    assert as_heard < as_float


def test_it_trains_as_any_model_and_comes_back() -> None:
    given_ = model()
    heard = aware(given_, clips(COLUMNS))
    layers = [one for one in heard.modules() if isinstance(one, RoundedLinear)]
    assert len(layers) == len(spans(heard)) == 4
    for optimizer in optimizers(heard, torch.nn.Identity(), TrainSpec()):
        heard(torch.randn(1, 32, COLUMNS), heard.start(1))[0].sum().backward()
        optimizer.step()
    assert any(span != before for span, before in zip(
        spans(heard).values(), spans(aware(given_, clips(COLUMNS))).values(), strict=True
    ))  # fmt: skip
    weights = plain(heard).state_dict()
    assert weights.keys() == given_.state_dict().keys()
    assert not torch.equal(
        weights["stack.project.weight"], given_.state_dict()["stack.project.weight"]
    )

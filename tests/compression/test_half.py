"""Graphs in half precision."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from aimass.base.errors import TrainingError
from aimass.compression.export import export
from aimass.compression.half import half
from aimass.models.model import SpeechModel
from aimass.models.spec import Family, Head, ModelSpec

from .speech import clips


@pytest.mark.parametrize(
    ("family", "head"), [("conv", "classify"), ("recurrent", "ctc"), ("attention", "classify")]
)
def test_half_the_size_and_the_same_answers(tmp_path: Path, family: Family, head: Head) -> None:
    spec = ModelSpec(family, head, 40, 9, channels=64, blocks=1, floor=-6.5)
    export(SpeechModel(spec).eval(), tmp_path / "float.onnx")
    difference = half(tmp_path / "float.onnx", tmp_path / "half.onnx", clips(40))
    assert 0 < difference < 0.01
    sizes = [(tmp_path / f"{name}.onnx").stat().st_size for name in ("half", "float")]
    assert sizes[0] < 0.8 * sizes[1]
    graph = onnx.load(tmp_path / "half.onnx").graph
    outside = [one.type.tensor_type.elem_type for one in (*graph.input, *graph.output)]
    assert onnx.TensorProto.FLOAT16 not in outside


def test_what_does_not_fit_is_refused(tmp_path: Path) -> None:
    model = SpeechModel(ModelSpec("conv", "ctc", 40, 9, channels=16, blocks=1)).eval()
    model.get_parameter("encoder.layers.0.contract.weight").data *= 1e6
    model.get_parameter("encoder.layers.0.expand.weight").data *= 1e3
    export(model, tmp_path / "float.onnx")
    with pytest.raises(TrainingError, match="in half precision a probability differs"):
        half(tmp_path / "float.onnx", tmp_path / "half.onnx", [np.concatenate(clips(40))])

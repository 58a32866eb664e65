"""`aimass compress sherpa`: a model for phones from its name or its folder."""

import json
from pathlib import Path

from aimass.registry import bundle as bundles
from aimass.runtime.load import shipped

from .conftest import Command


def test_a_model_by_name(aimass: Command, tmp_path: Path) -> None:
    said = aimass("compress", "sherpa", "digits", str(tmp_path / "out"), "--release", "2.0.0")
    assert said.code == 0
    assert "Feed 0.76 s of silence" in said.out
    names = {path.name for path in (tmp_path / "out").iterdir()}
    assert names == {"model.onnx", "tokens.txt", "LICENCE.txt", "README.md"}


def test_a_model_by_folder_for_programs(aimass: Command, tmp_path: Path) -> None:
    folder = str(shipped()["digits"])
    options = ("--release", "1.13.8", "--window", "8", "--json", "--server", tmp_path / "server")
    said = aimass("compress", "sherpa", folder, str(tmp_path / "out"), *options)
    found = json.loads(said.out)
    assert (found["window"], found["silence"], found["settled"]) == (8, 0.52, True)
    assert found["folder"] == str(tmp_path / "out")
    assert bundles.load(tmp_path / "server").form.precision == "stored"
    assert found["size"] == sum(
        (tmp_path / "out" / name).stat().st_size for name in ("model.onnx", "tokens.txt")
    )


def test_features_of_another_release(aimass: Command, tmp_path: Path) -> None:
    said = aimass("compress", "sherpa", "digits", str(tmp_path / "out"))
    assert said.code == 5
    assert "features: {kind: nemo}" in said.err
    assert not (tmp_path / "out").exists()


def test_no_such_model(aimass: Command, tmp_path: Path) -> None:
    assert aimass("compress", "sherpa", "nobody", str(tmp_path / "out")).code == 5

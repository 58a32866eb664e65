"""Every family of errors ends with its exit code, one message on stderr, and a clean stdout."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from aimass.base import errors
from aimass.base.errors import AimassError
from aimass.lifecycle.stages import Stages
from data.folders import DIGITS, digits_folder, rows_of

from .conftest import Command, Said

ONE = DIGITS / rows_of(["one"])[0][0]


def failed(said: Said, code: int, *words: str) -> None:
    assert said.code == code, said.err
    assert said.out == ""
    assert "Traceback" not in said.err
    for word in words:
        assert word in said.err, f"{word!r} is not in: {said.err}"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["nonsense"], "No such command 'nonsense'"),
        (["transcribe"], "Missing argument"),
        (["transcribe", ONE, "--colour", "red"], "No such option"),
        (
            ["transcribe", ONE, "--model", "digits", "--format", "pdf"],
            "request_error: format 'pdf'",
        ),
        (["eval"], "Missing option '--data'"),
        (["eval", "--data", DIGITS, "--model", "digits", "--metric", "x"], "metric 'x'"),
        (["serve", "--port", "many"], "Invalid value for '--port'"),
        (["serve", "--port", "65536"], "Invalid value for '--port'"),
        (["models", "nonsense"], "No such command"),
        (["build"], "Missing argument"),
    ],
)
def test_wrong_usage(aimass: Command, arguments: list[Any], words: str) -> None:
    failed(aimass(*arguments), 2, words)


@pytest.mark.parametrize("arguments", [[], ["models"]])
def test_nothing_to_do_shows_help(aimass: Command, arguments: list[str]) -> None:
    said = aimass(*arguments)
    assert said.code in (0, 2) and "Traceback" not in said.err
    assert "Usage" in said.out + said.err


def test_a_wrong_setting(aimass: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMASS_MAX_UPLOAD_MB", "plenty")
    failed(aimass("models", "list"), 2, "AIMASS_MAX_UPLOAD_MB", "plenty", "valid integer")


@pytest.mark.parametrize(
    ("content", "code"),
    [
        (None, "audio_not_found"),
        (b"", "empty_audio"),
        (b"%PDF-1.7\n" + b"x" * 500, "not_audio"),
        (ONE.read_bytes()[: ONE.stat().st_size // 2], "_audio"),
    ],
)
def test_audio(aimass: Command, tmp_path: Path, content: bytes | None, code: str) -> None:
    path = tmp_path / "a.flac"
    if content is not None:
        path.write_bytes(content)
    failed(aimass("transcribe", path, "--model", "digits"), 3, code)


def test_data(aimass: Command, tmp_path: Path) -> None:
    failed(aimass("eval", "--data", tmp_path, "--model", "digits"), 4, "data_error")
    failed(aimass("eval", "--data", DIGITS, "--model", "digits", "--split", "dev"), 4, "'dev'")


def test_audio_in_data_to_evaluate(aimass: Command, tmp_path: Path) -> None:
    (tmp_path / "a.flac").write_bytes(b"no sound")
    (tmp_path / "metadata.tsv").write_text("file\ttext\na.flac\tone\n")
    said = aimass("eval", "--data", tmp_path, "--model", "digits")
    failed(said, 3, "not_audio", str(tmp_path / "a.flac"))


def test_scenario(aimass: Command, tmp_path: Path) -> None:
    failed(aimass("build", tmp_path / "none.yaml"), 4, "scenario_error", "there is no file")
    (tmp_path / "a.yaml").write_text("nmae: x\ntask: transcribe\nname: x\ndata: {train: x}")
    failed(aimass("build", tmp_path / "a.yaml"), 4, "Did you mean 'name'?")
    (tmp_path / "b.yaml").write_text("task: transcribe\nname: x\ndata: {train: nowhere}")
    failed(aimass("build", tmp_path / "b.yaml"), 4, "data_error", "nowhere is not there")


@pytest.mark.parametrize("command", [["transcribe", ONE], ["eval", "--data", DIGITS]])
def test_unknown_model(aimass: Command, command: list[Any]) -> None:
    said = aimass(*command, "--model", "nobody")
    failed(said, 5, "unknown_model: there is no model 'nobody'", "digits", "aimass models list")
    failed(aimass(*command, "--model", "../etc"), 5, "is no model name")
    failed(aimass(*command), 5, "whisper-base", "aimass models pull whisper-base")


@pytest.mark.parametrize("command", ["show", "verify"])
def test_unknown_model_by_other_commands(aimass: Command, command: str) -> None:
    failed(aimass("models", command, "nobody"), 5, "there is no model 'nobody'")


def test_something_missing(aimass: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    failed(aimass("build", "a.yaml"), 6, "missing_extra", "pip install 'aimass[train]'")


def test_something_not_fetched(aimass: Command) -> None:
    said = aimass("models", "pull", "nobody")
    assert said.code in (5, 6) and said.out == "" and "nobody" in said.err


@pytest.fixture
def scenario(tmp_path: Path) -> Iterator[Path]:
    digits_folder(tmp_path / "words", ["zero"])
    path = tmp_path / "scenario.yaml"
    path.write_text("name: zero\ntask: transcribe\ndata: {train: words}\ntraining: {epochs: 1}\n")
    yield path


def test_training(aimass: Command, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(*args: object) -> None:
        raise errors.TrainingError("the loss became nan", expected="a number", fix="Lower it")

    monkeypatch.setattr("aimass.lifecycle.build.train_members", fails)
    failed(aimass("build", scenario), 7, "training_error: the loss became nan")


def test_audio_in_training_data(aimass: Command, scenario: Path) -> None:
    broken = next((scenario.parent / "words/audio").glob("*_5.flac"))
    broken.write_bytes(b"no sound")
    failed(aimass("build", scenario), 4, broken.name, "unreadable: 1", "exclude: [unreadable]")


def test_a_model_in_production_that_is_not_there(aimass: Command, scenario: Path) -> None:
    failed(aimass("due", scenario, "--data", DIGITS), 5, "no version of 'zero' is in production")


def test_a_scenario_without_ranges(aimass: Command, scenario: Path) -> None:
    failed(aimass("tune", scenario), 4, "declares nothing to tune")


def test_service(aimass: Command, scenario: Path, home: Path) -> None:
    with Stages(home / "builds/zero").lock():
        failed(aimass("build", scenario), 8, "service_error: another build")


def test_interrupted(aimass: Command, scenario: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupts(*args: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("aimass.lifecycle.build.train_members", interrupts)
    failed(aimass("build", scenario), 130)


def every_error(kind: type[AimassError] = AimassError) -> Iterator[type[AimassError]]:
    for child in kind.__subclasses__():
        yield child
        yield from every_error(child)


@pytest.mark.parametrize("kind", list(every_error()))
def test_every_error_of_the_tree(
    aimass: Command, monkeypatch: pytest.MonkeyPatch, kind: type[AimassError]
) -> None:
    def fails(name: str | None) -> None:
        raise kind("found [/x]", expected="[bold]other[/]", fix="Do [this]")

    monkeypatch.setattr("aimass.runtime.load.load", fails)
    said = aimass("transcribe", ONE)
    wanted = "found [/x]. Expected [bold]other[/]. Do [this].\n"
    failed(said, kind.exit_code)
    assert said.err.endswith(f": {wanted}")
    assert 2 <= said.code <= 130


def test_an_unforeseen_fault_is_not_hidden(
    aimass: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(name: str | None) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr("aimass.runtime.load.load", fails)
    with pytest.raises(ZeroDivisionError):  # Python ends with a traceback and 1
        aimass("transcribe", ONE)


def test_a_damaged_model(aimass: Command, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from aimass.runtime.load import shipped

    damaged = Path(shutil.copytree(shipped()["digits"], tmp_path / "digits"))
    with (damaged / "model.onnx").open("ab") as file:
        file.write(b"x")
    monkeypatch.setattr("aimass.runtime.load.shipped", lambda: {"digits": damaged})
    failed(aimass("transcribe", ONE, "--model", "digits"), 5, "integrity_error", "model.onnx")

"""The program as a child process: what it imports, prints where, and how it ends."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
import soundfile

from data.folders import DIGITS, digits_folder, rows_of
from runtime.digits import RATE, clips, in_a_row

ONE = DIGITS / rows_of(["one"])[0][0]
AIMASS = [sys.executable, "-c", "from aimass.cli.main import run; run()"]
HEAVY = (
    "torch", "lhotse", "onnxruntime", "mlflow", "fastapi", "av", "soundfile",
    "faster_whisper", "sherpa_onnx", "kaldi_native_fbank", "scipy", "sqlalchemy",
)  # fmt: skip


def environment(home: Path) -> Mapping[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIMASS_")}
    return kept | {"AIMASS_HOME": str(home)}


def test_the_program_is_installed(tmp_path: Path) -> None:
    program = Path(sys.executable).with_name("aimass")
    done = subprocess.run(
        [program, "transcribe", ONE, "--model", "digits"],
        env=environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("one\n", "")


@pytest.mark.parametrize("arguments", [["--help"], ["transcribe", "--help"], ["nonsense"]])
def test_help_imports_nothing_heavy(tmp_path: Path, arguments: list[str]) -> None:
    code = (
        "import sys, json\n"
        "from aimass.cli.main import run\n"
        f"sys.argv = ['aimass', *{arguments!r}]\n"
        "try: run()\n"
        "except SystemExit: pass\n"
        "sys.stderr.write('MODULES' + json.dumps(sorted(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=environment(tmp_path), capture_output=True, text=True, check=True,
    )  # fmt: skip
    modules = set(json.loads(done.stderr.partition("MODULES")[2]))
    assert "typer" in modules  # it did run
    assert modules.isdisjoint(HEAVY)
    assert not list(tmp_path.iterdir())  # and left nothing behind


def on_a_terminal(home: Path, *arguments: str) -> tuple[int, str, str]:
    """Exit code, stdout from a pipe, and what a terminal at stderr was shown."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [*AIMASS, *arguments],
        env={**environment(home), "TERM": "xterm", "COLUMNS": "100"},
        stdout=subprocess.PIPE, stderr=theirs, text=True,
    ) as child:  # fmt: skip
        os.close(theirs)
        shown = b""
        while True:
            try:
                part = os.read(ours, 65536)
            except OSError:  # the child closed its end
                break
            if not part:
                break
            shown += part
        assert child.stdout is not None
        out = child.stdout.read()
    os.close(ours)
    return child.returncode, out, shown.decode(errors="replace")


def test_progress_is_for_the_terminal_alone(tmp_path: Path) -> None:
    sound, _ = in_a_row(clips()[::6], pause=12.0)
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    arguments = ["transcribe", str(tmp_path / "long.wav"), "--model", "digits", "--format", "json"]
    code, out, shown = on_a_terminal(tmp_path / "home", *arguments)
    assert code == 0
    assert len(json.loads(out)["text"].split()) >= 8
    assert "transcribe" in shown and "\x1b[" in shown
    quiet = subprocess.run(
        [*AIMASS, *arguments],
        env=environment(tmp_path / "home"), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (quiet.stdout, quiet.stderr) == (out, "")


def test_a_reader_that_goes_away_is_no_error(tmp_path: Path) -> None:
    with subprocess.Popen(
        [*AIMASS, "transcribe", str(ONE), "--model", "digits"],
        env=environment(tmp_path), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        assert child.stdout is not None and child.stderr is not None
        child.stdout.close()
        told = child.stderr.read()
    assert (child.returncode, told) == (0, "")


def test_an_interrupt_in_training_ends_with_130_and_resumes(tmp_path: Path) -> None:
    digits_folder(tmp_path / "words", ["zero"])
    (tmp_path / "a.yaml").write_text(
        "name: zero\ntask: transcribe\ndata: {train: words}\n"
        "training: {epochs: 5000, batch_size: 4}\n"
    )
    home = tmp_path / "home"
    with subprocess.Popen(
        [*AIMASS, "build", str(tmp_path / "a.yaml")],
        env=environment(home), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    ) as child:  # fmt: skip
        while not list(home.glob("builds/zero/unfinished/*/checkpoint.safetensors")):
            assert child.poll() is None
        child.send_signal(signal.SIGINT)
        out, told = child.communicate(timeout=120)
    assert child.returncode == 130
    assert out == ""
    assert "Traceback" not in told
    assert list(home.glob("builds/zero/unfinished/*/checkpoint.safetensors"))

"""The scripts behind ``make up`` and ``make down``, with a small stand-in for the program."""

import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

SCRIPTS = Path(__file__).parents[2] / "scripts"

PROGRAM = """#!{python}
import http.server, os, sys, time
how = os.environ.get("STAND_IN", "")
if sys.argv[1] == "models":
    sys.exit(how == "no model")
port = int(sys.argv[sys.argv.index("--port") + 1])
print("starting", sys.argv[1:], flush=True)
if how == "dies":
    sys.exit("no such model")
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        late = how == "slow" and time.monotonic() < start + 1
        self.send_response(503 if late or self.path != "/readyz" else 200)
        self.end_headers()
    def log_message(self, *said): ...
start = time.monotonic()
http.server.HTTPServer(("127.0.0.1", port), Handler).serve_forever()
"""

Run = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """The scripts in a folder of their own, beside an environment that is set up."""
    shutil.copytree(SCRIPTS, tmp_path / "clone" / "scripts")
    program = tmp_path / "clone" / ".venv" / "bin" / "aimass"
    program.parent.mkdir(parents=True)
    program.write_text(PROGRAM.replace("{python}", sys.executable), encoding="utf-8")
    program.chmod(0o755)
    return tmp_path / "clone"


@pytest.fixture
def run(clone: Path, port: int) -> Iterator[Run]:
    kept = {k: v for k, v in os.environ.items() if k not in {"MODEL", "STAND_IN", "PORT"}}
    environment = kept | {"AIMASS_HOME": str(clone / "home"), "PORT": str(port)}

    def run(job: str, **more: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, str(clone / "scripts/service.py"), job],
            env=environment | more,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    yield run
    run("down")


def listening(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("how", ["", "slow"])
def test_up_waits_until_ready_and_says_what_to_type(run: Run, port: int, how: str) -> None:
    done = run("up", STAND_IN=how)
    assert done.returncode == 0, done.stderr
    line = (
        f"curl -s http://127.0.0.1:{port}/v1/audio/transcriptions"
        " -F file=@samples/jfk.wav -F model=whisper-base"
    )
    assert line in done.stdout
    assert listening(port)


def test_up_twice_says_so_and_starts_nothing(run: Run, clone: Path, port: int) -> None:
    run("up")
    pid = (clone / "home" / f"service-{port}.pid").read_text()
    again = run("up", STAND_IN="no model")
    assert again.returncode == 0
    assert "already up" in again.stdout
    assert "curl -s" in again.stdout
    assert (clone / "home" / f"service-{port}.pid").read_text() == pid


def test_up_serves_the_named_model(run: Run) -> None:
    assert "-F model=other" in run("up", MODEL="other").stdout
    assert "'--preload', 'other'" in run("logs").stdout


def test_a_start_that_fails_shows_the_log(run: Run, clone: Path, port: int) -> None:
    done = run("up", STAND_IN="dies")
    assert done.returncode == 1
    assert "stopped while starting" in done.stderr
    assert "no such model" in done.stderr
    assert "curl" not in done.stdout
    assert not list((clone / "home").glob("*.pid"))


def test_a_taken_port_is_named(run: Run, port: int) -> None:
    with socket.create_server(("127.0.0.1", port)):
        done = run("up")
    assert done.returncode == 1
    assert f"port {port}" in done.stderr
    assert "make up PORT=" in done.stderr


def test_a_model_that_cannot_be_fetched_stops_the_start(run: Run, port: int) -> None:
    done = run("up", STAND_IN="no model")
    assert done.returncode == 1
    assert "could not be fetched" in done.stderr
    assert not listening(port)


def test_down_stops_it_and_may_be_repeated(run: Run, port: int) -> None:
    run("up")
    assert "is down" in run("down").stdout
    assert not listening(port)
    again = run("down")
    assert again.returncode == 0
    assert "not running" in again.stdout


def test_down_leaves_another_process_with_the_same_pid_alone(
    run: Run, clone: Path, port: int
) -> None:
    (clone / "home").mkdir()
    with subprocess.Popen(["sleep", "60"]) as other:
        (clone / "home" / f"service-{port}.pid").write_text(str(other.pid))
        assert "not running" in run("down").stdout
        assert other.poll() is None
        other.kill()


def test_logs_without_a_service(run: Run) -> None:
    done = run("logs")
    assert done.returncode == 1
    assert "make up" in done.stderr


@pytest.mark.parametrize("wrong", ["x", "0", "70000", "-1"])
def test_a_port_that_is_none(run: Run, wrong: str) -> None:
    done = run("up", PORT=wrong)
    assert done.returncode == 1
    assert "PORT" in done.stderr


def setup(clone: Path, what: str, python: str) -> subprocess.CompletedProcess[str]:
    (clone / "pyproject.toml").write_text("a")
    (clone / "constraints.txt").write_text("b")
    return subprocess.run(
        [str(clone / "scripts/setup"), what],
        env=os.environ | {"PYTHON": python},
        capture_output=True,
        text=True,
        check=False,
    )


def test_set_up_refuses_an_old_python(clone: Path) -> None:
    old = clone / "old"
    old.write_text("#!/bin/sh\n[ $1 = --version ] && echo Python 3.10.1 && exit 0\nexit 1\n")
    old.chmod(0o755)
    done = setup(clone, "serve", str(old))
    assert done.returncode == 1
    assert "found Python 3.10.1. Expected Python 3.11 or newer" in done.stderr


def test_set_up_says_when_there_is_no_python(clone: Path) -> None:
    done = setup(clone, "serve", "no-such-python")
    assert done.returncode == 1
    assert "no no-such-python found" in done.stderr


def test_set_up_names_its_sets(clone: Path) -> None:
    done = setup(clone, "everything", sys.executable)
    assert done.returncode == 1
    assert "Expected serve, train or dev" in done.stderr


@pytest.mark.parametrize(
    ("there", "asked"), [("serve", "serve"), ("dev", "dev"), ("dev", "serve"), ("train", "serve")]
)
def test_set_up_does_nothing_twice(clone: Path, there: str, asked: str) -> None:
    total = subprocess.run(["cksum"], input="ab", capture_output=True, text=True, check=True)
    stamp = "-".join(total.stdout.split())
    (clone / ".venv" / "installed").write_text(f"{there} {stamp}\n")
    done = setup(clone, asked, sys.executable)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")

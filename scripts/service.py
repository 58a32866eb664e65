#!/usr/bin/env python3
"""Starts, stops and shows the service in the background.

``service.py up|down|logs``, with the standard library alone. The port comes from PORT (8080), the
model to load first from MODEL (whisper-base), the home from AIMASS_HOME (``~/.aimass``); pid and
log stand in the home, named after the port.
"""

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
HOST = "127.0.0.1"
START_SECONDS = 600.0  # a first start may load a large model from a slow disk
STOP_SECONDS = 30.0
TAIL_LINES = 30


class Failure(Exception):
    """Something to tell and to stop at."""


class Service:
    """One port's service: where its files are and how to reach it."""

    def __init__(self, port: int, model: str, home: Path, program: str) -> None:
        self.port = port
        self.model = model
        self.program = program
        self.home = home
        self.pid_file = home / f"service-{port}.pid"
        self.log_file = home / f"service-{port}.log"

    @property
    def line(self) -> str:
        """A command that shows the service working."""
        url = f"http://{HOST}:{self.port}/v1/audio/transcriptions"
        return f"curl -s {url} -F file=@samples/jfk.wav -F model={self.model}"

    def pid(self) -> int | None:
        """The running service that we started, if it still runs.

        A pid can be given again to another process, so the command must be ours as well.
        """
        try:
            pid = int(self.pid_file.read_text())
        except (OSError, ValueError):
            return None
        words = command(pid)
        return pid if "serve" in words and str(self.port) in words else None

    def ready(self) -> bool:
        """Whether ``GET /readyz`` answers 200."""
        connection = http.client.HTTPConnection(HOST, self.port, timeout=5)
        try:
            connection.request("GET", "/readyz")
            return connection.getresponse().status == 200
        except (OSError, http.client.HTTPException):
            return False
        finally:
            connection.close()

    def check_port(self) -> None:
        """Refuse a port that another program listens on."""
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((HOST, self.port))
            except OSError as error:
                raise Failure(
                    f"port {self.port} cannot be used: {error.strerror}. Expected a free port. "
                    f"Stop the program that has it, or choose another: make up PORT={self.port + 1}"
                ) from error

    def start(self) -> subprocess.Popen[bytes]:
        """Start the service in a session of its own, so that it outlives the terminal."""
        command = [self.program, "serve", "--host", HOST, "--port", str(self.port)]
        with self.log_file.open("wb") as log:
            process = subprocess.Popen(
                [*command, "--preload", self.model],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.pid_file.write_text(f"{process.pid}\n")
        return process

    def stop(self, pid: int) -> None:
        """Ask the service to finish its requests and end; make it end if it does not."""
        os.kill(pid, signal.SIGTERM)
        for _ in every(0.1, STOP_SECONDS):
            if self.pid() is None:
                break
        else:
            os.kill(pid, signal.SIGKILL)
        self.pid_file.unlink(missing_ok=True)

    def tail(self) -> str:
        """The end of the log."""
        lines = self.log_file.read_text(errors="replace").splitlines()
        return "\n".join(lines[-TAIL_LINES:])


def command(pid: int) -> list[str]:
    """The words of a process's command line; none when it is gone or only waits to be reaped."""
    if Path("/proc/self").exists():  # small containers have no ps
        try:
            return Path(f"/proc/{pid}/cmdline").read_text(errors="replace").split("\0")
        except OSError:
            return []
    shown = subprocess.run(
        ["ps", "-o", "command=", "-p", str(pid)], capture_output=True, text=True, check=False
    )
    return shown.stdout.split()


def every(pause: float, seconds: float) -> Iterator[float]:
    """Seconds gone by, again and again, until there are too many."""
    start = time.monotonic()
    while (gone := time.monotonic() - start) < seconds:
        yield gone
        time.sleep(pause)


def up(service: Service) -> None:
    """Start the service unless it runs, wait until it answers, and say how to use it."""
    pid = service.pid()
    if pid and service.ready():
        print(f"AI Mass is already up on port {service.port} (pid {pid}).")
    else:
        process = None
        if not pid:
            service.check_port()
            service.home.mkdir(parents=True, exist_ok=True)
            pull(service)
            process = service.start()
        wait(service, process)
        print(f"AI Mass is up on port {service.port}; its log is {service.log_file}.")
    print(f"Try it:\n\n    {service.line}\n")


def pull(service: Service) -> None:
    """Fetch the model, unless it is there."""
    if subprocess.run([service.program, "models", "pull", service.model], check=False).returncode:
        raise Failure(
            f"the model {service.model} could not be fetched; the message above says why. "
            "Try again when the cause is gone: what was fetched stays"
        )


def wait(service: Service, process: subprocess.Popen[bytes] | None) -> None:
    """Wait until the service answers; say what its log says if it died."""
    told = False
    try:
        for gone in every(0.2, START_SECONDS):
            died = process.poll() is not None if process else service.pid() is None
            if died:
                service.pid_file.unlink(missing_ok=True)
                raise Failure(
                    f"the service stopped while starting. The end of {service.log_file}:\n\n"
                    f"{service.tail()}"
                )
            if service.ready():
                return
            if gone > 2 and not told:
                print(f"Loading {service.model} ...", flush=True)
                told = True
    except KeyboardInterrupt:
        if process:
            process.terminate()
            process.wait()
            service.pid_file.unlink(missing_ok=True)
        raise Failure("stopped while the service was starting") from None
    raise Failure(
        f"the service did not get ready in {START_SECONDS:.0f} s; it still runs (make down stops "
        f"it). The end of {service.log_file}:\n\n{service.tail()}"
    )


def down(service: Service) -> None:
    """Stop the service if it runs."""
    pid = service.pid()
    if pid:
        service.stop(pid)
        print(f"AI Mass on port {service.port} is down.")
    else:
        service.pid_file.unlink(missing_ok=True)
        print(f"AI Mass is not running on port {service.port}.")


def logs(service: Service) -> None:
    """Show the log; on a terminal, go on as it grows."""
    if not service.log_file.exists():
        raise Failure(f"no log at {service.log_file}. Expected a service: make up starts one")
    follow = ["-f"] if sys.stdout.isatty() else []
    with contextlib.suppress(KeyboardInterrupt):
        subprocess.run(["tail", "-n", "200", *follow, str(service.log_file)], check=True)


JOBS = {"up": up, "down": down, "logs": logs}


def main(arguments: list[str]) -> int:
    """Run one job; give the exit code."""
    try:
        job = JOBS.get(arguments[0] if arguments else "")
        port = os.environ.get("PORT") or "8080"
        if job is None:
            raise Failure(f"found {arguments}. Expected one of {', '.join(JOBS)}")
        if not (port.isdecimal() and 0 < int(port) < 65536):
            raise Failure(f"PORT is {port!r}. Expected a number from 1 to 65535")
        home = Path(os.environ.get("AIMASS_HOME") or Path.home() / ".aimass").absolute()
        program = str(ROOT / ".venv/bin/aimass")
        job(Service(int(port), os.environ.get("MODEL") or "whisper-base", home, program))
    except Failure as failure:
        print(f"aimass: {failure}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The real server in a process of its own."""

import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

import httpx
from prometheus_client.parser import text_string_to_metric_families

PATIENCE = 60.0  # seconds until a test that would hang fails instead
_COMMAND = "from aimass.cli.main import run; run()"
_LISTENING = re.compile(r"listening on (http://\S+)")


class Server:
    """`aimass serve` on a free port, from its start to its exit code.

    Args:
        home: its ``AIMASS_HOME``.
        settings: further ``AIMASS_*`` variables, without the prefix.
    """

    def __init__(self, home: Path, *arguments: str, settings: Mapping[str, object] = {}) -> None:
        given = {f"AIMASS_{name}": str(value) for name, value in settings.items()}
        self._process = subprocess.Popen(
            [sys.executable, "-c", _COMMAND, "serve", "--port", "0", *arguments],
            env=os.environ | {"AIMASS_HOME": str(home)} | given,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )
        self.log: list[str] = []
        self._address: str | None = None
        self._known = threading.Event()
        self._reading = threading.Thread(target=self._read, daemon=True)
        self._reading.start()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.log.append(line)
            if match := _LISTENING.search(line):
                self._address = match[1]
                self._known.set()
        self._known.set()

    @property
    def url(self) -> str:
        """Where it listens, as soon as its log says so."""
        assert self._known.wait(PATIENCE) and self._address, "".join(self.log)
        return self._address

    def get(self, path: str) -> httpx.Response:
        return httpx.get(self.url + path, timeout=PATIENCE)

    def ready(self) -> "Server":
        """Wait until every model asked for is loaded."""
        until(lambda: self._answers(200), "the server never became ready")
        return self

    def _answers(self, status: int) -> bool:
        assert self._process.poll() is None, "".join(self.log)
        try:
            return self.get("/readyz").status_code == status
        except httpx.TransportError:
            return False

    def value(self, name: str, **labels: str) -> float:
        """The sum of the samples of one metric whose labels include these."""
        families = text_string_to_metric_families(self.get("/metrics").text)
        return sum(
            sample.value
            for family in families
            for sample in family.samples
            if sample.name == name and labels.items() <= sample.labels.items()
        )

    @property
    def memory_mb(self) -> float:
        """Resident memory."""
        command = ["ps", "-o", "rss=", "-p", str(self._process.pid)]
        return int(subprocess.check_output(command, text=True)) / 1024

    def terminate(self) -> None:
        self._process.send_signal(signal.SIGTERM)

    def exit_code(self) -> int:
        """Wait for the end."""
        code = self._process.wait(PATIENCE)
        self._reading.join(PATIENCE)
        return code

    def __enter__(self) -> "Server":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it the way a service manager does, and hold it to a clean end."""
        if self._process.poll() is None:
            self.terminate()
        try:
            code = self.exit_code()
        finally:
            self._process.kill()
        if error is None:
            assert code == 0, "".join(self.log)
            assert "Traceback" not in "".join(self.log), "".join(self.log)


def until(true: Callable[[], bool], why: str) -> None:
    """Wait for something that another process does."""
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline, why
        time.sleep(0.05)

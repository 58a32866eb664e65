"""What a machine has, what it lacks, and what to type."""

import shutil
import socket
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from aimass.base.errors import AimassError
from aimass.base.settings import Settings, settings
from aimass.registry import pretrained
from aimass.runtime.load import Parallelism, open_model, resolve, shipped

EXTRAS = {
    "whisper": ("faster-whisper", "pretrained Whisper models"),
    "sherpa": ("sherpa-onnx", "models of the sherpa-onnx zoo"),
    "train": ("torch", "training your own models"),
}
TARGETS = {"whisper": "make up", "sherpa": "make trainer", "train": "make trainer"}
FREE_GB = 2.0


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Args:
        needed: whether the service cannot run without it.
    """

    what: str
    found: str
    ok: bool
    fix: str = ""
    needed: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return asdict(self)


def doctor(config: Settings | None = None) -> list[Finding]:
    """Look at the interpreter, extras, models, disk and port."""
    config = config or settings()
    return [
        _python(),
        *_extras(),
        *_shipped(),
        _default_model(config),
        _home(config),
        _workers(config),
        _port(),
    ]


def _python() -> Finding:
    found = ".".join(map(str, sys.version_info[:3]))
    ok = sys.version_info >= (3, 11)
    return Finding("Python", found, ok, "" if ok else "Install Python 3.11 or newer", needed=True)


def _extras() -> Iterator[Finding]:
    for extra, (package, purpose) in EXTRAS.items():
        try:
            yield Finding(f"{extra}: {purpose}", f"{package} {version(package)}", True)
        except PackageNotFoundError:
            fix = f"pip install 'aimass[{extra}]'; in a clone: {TARGETS[extra]}"
            yield Finding(f"{extra}: {purpose}", f"no {package}", False, fix)


def _shipped() -> Iterator[Finding]:
    for name in shipped():
        try:
            open_model(resolve(name))
            yield Finding(f"model {name}", "loads and reproduces its golden output", True)
        except AimassError as error:
            yield Finding(f"model {name}", error.found, False, error.fix, needed=True)


def _default_model(config: Settings) -> Finding:
    what = f"default model {config.default_model}"
    try:
        model = resolve(config.default_model, config)
        if model.kind != "bundle":
            pretrained.verify(model.folder)
        return Finding(what, f"{model.source}, whole", True)
    except AimassError as error:
        return Finding(what, error.found, False, error.fix)


def _home(config: Settings) -> Finding:
    there = next(p for p in (config.home, *config.home.resolve().parents) if p.exists())
    free = shutil.disk_usage(there).free / 1e9
    fix = "" if free >= FREE_GB else "Free some space, or set AIMASS_HOME to another disk"
    return Finding(f"home {config.home}", f"{free:.0f} GB free", free >= FREE_GB, fix)


def _workers(config: Settings) -> Finding:
    parallelism = Parallelism.of_machine(config.workers)
    found = f"{parallelism.workers} recognitions at once, {parallelism.threads} thread(s) each"
    return Finding("workers", found, True, "AIMASS_WORKERS changes it")


def _port(port: int = 8080) -> Finding:
    with socket.socket() as probe:
        taken = probe.connect_ex(("127.0.0.1", port)) == 0
    if taken:
        return Finding(f"port {port}", "something listens there", True, "aimass serve --port N")
    return Finding(f"port {port}", "free", True)

"""Runs in a child process: imports modules and writes what happened as JSON.

``probe.py changes RESULT MODULE`` tells what an import changed in the process.
``probe.py blocked RESULT NAMES MODULE...`` imports modules where the comma-separated NAMES, and
everything below them, cannot be found.
"""

import importlib
import json
import logging
import os
import signal
import sys
import threading
import warnings
from importlib.abc import MetaPathFinder
from pathlib import Path
from types import ModuleType
from typing import Any


def state() -> dict[str, Any]:
    """What an import must leave alone."""
    tasks = Path("/proc/self/task")
    loggers = [logging.getLogger(), *map(logging.getLogger, logging.root.manager.loggerDict)]
    return {
        "threads": len(list(tasks.iterdir())) if tasks.exists() else threading.active_count(),
        "environment": dict(os.environ),
        "working directory": str(Path.cwd()),
        "logging": [repr(handler) for logger in loggers for handler in logger.handlers],
        "signals": [repr(signal.getsignal(number)) for number in signal.valid_signals()],
        "warning filters": len(warnings.filters),
        "search path": list(sys.path),
        "finders": len(sys.meta_path),
    }


def changes(module: str) -> dict[str, list[str]]:
    """Import a module and tell which packages it loaded and what else it changed."""
    before, loaded = state(), set(sys.modules)
    importlib.import_module(module)
    new = {name.partition(".")[0] for name in set(sys.modules) - loaded}
    after = state()
    return {
        "loaded": sorted(new),
        "changed": [name for name in before if before[name] != after[name]],
    }


class Blocked(MetaPathFinder):
    """Finds nothing below some names, and stops others from finding it."""

    def __init__(self, names: list[str]) -> None:
        self.names = names

    def find_spec(self, name: str, path: object, target: ModuleType | None = None) -> None:
        """Refuse a blocked name; leave the rest to the other finders."""
        if any(name == blocked or name.startswith(blocked + ".") for blocked in self.names):
            raise ModuleNotFoundError(f"{name} is blocked here", name=name)


def blocked(names: str, *modules: str) -> dict[str, list[str]]:
    """Import modules without some packages and tell which of them failed."""
    sys.meta_path.insert(0, Blocked(names.split(",")))
    failed = []
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            failed.append(f"{module}: {type(error).__name__}: {error}")
    return {"failed": failed}


if __name__ == "__main__":
    job, result, *arguments = sys.argv[1:]
    told = changes(*arguments) if job == "changes" else blocked(*arguments)
    Path(result).write_text(json.dumps(told), encoding="utf-8")

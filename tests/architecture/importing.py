"""What importing really does, seen from outside a child process."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from .layers import HEAVY, RUNNING_SIDE, TRAINING_SIDE
from .source import NothingToCheck, Source

_PROBE = Path(__file__).with_name("probe.py")


def root_import_faults(root: Path, scratch: Path) -> list[str]:
    """Import the package at ``root`` alone: it must be silent, light and change nothing."""
    if not (root / "__init__.py").exists():
        raise NothingToCheck(f"no package at {root}")
    told, faults = _probe(root, scratch, "changes", root.name)
    allowed = {root.name, *sys.stdlib_module_names}
    faults += [f"loads {name}" for name in told.get("loaded", ()) if name not in allowed]
    faults += [f"changes the {what}" for what in told.get("changed", ())]
    return faults


def blocked_import_faults(source: Source, root: Path, folder: str, scratch: Path) -> list[str]:
    """Import every module of a running-side folder where torch and training cannot be found."""
    if folder not in RUNNING_SIDE:
        raise ValueError(f"{folder} is not on the running side")
    modules = [module.name for module in source.modules.values() if module.folder == folder]
    if not modules:
        raise NothingToCheck(f"no modules in {folder}")
    names = sorted(HEAVY) + [f"{source.package}.{side}" for side in sorted(TRAINING_SIDE)]
    told, faults = _probe(root, scratch, "blocked", ",".join(names), *modules, silent=False)
    return faults + list(told.get("failed", ()))


def _probe(
    root: Path, scratch: Path, job: str, *arguments: str, silent: bool = True
) -> tuple[dict[str, Any], list[str]]:
    """Run the probe in an empty home; give what it told, and what it did besides."""
    home = scratch / "home"
    home.mkdir(parents=True)
    result = scratch / "result.json"
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("AIMASS_", "PYTHON"))}
    environment = kept | {
        "HOME": str(home),
        "PYTHONPATH": str(root.parent),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    child = subprocess.run(
        [sys.executable, "-P", str(_PROBE), job, str(result), *arguments],
        cwd=home,
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )
    if not result.exists():
        return {}, [f"fails: {child.stderr.strip() or child.returncode}"]
    faults = [f"creates {path.relative_to(home)}" for path in home.rglob("*")] if silent else []
    if silent and (child.stdout or child.stderr):
        faults.append(f"says {(child.stdout + child.stderr).strip()!r}")
    return json.loads(result.read_text(encoding="utf-8")), faults

"""What models take in memory, each loaded beside others in a process that holds little else.

A process that has trained or measured has room left over, in which a model hides.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import BundleError
from aimass.runtime.evaluate import peak_memory_mb
from aimass.runtime.load import Model, open_model

TIMEOUT_SECONDS = 600


def memory_of(models: Mapping[str, tuple[str, Path]]) -> dict[str, float]:
    """Megabytes by which a fresh process grows as each model answers its first second of sound.

    Args:
        models: kind and folder by name, as `Model` has them.

    Raises:
        BundleError: a model that does not load there.
    """
    given = json.dumps([[name, kind, str(folder)] for name, (kind, folder) in models.items()])
    # -P: the folder that a user happens to work in is no place for modules.
    command = [sys.executable, "-P", "-m", "aimass.runtime.memory"]
    try:
        done = subprocess.run(  # noqa: S603 - our own module; names and folders go by a pipe
            command, input=given, capture_output=True, text=True, timeout=TIMEOUT_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _failed(models, f"it took over {TIMEOUT_SECONDS} s") from error
    if done.returncode:
        told = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise _failed(models, told)
    try:
        found: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    except (ValueError, IndexError) as error:
        raise _failed(models, f"it said {done.stdout[:100]!r}") from error
    return found


def _failed(models: Mapping[str, tuple[str, Path]], told: str) -> BundleError:
    return BundleError(
        f"a process that only loads {', '.join(models)} failed: {told[:300]}",
        expected="the memory that each of them takes",
        fix="See whether memory ran out, or verify them: aimass models verify NAME",
    )


def resident_mb() -> float:
    """What this process holds now, megabytes; the most it ever held where that is not told."""
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[1])
    except (OSError, ValueError, IndexError):
        return peak_memory_mb()
    return pages * resource.getpagesize() / 1e6


def _grown(models: list[tuple[str, str, str]]) -> dict[str, float]:
    """Load models one after the other; the first of them twice, for the libraries come with it."""
    found, engines = dict[str, float](), []
    for name, kind, folder in [models[0], *models]:
        before = resident_mb()
        engine = open_model(Model(name, name, kind, "registry", Path(folder)))
        engine.recognize(np.zeros(engine.sample_rate, np.float32), RecognizeOptions())
        engines.append(engine)  # kept until all are there, so that none takes another's place
        found[name] = max(0.0, resident_mb() - before)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_grown(json.load(sys.stdin))))

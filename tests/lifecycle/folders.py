"""A tiny scenario: three words by six speakers, trained for seconds, and children that build it."""

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from data.folders import digits_folder

WORDS = ("zero", "one", "six")
CHANCE = 2 / 3  # the error of guessing among three words
AIMASS = [sys.executable, "-c", "from aimass.cli.main import run; run()"]


def tiny_scenario(folder: Path, data: str = "words") -> Path:
    """Write the data and a scenario file beside it."""
    digits_folder(folder / data, WORDS)
    path = folder / "scenario.yaml"
    path.write_text(
        "name: three\ntask: transcribe\nlanguage: en\n"
        f"data:\n  train: {data}\n"
        "training: {epochs: 45, batch_size: 4, learning_rate: 8e-3}\n"
    )
    return path


def environment(home: Path) -> dict[str, str]:
    """The environment of a child with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIMASS_")}
    return kept | {"AIMASS_HOME": str(home)}


def aimass(home: Path, *arguments: str | Path) -> str:
    """What a command prints; its output must be clean and its exit code 0."""
    command = [*AIMASS, *map(str, arguments)]
    done = subprocess.run(
        command, env=environment(home), capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def aimass_json(home: Path, *arguments: str | Path) -> Any:
    """The same, as JSON."""
    return json.loads(aimass(home, *arguments))

"""Tiny scenarios, three words by six speakers, trained for seconds; and the commands on them."""

import io
import json
import os
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from aimass.base.settings import Settings, settings
from aimass.cli.main import run
from aimass.registry.bundle import Bundle
from data.folders import digits_folder

WORDS = ("zero", "one", "six")
CHANCE = 2 / 3  # the error of guessing among three words
AIMASS = [sys.executable, "-c", "from aimass.cli.main import run; run()"]
PLAIN: dict[str, Any] = {
    "name": "three",
    "task": "transcribe",
    "data": {"train": "words"},
    "augment": {"policy": "clean", "joined": 1, "ramp": 0, "passes": 1},
    "training": {"epochs": 2, "batch_size": 16},
    "members": [{"name": "small", "parameters": 30000, "subsampling": "stack"}],
}
"""The quickest to train; it need not learn."""


def scenario_file(folder: Path, file: str = "scenario.yaml", **sections: Any) -> Path:
    """Write `PLAIN` with other sections."""
    path = folder / file
    path.write_text(yaml.safe_dump(PLAIN | sections, sort_keys=False), encoding="utf-8")
    return path


def tiny_scenario(folder: Path, data: str = "words", **sections: Any) -> Path:
    """Write the data and a scenario file beside it."""
    digits_folder(folder / data, WORDS)
    return scenario_file(folder, data={"train": data}, **sections)


def config(home: Path) -> Settings:
    """The settings of a home."""
    return Settings(home=home)


def environment(home: Path) -> dict[str, str]:
    """The environment of a child with a home of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AIMASS_")}
    return kept | {"AIMASS_HOME": str(home), "OMP_NUM_THREADS": "1"}


def command(home: Path, *arguments: str | Path) -> tuple[int, str]:
    """Exit code and output of a command, run in this process."""
    out, code = io.StringIO(), 0
    with pytest.MonkeyPatch.context() as patch, redirect_stdout(out):
        patch.setenv("AIMASS_HOME", str(home))
        patch.setattr(sys, "argv", ["aimass", *map(str, arguments)])
        settings.cache_clear()
        try:
            run()
        except SystemExit as ended:
            code = int(ended.code or 0)
    settings.cache_clear()
    return code, out.getvalue()


def aimass(home: Path, *arguments: str | Path) -> str:
    """What a command prints; its exit code must be 0."""
    code, said = command(home, *arguments)
    assert code == 0
    return said


def aimass_json(home: Path, *arguments: str | Path) -> Any:
    """The same, as JSON."""
    return json.loads(aimass(home, *arguments, "--json"))


def content_of(bundle: Bundle) -> dict[str, Any]:
    """What decides a bundle on any machine: all but what was measured of its points."""
    return bundle.manifest.model_dump(exclude={"points"})


def log_of(folder: Path) -> list[dict[str, float]]:
    """The log of a training."""
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]

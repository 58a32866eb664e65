"""Homes whose registry has its tables, and one build of two members that many tests look at."""

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aimass.registry.bundle import Bundle, load
from aimass.registry.store import Registry

from .folders import aimass_json, tiny_scenario

LEARNS: dict[str, Any] = {
    "augment": {"policy": "light", "joined": 2, "ramp": 2, "passes": 3},
    "training": {"epochs": 30, "batch_size": 8, "learning_rate": 0.008},
    "members": [
        {"name": "first", "parameters": 40000},
        {"name": "second", "parameters": 30000, "family": "recurrent", "training": {"epochs": 3}},
    ],
    "ensemble": {"methods": ["geometric"]},
}
"""Two members, of which the first learns the words; the mean with the other one is worse."""


@dataclass(frozen=True)
class Journey:
    """A home after one build, the scenario, and what the build said."""

    home: Path
    scenario: Path
    said: dict[str, Any]

    @property
    def builds(self) -> Path:
        return self.home / "builds/three"

    @property
    def bundle(self) -> Bundle:
        return load(Path(self.said["folder"]))


@pytest.fixture(scope="session")
def tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry without entries; making its tables takes longer than a training here."""
    home = tmp_path_factory.mktemp("tables")
    with Registry(home).alone():
        Registry(home).client.search_registered_models()
    return home / "registry.db"


@pytest.fixture
def home(tables: Path, tmp_path: Path) -> Path:
    (tmp_path / "home").mkdir()
    shutil.copy(tables, tmp_path / "home")
    return tmp_path / "home"


@pytest.fixture(scope="session")
def journey(tmp_path_factory: pytest.TempPathFactory) -> Journey:
    folder = tmp_path_factory.mktemp("journey")
    scenario = tiny_scenario(folder, **LEARNS)
    return Journey(folder / "home", scenario, aimass_json(folder / "home", "build", scenario))

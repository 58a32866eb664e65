from pathlib import Path

import pytest

from .source import Source, read

ROOT = Path(__file__).parents[2] / "src" / "aimass"


@pytest.fixture(scope="session")
def root() -> Path:
    return ROOT


@pytest.fixture(scope="session")
def source() -> Source:
    return read(ROOT)

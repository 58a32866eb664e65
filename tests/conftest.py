"""Tests keep to a home inside the clone: nobody's own models, settings or registry."""

import os
from pathlib import Path

import pytest

_HOME = Path(os.environ.get("AIMASS_TEST_HOME") or Path(__file__).parents[1] / "build/test-home")

for _name in [name for name in os.environ if name.startswith("AIMASS_")]:
    del os.environ[_name]
os.environ["AIMASS_HOME"] = os.environ["AIMASS_TEST_HOME"] = str(_HOME)


@pytest.fixture(scope="session")
def test_home() -> Path:
    """Where `make test` pulled the pretrained models; shared, so write elsewhere."""
    return _HOME

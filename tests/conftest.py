"""Tests keep to a home inside the clone: nobody's own models, settings or registry.

Laws are about answers; how long one example takes on a busy machine is not one of them.
"""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("untimed", deadline=None, derandomize=True)
settings.load_profile("untimed")

_HOME = Path(os.environ.get("AIMASS_TEST_HOME") or Path(__file__).parents[1] / "build/test-home")

for _name in [name for name in os.environ if name.startswith("AIMASS_")]:
    del os.environ[_name]
os.environ["AIMASS_HOME"] = os.environ["AIMASS_TEST_HOME"] = str(_HOME)


@pytest.fixture(scope="session")
def test_home() -> Path:
    """Where `make test` pulled the pretrained models; shared, so write elsewhere."""
    return _HOME


@pytest.fixture(scope="session", autouse=True)
def one_thread() -> Iterator[None]:
    """One torch thread, so that tiny models do not wait for a busy machine.

    Tests that use torch import it before the first of them runs; the others go without.
    """
    torch = sys.modules.get("torch")
    if torch is None:
        yield
        return
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)

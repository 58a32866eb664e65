"""One undisturbed run for all tests."""

import pytest
from torch import Tensor

from .tiny import weights


@pytest.fixture(scope="package")
def undisturbed(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a run that nobody stopped."""
    return weights(tmp_path_factory.mktemp("undisturbed"))

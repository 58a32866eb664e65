"""One thread, so that tiny steps do not wait for a busy machine; one undisturbed run for all."""

from collections.abc import Iterator

import pytest
import torch
from hypothesis import settings
from torch import Tensor

from .tiny import weights

settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture(scope="package", autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="package")
def undisturbed(one_thread: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Tensor]:
    """The weights of a run that nobody stopped."""
    return weights(tmp_path_factory.mktemp("undisturbed"))

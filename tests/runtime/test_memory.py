"""What models take in memory, measured where little else is."""

from pathlib import Path

import pytest

from aimass.base.errors import BundleError
from aimass.runtime.load import shipped
from aimass.runtime.memory import memory_of


def test_a_model_takes_about_the_same_whoever_comes_first() -> None:
    folder = shipped()["digits"]
    found = memory_of({"one": ("bundle", folder), "two": ("bundle", folder)})
    assert list(found) == ["one", "two"]
    assert all(0 < megabytes < 50 for megabytes in found.values())


def test_a_model_that_does_not_load_is_told(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"only loads gone failed.*bundle\.toml"):
        memory_of({"gone": ("bundle", tmp_path)})

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


def test_modules_in_the_folder_of_the_user_are_not_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('somebody else')")
    monkeypatch.chdir(tmp_path)
    assert memory_of({"one": ("bundle", shipped()["digits"])})["one"] > 0

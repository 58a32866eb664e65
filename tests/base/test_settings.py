"""Settings come from ``AIMASS_*`` variables, are checked, and are read once."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from pydantic import ValidationError

from aimass.base.settings import Settings, settings

FIELDS = Settings.model_fields


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in FIELDS:
        monkeypatch.delenv(f"AIMASS_{name.upper()}", raising=False)
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_defaults_need_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/somewhere")
    monkeypatch.setattr(Path, "home", lambda: Path("/somewhere"))
    read = settings()
    assert read.home == Path("/somewhere/.aimass")
    assert read.default_model == "whisper-base"
    assert read.registry_url is None
    assert read.workers is None


def test_environment_wins(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("AIMASS_HOME", str(tmp_path))
    monkeypatch.setenv("AIMASS_MAX_UPLOAD_MB", "7")
    monkeypatch.setenv("aimass_max_waiting", "3")
    read = settings()
    assert (read.home, read.max_upload_mb, read.max_waiting) == (tmp_path, 7, 3)


def test_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    first = settings()
    monkeypatch.setenv("AIMASS_MAX_UPLOAD_MB", "7")
    assert settings() is first
    settings.cache_clear()
    assert settings().max_upload_mb == 7


@pytest.mark.parametrize("name", FIELDS)
def test_cannot_be_changed(name: str) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        setattr(settings(), name, 3)


def test_other_variables_are_let_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIMASS_SOMETHING_ELSE", "1")
    monkeypatch.setenv("MAX_UPLOAD_MB", "7")
    assert settings().max_upload_mb == FIELDS["max_upload_mb"].default


NUMBERS = [name for name, field in FIELDS.items() if field.annotation in (int, float, int | None)]


def test_numbers_are_found() -> None:
    assert {"max_upload_mb", "workers", "max_waiting", "request_timeout_s"} <= set(NUMBERS)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ["-1", "many", ""])
def test_nonsense_is_refused(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    monkeypatch.setenv(f"AIMASS_{name.upper()}", value)
    with pytest.raises(ValidationError, match=name):
        settings()


@pytest.mark.parametrize("name", FIELDS)
def test_every_setting_is_described(name: str) -> None:
    description = FIELDS[name].description
    assert description
    assert description.endswith(".")

"""The command line in this process, with a home of its own for every test."""

import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from aimass.base.settings import settings
from aimass.cli.main import run


@dataclass(frozen=True)
class Said:
    """What a command gave: exit code, output, and what it told the person."""

    code: int
    out: str
    err: str


Command = Callable[..., Said]


@pytest.fixture
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
    monkeypatch.setenv("AIMASS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("COLUMNS", "200")
    settings.cache_clear()
    yield tmp_path / "home"
    settings.cache_clear()


@pytest.fixture
def aimass(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Command:
    """Run `aimass` with arguments, as the installed program does."""

    def command(*arguments: Any) -> Said:
        monkeypatch.setattr(sys, "argv", ["aimass", *map(str, arguments)])
        capsys.readouterr()
        try:
            run()
            code: Any = 0
        except SystemExit as ended:
            code = ended.code or 0
        out, err = capsys.readouterr()
        return Said(code, out, err)

    return command

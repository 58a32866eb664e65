"""The rules hold for our own source."""

from pathlib import Path

import pytest

from . import habits, layers
from .conftest import ROOT
from .importing import blocked_import_faults, root_import_faults
from .source import Source, read


@pytest.mark.parametrize("rule", layers.RULES + habits.RULES, ids=lambda rule: rule.__name__)
def test_no_fault(source: Source, rule: layers.Rule) -> None:
    found = [str(fault) for fault in rule(source)]
    assert found == []


def test_what_is_checked_is_what_is_there(source: Source, root: Path) -> None:
    assert len(source.modules) == len(list(root.rglob("*.py")))
    assert {"aimass", "aimass.base.errors", "aimass.base.contract"} <= source.modules.keys()


def test_every_folder_of_code_is_a_package(source: Source, root: Path) -> None:
    folders = {path.parent for path in root.rglob("*.py")}
    assert not [str(folder) for folder in folders if not (folder / "__init__.py").exists()]


def test_exceptions_are_for_modules_that_exist_and_say_why(source: Source) -> None:
    exceptions = layers.HEAVY_ALLOWED | habits.ENVIRONMENT_ALLOWED
    for name, reason in exceptions.items():
        assert f"{source.package}.{name}" in source.modules
        assert reason


def test_sides_are_folders_of_the_table() -> None:
    known = [folder for line in layers.LINES for folder in line]
    assert len(known) == len(set(known))
    assert set(known) >= layers.TRAINING_SIDE | layers.RUNNING_SIDE
    assert not layers.TRAINING_SIDE & layers.RUNNING_SIDE


def test_importing_the_root_is_silent_light_and_changes_nothing(root: Path, tmp_path: Path) -> None:
    assert root_import_faults(root, tmp_path) == []


FOLDERS = sorted(layers.RUNNING_SIDE & {module.folder for module in read(ROOT).modules.values()})


def test_the_running_side_is_not_empty() -> None:
    assert "base" in FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_running_side_imports_without_torch(
    source: Source, root: Path, folder: str, tmp_path: Path
) -> None:
    assert blocked_import_faults(source, root, folder, tmp_path) == []


def test_layers_are_those_that_contributors_are_told() -> None:
    told = (ROOT.parents[1] / "CONTRIBUTING.md").read_text(encoding="utf-8")
    lines = [" · ".join(line) for line in layers.LINES if line != ("__main__",)]
    assert "```\n" + "\n".join(lines) + "\n```" in told

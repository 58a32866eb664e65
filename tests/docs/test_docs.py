"""Every command, program, link and table of the documentation is true."""

import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimass.base.settings import Settings
from aimass.cli.transcribe import FORMATS

from .console import PAGES, ROOT, Example, examples, fences

RUNS_THIS = "make test"  # cannot run inside itself; `test_make_test_runs_the_gate` looks at it


@pytest.fixture(scope="module")
def shell(tmp_path_factory: pytest.TempPathFactory, test_home: Path) -> Iterator[dict[str, str]]:
    """A new user's environment: a free port, and a home with the pretrained models alone."""
    home = tmp_path_factory.mktemp("home")
    shutil.copytree(test_home / "models", home / "models", copy_function=os.link)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = str(probe.getsockname()[1])
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment = os.environ | {"AIMASS_HOME": str(home), "PORT": port, "PATH": path}
    yield environment
    subprocess.run(["make", "down"], cwd=ROOT, env=environment, check=False, capture_output=True)


def run(example: Example, shell: dict[str, str]) -> str:
    """What a command prints; it must succeed."""
    done = subprocess.run(
        ["bash", "-c", example.command.replace(":8080", f":{shell['PORT']}")],
        cwd=ROOT,
        env=shell,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{example.command}\n{done.stdout}\n{done.stderr}"
    return done.stdout.replace(f":{shell['PORT']}", ":8080")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_do_what_the_page_says(page: Path, shell: dict[str, str]) -> None:
    for example in examples(page):
        if example.command != RUNS_THIS:
            printed = run(example, shell)
            assert example.matches(printed), f"{example.command} printed\n{printed}"


def test_pages_have_commands() -> None:
    commands = [example.command for page in PAGES for example in examples(page)]
    assert {"make up", "make down", RUNS_THIS} <= set(commands)
    assert len(commands) > 15


def test_make_test_runs_the_gate() -> None:
    plan = subprocess.run(
        ["make", "--no-print-directory", "-n", "test"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert plan.stdout.strip() == "scripts/test"
    assert "-m pytest" in (ROOT / "scripts/test").read_text()


PRINTED = {
    "augment": "{'step': 'join'",
    "bundle": "first second seven",
    "commands": "seven",
    "evaluation": "Retraining(needed=False",
    "features": "(1100, 80)",
    "serving": "ask what you can do for your country",
}
"""Something that the Python examples of a page print."""


@pytest.mark.parametrize("page", PRINTED)
def test_python_examples_run(page: str, shell: dict[str, str]) -> None:
    if page == "serving":
        run(Example("make up", ""), shell)
    programs = fences(ROOT / f"docs/{page}.md", "python")
    said = [python(program.replace(":8080", f":{shell['PORT']}"), shell) for program in programs]
    assert PRINTED[page] in "".join(said)


def python(program: str, shell: dict[str, str]) -> str:
    """What a program prints; it must succeed."""
    done = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT, env=shell, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_every_python_example_runs() -> None:
    assert {page.stem for page in PAGES if fences(page, "python")} == set(PRINTED)


def test_scenarios_on_the_pages_are_valid(tmp_path: Path) -> None:
    from aimass.lifecycle.scenario import read

    found = [
        block
        for page in PAGES
        for block in fences(page, "yaml")
        if block.startswith("name:") or "\nname:" in block
    ]
    assert len(found) >= 2
    for number, block in enumerate(found):
        path = tmp_path / f"{number}.yaml"
        path.write_text(block, encoding="utf-8")
        assert read(path).name


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8")):
        assert (page.parent / target).exists(), target


def test_the_tree_of_the_readme_is_the_tree() -> None:
    drawn = set(re.findall(r"^  (\w+)/ ", (ROOT / "README.md").read_text("utf-8"), re.MULTILINE))
    found = {
        path.name
        for path in (ROOT / "src/aimass").iterdir()
        if path.is_dir() and not path.name.startswith((".", "_"))
    }
    assert drawn == found


def test_every_setting_is_documented() -> None:
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for name, field in Settings.model_fields.items():
        default = {"home": "~/.aimass"}.get(name, field.default)
        default = "" if default is None else f"`{default}`"
        rows.append(f"| `AIMASS_{name.upper()}` | {default} | {field.description} |")
    table = "\n".join(rows)
    assert table in (ROOT / "docs/commands.md").read_text("utf-8"), table


def test_every_exit_code_and_format_is_documented() -> None:
    from aimass.base import errors

    page = (ROOT / "docs/commands.md").read_text("utf-8")
    codes = {
        value.exit_code
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, errors.AimassError)
    }
    for code in codes:
        assert re.search(rf"^\| {code} \|", page, re.MULTILINE), code
    for name in FORMATS:
        assert name in (ROOT / "README.md").read_text("utf-8")

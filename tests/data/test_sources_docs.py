"""The trees that docs/data.md draws are read as the page says."""

import re
from pathlib import Path

import pytest

from aimass.data.corpus import read
from aimass.data.sources.columns import SYNONYMS
from aimass.data.sources.files import AUDIO

from .folders import put

PAGE = (Path(__file__).parents[2] / "docs/data.md").read_text(encoding="utf-8")
TREES = re.findall(r"^```tree\n# ([^\n]+): (\d+) clips\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


def planted(folder: Path, drawn: str) -> Path:
    """A tree as drawn: a path on each line, and a line of its content after it."""
    for line in drawn.splitlines():
        name, _, content = line.partition(" ")
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix in AUDIO:
            put(path)
        else:
            with path.open("a", encoding="utf-8") as file:
                file.write(content.strip().replace("⇥", "\t") + "\n")
    return folder


@pytest.mark.parametrize(("layout", "clips", "drawn"), TREES)
def test_a_tree_is_read_as_drawn(tmp_path: Path, layout: str, clips: str, drawn: str) -> None:
    corpus = read(planted(tmp_path, drawn))
    assert (corpus.layout.name, len(corpus.clips)) == (layout, int(clips))
    assert not corpus.missing


def test_the_page_draws_every_layout_of_plain_files() -> None:
    assert len(TREES) == PAGE.count("```tree") == 7
    assert len({layout for layout, _, _ in TREES}) == 6


def test_the_table_of_columns_is_ours() -> None:
    rows = [re.findall(r"`(\w+)`", row) for row in re.findall(r"^\| `.*\|$", PAGE, re.MULTILINE)]
    for row in rows[: len(SYNONYMS) - 1]:
        named = set(row) - {"start", "train", "dev", "test", "yes"} | {row[0]}
        known = {name for ours in SYNONYMS if ours in row for name in (ours, *SYNONYMS[ours])}
        assert named <= known, row

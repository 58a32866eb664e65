"""Data folders for the tests: real clips under the names that a test wants."""

import csv
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

SAMPLES = Path(__file__).parents[2] / "samples"
DIGITS = SAMPLES / "digits"


def rows_of(words: Iterable[str]) -> list[list[str]]:
    """The rows of the sample digits that say one of some words: file, speaker, text, split."""
    wanted = set(words)
    with (DIGITS / "metadata.tsv").open(encoding="utf-8") as file:
        return [row for row in csv.reader(file, delimiter="\t") if row[2] in wanted]


def digits_folder(folder: Path, words: Iterable[str]) -> Path:
    """A copy of the sample digits with a few words alone."""
    (folder / "audio").mkdir(parents=True)
    rows = rows_of(words)
    for row in rows:
        shutil.copy(DIGITS / row[0], folder / row[0])
    return write_table(folder, ["file", "speaker", "text", "split"], rows)


def write_table(folder: Path, columns: Sequence[str], rows: Iterable[Sequence[str]]) -> Path:
    """Write ``metadata.tsv``, field by field as given, without quoting."""
    lines = ["\t".join(columns), *("\t".join(row) for row in rows)]
    (folder / "metadata.tsv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


def clips_in(folder: Path, *names: str) -> Path:
    """A folder that holds one short real clip under each name."""
    source = DIGITS / rows_of(["one"])[0][0]
    for name in names:
        target = folder / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)
    return folder

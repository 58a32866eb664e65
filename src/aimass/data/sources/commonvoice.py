"""Common Voice as it is downloaded: ``clips/`` and one TSV for each split.

Layout and quoting as in the datasets of Mozilla Common Voice: Ardila et al., "Common Voice: a
massively-multilingual speech corpus", LREC 2020. Its tables know no quotes, and a folder that
holds a part of the clips is common: what is not there is counted as missing.
"""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources.columns import fold
from aimass.data.sources.files import opened_lines
from aimass.data.sources.table import joined, load, understood
from aimass.data.types import Corpus

CLIPS = "clips"
OFFICIAL = ("train", "dev", "test")
_COLUMNS = {"client_id", "path", "sentence"}


def recognise(folder: Path) -> bool:
    """Whether a folder has clips beside a TSV with the columns of Common Voice."""
    tables = (folder / f"{name}.tsv" for name in (*OFFICIAL, "validated"))
    return any(is_table(table) for table in tables)


def is_table(path: Path) -> bool:
    """Whether a table is one of Common Voice's."""
    if not ((path.parent / CLIPS).is_dir() and path.suffix == ".tsv" and path.is_file()):
        return False
    return {fold(name) for name in next(opened_lines(path), "").split("\t")} >= _COLUMNS


def read(folder: Path, given: Mapping[str, str]) -> Corpus:
    """Read the official splits, or ``validated.tsv`` where there are none.

    Raises:
        DataError: as `aimass.data.sources.table.read`.
    """
    tables = [path for name in OFFICIAL if is_table(path := folder / f"{name}.tsv")]
    parts = [read_table(path, given, split=path.stem) for path in tables]
    validated = folder / "validated.tsv"
    if not parts:
        return read_table(validated, given)
    if all(not part.clips and not part.missing for part in parts):
        raise DataError(
            f"{folder} has official splits without a clip",
            expected="clips in train.tsv, dev.tsv or test.tsv",
            fix=f"Name {validated} for all clips",
        )
    notes = []
    if validated.is_file():
        notes.append(f"validated.tsv, which holds more clips, was not read: to use it name "
                     f"{validated}")  # fmt: skip
    corpus = joined(parts)
    layout = replace(corpus.layout, notes=(*corpus.layout.notes, *notes))
    return replace(corpus, layout=layout)


def read_table(path: Path, given: Mapping[str, str], *, split: str | None = None) -> Corpus:
    """Read one of its tables, such as ``validated.tsv``."""
    columns = {"file": "path", "text": "sentence", "speaker": "client_id"} | dict(given)
    return understood(load(path, columns, quoted=False), name="Common Voice", split=split)

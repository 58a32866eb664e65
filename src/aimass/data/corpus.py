"""Reading labelled recordings: a folder with ``metadata.tsv``, or a Lhotse cut manifest."""

import csv
import gzip
import json
import math
import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

from aimass.base.errors import AudioError, DataError
from aimass.text.normalise import primary_language

METADATA = "metadata.tsv"
LICENCE_FILES = ("LICENSE_NOTE.txt", "LICENSE", "LICENSE.txt", "LICENCE", "LICENCE.txt")
SPLITS = {"train": "train", "dev": "dev", "valid": "dev", "validation": "dev", "test": "test"}


@dataclass(frozen=True, slots=True)
class Clip:
    """One labelled stretch of a recording.

    Args:
        id: unique within its corpus.
        path: the recording.
        text: what is said, as the label gives it.
        split: ``train``, ``dev``, ``test``, or None where the corpus has no official split.
        start: seconds into the recording.
        duration: seconds, None for all that follows `start`.
    """

    id: str
    path: Path
    text: str
    speaker: str | None = None
    split: str | None = None
    language: str | None = None
    start: float = 0.0
    duration: float | None = None


@dataclass(frozen=True, slots=True)
class Corpus:
    """Clips with the licence they carry wherever they go."""

    clips: tuple[Clip, ...]
    licence: str
    source: Path

    def split(self, name: str) -> "Corpus":
        """The clips of one official split; all of them where the corpus has no splits."""
        if all(clip.split is None for clip in self.clips):
            return self
        kept = tuple(clip for clip in self.clips if clip.split == name)
        if not kept:
            found = sorted({clip.split or "none" for clip in self.clips})
            raise DataError(
                f"{self.source} has no clip in split '{name}'; its splits are {', '.join(found)}",
                expected=f"rows whose split column says {name}",
                fix="Name another folder, or correct the split column",
            )
        return Corpus(kept, self.licence, self.source)


@contextmanager
def naming(clip: Clip) -> Iterator[None]:
    """Say of an `AudioError` in the block which of many recordings it is about."""
    try:
        yield
    except AudioError as error:
        if str(clip.path) in error.found:
            raise
        found = f"{clip.path}: {error.found}"
        raise type(error)(found, expected=error.expected, fix=error.fix) from error


def read(source: Path) -> Corpus:
    """Read a folder with ``metadata.tsv``, or a Lhotse cut manifest (``.jsonl``, ``.jsonl.gz``).

    Raises:
        DataError: nothing there, a missing column, an empty or repeated row, a path that leaves
            the folder, or a recording that is not there.
    """
    if source.is_dir():
        return _read_folder(source)
    if source.is_file() and source.name.endswith((".jsonl", ".jsonl.gz")):
        return _read_manifest(source)
    raise DataError(
        f"{source} is {'no data set' if source.exists() else 'not there'}",
        expected=f"a folder with {METADATA}, or a Lhotse manifest ending in .jsonl or .jsonl.gz",
        fix="Check the path",
    )


def _read_folder(folder: Path) -> Corpus:
    table = folder / METADATA
    if not table.is_file():
        raise DataError(
            f"{folder} holds no {METADATA}",
            expected="a tab separated table with a header line and the columns file and text, "
            "and optionally speaker, split and lang",
            fix=f"Write {table}",
        )
    columns, rows = _table(table)
    missing = [name for name in ("file", "text") if name not in columns]
    if missing:
        raise DataError(
            f"{table} has the columns {', '.join(columns) or 'of an empty table'}",
            expected=f"at least file and text ({', '.join(missing)} missing)",
            fix="Add the column, or rename the one that holds it",
        )
    clips = tuple(_clip(folder, table, line, _row(table, line, columns, row)) for line, row in rows)
    _refuse_repeated(table, clips)
    return Corpus(clips, _licence(folder), folder)


def _table(table: Path) -> tuple[list[str], list[tuple[int, list[str]]]]:
    """The columns of a table, and the fields of its rows with the line each row ends on."""
    with table.open(encoding="utf-8-sig", newline="") as file:
        lines = csv.reader(file, delimiter="\t")
        try:
            columns = next(lines, [])
            rows = [(lines.line_num, fields) for fields in lines if fields]
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{table} does not parse: {error}",
                expected="tab separated UTF-8 text",
                fix="Save the table again as UTF-8 with tabs",
            ) from error
    return columns, rows


def _row(table: Path, line: int, columns: list[str], fields: list[str]) -> dict[str, str]:
    """One row by its columns; refuses what a stray tab or a stray quote has torn."""
    if any(fields[len(columns) :]):
        raise DataError(
            f"{table} line {line} has {len(fields)} fields",
            expected=f"at most {len(columns)}, as in the header line",
            fix="Replace tabs inside texts by spaces",
        )
    if any("\n" in field or "\r" in field for field in fields):
        raise DataError(
            f"{table} line {line} ends a field that began on a line above",
            expected="each field on one line",
            fix="Remove the double quote that opens the field, or write it twice inside quotes",
        )
    return dict(zip_longest(columns, fields, fillvalue=""))


def _clip(folder: Path, table: Path, line: int, row: dict[str, str]) -> Clip:
    name, text = row["file"].strip(), row["text"].strip()
    if not name or not text:
        raise DataError(
            f"{table} line {line} has an empty {'file' if not name else 'text'}",
            expected="a file and its text on every line",
            fix="Fill it in, or remove the line",
        )
    path = folder / name
    if "\0" in name or not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{table} line {line} names {name!r}, which lies outside the folder",
            expected="paths inside the data folder",
            fix="Move the recording into the folder",
        )
    if not _is_file(path):
        raise DataError(
            f"{table} line {line} names {name[:200]}, which is not there",
            expected="an existing recording",
            fix="Correct the name, or remove the line",
        )
    split = (row.get("split") or "").strip().lower() or None
    if split is not None and split not in SPLITS:
        raise DataError(
            f"{table} line {line} has split '{split}'",
            expected="train, dev or test",
            fix="Correct the split column",
        )
    return Clip(
        id=name,
        path=path,
        text=text,
        speaker=(row.get("speaker") or "").strip() or None,
        split=SPLITS[split] if split else None,
        language=primary_language(row.get("lang", "").strip()) or None,
    )


def _read_manifest(path: Path) -> Corpus:
    clips = []
    licence = ""
    for line, cut in _json_lines(path):
        try:
            (supervision,) = cut["supervisions"]
            recording = cut["recording"]
            source = recording["sources"][0]
            if source["type"] != "file":
                raise KeyError("a source of type file")
            audio = Path(source["source"])
            custom = cut.get("custom") or {}
            licence = custom.get("licence", licence)
            text = supervision["text"].strip()
            start, duration = float(cut["start"]), float(cut["duration"])
            if not text or not (0 <= start < math.inf and 0 < duration < math.inf):
                raise ValueError(f"text {text!r}, start {start}, duration {duration}")
            clips.append(
                Clip(
                    id=str(cut["id"]),
                    path=audio if audio.is_absolute() else path.parent / audio,
                    text=text,
                    speaker=supervision.get("speaker"),
                    split=SPLITS[custom["split"]] if custom.get("split") else None,
                    language=supervision.get("language"),
                    start=start,
                    duration=duration,
                )
            )
        except (AttributeError, KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} line {line} is no cut with a recording and a text: {error!r}",
                expected="Lhotse MonoCuts with one supervision and recordings in files",
                fix="Write the manifest with lhotse CutSet.to_jsonl",
            ) from error
        if not _is_file(clips[-1].path):
            raise DataError(
                f"{path} line {line} names {clips[-1].path}, which is not there",
                expected="an existing recording",
                fix="Correct the path, or remove the line",
            )
    _refuse_repeated(path, clips)
    return Corpus(tuple(clips), licence or _licence(path.parent), path)


def _json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a manifest, each with its line."""
    opener = gzip.open if path.suffix == ".gz" else open
    number = 0
    try:
        with opener(path, "rt", encoding="utf-8") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    yield number, json.loads(line)
    except (ValueError, OSError, EOFError, zlib.error, RecursionError) as error:
        raise DataError(
            f"{path} cannot be read near line {number}: {error}",
            expected="one JSON object a line, in UTF-8, compressed where the name ends in .gz",
            fix="Write the manifest again",
        ) from error


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        return False


def _refuse_repeated(source: Path, clips: Sequence[Clip]) -> None:
    seen: set[str] = set()
    for clip in clips:
        if clip.id in seen:
            raise DataError(
                f"{source} names {clip.id} twice",
                expected="each recording once",
                fix="Remove one of the two lines",
            )
        seen.add(clip.id)
    if not clips:
        raise DataError(
            f"{source} is empty", expected="at least one labelled clip", fix="Add recordings"
        )


def _licence(folder: Path) -> str:
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            return (folder / name).read_text(encoding="utf-8", errors="replace").strip()
    return "not stated"

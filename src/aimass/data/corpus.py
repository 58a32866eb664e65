"""Reading labelled recordings: a folder with ``metadata.tsv``, or a Lhotse cut manifest."""

import csv
import gzip
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimass.base.errors import DataError

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
    with table.open(encoding="utf-8-sig", newline="") as file:
        try:
            rows = list(csv.DictReader(file, delimiter="\t"))
        except (csv.Error, UnicodeDecodeError) as error:
            raise DataError(
                f"{table} does not parse: {error}",
                expected="tab separated UTF-8 text",
                fix="Save the table again as UTF-8 with tabs",
            ) from error
    columns = list(rows[0]) if rows else []
    missing = [name for name in ("file", "text") if name not in columns]
    if missing:
        raise DataError(
            f"{table} has the columns {', '.join(map(str, columns)) or 'of an empty table'}",
            expected=f"at least file and text ({', '.join(missing)} missing)",
            fix="Add the column, or rename the one that holds it",
        )
    clips = tuple(_clip(folder, table, line, row) for line, row in enumerate(rows, start=2))
    _refuse_repeated(table, clips)
    return Corpus(clips, _licence(folder), folder)


def _clip(folder: Path, table: Path, line: int, row: dict[str, str]) -> Clip:
    name, text = (row["file"] or "").strip(), (row["text"] or "").strip()
    if not name or not text:
        raise DataError(
            f"{table} line {line} has an empty {'file' if not name else 'text'}",
            expected="a file and its text on every line",
            fix="Fill it in, or remove the line",
        )
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise DataError(
            f"{table} line {line} names {name}, which lies outside the folder",
            expected="paths inside the data folder",
            fix="Move the recording into the folder",
        )
    if not path.is_file():
        raise DataError(
            f"{table} line {line} names {name}, which is not there",
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
        language=(row.get("lang") or "").strip() or None,
    )


def _read_manifest(path: Path) -> Corpus:
    clips = []
    licence = ""
    for line, cut in enumerate(_json_lines(path), start=1):
        try:
            supervision = cut["supervisions"][0]
            recording = cut["recording"]
            source = recording["sources"][0]
            if source["type"] != "file":
                raise KeyError("a source of type file")
            audio = Path(source["source"])
            custom = cut.get("custom") or {}
            licence = custom.get("licence", licence)
            clips.append(
                Clip(
                    id=str(cut["id"]),
                    path=audio if audio.is_absolute() else path.parent / audio,
                    text=supervision["text"],
                    speaker=supervision.get("speaker"),
                    split=custom.get("split"),
                    language=supervision.get("language"),
                    start=float(cut["start"]),
                    duration=float(cut["duration"]),
                )
            )
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DataError(
                f"{path} line {line} is no cut with a recording and a text: {error!r}",
                expected="Lhotse MonoCuts with one supervision and recordings in files",
                fix="Write the manifest with lhotse CutSet.to_jsonl",
            ) from error
    _refuse_repeated(path, clips)
    return Corpus(tuple(clips), licence or _licence(path.parent), path)


def _json_lines(path: Path) -> Iterator[dict[str, Any]]:
    opener = gzip.open if path.suffix == ".gz" else open
    with opener(path, "rt", encoding="utf-8") as file:
        for number, line in enumerate(file, start=1):
            if not line.strip():
                continue
            try:
                yield json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path} line {number} is no JSON: {error}",
                    expected="one JSON object a line",
                    fix="Write the manifest again",
                ) from error


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

"""Tables of recordings: ``metadata.tsv``, and any CSV or TSV whose columns can be guessed."""

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources import columns as names
from aimass.data.sources.files import (
    checked_text,
    inside,
    is_file,
    language_of,
    licence_of,
    opened_lines,
    seconds,
    some,
    split_value,
    truth,
)
from aimass.data.types import Clip, Corpus, Layout, Missing, split_named

METADATA = "metadata.tsv"
TABLES = (".tsv", ".csv")
AUDIO_FOLDERS = ("clips", "audio", "wavs", "wav", "recordings")
_DELIMITERS = {"\t": "tabs", ",": "commas", ";": "semicolons", "|": "bars"}


@dataclass(frozen=True, slots=True)
class Table:
    """A table that has been read, and not yet understood.

    Args:
        header: the names of its columns.
        columns: the index of each column that is known, under our name for it.
        rows: the fields of each row with the line it ends on.
    """

    path: Path
    header: tuple[str, ...]
    columns: Mapping[str, int]
    rows: tuple[tuple[int, tuple[str, ...]], ...]

    def values(self, column: str) -> list[str]:
        """A column from top to bottom; empty fields where there is no such column."""
        at = self.columns.get(column)
        return ["" if at is None or at >= len(row) else row[at].strip() for _, row in self.rows]


def in_folder(folder: Path) -> list[Path]:
    """The tables at the top of a folder."""
    return sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in TABLES and not path.name.startswith(".") and path.is_file()
    )


def fitting(paths: Iterable[Path], given: Mapping[str, str]) -> list[Path]:
    """Those of some tables that have something for a recording and for a text."""
    return [path for path in paths if _fits(path, given)]


def read(path: Path, given: Mapping[str, str]) -> Corpus:
    """Read the recordings of a table, which stand in its folder.

    Args:
        given: our name of a column to the table's, for what cannot be guessed.

    Raises:
        DataError: a missing or ambiguous column, a torn or incomplete row, a path that leaves
            the folder.
    """
    return understood(load(path, given))


def read_splits(paths: Sequence[Path], given: Mapping[str, str]) -> Corpus:
    """Read ``train.csv``, ``test.csv`` and so on as the splits of one corpus.

    Raises:
        DataError: as `read`, or tables that are not named after splits.
    """
    unknown = [path for path in paths if split_named(path.stem) is None]
    if unknown:
        raise DataError(
            f"{paths[0].parent} holds {len(paths)} tables: {some(path.name for path in paths)}",
            expected="one table, or tables called train, dev and test",
            fix=f"Name the right one, such as: aimass data show {unknown[0]}",
        )
    return joined([understood(load(p, given), split=split_named(p.stem)) for p in paths])


def joined(parts: Sequence[Corpus]) -> Corpus:
    """Several corpora from one source as one; the first says what its columns are."""
    notes = dict.fromkeys(note for part in parts for note in part.layout.notes)
    return replace(
        parts[0],
        clips=tuple(clip for part in parts for clip in part.clips),
        missing=tuple(one for part in parts for one in part.missing),
        source=parts[0].source.parent,
        layout=replace(parts[0].layout, notes=tuple(notes)),
    )


def load(path: Path, given: Mapping[str, str], *, quoted: bool = True) -> Table:
    """Read a table and find its columns.

    Args:
        quoted: double quotes may hold a field together; else they are part of the text.
    """
    header, rows = _load(path, quoted=quoted)
    columns = names.guess(header, given, str(path))
    names.refuse_missing(header, columns, str(path))
    for line, fields in rows:
        _refuse_torn(path, line, header, fields)
    return Table(path, tuple(header), columns, tuple(rows))


def understood(table: Table, *, name: str = "table", split: str | None = None) -> Corpus:
    """The clips of a table.

    Args:
        name: of the layout.
        split: of all clips, where no column says another.
    """
    folder = table.path.parent
    table, notes = _without_misleading(table)
    base = _audio_folder(folder, table.values("file"))
    if base:
        notes.append(f"the recordings were found in the folder {base}")
    clips: list[Clip] = []
    missing: list[Missing] = []
    for clip in _clips(table, base, split):
        if is_file(clip.path):
            clips.append(clip)
            continue
        line = table.rows[len(clips) + len(missing)][0]
        found = f"{table.path} line {line} names {clip.id[:200]}, which is not there"
        missing.append(Missing(clip.id, "recording", found, clip.split))
    columns = tuple((ours, table.header[at]) for ours, at in table.columns.items())
    layout = Layout(name, columns, tuple(notes))
    return Corpus(tuple(clips), licence_of(folder), table.path, layout, tuple(missing))


def _fits(path: Path, given: Mapping[str, str]) -> bool:
    try:
        header, _ = _load(path, quoted=True, rows=False)
    except DataError:  # whatever it is, it does not say what the recordings are
        return False
    return names.fits(header, given)


def _load(
    path: Path, *, quoted: bool, rows: bool = True
) -> tuple[list[str], list[tuple[int, tuple[str, ...]]]]:
    """The header of a table, and its rows."""
    first = next(opened_lines(path), "")
    if "\0" in first:
        raise DataError(
            f"{path} does not parse: it begins with NUL characters",
            expected="UTF-8 text, or UTF-16 with its byte order mark",
            fix="Save the table again as UTF-8",
        )
    delimiter = max(_DELIMITERS, key=lambda sign: (first.count(sign), sign == "\t"))
    lines = csv.reader(
        opened_lines(path),
        delimiter=delimiter,
        quoting=csv.QUOTE_MINIMAL if quoted else csv.QUOTE_NONE,
    )
    try:
        header = next(lines, [])
        found = [(lines.line_num, tuple(fields)) for fields in lines if fields] if rows else []
    except csv.Error as error:
        raise DataError(
            f"{path} does not parse: {error}",
            expected=f"UTF-8 text whose fields are parted by {_DELIMITERS[delimiter]}",
            fix="Save the table again as UTF-8 with tabs",
        ) from error
    return header, found


def _refuse_torn(path: Path, line: int, header: Sequence[str], fields: Sequence[str]) -> None:
    """Refuse what a stray delimiter or a stray quote has torn."""
    if any(fields[len(header) :]):
        raise DataError(
            f"{path} line {line} has {len(fields)} fields",
            expected=f"at most {len(header)}, as in the header line",
            fix="Replace tabs inside texts by spaces, and put texts with commas in quotes",
        )
    if any("\n" in field or "\r" in field for field in fields):
        raise DataError(
            f"{path} line {line} ends a field that began on a line above",
            expected="each field on one line",
            fix="Remove the double quote that opens the field, or write it twice inside quotes",
        )


def _without_misleading(table: Table) -> tuple[Table, list[str]]:
    """The table without the columns that were guessed and are not what their name says."""
    columns, notes = dict(table.columns), []
    if "split" in columns and names.fold(table.header[columns["split"]]) != "split":
        values = dict.fromkeys(filter(None, table.values("split")))
        if not any(split_named(value) for value in values):
            name = table.header[columns.pop("split")]
            notes.append(f"the column {name} names no splits ({some(values)}): not used")
    if "duration" in columns and "start" not in columns:
        name = table.header[columns.pop("duration")]
        notes.append(f"the column {name} was not used: without start, whole files are read")
    return replace(table, columns=columns), notes


def _audio_folder(folder: Path, files: Sequence[str]) -> str:
    """The folder below the table's in which the recordings stand; empty for its own."""
    for base in ("", *AUDIO_FOLDERS):
        if any(is_file(folder / base / file) for file in files[:100] if file):
            return base
    return ""


def _clips(table: Table, base: str, split: str | None) -> Iterable[Clip]:
    every = zip(*(table.values(column) for column in names.SYNONYMS), strict=True)
    for (line, _), fields in zip(table.rows, every, strict=True):
        row = dict(zip(names.SYNONYMS, fields, strict=True))
        where = f"{table.path} line {line}"
        file, text = row["file"], row["text"]
        if not file or not text:
            raise DataError(
                f"{where} has an empty {'file' if not file else 'text'}",
                expected="a file and its text on every line",
                fix="Fill it in, or remove the line",
            )
        path = inside(table.path.parent / base, file, where)
        start, duration = _times(row, where)
        yield Clip(
            id=_id(file, start, duration) if "start" in table.columns else file,
            path=path,
            text=checked_text(text, where),
            speaker=checked_text(row["speaker"], where) or None,
            split=split_value(row["split"], where) or split,
            language=language_of(row["lang"]),
            start=start,
            duration=duration,
            synthetic=truth(row["synthetic"], where),
        )


def _id(file: str, start: float, duration: float | None) -> str:
    """A name for one of several stretches of a file."""
    return f"{file}@{start:.3f}" + ("" if duration is None else f"+{duration:.3f}")


def _times(row: Mapping[str, str], where: str) -> tuple[float, float | None]:
    start = seconds(row["start"], where) if row["start"] else 0.0
    if row["end"]:
        duration = seconds(row["end"], where) - start
    elif row["duration"]:
        duration = seconds(row["duration"], where)
    else:
        return start, None
    if duration <= 0:
        raise DataError(
            f"{where} ends {-duration:g} s before it begins",
            expected="an end after the start",
            fix="Correct the times",
        )
    return start, duration

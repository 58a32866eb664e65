"""Reading labelled recordings in whatever layout they come; the source is looked at, not asked."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.sources import arrow, beside, commonvoice, cuts, kaldi, librispeech, table, tree
from aimass.data.sources.files import is_file, some
from aimass.data.types import (
    LICENCE_FILES,
    SPLITS,
    Clip,
    Corpus,
    Layout,
    Missing,
    naming,
    split_named,
)

__all__ = [
    "LICENCE_FILES",
    "METADATA",
    "SPLITS",
    "Clip",
    "Corpus",
    "Layout",
    "Missing",
    "naming",
    "read",
    "split_named",
]

METADATA = table.METADATA


def read(
    source: Path, *, columns: Mapping[str, str] | None = None, cache: Path | None = None
) -> Corpus:
    """Read a folder of recordings in any layout of docs/data.md, a table, or a Lhotse manifest.

    Recordings and texts that the source names and does not hold are in `Corpus.missing`.
    The sound itself is not read.

    Args:
        columns: our name of a column to the table's, for what cannot be guessed, such as
            ``{"text": "sentence"}``.
        cache: where sound that is packed inside tables is unpacked; below AIMASS_HOME when None.

    Raises:
        DataError: nothing there, no layout that is known, a column that is missing or ambiguous,
            an empty or repeated row, a path that leaves the folder, or no recording at all.
        MissingExtra: a Hugging Face dataset, and pyarrow is not installed.
    """
    given = dict(columns or {})
    try:
        corpus = _read(source, given, cache)
    except OSError as error:
        raise DataError(
            f"{source} cannot be read: {error}",
            expected="files and folders that this user may read",
            fix="Check the path and its permissions",
        ) from error
    if given and not corpus.layout.columns:
        raise DataError(
            f"{source} is of the layout '{corpus.layout.name}', which has no columns",
            expected="columns to be named for tables alone",
            fix="Leave the columns out",
        )
    _refuse_empty(source, corpus)
    _refuse_repeated(source, corpus.clips)
    _refuse_synthetic(source, corpus.clips)
    return replace(corpus, source=source)


def _read(source: Path, given: Mapping[str, str], cache: Path | None) -> Corpus:
    if source.is_dir():
        return _read_folder(source, given, cache)
    if source.is_file() and source.name.endswith(cuts.ENDINGS):
        return cuts.read(source)
    if source.is_file() and source.suffix.lower() in table.TABLES:
        if commonvoice.is_table(source):
            return commonvoice.read_table(source, given, split=split_named(source.stem))
        return table.read(source, given)
    raise DataError(
        f"{source} is {'no data set' if is_file(source) else 'not there'}",
        expected=f"a folder with {METADATA} or another layout of docs/data.md, a CSV or TSV, or a "
        "Lhotse manifest ending in .jsonl or .jsonl.gz",
        fix="Check the path",
    )


def _read_folder(folder: Path, given: Mapping[str, str], cache: Path | None) -> Corpus:
    """The first layout that a folder has, from the most to the least specific."""
    if (folder / METADATA).is_file():
        return table.read(folder / METADATA, given)
    if arrow.recognise(folder):
        return arrow.read(folder, given, cache)
    if commonvoice.recognise(folder):
        return commonvoice.read(folder, given)
    if kaldi.recognise(folder):
        return kaldi.read(folder)
    if cuts.recognise(folder):
        return cuts.read_folder(folder)
    if librispeech.recognise(folder):
        return librispeech.read(folder)
    tables = table.in_folder(folder)
    fitting = table.fitting(tables, given)
    if len(fitting) > 1:
        return table.read_splits(fitting, given)
    if fitting:
        return _noting(table.read(fitting[0], given), tables, fitting)
    if beside.recognise(folder):
        return _noting(beside.read(folder), tables)
    if tree.recognise(folder):
        return _noting(tree.read(folder), tables)
    if tables:
        return table.read(tables[0], given)  # which says what the table lacks
    raise DataError(
        f"{folder} holds no {METADATA}, nor another layout that is known",
        expected="a table with a header line and the columns file and text, and optionally "
        "speaker, split and lang; or LABEL/*.wav, or a text file beside each recording, or "
        "another layout of docs/data.md",
        fix=f"Write {folder / METADATA}",
    )


def _noting(corpus: Corpus, tables: Sequence[Path], used: Sequence[Path] = ()) -> Corpus:
    """The corpus with a word on the tables that are not part of it."""
    others = [path.name for path in tables if path not in used]
    if not others:
        return corpus
    note = f"not read, without columns for a recording and its text: {some(others)}"
    layout = replace(corpus.layout, notes=(*corpus.layout.notes, note))
    return replace(corpus, layout=layout)


def _refuse_empty(source: Path, corpus: Corpus) -> None:
    if corpus.clips:
        return
    if corpus.missing:
        count = len(corpus.missing)
        raise DataError(
            corpus.missing[0].found + (f", as are all {count} others" if count > 1 else ""),
            expected="an existing recording with its text",
            fix="Correct the name, or remove the line",
        )
    raise DataError(
        f"{source} is empty", expected="at least one labelled clip", fix="Add recordings"
    )


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


def _refuse_synthetic(source: Path, clips: Sequence[Clip]) -> None:
    for clip in clips:
        if clip.synthetic and clip.split in ("dev", "test"):
            raise DataError(
                f"{source} has the synthetic clip {clip.id} in split '{clip.split}'",
                expected="synthetic speech in train alone: a model is measured on people",
                fix="Correct the split of the clip, or remove it",
            )

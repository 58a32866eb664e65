"""Hugging Face datasets on disk: what ``save_to_disk`` wrote, read with pyarrow alone.

Sound that is stored inside the tables is unpacked once, under the digest of its bytes, into
``unpacked`` below ``AIMASS_HOME`` or where the caller says; that folder is safe to delete.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimass.audio.types import Limits
from aimass.base.errors import DataError, MissingExtra
from aimass.base.files import write_bytes
from aimass.base.settings import settings
from aimass.data.sources import columns as names
from aimass.data.sources.files import (
    AUDIO,
    checked_text,
    inside,
    is_file,
    language_of,
    licence_of,
    split_value,
    truth,
)
from aimass.data.types import Clip, Corpus, Layout, Missing, split_named

DICT, STATE, INFO = "dataset_dict.json", "state.json", "dataset_info.json"
UNPACKED = "unpacked"


@dataclass(frozen=True, slots=True)
class _Set:
    """One split of a dataset: its folder, its tables, and what its columns are."""

    folder: Path
    tables: tuple[Path, ...]
    header: tuple[str, ...]
    labels: Mapping[str, tuple[str, ...]]
    columns: Mapping[str, int]
    licence: str

    def named(self, column: str) -> str | None:
        """The dataset's own name for one of our columns."""
        return self.header[self.columns[column]] if column in self.columns else None


def recognise(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote a folder."""
    return (folder / DICT).is_file() or all((folder / name).is_file() for name in (STATE, INFO))


def read(folder: Path, given: Mapping[str, str], cache: Path | None = None) -> Corpus:
    """Read a Dataset, or a DatasetDict, whose names are then the splits.

    Args:
        given: our name of a column to the dataset's, for what cannot be guessed.
        cache: where sound that is stored inside the tables is unpacked.

    Raises:
        DataError: a missing or ambiguous column, tables that do not parse, or a dataset that was
            saved with an index.
        MissingExtra: pyarrow is not installed.
    """
    cache = cache or settings().home / UNPACKED
    if not (folder / DICT).is_file():
        return _read(_set(folder, given), None, "", cache)
    splits = _json(folder / DICT).get("splits")
    if not isinstance(splits, list) or not splits:
        raise _broken(folder / DICT, "it names no splits")
    parts = [
        _read(
            _set(inside(folder, str(name), str(folder / DICT)), given),
            split_named(str(name)),
            f"{name}/",
            cache,
        )
        for name in splits
    ]
    return replace(
        parts[0],
        clips=tuple(clip for part in parts for clip in part.clips),
        missing=tuple(one for part in parts for one in part.missing),
        source=folder,
    )


def _set(folder: Path, given: Mapping[str, str]) -> _Set:
    state, info = _json(folder / STATE), _json(folder / INFO)
    files, features = state.get("_data_files"), info.get("features")
    if not isinstance(files, list) or not isinstance(features, dict):
        raise _broken(folder, "no data files or no features are named")
    if state.get("_indices_files") or state.get("_indices_data_files"):
        raise DataError(
            f"{folder} was saved with an index beside its tables",
            expected="the rows themselves, in their order",
            fix="Save it again: dataset.flatten_indices().save_to_disk(...)",
        )
    where = str(folder)
    tables = [
        inside(folder, str(one.get("filename")) if isinstance(one, dict) else "", where)
        for one in files
    ]
    kinds = {str(name): kind for name, kind in features.items() if isinstance(kind, dict)}
    audio = [name for name, kind in kinds.items() if kind.get("_type") == "Audio"]
    if len(audio) == 1:
        given = {"file": audio[0], **given}
    columns = names.guess(list(kinds), given, where)
    if "split" not in given and "split" not in kinds:
        columns.pop("split", None)  # a dataset's "set" or "subset" may mean anything
    names.refuse_missing(list(kinds), columns, where)
    labels = {
        name: tuple(map(str, kind.get("names") or ()))
        for name, kind in kinds.items()
        if kind.get("_type") == "ClassLabel"
    }
    licence = str(info.get("license") or "").strip() or licence_of(folder)
    return _Set(folder, tuple(tables), tuple(kinds), labels, columns, licence)


def _read(data: _Set, official: str | None, prefix: str, cache: Path) -> Corpus:
    clips: list[Clip] = []
    missing: list[Missing] = []
    seen: set[str] = set()
    for number, row in enumerate(_rows(data)):
        where = f"{data.folder} row {number}"
        label = {column: _text(row[column], where) for column in _USED if column != "file"}
        path, name = _audio(row["file"], data.folder, cache, where)
        if not name or name in seen:
            name = f"{name or 'row'}#{number}"
        seen.add(name)
        name = prefix + name
        split = split_value(label["split"], where) or official
        if not label["text"]:
            missing.append(Missing(name, "text", f"{where} has no text for {name}", split))
        elif path is None or not is_file(path):
            found = f"{where} names {name}, which is not there"
            missing.append(Missing(name, "recording", found, split))
        else:
            clips.append(
                Clip(
                    name,
                    path,
                    label["text"],
                    label["speaker"] or None,
                    split,
                    language_of(label["lang"]),
                    synthetic=truth(label["synthetic"], where),
                )
            )
    columns = tuple((ours, data.header[at]) for ours, at in data.columns.items() if ours in _USED)
    layout = Layout("Hugging Face dataset", columns)
    return Corpus(tuple(clips), data.licence, data.folder, layout, tuple(missing))


_USED = ("file", "text", "speaker", "split", "lang", "synthetic")


def _rows(data: _Set) -> Iterator[dict[str, Any]]:
    """The rows of all tables under our names, with class numbers resolved to their names."""
    pa = _pyarrow()
    for table in data.tables:
        try:
            with pa.memory_map(str(table)) as file, pa.ipc.open_stream(file) as stream:
                for batch in stream:
                    batch.validate(full=True)
                    yield from _batch(data, batch)
        except (pa.ArrowException, OSError, KeyError, ValueError) as error:
            raise _broken(table, str(error)) from error


def _batch(data: _Set, batch: Any) -> Iterator[dict[str, Any]]:
    named = {ours: data.named(ours) for ours in _USED}
    for at in range(batch.num_rows):
        row = {}
        for ours, name in named.items():
            value = None if name is None else batch.column(name)[at].as_py()
            labels = data.labels.get(name or "")
            if labels is not None and value is not None:
                if not isinstance(value, int) or not 0 <= value < len(labels):
                    raise _broken(data.folder, f"{name} is {value!r} of {len(labels)} classes")
                value = labels[value]
            row[ours] = value
        yield row


def _text(value: object, where: str) -> str:
    return "" if value is None else checked_text(" ".join(str(value).split()), where)


def _audio(value: object, folder: Path, cache: Path, where: str) -> tuple[Path | None, str]:
    """The file of one row, unpacked if need be, and the name it goes by."""
    content, path = None, value
    if isinstance(value, dict):
        content, path = value.get("bytes"), value.get("path")
    name = checked_text(str(path or ""), where)
    if content is None:
        return (folder / name if name else None), name
    if not isinstance(content, bytes):
        raise _broken(folder, f"the sound of a row is {type(content).__name__}")
    most = Limits.from_settings().max_bytes
    if len(content) > most:
        raise DataError(
            f"{where} holds {len(content)} bytes of sound",
            expected=f"at most {most}",
            fix="Raise AIMASS_MAX_UPLOAD_MB",
        )
    return _unpacked(content, Path(name).suffix.lower(), cache), Path(name).name


def _unpacked(content: bytes, ending: str, cache: Path) -> Path:
    digest = hashlib.sha256(content).hexdigest()
    target = cache / digest[:2] / (digest + (ending if ending in AUDIO else ""))
    if not target.is_file() or target.stat().st_size != len(content):
        target.parent.mkdir(parents=True, exist_ok=True)
        write_bytes(target, content)
    return target


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise _broken(path, str(error)) from error
    if not isinstance(value, dict):
        raise _broken(path, "it holds no object")
    return value


def _broken(path: Path, what: str) -> DataError:
    return DataError(
        f"{path} cannot be read: {what}",
        expected="a dataset as save_to_disk writes it",
        fix="Save the dataset again with save_to_disk",
    )


def _pyarrow() -> Any:
    try:
        import pyarrow
        import pyarrow.ipc
    except ImportError as error:
        raise MissingExtra(
            "pyarrow is not installed, and this folder is a Hugging Face dataset",
            expected="pyarrow",
            fix="Type: pip install 'aimass[train]'",
        ) from error
    return pyarrow

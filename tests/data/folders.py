"""Data folders for the tests: real clips under the names that a test wants."""

import csv
import json
import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import soundfile

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


def write(path: Path, *lines: str) -> Path:
    """A text file with its folders."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    return path


def spoken(word: str, number: int = 0) -> Path:
    """A sample digit that says a word; another one for each number."""
    return DIGITS / rows_of([word])[number][0]


def wav(path: Path, word: str = "one", number: int = 0) -> Path:
    """A sample digit as 16-bit WAV."""
    samples, rate = soundfile.read(spoken(word, number), dtype="int16")
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, samples, rate, subtype="PCM_16")
    return path


def put(path: Path, word: str = "one", number: int = 0) -> Path:
    """A sample digit as it is, which is FLAC."""
    path.parent.mkdir(parents=True, exist_ok=True)
    return Path(shutil.copy(spoken(word, number), path))


def dataset(folder: Path, table: Any, features: dict[str, Any], **state: Any) -> Path:
    """What `save_to_disk` of Hugging Face's datasets writes for one split."""
    folder.mkdir(parents=True)
    name = "data-00000-of-00001.arrow"
    with pa.ipc.new_stream(folder / name, table.schema) as stream:
        stream.write_table(table, max_chunksize=2)
    told = {"_data_files": [{"filename": name}], "_split": None, "_format_type": None} | state
    (folder / "state.json").write_text(json.dumps(told))
    info = {"features": features, "license": "free to use"}
    (folder / "dataset_info.json").write_text(json.dumps(info))
    return folder

"""Hugging Face datasets on disk, written with pyarrow as `save_to_disk` writes them."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from aimass.audio.decode import load
from aimass.base.errors import DataError
from aimass.base.settings import settings
from aimass.data.corpus import Corpus, read

from .folders import dataset, put, spoken

AUDIO = {"sampling_rate": 8000, "_type": "Audio"}
STRING = {"dtype": "string", "_type": "Value"}
CLASSES = {"names": ["zero", "one", "two"], "_type": "ClassLabel"}


def packed(*rows: tuple[str | None, bytes | None]) -> Any:
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    return pa.array([{"bytes": sound, "path": path} for path, sound in rows], kind)


def digits(folder: Path, **state: Any) -> Path:
    """Three clips with their sound inside, and their words as classes."""
    rows = [(f"{word}.flac", spoken(word).read_bytes()) for word in ("one", "two", "zero")]
    columns = {
        "audio": packed(*rows),
        "label": pa.array([1, 2, 0], pa.int64()),
        "speaker_id": ["eva", "bob", None],
        "path": ["x", "y", "z"],
    }
    features = {"audio": AUDIO, "label": CLASSES, "speaker_id": STRING, "path": STRING}
    return dataset(folder, pa.table(columns), features, **state)


def test_sound_inside_the_tables_is_unpacked_once(tmp_path: Path) -> None:
    corpus = read(digits(tmp_path / "set"), cache=tmp_path / "cache")
    assert [(c.id, c.text, c.speaker, c.split) for c in corpus.clips] == [
        ("one.flac", "one", "eva", None),
        ("two.flac", "two", "bob", None),
        ("zero.flac", "zero", None, None),
    ]
    assert corpus.layout.columns == (
        ("file", "audio"),
        ("text", "label"),
        ("speaker", "speaker_id"),
    )
    assert corpus.licence == "free to use"
    for clip in corpus.clips:
        assert clip.path.is_relative_to(tmp_path / "cache") and clip.path.suffix == ".flac"
        assert clip.path.read_bytes() == spoken(clip.text).read_bytes()
        assert load(clip.path).rate == 8000
    times = [clip.path.stat().st_mtime_ns for clip in corpus.clips]
    again = read(tmp_path / "set", cache=tmp_path / "cache")
    assert [clip.path.stat().st_mtime_ns for clip in again.clips] == times
    assert again == corpus


def test_the_cache_is_safe_to_delete_and_healed(tmp_path: Path) -> None:
    first = read(digits(tmp_path / "set"), cache=tmp_path / "cache")
    first.clips[0].path.unlink()
    first.clips[1].path.write_bytes(b"cut")
    again = read(tmp_path / "set", cache=tmp_path / "cache")
    assert again.clips[1].path.read_bytes() == spoken("two").read_bytes()
    assert all(clip.path.is_file() for clip in again.clips)


def test_by_default_it_is_unpacked_below_the_home(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIMASS_HOME", str(tmp_path / "home"))
    settings.cache_clear()
    try:
        corpus = read(digits(tmp_path / "set"))
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert corpus.clips[0].path.is_relative_to(tmp_path / "home/unpacked")


def test_splits_of_a_dict(tmp_path: Path) -> None:
    for name in ("train", "validation"):
        digits(tmp_path / "set" / name)
    (tmp_path / "set/dataset_dict.json").write_text('{"splits": ["train", "validation"]}')
    corpus = read(tmp_path / "set", cache=tmp_path / "cache")
    assert [(clip.id, clip.split) for clip in corpus.clips][2:4] == [
        ("train/zero.flac", "train"),
        ("validation/one.flac", "dev"),
    ]
    assert len(list((tmp_path / "cache").rglob("*.flac"))) == 3


def test_sound_in_files_beside(tmp_path: Path) -> None:
    put(tmp_path / "away.flac")
    rows = [("here.flac", None), (str(tmp_path / "away.flac"), None), ("gone.flac", None)]
    columns = {"audio": packed(*rows), "sentence": ["a", "b", "c"], "locale": ["de-AT"] * 3}
    features = {"audio": AUDIO, "sentence": STRING, "locale": STRING}
    put(dataset(tmp_path / "set", pa.table(columns), features) / "here.flac")
    corpus = read(tmp_path / "set")
    assert [clip.path for clip in corpus.clips] == [
        tmp_path / "set/here.flac", tmp_path / "away.flac",
    ]  # fmt: skip
    assert corpus.clips[0].language == "de"
    assert [(one.id, one.what) for one in corpus.missing] == [("gone.flac", "recording")]


def test_rows_without_names_or_texts(tmp_path: Path) -> None:
    sound = spoken("one").read_bytes()
    columns = {
        "audio": packed((None, sound), ("a.flac", sound), ("a.flac", sound), ("b.flac", sound)),
        "text": ["one", "one", "one", None],
        "synthetic": [True, False, None, False],
    }
    features = {"audio": AUDIO, "text": STRING, "synthetic": {"dtype": "bool", "_type": "Value"}}
    dataset(tmp_path / "set", pa.table(columns), features)
    corpus = read(tmp_path / "set", cache=tmp_path / "cache")
    assert [(c.id, c.synthetic) for c in corpus.clips] == [
        ("row#0", True), ("a.flac", False), ("a.flac#2", False),
    ]  # fmt: skip
    assert [(one.id, one.what) for one in corpus.missing] == [("b.flac", "text")]


def broken(folder: Path, *words: str) -> None:
    with pytest.raises(DataError) as caught:
        read(folder, cache=folder.parent / "cache")
    for word in words:
        assert word in str(caught.value), caught.value


def test_an_index_beside_the_tables(tmp_path: Path) -> None:
    folder = digits(tmp_path / "set", _indices_files=[{"filename": "i.arrow"}])
    broken(folder, "with an index", "flatten_indices")


def test_tables_outside_the_folder(tmp_path: Path) -> None:
    digits(tmp_path / "other")
    name = "../other/data-00000-of-00001.arrow"
    broken(digits(tmp_path / "set", _data_files=[{"filename": name}]), "outside the folder")


@pytest.mark.parametrize(
    ("file", "content"),
    [
        ("state.json", b"{}"),
        ("state.json", b"[]"),
        ("state.json", b"\xff"),
        ("state.json", b'{"_data_files": [7]}'),
        ("state.json", b'{"_data_files": [{"filename": "gone.arrow"}]}'),
        ("dataset_info.json", b'{"features": []}'),
        ("dataset_info.json", b"[" * 100_000),
        ("data-00000-of-00001.arrow", b""),
        ("data-00000-of-00001.arrow", b"junk" * 100),
        ("dataset_dict.json", b'{"splits": []}'),
        ("dataset_dict.json", b'{"splits": ["../.."]}'),
        ("dataset_dict.json", b'{"splits": ["gone"]}'),
    ],
)
def test_a_dataset_that_is_broken(tmp_path: Path, file: str, content: bytes) -> None:
    (digits(tmp_path / "set") / file).write_bytes(content)
    broken(tmp_path / "set", "set")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.95])
def test_a_table_that_is_cut_short(tmp_path: Path, share: float) -> None:
    table = digits(tmp_path / "set") / "data-00000-of-00001.arrow"
    whole = table.read_bytes()
    table.write_bytes(whole[: round(len(whole) * share)])
    broken(tmp_path / "set", "save_to_disk")


def test_a_class_without_a_name(tmp_path: Path) -> None:
    info = json.loads((digits(tmp_path / "set") / "dataset_info.json").read_text())
    info["features"]["label"]["names"] = ["zero"]
    (tmp_path / "set/dataset_info.json").write_text(json.dumps(info))
    broken(tmp_path / "set", "label is 1 of 1 classes")


def test_a_feature_that_no_table_has(tmp_path: Path) -> None:
    info = json.loads((digits(tmp_path / "set") / "dataset_info.json").read_text())
    info["features"]["text"] = STRING
    (tmp_path / "set/dataset_info.json").write_text(json.dumps(info))
    broken(tmp_path / "set", "cannot be read", "text")


def texts(corpus: Corpus) -> list[str]:
    return [clip.text for clip in corpus.clips]


def test_a_column_can_be_named(tmp_path: Path) -> None:
    digits(tmp_path / "set")
    found = read(tmp_path / "set", columns={"text": "speaker_id"}, cache=tmp_path / "cache")
    assert texts(found) == ["eva", "bob"]


def test_a_text_that_is_no_utf8(tmp_path: Path) -> None:
    table = digits(tmp_path / "set") / "data-00000-of-00001.arrow"
    table.write_bytes(table.read_bytes().replace(b"evabob", b"\xff\xfeabob"))
    broken(tmp_path / "set", "save_to_disk")

"""Labelled folders and manifests are read as they are meant, or refused with the line at fault."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import DataError
from aimass.data.corpus import LICENCE_FILES, Clip, Corpus, read

from .folders import DIGITS, SAMPLES, clips_in, write_table


def refused(source: Path, *words: str) -> DataError:
    """The error of reading `source`, which must say each of `words`."""
    with pytest.raises(DataError) as caught:
        read(source)
    error = caught.value
    assert error.found and error.expected and error.fix
    for word in words:
        assert word in str(error), f"{word!r} is not in: {error}"
    return error


def table(folder: Path, content: str | bytes) -> Path:
    raw = content if isinstance(content, bytes) else content.encode()
    (folder / "metadata.tsv").write_bytes(raw)
    return folder


def test_sample_digits() -> None:
    corpus = read(DIGITS)
    assert len(corpus.clips) == 300
    assert len(corpus.split("train").clips) == 240
    assert len(corpus.split("test").clips) == 60
    assert {clip.speaker for clip in corpus.clips} == {
        "george", "jackson", "lucas", "nicolas", "theo", "yweweler",
    }  # fmt: skip
    assert "CC BY-SA 4.0" in corpus.licence
    assert all(clip.duration is None and clip.path.is_file() for clip in corpus.clips)


def test_every_column(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac")
    write_table(
        tmp_path,
        ["lang", "text", "split", "file", "speaker", "note"],
        [["de", " guten Tag ", "Valid", " a.flac ", "eva", "loud"]],
    )
    assert read(tmp_path).clips == (
        Clip("a.flac", tmp_path / "a.flac", "guten Tag", "eva", "dev", "de"),
    )


def test_columns_that_are_not_there_are_unknown(tmp_path: Path) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\na.flac\tyes")
    assert read(tmp_path).clips == (Clip("a.flac", tmp_path / "a.flac", "yes"),)


@pytest.mark.parametrize("split", ["train", "dev", "valid", "validation", "test", "TEST"])
def test_names_of_splits(tmp_path: Path, split: str) -> None:
    write_table(clips_in(tmp_path, "a.flac"), ["file", "text", "split"], [["a.flac", "a", split]])
    known = {"valid": "dev", "validation": "dev"}
    wanted = known.get(split, split.lower())
    assert read(tmp_path).clips[0].split == wanted


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_byte_order_mark(tmp_path: Path, end: str, mark: bytes) -> None:
    clips_in(tmp_path, "a.flac", "b.flac")
    lines = ["file\ttext", "a.flac\teins", "", "b.flac\tzwei", ""]
    table(tmp_path, mark + end.join(lines).encode())
    assert [(c.id, c.text) for c in read(tmp_path).clips] == [
        ("a.flac", "eins"),
        ("b.flac", "zwei"),
    ]


def test_quoted_fields(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac", "b.flac")
    table(tmp_path, 'file\ttext\n"a.flac"\t"he said ""no"""\nb.flac\tsix "inch" nails\n')
    assert [clip.text for clip in read(tmp_path).clips] == ['he said "no"', 'six "inch" nails']


def test_a_stray_quote_does_not_swallow_lines(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac", "b.flac", "c.flac")
    table(tmp_path, 'file\ttext\na.flac\t"open\nb.flac\ttwo\nc.flac\tclosed"\n')
    refused(tmp_path, "line 4", "on one line", "double quote")


def test_a_stray_tab_does_not_cut_the_text(tmp_path: Path) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\na.flac\tone\ttwo\n")
    refused(tmp_path, "line 2", "3 fields", "at most 2")


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "nowhere is not there", "metadata.tsv", "Check the path")


def test_no_data_set(tmp_path: Path) -> None:
    (tmp_path / "data.xls").write_text("file,text\n")
    refused(tmp_path / "data.xls", "is no data set", "CSV", ".jsonl")


def test_folder_without_table(tmp_path: Path) -> None:
    refused(tmp_path, "holds no metadata.tsv", "file and text", "Write")


@pytest.mark.parametrize(
    ("header", "missing"),
    [("file\tspeaker", "text"), ("number\ttext", "file"), ("a,b", "file, text")],
)
def test_missing_column(tmp_path: Path, header: str, missing: str) -> None:
    table(tmp_path, f"{header}\na\tb\n")
    refused(tmp_path, f"({missing} missing)", "Add the column", "--column")


def test_empty_table(tmp_path: Path) -> None:
    refused(table(tmp_path, ""), "an empty table")


def test_header_alone(tmp_path: Path) -> None:
    refused(table(tmp_path, "file\ttext\n"), "is empty", "at least one labelled clip")


@pytest.mark.parametrize(
    ("row", "empty"), [("\tyes", "file"), ("a.flac\t ", "text"), ("a.flac", "text")]
)
def test_empty_field(tmp_path: Path, row: str, empty: str) -> None:
    table(clips_in(tmp_path, "a.flac", "0.flac"), f"file\ttext\n0.flac\tno\n{row}\n")
    refused(tmp_path, f"line 3 has an empty {empty}")


def test_lines_are_counted_with_blank_ones(tmp_path: Path) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\n\n\na.flac\t\n")
    refused(tmp_path, "line 4 has an empty text")


@pytest.mark.parametrize(
    "name", ["../a.flac", "/etc/passwd", "audio/../../a.flac", "..", "a\0b.flac"]
)
def test_path_that_leaves_the_folder(tmp_path: Path, name: str) -> None:
    clips_in(tmp_path, "a.flac", "data/audio/b.flac")
    table(tmp_path / "data", f"file\ttext\n{name}\tyes\n")
    refused(tmp_path / "data", "line 2", "outside the folder", "inside the data folder")


def test_symlink_that_leaves_the_folder(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac")
    data = tmp_path / "data"
    data.mkdir()
    (data / "a.flac").symlink_to(tmp_path / "a.flac")
    refused(table(data, "file\ttext\na.flac\tyes\n"), "outside the folder")
    (data / "linked").symlink_to(tmp_path)
    refused(table(data, "file\ttext\nlinked/a.flac\tyes\n"), "outside the folder")


def test_symlink_inside_the_folder(tmp_path: Path) -> None:
    clips_in(tmp_path, "audio/a.flac")
    (tmp_path / "b.flac").symlink_to(tmp_path / "audio/a.flac")
    assert read(table(tmp_path, "file\ttext\nb.flac\tyes\n")).clips[0].path.is_file()


@pytest.mark.parametrize("name", ["b.flac", ".", "audio", "x" * 300])
def test_no_recording(tmp_path: Path, name: str) -> None:
    clips_in(tmp_path, "audio/a.flac")
    refused(table(tmp_path, f"file\ttext\n{name}\tyes\n"), "line 2", "is not there")


def test_unknown_split(tmp_path: Path) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\tsplit\na.flac\tyes\tevaluation\n")
    refused(tmp_path, "line 2 has split 'evaluation'", "train, dev or test")


def test_repeated_recording(tmp_path: Path) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\na.flac\tyes\na.flac\tno\n")
    refused(tmp_path, "names a.flac twice", "Remove one")


@pytest.mark.parametrize(
    "content",
    [
        "file\ttext\na.flac\tcafé\n".encode("latin-1"),
        "file\ttext\na.flac\tyes\n".encode("utf-16-le"),
        b"file\ttext\na.flac\t" + b"x" * 2_000_000,
        b"file\ttext\na.flac\t" + b"x" * 200_000 + b"\n",
    ],
    ids=["latin-1", "utf-16-unmarked", "endless-line", "endless-field"],
)
def test_table_that_does_not_parse(tmp_path: Path, content: bytes) -> None:
    refused(table(clips_in(tmp_path, "a.flac"), content), "does not parse", "UTF-8")


def test_split_that_is_not_there() -> None:
    with pytest.raises(DataError, match="no clip in split 'dev'; its splits are test, train"):
        read(DIGITS).split("dev")


def test_without_splits_a_split_is_everything(tmp_path: Path) -> None:
    corpus = Corpus((Clip("a", tmp_path, "yes"),), "", tmp_path)
    assert corpus.split("test") is corpus


@pytest.mark.parametrize("name", LICENCE_FILES)
def test_licence_beside_the_table(tmp_path: Path, name: str) -> None:
    table(clips_in(tmp_path, "a.flac"), "file\ttext\na.flac\tyes\n")
    assert read(tmp_path).licence == "not stated"
    (tmp_path / name).write_bytes(b" free \xff\n")
    assert read(tmp_path).licence.startswith("free")


def cut(**changes: Any) -> dict[str, Any]:
    """A cut as Lhotse writes it."""
    return {
        "id": "jfk",
        "start": 1.0,
        "duration": 2.5,
        "channel": 0,
        "supervisions": [{"id": "jfk", "text": "ask not", "speaker": "jfk", "language": "en"}],
        "recording": {
            "id": "jfk",
            "sources": [{"type": "file", "channels": [0], "source": str(SAMPLES / "jfk.wav")}],
            "sampling_rate": 16000,
        },
        "type": "MonoCut",
    } | changes


def jsonl(path: Path, *lines: object) -> Path:
    text = "".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines)
    raw = text.encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("name", ["cuts.jsonl", "cuts.jsonl.gz"])
def test_manifest(tmp_path: Path, name: str) -> None:
    corpus = read(jsonl(tmp_path / name, cut(), "\n", cut(id="again", custom={"split": "valid"})))
    first = Clip("jfk", SAMPLES / "jfk.wav", "ask not", "jfk", None, "en", 1.0, 2.5)
    assert corpus.clips[0] == first
    assert (corpus.clips[1].id, corpus.clips[1].split) == ("again", "dev")
    assert corpus.licence == "not stated"


def test_manifest_paths_start_at_the_manifest(tmp_path: Path) -> None:
    clips_in(tmp_path, "audio/a.flac")
    recording = {"sources": [{"type": "file", "source": "audio/a.flac"}]}
    found = read(jsonl(tmp_path / "a.jsonl", cut(recording=recording)))
    assert found.clips[0].path == tmp_path / "audio/a.flac"


SPEECH = {"id": "a", "text": "a"}
BROKEN_CUTS: dict[str, object] = {
    "no object": [1, 2],
    "a number": 7,
    "no supervision": cut(supervisions=[]),
    "two supervisions": cut(supervisions=[SPEECH, SPEECH]),
    "no text": cut(supervisions=[{"id": "a"}]),
    "text null": cut(supervisions=[{"id": "a", "text": None}]),
    "text empty": cut(supervisions=[{"id": "a", "text": "  "}]),
    "no recording": cut(recording=None),
    "no sources": cut(recording={"sources": []}),
    "a command": cut(recording={"sources": [{"type": "command", "source": "rm -r ~"}]}),
    "a url": cut(recording={"sources": [{"type": "url", "source": "http://127.0.0.1:1/a.wav"}]}),
    "start words": cut(start="soon"),
    "start negative": cut(start=-1.0),
    "duration zero": cut(duration=0),
    "duration NaN": cut(duration=float("nan")),
    "duration endless": cut(duration=float("inf")),
    "unknown split": cut(custom={"split": "holdout"}),
}


@pytest.mark.parametrize("name", BROKEN_CUTS)
def test_broken_cut(tmp_path: Path, name: str) -> None:
    path = jsonl(tmp_path / "cuts.jsonl", cut(), "\n", BROKEN_CUTS[name])
    refused(path, "line 3 is no cut", "one supervision", "lhotse")


def test_manifest_without_its_recording(tmp_path: Path) -> None:
    recording = {"sources": [{"type": "file", "source": "gone.wav"}]}
    refused(jsonl(tmp_path / "cuts.jsonl", cut(recording=recording)), "line 1", "is not there")


def test_repeated_cut(tmp_path: Path) -> None:
    refused(jsonl(tmp_path / "cuts.jsonl", cut(), cut()), "names jfk twice")


def test_empty_manifest(tmp_path: Path) -> None:
    refused(jsonl(tmp_path / "cuts.jsonl.gz"), "is empty")


BROKEN_MANIFESTS = {
    "no JSON": b"{'id': 1}\n",
    "half a line": json.dumps(cut()).encode()[:-9],
    "latin-1": b'{"id": "caf\xe9"}\n',
    "too deep": b"[" * 200_000,
    "not compressed": b"",
    "cut short": b"",
    "noise in the middle": b"",
}


@pytest.mark.parametrize("name", BROKEN_MANIFESTS)
def test_broken_manifest(tmp_path: Path, name: str) -> None:
    path = tmp_path / "cuts.jsonl"
    content = BROKEN_MANIFESTS[name]
    if not content:
        path = tmp_path / "cuts.jsonl.gz"
        whole = gzip.compress("".join(f"{i} {json.dumps(cut())}" for i in range(99)).encode())
        half = len(whole) // 2
        content = {
            "not compressed": json.dumps(cut()).encode(),
            "cut short": whole[:half],
            "noise in the middle": whole[:half] + bytes(range(256)) + whole[half:],
        }[name]
    path.write_bytes(content)
    refused(path, "cannot be read", "JSON", "Write the manifest again")

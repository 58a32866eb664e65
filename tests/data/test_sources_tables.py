"""Tables are found and their columns guessed; what may mean two things is asked, not decided."""

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.data.corpus import Clip, Corpus, read
from aimass.data.sources.columns import SYNONYMS, guess

from .folders import clips_in, put, write


def refused(source: Path, *words: str, columns: dict[str, str] | None = None) -> None:
    """Reading `source` must fail with an error that says each of `words`."""
    with pytest.raises(DataError) as caught:
        read(source, columns=columns)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"


def one_clip(folder: Path, *lines: str, name: str = "index.csv") -> Clip:
    write(clips_in(folder, "a.flac") / name, *lines)
    (clip,) = read(folder).clips
    return clip


@pytest.mark.parametrize("sign", ["\t", ",", ";", "|"])
@pytest.mark.parametrize("name", ["index.csv", "index.tsv", "metadata.tsv", "Liste.CSV"])
def test_delimiters_and_names(tmp_path: Path, sign: str, name: str) -> None:
    header, row = ["path", "sentence", "client_id"], ["a.flac", '"well, yes; no"', "eva"]
    clip = one_clip(tmp_path, sign.join(header), sign.join(row), name=name)
    assert clip == Clip("a.flac", tmp_path / "a.flac", "well, yes; no", "eva")


def test_what_was_guessed_is_told(tmp_path: Path) -> None:
    header = "Audio File,Transcription,Speaker ID,subset,Locale,note"
    clip = one_clip(tmp_path, header, "a.flac,yes,eva,train-clean,en-GB,loud")
    assert (clip.speaker, clip.split, clip.language) == ("eva", "train", "en")
    layout = read(tmp_path).layout
    assert layout.name == "table"
    assert dict(layout.columns) == {
        "file": "Audio File",
        "text": "Transcription",
        "speaker": "Speaker ID",
        "split": "subset",
        "lang": "Locale",
    }


@pytest.mark.parametrize(
    ("ours", "name"), [(ours, name) for ours, names in SYNONYMS.items() for name in names]
)
def test_every_synonym(ours: str, name: str) -> None:
    assert guess(["number", name.upper().replace("_", " ")], {}, "")[ours] == 1


@pytest.mark.parametrize(
    ("header", "ours", "both"),
    [
        (["path", "audio", "text"], "file", "path and audio"),
        (["file", "sentence", "label"], "text", "sentence and label"),
        (["file", "text", "client_id", "user"], "speaker", "client_id and user"),
        (["file", "text", "text"], "text", "text and text"),
    ],
)
def test_two_candidates_are_refused(
    tmp_path: Path, header: list[str], ours: str, both: str
) -> None:
    write(clips_in(tmp_path, "a.flac") / "metadata.tsv", "\t".join(header), "\t".join("abcd"))
    refused(tmp_path, both, f"may be the {ours}", f"--column {ours}=")


def test_our_own_name_wins(tmp_path: Path) -> None:
    assert one_clip(tmp_path, "file,label,text", "a.flac,07,seven").text == "seven"


def test_a_column_can_be_named(tmp_path: Path) -> None:
    write(clips_in(tmp_path, "a.flac") / "index.csv", "file,sentence,intent", "a.flac,hi,greet")
    assert read(tmp_path, columns={"text": "Intent"}).clips[0].text == "greet"
    refused(tmp_path, "no column 'mood'", "sentence", columns={"text": "mood"})
    refused(tmp_path, "no column 'words' to name", columns={"words": "sentence"})


def test_columns_are_named_for_tables_alone(tmp_path: Path) -> None:
    put(tmp_path / "yes/a.flac")
    put(tmp_path / "no/a.flac")
    refused(tmp_path, "has no columns", columns={"text": "label"})


def test_stretches_of_one_recording(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac")
    write(
        tmp_path / "index.csv",
        "file;text;start;end",
        "a.flac;one;0;0,25",
        "a.flac;two;0,25;0,5",
        "a.flac;rest;0,5;",
    )
    found = [(c.id, c.start, c.duration) for c in read(tmp_path).clips]
    assert found == [
        ("a.flac@0.000+0.250", 0.0, 0.25),
        ("a.flac@0.250+0.250", 0.25, 0.25),
        ("a.flac@0.500", 0.5, None),
    ]


def test_a_length_alone_cuts_nothing(tmp_path: Path) -> None:
    assert one_clip(tmp_path, "file,text,duration", "a.flac,one,0.1").duration is None
    assert "whole files are read" in read(tmp_path).layout.notes[0]


@pytest.mark.parametrize(
    ("times", "fault"),
    [("2,1", "before it begins"), ("soon,1", "'soon'"), ("-1,1", "'-1'"), ("0,nan", "'nan'"),
     ("0,inf", "'inf'"), ("1,1", "before it begins")],
)  # fmt: skip
def test_impossible_times(tmp_path: Path, times: str, fault: str) -> None:
    write(clips_in(tmp_path, "a.flac") / "i.csv", "file,text,start,end", f"a.flac,one,{times}")
    refused(tmp_path, "line 2", fault)


def test_a_guessed_split_that_is_none_is_not_used(tmp_path: Path) -> None:
    clip = one_clip(tmp_path, "file,text,set", "a.flac,one,B7")
    assert clip.split is None
    assert "set names no splits (B7): not used" in read(tmp_path).layout.notes[0]


def test_a_guessed_split_that_is_one_is_held_to_it(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac", "b.flac")
    write(tmp_path / "i.csv", "file,text,set", "a.flac,one,test-other", "b.flac,one,holdout")
    refused(tmp_path, "line 3 has split 'holdout'")


@pytest.mark.parametrize("base", ["clips", "audio", "wavs"])
def test_recordings_in_a_folder_of_their_own(tmp_path: Path, base: str) -> None:
    clips_in(tmp_path, f"{base}/a.flac")
    write(tmp_path / "i.csv", "file,text", "a.flac,one")
    corpus = read(tmp_path)
    assert corpus.clips == (Clip("a.flac", tmp_path / base / "a.flac", "one"),)
    assert f"folder {base}" in corpus.layout.notes[0]


@pytest.mark.parametrize("encoding", ["utf-8-sig", "utf-16", "utf-32"])
def test_marked_encodings(tmp_path: Path, encoding: str) -> None:
    clips_in(tmp_path, "a.flac")
    (tmp_path / "i.csv").write_bytes("file,text\r\na.flac,數字 café\r\n".encode(encoding))
    assert read(tmp_path).clips[0].text == "數字 café"


def test_nul_in_a_text(tmp_path: Path) -> None:
    write(clips_in(tmp_path, "a.flac") / "i.csv", "file,text", "a.flac,on\0e")
    refused(tmp_path, "line 2", "NUL")


def splits_of(corpus: Corpus) -> list[tuple[str, str | None]]:
    return [(clip.text, clip.split) for clip in corpus.clips]


def test_a_table_for_each_split(tmp_path: Path) -> None:
    for name in ("train", "valid", "test_other"):
        clips_in(tmp_path, f"audio/{name}.flac")
        write(tmp_path / f"{name}.csv", "file,text", f"audio/{name}.flac,{name}")
    corpus = read(tmp_path)
    assert splits_of(corpus) == [("test_other", "test"), ("train", "train"), ("valid", "dev")]
    assert corpus.source == tmp_path
    assert splits_of(read(tmp_path / "train.csv")) == [("train", None)]


def test_tables_that_are_no_splits(tmp_path: Path) -> None:
    for name in ("old", "new"):
        write(clips_in(tmp_path, "a.flac") / f"{name}.csv", "file,text", f"a.flac,{name}")
    refused(tmp_path, "2 tables: new.csv, old.csv", "aimass data show")
    assert read(tmp_path / "old.csv").clips[0].text == "old"


def test_other_tables_are_left_alone_and_told(tmp_path: Path) -> None:
    write(tmp_path / "speakers.tsv", "speaker\tage", "eva\t30")
    assert one_clip(tmp_path, "file,text", "a.flac,one").text == "one"
    assert read(tmp_path).layout.notes == (
        "not read, without columns for a recording and its text: speakers.tsv",
    )


def test_what_is_missing_is_counted(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac")
    rows = ["file,text,split", "a.flac,one,train", "b.flac,two,test", "c.flac,three,train"]
    write(tmp_path / "i.csv", *rows)
    corpus = read(tmp_path)
    assert [clip.id for clip in corpus.clips] == ["a.flac"]
    assert [(one.id, one.what, one.split) for one in corpus.missing] == [
        ("b.flac", "recording", "test"),
        ("c.flac", "recording", "train"),
    ]
    assert "line 3 names b.flac, which is not there" in corpus.missing[0].found
    with pytest.raises(DataError, match=r"b\.flac, which is not there \(1 more"):
        corpus.whole()
    assert [one.id for one in corpus.split("train").missing] == ["c.flac"]


def test_a_whole_corpus_is_itself(tmp_path: Path) -> None:
    one_clip(tmp_path, "file,text", "a.flac,one")
    corpus = read(tmp_path)
    assert corpus.whole() is corpus


@pytest.mark.parametrize(("said", "meant"), [("yes", True), ("1", True), ("", False), ("No", 0)])
def test_synthetic(tmp_path: Path, said: str, meant: bool) -> None:
    clip = one_clip(tmp_path, "file,text,synthetic,split", f"a.flac,one,{said},train")
    assert clip.synthetic == meant


def test_synthetic_speech_judges_nobody(tmp_path: Path) -> None:
    clips_in(tmp_path, "a.flac")
    for split in ("dev", "test"):
        write(tmp_path / "i.csv", "file,text,synthetic,split", f"a.flac,one,yes,{split}")
        refused(tmp_path, "synthetic clip a.flac", f"'{split}'")
    write(tmp_path / "i.csv", "file,text,synthetic", "a.flac,one,perhaps")
    refused(tmp_path, "synthetic 'perhaps'", "yes or no")


def cells() -> st.SearchStrategy[str]:
    return st.one_of(
        st.sampled_from(
            ["file", "text", "path", "start", "end", "split", "a.flac", "..", "1", '"']
        ),
        st.text(max_size=8),
    )


@given(st.lists(st.lists(cells(), max_size=5), max_size=6), st.sampled_from("\t,;|"))
def test_any_table_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, rows: Sequence[Sequence[str]], sign: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "any"
    folder.mkdir(exist_ok=True)
    put(folder / "a.flac")
    content = "\n".join(sign.join(row) for row in rows)
    (folder / "metadata.tsv").write_bytes(content.encode("utf-8", "surrogatepass"))
    check(folder)


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    folder = tmp_path_factory.getbasetemp() / "bytes"
    folder.mkdir(exist_ok=True)
    (folder / "i.csv").write_bytes(content)
    check(folder)
    (folder / "cuts.jsonl").write_bytes(content)
    check(folder / "cuts.jsonl")
    (folder / "cuts.jsonl").unlink()


def check(source: Path) -> None:
    try:
        assert read(source).clips
    except DataError as error:
        assert error.found and error.expected and error.fix

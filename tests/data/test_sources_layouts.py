"""Layouts without a table: what stands where says what it is."""

import gzip
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.errors import DataError
from aimass.data import manifest
from aimass.data.corpus import Clip, Corpus, read

from .folders import put, spoken, wav, write
from .test_sources_tables import check, refused


def labels(corpus: Corpus) -> list[tuple[str, str, str | None, str | None]]:
    return [(clip.id, clip.text, clip.speaker, clip.split) for clip in corpus.clips]


def missing(corpus: Corpus) -> list[tuple[str, str]]:
    return [(one.id, one.what) for one in corpus.missing]


# LABEL/*.wav


def test_a_folder_for_each_label(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "yes/b.flac", "no thanks/a.wav", "是/a.wav"):
        put(tmp_path / name)
    write(tmp_path / "README.md", "hello")
    corpus = read(tmp_path)
    assert corpus.layout.name == "a folder for each label"
    assert "speakers are not known" in corpus.layout.notes[0]
    assert labels(corpus) == [
        ("no thanks/a.wav", "no thanks", None, None),
        ("yes/a.wav", "yes", None, None),
        ("yes/b.flac", "yes", None, None),
        ("是/a.wav", "是", None, None),
    ]


def speech_commands(folder: Path) -> Path:
    """The layout of Google Speech Commands."""
    for name in ("yes/0a7c2a8d_nohash_0", "yes/0a7c2a8d_nohash_1", "no/1aed7c6d_nohash_0"):
        wav(folder / f"{name}.wav")
    wav(folder / "_background_noise_/tap.wav")
    write(folder / "validation_list.txt", "yes/0a7c2a8d_nohash_1.wav")
    write(folder / "testing_list.txt", "no/1aed7c6d_nohash_0.wav", "no/gone_nohash_0.wav")
    write(folder / "LICENSE", "CC BY 4.0")
    return folder


def test_speech_commands(tmp_path: Path) -> None:
    corpus = read(speech_commands(tmp_path))
    assert labels(corpus) == [
        ("no/1aed7c6d_nohash_0.wav", "no", "1aed7c6d", "test"),
        ("yes/0a7c2a8d_nohash_0.wav", "yes", "0a7c2a8d", "train"),
        ("yes/0a7c2a8d_nohash_1.wav", "yes", "0a7c2a8d", "dev"),
    ]
    assert missing(corpus) == [("no/gone_nohash_0.wav", "recording")]
    assert corpus.licence == "CC BY 4.0"
    noise, lists = corpus.layout.notes
    assert noise.startswith("_background_noise_ was left out, with 1 recordings")
    assert "all else is train" in lists


def test_labels_below_splits(tmp_path: Path) -> None:
    for name in ("train/yes/a.wav", "train/no/a.wav", "test-hard/yes/a.wav"):
        put(tmp_path / name)
    assert labels(read(tmp_path)) == [
        ("test-hard/yes/a.wav", "yes", None, "test"),
        ("train/no/a.wav", "no", None, "train"),
        ("train/yes/a.wav", "yes", None, "train"),
    ]


def test_a_tree_that_may_mean_anything(tmp_path: Path) -> None:
    put(tmp_path / "eva/yes/a.wav")
    put(tmp_path / "bob/no/a.wav")
    refused(tmp_path, "bob/no/a.wav", "SPLIT/LABEL", "metadata.tsv")


@pytest.mark.parametrize("names", [["a.wav", "b.wav"], ["audio/a.wav"], ["a.wav", "yes/b.wav"]])
def test_recordings_without_labels(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        put(tmp_path / name)
    refused(tmp_path, "holds no metadata.tsv", "Write")


def test_hidden_files_are_no_recordings(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "no/a.wav", "no/._a.wav", ".trash/a.wav"):
        put(tmp_path / name)
    assert len(read(tmp_path).clips) == 2


@pytest.mark.parametrize("names", [("yes/a.wav", "no/b.wav"), ("a.wav", "b.wav")])
def test_links_that_leave_the_folder(tmp_path: Path, names: tuple[str, str]) -> None:
    data, outside = tmp_path / "data", put(tmp_path / "outside.wav")
    write(put(data / names[0]).with_suffix(".txt"), "yes")
    (data / names[1]).parent.mkdir(exist_ok=True)
    (data / names[1]).symlink_to(outside)
    refused(data, "outside the folder")


def test_a_licence_that_leads_elsewhere(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret", "password")
    for name in ("yes/a.wav", "no/a.wav"):
        put(tmp_path / "data" / name)
    (tmp_path / "data/LICENSE").symlink_to(secret)
    refused(tmp_path / "data", "LICENSE", "outside the folder")


def test_a_table_that_is_none_is_no_hindrance(tmp_path: Path) -> None:
    for name in ("yes/a.wav", "no/a.wav"):
        put(tmp_path / name)
    (tmp_path / "notes.csv").write_bytes(b"caf\xe9;\0")
    assert "not read" in read(tmp_path).layout.notes[-1]


def test_a_ring_of_links_ends(tmp_path: Path) -> None:
    put(tmp_path / "yes/a.wav")
    put(tmp_path / "no/a.wav")
    (tmp_path / "yes/again").symlink_to(tmp_path)
    assert len(read(tmp_path).clips) == 2


# x.wav and x.txt


def test_text_beside_audio(tmp_path: Path) -> None:
    for name in ("a.wav", "deep/b.flac", "c.wav", "d.wav"):
        put(tmp_path / name)
    write(tmp_path / "a.txt", "first line", "  second ")
    write(tmp_path / "deep/b.lab", "二")
    write(tmp_path / "d.txt", "")
    corpus = read(tmp_path)
    assert corpus.layout.name == "text beside audio"
    assert labels(corpus) == [
        ("a.wav", "first line second", None, None),
        ("deep/b.flac", "二", None, None),
    ]
    assert missing(corpus) == [("c.wav", "text"), ("d.wav", "text")]
    assert "c.wav has no text beside it" in corpus.missing[0].found
    assert "d.txt is empty" in corpus.missing[1].found


def test_text_beside_audio_below_splits(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        put(tmp_path / split / "a.wav")
        write(tmp_path / split / "a.txt", split)
    assert [clip.split for clip in read(tmp_path).clips] == ["dev", "train"]


@pytest.mark.parametrize(
    ("content", "fault"),
    [(b"caf\xe9", "does not parse"), (b"o\0ne", "NUL"), (b"x" * 2_000_000, "2000000 bytes")],
    ids=["latin-1", "nul", "huge"],
)
def test_a_text_that_is_none(tmp_path: Path, content: bytes, fault: str) -> None:
    put(tmp_path / "a.wav")
    (tmp_path / "a.txt").write_bytes(content)
    refused(tmp_path, "a.txt", fault)


# LibriSpeech


def librispeech(folder: Path) -> Path:
    """Two speakers of two subsets, in LibriSpeech's layout and under its names."""
    subsets = {"train-clean-5": ("19", ["one", "two"]), "dev-clean-2": ("84", ["six"])}
    for subset, (speaker, words) in subsets.items():
        chapter = folder / subset / speaker / "198"
        names = [f"{speaker}-198-{number:04}" for number in range(len(words))]
        for name, word in zip(names, words, strict=True):
            put(chapter / f"{name}.flac", word)
        lines = [f"{name} {word.upper()}" for name, word in zip(names, words, strict=True)]
        write(chapter / f"{speaker}-198.trans.txt", *lines)
    write(folder / "LICENSE.TXT", "CC BY 4.0")
    return folder


def test_librispeech(tmp_path: Path) -> None:
    corpus = read(librispeech(tmp_path))
    assert corpus.layout.name == "LibriSpeech"
    assert corpus.licence == "CC BY 4.0"
    assert labels(corpus) == [
        ("84-198-0000", "SIX", "84", "dev"),
        ("19-198-0000", "ONE", "19", "train"),
        ("19-198-0001", "TWO", "19", "train"),
    ]


@pytest.mark.parametrize("below", ["dev-clean-2", "dev-clean-2/84", "dev-clean-2/84/198"])
def test_a_part_of_librispeech(tmp_path: Path, below: str) -> None:
    corpus = read(librispeech(tmp_path) / below)
    assert labels(corpus) == [("84-198-0000", "SIX", "84", None)]
    assert (corpus.licence == "CC BY 4.0") == (below == "dev-clean-2")


def test_librispeech_in_parts(tmp_path: Path) -> None:
    chapter = librispeech(tmp_path) / "train-clean-5/19/198"
    (chapter / "19-198-0000.flac").unlink()
    put(chapter / "19-198-0009.flac")
    write(chapter / "19-198.trans.txt", "19-198-0000 ONE", "19-198-0001")
    corpus = read(tmp_path)
    assert missing(corpus) == [
        ("19-198-0000", "recording"), ("19-198-0001", "text"), ("19-198-0009", "text"),
    ]  # fmt: skip


@pytest.mark.parametrize(("line", "fault"), [("nodash ONE", "nodash"), ("19-1 A\n19-1 B", "twice")])
def test_librispeech_that_is_torn(tmp_path: Path, line: str, fault: str) -> None:
    put(tmp_path / "19/198/nodash.flac")
    write(tmp_path / "19/198/19-198.trans.txt", line)
    refused(tmp_path, "19-198.trans.txt", fault)


# Common Voice

CV = "client_id\tpath\tsentence\tup_votes\tage\tlocale"


def common_voice(folder: Path) -> Path:
    """Three clips in two splits, and one that is validated alone."""
    for number in range(3):
        put(folder / f"clips/common_voice_en_{number}.mp3", number=number)
    rows = [f"c{n}\tcommon_voice_en_{n}.mp3\tNumber {n}.\t2\t\tzh-TW" for n in range(4)]
    write(folder / "train.tsv", CV, rows[0], rows[3])
    write(folder / "test.tsv", CV, rows[1].replace("Number", '"Number" is "unbalanced'))
    write(folder / "validated.tsv", CV, *rows[:3])
    write(folder / "clip_durations.tsv", "clip\tduration[ms]", "common_voice_en_0.mp3\t400")
    return folder


def test_common_voice(tmp_path: Path) -> None:
    corpus = read(common_voice(tmp_path))
    assert corpus.layout.name == "Common Voice"
    assert labels(corpus) == [
        ("common_voice_en_0.mp3", "Number 0.", "c0", "train"),
        ("common_voice_en_1.mp3", '"Number" is "unbalanced 1.', "c1", "test"),
    ]
    assert corpus.clips[0].path == tmp_path / "clips/common_voice_en_0.mp3"
    assert corpus.clips[0].language == "zh"
    assert missing(corpus) == [("common_voice_en_3.mp3", "recording")]
    assert any("validated.tsv" in note for note in corpus.layout.notes)


def test_all_that_is_validated(tmp_path: Path) -> None:
    corpus = read(common_voice(tmp_path) / "validated.tsv")
    assert [(clip.speaker, clip.split) for clip in corpus.clips] == [
        ("c0", None), ("c1", None), ("c2", None),
    ]  # fmt: skip
    for name in ("train", "test"):
        (tmp_path / f"{name}.tsv").unlink()
    assert read(tmp_path).clips == corpus.clips
    assert read(tmp_path).source == tmp_path


def test_common_voice_without_official_clips(tmp_path: Path) -> None:
    write(common_voice(tmp_path) / "train.tsv", CV)
    write(tmp_path / "test.tsv", CV)
    refused(tmp_path, "without a clip", "validated.tsv")


# Kaldi


def kaldi(folder: Path) -> Path:
    """Two recordings, one of them in two segments."""
    wav(folder / "wav/a.wav", "one")
    wav(folder / "wav/b.wav", "two")
    write(folder / "wav.scp", "rec-a wav/a.wav", f"rec-b {folder / 'wav/b.wav'}")
    write(folder / "text", "eva-1 one", "eva-2 and a half", "bob-1 two")
    write(folder / "utt2spk", "bob-1 bob", "eva-1 eva", "eva-2 eva")
    segments = ["eva-1 rec-a 0.0 0.25", "eva-2 rec-a 0.25 -1", "bob-1 rec-b 0.1 0.3"]
    write(folder / "segments", *segments)
    return folder


def test_kaldi(tmp_path: Path) -> None:
    corpus = read(kaldi(tmp_path))
    a, b = tmp_path / "wav/a.wav", tmp_path / "wav/b.wav"
    assert corpus.clips == (
        Clip("eva-1", a, "one", "eva", start=0.0, duration=0.25),
        Clip("eva-2", a, "and a half", "eva", start=0.25),
        Clip("bob-1", b, "two", "bob", start=0.1, duration=0.3 - 0.1),
    )


def test_kaldi_without_segments(tmp_path: Path) -> None:
    kaldi(tmp_path)
    for name in ("segments", "utt2spk"):
        (tmp_path / name).unlink()
    write(tmp_path / "text", "rec-a one", "rec-c three")
    write(tmp_path / "spk2utt", "eva rec-a rec-b")
    write(tmp_path / "utt2lang", "rec-a English")
    corpus = read(tmp_path)
    assert corpus.clips == (Clip("rec-a", tmp_path / "wav/a.wav", "one", "eva", language="en"),)
    assert missing(corpus) == [("rec-c", "recording"), ("rec-b", "text")]


def test_kaldi_directories_are_splits(tmp_path: Path) -> None:
    for name in ("train", "dev_clean"):
        kaldi(tmp_path / "data" / name)
        rows = [f"{name}-{row}" for row in ("a one", "b two")]
        write(tmp_path / f"data/{name}/text", *rows)
        write(tmp_path / f"data/{name}/segments", f"{name}-a rec-a 0 1", f"{name}-b rec-b 0 1")
    assert [(c.id, c.split) for c in read(tmp_path / "data").clips] == [
        ("dev_clean-a", "dev"), ("dev_clean-b", "dev"), ("train-a", "train"), ("train-b", "train"),
    ]  # fmt: skip
    kaldi(tmp_path / "data/lang_nosp")
    refused(tmp_path / "data", "lang_nosp", "named after splits")


def test_kaldi_paths_may_start_at_the_recipe(tmp_path: Path) -> None:
    wav(tmp_path / "corpus/a.wav")
    write(tmp_path / "data/train/wav.scp", "a corpus/a.wav")
    write(tmp_path / "data/train/text", "a one")
    assert read(tmp_path / "data/train").clips[0].path.samefile(tmp_path / "corpus/a.wav")


@pytest.mark.parametrize(
    ("file", "line", "fault"),
    [
        ("wav.scp", "rec-a touch {0}/run; cat a.wav |", "from a command"),
        ("wav.scp", "rec-a |cat", "from a command"),
        ("wav.scp", "rec-a data.ark:123", "inside an archive"),
        ("wav.scp", "rec-a a\0b", "NUL"),
        ("wav.scp", "rec-a a.wav\nrec-a b.wav", "line 2 names rec-a twice"),
        ("segments", "eva-1 rec-a 0.0", "2 fields"),
        ("segments", "eva-1 rec-a 1 soon", "'soon'"),
        ("segments", "eva-1 rec-a 2 1", "begins at 2 s"),
        ("segments", "eva-1 rec-a nan 1", "'nan'"),
    ],
)
def test_kaldi_that_is_refused(tmp_path: Path, file: str, line: str, fault: str) -> None:
    write(kaldi(tmp_path) / file, line.format(tmp_path))
    refused(tmp_path, file, fault)
    assert not (tmp_path / "run").exists()


def test_kaldi_without_text(tmp_path: Path) -> None:
    (kaldi(tmp_path) / "text").unlink()
    refused(tmp_path, "no text", "an utterance and its words")


@given(st.sampled_from(["wav.scp", "text", "segments", "utt2spk"]), st.text(max_size=60))
def test_any_kaldi_file_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, name: str, content: str
) -> None:
    folder = tmp_path_factory.getbasetemp() / "kaldi"
    kaldi(folder)
    (folder / name).write_bytes(content.encode("utf-8", "surrogatepass"))
    check(folder)


# Lhotse


def recording(name: str, path: Path) -> dict[str, Any]:
    sources = [{"type": "file", "channels": [0], "source": str(path)}]
    return {"id": name, "sources": sources, "sampling_rate": 8000, "num_samples": 1, "duration": 1}


def supervision(name: str, of: str, **more: Any) -> dict[str, Any]:
    times = {"start": 0.1, "duration": 0.2, "channel": 0}
    return {"id": name, "recording_id": of, "text": "one", **times} | more


def jsonl(path: Path, *values: object) -> Path:
    raw = "".join(json.dumps(value) + "\n" for value in values).encode()
    path.write_bytes(gzip.compress(raw) if path.suffix == ".gz" else raw)
    return path


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_recordings_and_supervisions(tmp_path: Path, ending: str) -> None:
    sound = spoken("one")
    jsonl(tmp_path / f"x_recordings_train.{ending}", recording("r", sound))
    jsonl(
        tmp_path / f"x_supervisions_train.{ending}",
        supervision("r-1", "r", speaker=7, language="Mandarin"),
        supervision("r-2", "r", custom={"synthetic": True}),
        supervision("r-3", "r", text=None),
        supervision("s-1", "s"),
    )
    corpus = read(tmp_path)
    assert corpus.clips == (
        Clip("r-1", sound, "one", "7", "train", "zh", 0.1, 0.2),
        Clip("r-2", sound, "one", None, "train", None, 0.1, 0.2, synthetic=True),
    )
    assert missing(corpus) == [("r-3", "text"), ("s-1", "recording")]
    assert len(read(tmp_path / f"x_supervisions_train.{ending}").clips) == 2


@pytest.mark.parametrize(
    ("sound", "speech", "fault"),
    [
        ({"sources": [{"type": "command", "source": "cat x"}]}, {}, "type file"),
        ({"transforms": [{"name": "Resample"}]}, {}, "to be changed"),
        ({}, {"start": -1}, "start -1"),
        ({}, {"duration": None}, "no supervision"),
        ({}, {"channel": 1}, "another channel"),
        ({}, {"custom": {"synthetic": "perhaps"}}, "perhaps"),
    ],
)
def test_pairs_that_are_refused(
    tmp_path: Path, sound: dict[str, Any], speech: dict[str, Any], fault: str
) -> None:
    jsonl(tmp_path / "recordings.jsonl", recording("r", spoken("one")) | sound)
    jsonl(tmp_path / "supervisions.jsonl", supervision("a", "r"), supervision("b", "r") | speech)
    refused(tmp_path, fault)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["type", "source", "text", "split"]), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data())
def test_any_value_in_a_manifest_is_read_or_refused(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "values"
    folder.mkdir(exist_ok=True)
    sound, speech = recording("r", spoken("one")), supervision("a", "r")
    cut = {"id": "c", "start": 0, "duration": 1, "recording": sound, "supervisions": [speech]}
    for value in (cut, sound, speech):
        key = data.draw(st.sampled_from([*value, "custom", "speaker", "language", "transforms"]))
        jsonl(folder / "cuts.jsonl", cut | {"recording": sound, key: data.draw(VALUES)})
        jsonl(folder / "recordings.jsonl", sound | {key: data.draw(VALUES)})
        jsonl(folder / "supervisions.jsonl", speech | {key: data.draw(VALUES)})
        check(folder / "cuts.jsonl")
        check(folder / "recordings.jsonl")


def test_manifests_of_cuts_are_splits(tmp_path: Path) -> None:
    for split in ("train", "dev"):
        manifest.write([Clip(split, spoken("one"), "one")], tmp_path / f"cuts_{split}.jsonl.gz")
    assert [(clip.id, clip.split) for clip in read(tmp_path).clips] == [
        ("dev", "dev"), ("train", "train"),
    ]  # fmt: skip
    manifest.write([Clip("x", spoken("one"), "one")], tmp_path / "cuts_all.jsonl")
    refused(tmp_path, "cuts_all.jsonl", "names that end in train")


@pytest.mark.parametrize("ending", ["jsonl", "jsonl.gz"])
def test_manifests_of_cuts_of_any_name_are_one_corpus(tmp_path: Path, ending: str) -> None:
    for name in ("monday", "tuesday", "tuesday.doubtful"):
        manifest.write([Clip(name, spoken("one"), "one")], tmp_path / f"{name}.{ending}")
    jsonl(tmp_path / "other.jsonl", {"audio_filepath": "a.wav", "text": "one"})
    put(tmp_path / "yes/a.wav")
    put(tmp_path / "no/a.wav")
    corpus = read(tmp_path)
    assert [(clip.id, clip.split) for clip in corpus.clips] == [
        ("monday", None), ("tuesday", None),
    ]  # fmt: skip
    doubtful, other = corpus.layout.notes
    assert f"tuesday.doubtful.{ending}" in doubtful
    assert "other.jsonl" in other


def test_licences_of_several_manifests_travel_together(tmp_path: Path) -> None:
    for name in ("a", "b", "c"):
        clip = Clip(name, spoken("one"), "one")
        manifest.write([clip], tmp_path / f"{name}.jsonl", licence=f"of {name in 'ab'}")
    assert read(tmp_path).licence == "of True\nof False"


@pytest.mark.parametrize("line", ["[]", "{}", "torn", '{"text": "one"}', ""])
def test_other_lines_do_not_make_a_folder_one_of_cuts(tmp_path: Path, line: str) -> None:
    write(tmp_path / "train.jsonl", line)
    for name in ("yes/a.wav", "no/a.wav"):
        put(tmp_path / name)
    assert read(tmp_path).layout.name == "a folder for each label"


def test_languages_are_folded_and_synthetic_is_kept(tmp_path: Path) -> None:
    clip = Clip("a", spoken("one"), "one", language="en-GB", synthetic=True)
    manifest.write([clip], tmp_path / "cuts.jsonl")
    (found,) = read(tmp_path).clips
    assert (found.language, found.synthetic) == ("en", True)


def test_synthetic_cuts_judge_nobody(tmp_path: Path) -> None:
    clip = Clip("a", spoken("one"), "one", split="test", synthetic=True)
    manifest.write([clip], tmp_path / "cuts.jsonl")
    with pytest.raises(DataError, match="synthetic clip a in split 'test'"):
        read(tmp_path)

"""Lhotse's own recipes, run on tiny trees that are laid out as the corpora are."""

from pathlib import Path

import pytest
from lhotse import CutSet

from aimass.base.errors import DataError
from aimass.data.corpus import read
from aimass.data.recipes import prepare, recipes

from .folders import wav, write
from .test_sources_layouts import librispeech, speech_commands


def test_every_recipe_is_listed() -> None:
    found = {recipe.name: recipe for recipe in recipes()}
    assert {"librispeech", "commonvoice", "yesno", "timit", "aishell"} <= found.keys()
    assert len(found) > 80
    assert found["librispeech"].needs == ()
    assert "dataset_parts" in found["librispeech"].options
    assert found["speechcommands"].needs == ("speechcommands_version",)


@pytest.mark.parametrize("name", ["cuts.jsonl", "deep/cuts.jsonl.gz"])
def test_librispeech(tmp_path: Path, name: str) -> None:
    source = librispeech(tmp_path / "LibriSpeech")
    write(source / "LICENSE", "CC BY 4.0")
    done = prepare("librispeech", source, tmp_path / name)
    assert dict(done.splits) == {"train": 2, "dev": 1}
    corpus = read(tmp_path / name)
    own = read(source)
    assert {(c.id, c.path, c.text, c.speaker, c.split) for c in corpus.clips} == {
        (c.id, c.path, c.text, c.speaker, c.split) for c in own.clips
    }
    assert {clip.language for clip in corpus.clips} == {"en"}
    assert corpus.licence == "CC BY 4.0"
    cuts = CutSet.from_file(tmp_path / name)
    assert all(cut.load_audio().shape[1] == cut.num_samples for cut in cuts)
    assert not list(tmp_path.glob(".recipe-*"))


def test_yesno(tmp_path: Path) -> None:
    """Its recipe wants sixty recordings, and tells the words by their names."""
    first = wav(tmp_path / "waves_yesno/0_0_0_0_0_0_0_0.wav")
    for number in range(1, 60):
        first.with_stem("_".join(f"{number:08b}")).hardlink_to(first)
    told: list[int] = []
    done = prepare(
        "yesno",
        tmp_path / "waves_yesno",
        tmp_path / "yesno.jsonl",
        progress=lambda what, count, total: told.append(count),
    )
    assert dict(done.splits) == {"train": 30, "test": 30}
    assert told == list(range(1, 61))
    assert read(tmp_path / "yesno.jsonl").clips[0].text.split() == ["NO"] * 8


def test_an_option_that_a_recipe_needs(tmp_path: Path) -> None:
    source = speech_commands(tmp_path / "speech_commands_v0.02")
    with pytest.raises(DataError, match="also needs speechcommands_version"):
        prepare("speechcommands", source, tmp_path / "c.jsonl")


def fails(name: str, source: Path, output: Path, *words: str, **options: str) -> None:
    with pytest.raises(DataError) as caught:
        prepare(name, source, output, options)
    for word in words:
        assert word in str(caught.value), caught.value
    assert not output.exists()


def test_what_is_refused(tmp_path: Path) -> None:
    source = librispeech(tmp_path / "LibriSpeech")
    output = tmp_path / "cuts.jsonl"
    fails("libri_speech", source, output, "no recipe called", "aimass data corpora")
    fails("libri", source, output, "librispeech")
    fails("librispeech", tmp_path / "gone", output, "gone is not there")
    fails("librispeech", tmp_path, output, "Could not find", "top folder")
    fails("librispeech", source, tmp_path / "cuts.json", "does not say what it is")
    fails("librispeech", source, output, "no option color", color="red")
    fails("yesno", source, output, "AssertionError")


def test_an_option_reaches_the_recipe(tmp_path: Path) -> None:
    source = librispeech(tmp_path / "LibriSpeech")
    options = {"normalize_text": "lower", "dataset_parts": '["dev-clean-2"]'}
    assert dict(prepare("librispeech", source, tmp_path / "c.jsonl", options).splits) == {"dev": 1}
    assert read(tmp_path / "c.jsonl").clips[0].text == "six"


def test_what_a_recipe_says_is_kept_from_the_output(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    source = librispeech(tmp_path / "LibriSpeech")
    prepare("librispeech", source, tmp_path / "c.jsonl")
    assert capfd.readouterr() == ("", "")

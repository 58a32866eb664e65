"""What a build makes of recordings before it trains: splits, what is left out, what is added."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aimass.base.contract import no_progress
from aimass.base.errors import DataError
from aimass.data import corpus as corpora
from aimass.data.measure import measure
from aimass.lifecycle.prepare import prepare, read
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.stages import Stages
from data.folders import DIGITS, clips_in, digits_folder, rows_of, write_table

from .folders import config


def plan(train: Path, **data: Any) -> Scenario:
    sections = {"name": "a", "task": "transcribe", "data": {"train": train, **data}}
    return Scenario.model_validate(sections)


def prepared(home: Path, scenario: Scenario) -> Path:
    return prepare(scenario, config(home), Stages(home / "builds"), no_progress)


def ids(folder: Path, split: str) -> set[str]:
    return {clip.id for clip in corpora.read(folder / f"{split}.jsonl.gz").clips}


def sizes(folder: Path) -> list[int]:
    return [len(ids(folder, split)) for split in ("train", "dev", "test")]


def content(folder: Path) -> Any:
    return json.loads((folder / "content.json").read_text())


def test_content_does_not_depend_on_places(tmp_path: Path) -> None:
    one = digits_folder(tmp_path / "one", ["zero"])
    two = digits_folder(tmp_path / "deep/er/two", ["zero"])
    found = [content(prepared(tmp_path / "home", plan(folder))) for folder in (one, two)]
    assert found[0] == found[1]
    table = two / "metadata.tsv"
    table.write_text(table.read_text().replace("\tzero\t", "\tnull\t", 1))
    assert content(prepared(tmp_path / "home", plan(two))) != found[0]


def test_official_splits_are_kept(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "home", plan(digits_folder(tmp_path / "one", ["zero"])))
    train, dev, test = sizes(folder)
    assert (train + dev, test) == (24, 6)
    official = {row[0] for row in rows_of(["zero"]) if row[3] == "test"}
    assert ids(folder, "test") == official


def test_without_splits_both_sets_are_held_out(tmp_path: Path) -> None:
    rows = [row[:3] for row in rows_of(["one", "two"])]
    data = digits_folder(tmp_path / "data", ["one", "two"])
    write_table(data, ["file", "speaker", "text"], rows)
    folder = prepared(tmp_path / "home", plan(data))
    train, dev, test = sizes(folder)
    assert train + dev + test == 60 and dev >= 1 and test >= 1
    assert (folder / "LICENCE.txt").read_text() == "not stated\n"
    write_table(data, ["file", "speaker", "text"], rows[::-1])
    again = prepared(tmp_path / "home", plan(data))
    assert ids(again, "dev") == ids(folder, "dev")  # names decide, not the order


def test_sets_of_their_own(tmp_path: Path) -> None:
    names = ("train", "dev", "test")
    for number, name in enumerate(names):
        (tmp_path / name).mkdir()
        row = rows_of(["one"])[10 * number]
        shutil.copy(DIGITS / row[0], tmp_path / name / "a.flac")  # the same name in each
        write_table(tmp_path / name, ["file", "text"], [["a.flac", "one"]])
    (tmp_path / "test/LICENSE").write_text("theirs")
    scenario = plan(tmp_path / "train", dev=tmp_path / "dev", test=tmp_path / "test")
    folder = prepared(tmp_path / "home", scenario)
    assert sizes(folder) == [1, 1, 1]
    assert (folder / "LICENCE.txt").read_text() == "not stated\n\ntheirs\n"


def test_a_copied_test_set_is_found(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero"])
    shutil.copy(words / "audio/0_theo_5.flac", words / "audio/renamed.flac")
    rows = (words / "metadata.tsv").read_text()
    (words / "metadata.tsv").write_text(rows + "audio/renamed.flac\ttheo\tzero\ttest\n")
    with pytest.raises(DataError, match="in both"):
        prepared(tmp_path / "home", plan(words))


def spoilt(folder: Path) -> Path:
    """Real clips, and one with nothing to hear."""
    words = digits_folder(folder, ["zero"])
    soundfile.write(words / "audio/mute.flac", np.zeros(4000, np.int16), 8000)
    rows = (words / "metadata.tsv").read_text()
    (words / "metadata.tsv").write_text(rows + "audio/mute.flac\ttheo\tzero\ttrain\n")
    return words


def test_nothing_is_left_out_unasked(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"silent: 1.*audio/mute\.flac") as caught:
        prepared(tmp_path / "home", plan(spoilt(tmp_path / "words")))
    assert "exclude: [silent]" in caught.value.fix


def test_what_the_policy_leaves_out_is_reported(tmp_path: Path) -> None:
    folder = prepared(tmp_path / "home", plan(spoilt(tmp_path / "words"), exclude=["silent"]))
    assert sum(sizes(folder)) == 30
    assert "audio/mute.flac" not in ids(folder, "train") | ids(folder, "dev")
    assert "mute.flac" in (folder / "report/report.json").read_text()


def synthetic(folder: Path, mark: str) -> Path:
    """Clips that are said to be made by a voice engine."""
    words = digits_folder(folder, ["one"])
    rows = [[row[0], "machine", row[2], mark] for row in rows_of(["one"])]
    return write_table(words, ["file", "speaker", "text", "synthetic"], rows)


def test_synthetic_speech_is_for_training_alone(tmp_path: Path) -> None:
    real = digits_folder(tmp_path / "words", ["zero"])
    spoken = synthetic(tmp_path / "spoken", "yes")
    folder = prepared(tmp_path / "home", plan(real, synthetic=spoken))
    clips = {
        name: corpora.read(folder / f"{name}.jsonl.gz").clips for name in ("train", "dev", "test")
    }
    assert sum(clip.synthetic for clip in clips["train"]) == 30
    assert not any(clip.synthetic for name in ("dev", "test") for clip in clips[name])
    with pytest.raises(DataError, match="not marked as synthetic"):
        read(plan(real, synthetic=synthetic(tmp_path / "unmarked", "no")))


def test_adding_a_clip_measures_it_alone(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero"])
    home, scenario = tmp_path / "home", plan(words)
    before = prepared(home, scenario)
    cache = home / "cache/measurements"
    assert measure(read(scenario).clips, cache).decoded == 0
    shutil.copy(DIGITS / rows_of(["one"])[0][0], words / "audio/new.flac")
    table = (words / "metadata.tsv").read_text()
    (words / "metadata.tsv").write_text(table + "audio/new.flac\ttheo\tone\ttrain\n")
    assert measure(read(scenario).clips, cache).decoded == 1
    after = prepared(home, scenario)
    assert ids(after, "train") == ids(before, "train") | {"audio/new.flac"}
    assert (ids(after, "dev"), ids(after, "test")) == (ids(before, "dev"), ids(before, "test"))


def test_clips_that_are_the_same_are_told(tmp_path: Path) -> None:
    clips_in(tmp_path / "same", *(f"{n}.flac" for n in range(9)))
    rows = [[f"{n}.flac", "one", "train" if n < 5 else "test"] for n in range(9)]
    write_table(tmp_path / "same", ["file", "text", "split"], rows)
    with pytest.raises(DataError, match="in both"):
        prepared(tmp_path / "home", plan(tmp_path / "same"))


def test_silence_around_training_clips_is_left_out(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero"])
    for path in (words / "audio").iterdir():
        sound, rate = soundfile.read(path)
        silence = np.zeros(rate)
        soundfile.write(path, np.concatenate([silence, sound, silence]), rate)
    folder = prepared(tmp_path / "home", plan(words, margin=0.1))
    for split in ("train", "dev", "test"):
        for clip in corpora.read(folder / f"{split}.jsonl.gz").clips:
            assert clip.duration is not None
            whole = clip.start == 0 and clip.duration > 2
            assert whole == (split != "train")
            assert whole or (clip.start > 0.85 and clip.duration < 1.2)

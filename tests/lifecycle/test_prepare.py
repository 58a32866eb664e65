"""What a build makes of recordings before it trains: splits, what is left out, what is added."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aimass.base.contract import Task, no_progress
from aimass.base.errors import DataError
from aimass.data import corpus as corpora
from aimass.data.measure import measure
from aimass.lifecycle.prepare import prepare, read
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.stages import Stages
from data.folders import DIGITS, clips_in, digits_folder, rows_of, write_table

from .folders import config


def plan(train: Path, task: Task = Task.TRANSCRIBE, **data: Any) -> Scenario:
    sections = {"name": "a", "task": task, "data": {"train": train, **data}}
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


def notes(*sources: Any, **data: Any) -> list[str]:
    return [note for note in read(plan(*sources, **data)).layout.notes if "not used" in note]


def relabelled(folder: Path, rows: list[list[str]]) -> Path:
    """Sample digits with a table of one's own."""
    words = digits_folder(folder, ["zero", "one"])
    return write_table(words, ["file", "speaker", "text", "split"], rows)


def test_clips_that_no_set_takes_are_told(tmp_path: Path) -> None:
    drop = digits_folder(tmp_path / "drop", ["zero"])
    rows = [[*row[:3], "dev" if row[1] == "theo" else row[3]] for row in rows_of(["one"])]
    other = relabelled(tmp_path / "other", rows)
    assert notes(drop) == notes(drop, test=drop) == notes(other) == []
    assert notes(drop, test=other) == [
        "6 clips of drop are in split 'test', and data.test names another folder: not used",
        "20 clips of other are in split 'train', and data.test takes split 'test' alone: not used",
        "5 clips of other are in split 'dev', and data.test takes split 'test' alone: not used",
    ]
    both = notes(drop, dev=other, test=other)
    assert [note.split()[0] for note in both] == ["6", "20"]


def test_what_is_not_used_is_in_the_report(tmp_path: Path) -> None:
    drop = digits_folder(tmp_path / "drop", ["zero"])
    other = digits_folder(tmp_path / "other", ["one"])
    told = report(prepared(tmp_path / "home", plan(drop, test=other)))["notes"]
    assert sum(note.endswith("not used") for note in told) == 2


def report(folder: Path) -> Any:
    return json.loads((folder / "report/report.json").read_text())


def test_whoever_does_not_look_for_wrong_labels_is_told_how(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero", "one"])

    def told(**more: Any) -> list[str]:
        kept = read(plan(words, **more)).layout.notes
        return [note for note in kept if note.startswith("labels were not cross-validated")]

    (note,) = told()
    assert "aimass data check DIR;" in note and "exclude: [label_suspect]" in note
    assert told(task=Task.CLASSIFY) == [note]
    assert told(task=Task.EMBED) == told(exclude=["label_suspect"]) == []
    sentences = [[row[0], row[1], f"sentence {n}"] for n, row in enumerate(rows_of(["zero"]))]
    write_table(words, ["file", "speaker", "text"], sentences)
    assert told() == []  # no closed set of labels


def strange(folder: Path) -> Path:
    """Two clips of the test set say what nobody says in training."""
    rows = rows_of(["zero", "one"])
    judged = [row for row in rows if row[3] == "test"]
    judged[0][2], judged[1][2] = "quartz", "Zero"
    return relabelled(folder, rows)


@pytest.mark.parametrize(
    ("task", "code", "count"),
    [(Task.TRANSCRIBE, "untokenisable", 1), (Task.CLASSIFY, "label_not_in_train", 2)],
)
def test_what_only_the_test_set_says_is_found(
    tmp_path: Path, task: Task, code: str, count: int
) -> None:
    words = strange(tmp_path / "words")
    scenario = plan(words, task, exclude=[code])
    folder = prepared(tmp_path / "home", scenario)
    told = report(folder)
    assert told["counts"][code] == count and told["stops"] == []
    found = {one["clip"] for one in told["findings"] if one["code"] == code}
    for split in ("train", "dev", "test"):
        given = {clip.id for clip in read(scenario).split(split).clips}
        assert ids(folder, split) == given - found
        assert (found <= given) == (split == "test")


@pytest.mark.parametrize("task", [Task.TRANSCRIBE, Task.CLASSIFY])
def test_a_label_of_one_speaker_is_never_held_out(tmp_path: Path, task: Task) -> None:
    for speaker in sorted({row[1] for row in rows_of(["zero"])}):
        rows = [
            [row[0], row[1], "six" if row[1] == speaker else row[2], ""]
            for row in rows_of(["zero", "one"])
        ]
        found = read(plan(relabelled(tmp_path / speaker, rows), task))
        trained = {clip.text for clip in found.clips if clip.split == "train"}
        assert trained == {"zero", "one", "six"}


@pytest.mark.parametrize("official", [True, False])
def test_six_speakers_are_enough_for_voiceprints(tmp_path: Path, official: bool) -> None:
    rows = [row if official else [*row[:3], ""] for row in rows_of(["zero", "one"])]
    words = relabelled(tmp_path / "words", rows)
    given = read(plan(words, Task.EMBED))
    voices = [
        {clip.speaker for clip in given.split(split).clips} for split in ("train", "dev", "test")
    ]
    assert [len(own) for own in voices] == ([4, 2, 6] if official else [2, 2, 2])
    assert not voices[0] & voices[1]
    if official:
        prepared(tmp_path / "home", plan(words, Task.EMBED))


def test_a_rate_that_is_not_read_is_left_out_by_its_own_code(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero", "one"])
    for name, rate in (("fast", 96000), ("rare", 16000)):
        sound, _ = soundfile.read(DIGITS / rows_of(["zero" if rate == 16000 else "six"])[0][0])
        soundfile.write(words / f"audio/{name}.wav", np.repeat(sound, rate // 8000), rate)
        with (words / "metadata.tsv").open("a") as table:
            table.write(f"audio/{name}.wav\ttheo\tzero\ttrain\n")
    with pytest.raises(DataError, match=r"\(unreadable_rate: 1\)"):
        prepared(tmp_path / "home", plan(words))
    folder = prepared(tmp_path / "home", plan(words, exclude=["unreadable_rate"]))
    heard = ids(folder, "train") | ids(folder, "dev")
    assert "audio/rare.wav" in heard and "audio/fast.wav" not in heard


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


def synthetic(folder: Path, mark: str, word: str = "one") -> Path:
    """Clips that are said to be made by a voice engine."""
    words = digits_folder(folder, [word])
    rows = [[row[0], "machine", row[2], mark] for row in rows_of([word])]
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

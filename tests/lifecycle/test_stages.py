"""Stages are named by their inputs, made whole or not at all, and made once."""

import json
import os
import shutil
from pathlib import Path

import pytest

from aimass.base.errors import DataError
from aimass.data.corpus import Corpus, read
from aimass.lifecycle.build import _content, split
from aimass.lifecycle.scenario import Data, Scenario
from aimass.lifecycle.stages import Stages, fingerprint
from data.folders import clips_in, digits_folder, write_table


def test_work_is_done_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def work(folder: Path) -> None:
        made.append(folder)
        (folder / "out").write_text("x")

    stages = Stages(tmp_path)
    first = stages.run("a", [1, {"b": 2}], work)
    assert stages.reused == []
    assert stages.run("a", [1, {"b": 2}], work) == first
    assert stages.reused == ["a"] and len(made) == 1
    assert (first / "out").read_text() == "x"
    assert json.loads((first / "inputs.json").read_text()) == [1, {"b": 2}]
    assert len({stages.run(n, i, work) for n in "ab" for i in (1, 2)}) == 4
    assert Stages(tmp_path).run("a", [1, {"b": 2}], work) == first


def test_failed_work_leaves_nothing(tmp_path: Path) -> None:
    def work(folder: Path) -> None:
        (folder / "half").write_text("x")
        raise OSError("no space left")

    with pytest.raises(OSError, match="no space left"):
        Stages(tmp_path).run("a", 1, work)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_build_left_is_swept_away(tmp_path: Path) -> None:
    (tmp_path / ".train-0123-x").mkdir(parents=True)
    (tmp_path / ".train-0123-x/half").write_text("x")
    (tmp_path / "train-0123").mkdir()
    with Stages(tmp_path).lock():
        pass
    assert sorted(p.name for p in tmp_path.iterdir()) == [".lock", "train-0123"]


def folder_of(path: Path, *names: str) -> Corpus:
    clips_in(path, *names)
    write_table(path, ["file", "text"], [[name, "one"] for name in names])
    for name in names:
        os.utime(path / name, (5, 5))
    return read(path)


def test_a_fingerprint_sees_every_change(tmp_path: Path) -> None:
    data = tmp_path / "data"
    seen = [fingerprint(folder_of(data, "a.flac", "b.flac"))]
    assert seen[0] == fingerprint(read(data))
    os.utime(data / "a.flac", (6, 6))
    seen.append(fingerprint(read(data)))
    with (data / "b.flac").open("ab") as file:
        file.write(b"x")
    seen.append(fingerprint(read(data)))
    write_table(data, ["file", "text"], [["a.flac", "one"], ["b.flac", "two"]])
    seen.append(fingerprint(read(data)))
    write_table(data, ["file", "text"], [["a.flac", "one"]])
    seen.append(fingerprint(read(data)))
    (data / "LICENSE").write_text("mine")
    seen.append(fingerprint(read(data)))
    seen.append(fingerprint(Corpus(folder_of(tmp_path / "twin", "a.flac").clips, "mine", data)))
    texts = [json.dumps(one) for one in seen]
    assert len(set(texts)) == len(texts)


def plan(train: Path, **others: Path) -> Scenario:
    return Scenario.model_validate(
        {"name": "a", "task": "transcribe", "data": Data(train=train, **others)}
    )


def test_content_does_not_depend_on_places(tmp_path: Path) -> None:
    one = digits_folder(tmp_path / "one", ["zero"])
    two = digits_folder(tmp_path / "deep/er/two", ["zero"])
    found = [_content(split(plan(folder))[0]) for folder in (one, two)]
    assert found[0] == found[1]
    table = two / "metadata.tsv"
    table.write_text(table.read_text().replace("\tzero\t", "\tnull\t", 1))
    assert _content(split(plan(two))[0]) != found[0]


def test_official_splits_are_kept(tmp_path: Path) -> None:
    splits, _ = split(plan(digits_folder(tmp_path / "one", ["zero"])))
    assert {clip.split for clip in (*splits.train, *splits.dev)} == {"train"}
    assert {clip.split for clip in splits.test} == {"test"}
    assert (len(splits.train) + len(splits.dev), len(splits.test)) == (24, 6)


def test_without_splits_both_sets_are_held_out(tmp_path: Path) -> None:
    clips_in(tmp_path, *(f"{n}.flac" for n in range(60)))
    write_table(tmp_path, ["file", "text"], [[f"{n}.flac", "one"] for n in range(60)])
    splits, licence = split(plan(tmp_path))
    assert len(splits.train) + len(splits.dev) + len(splits.test) == 60
    assert 1 <= len(splits.dev) <= 12 and 1 <= len(splits.test) <= 12
    assert licence == "not stated"
    write_table(tmp_path, ["file", "text"], [[f"{n}.flac", "one"] for n in range(59, -1, -1)])
    again, _ = split(plan(tmp_path))
    assert {c.id for c in again.dev} == {c.id for c in splits.dev}  # names decide, not the order


def test_sets_of_their_own(tmp_path: Path) -> None:
    train = folder_of(tmp_path / "train", "a.flac", "b.flac").source
    dev = folder_of(tmp_path / "dev", "c.flac").source
    test = folder_of(tmp_path / "test", "d.flac").source
    (test / "LICENSE").write_text("theirs")
    splits, licence = split(plan(train, dev=dev, test=test))
    assert [len(s) for s in (splits.train, splits.dev, splits.test)] == [2, 1, 1]
    assert licence == "not stated\n\ntheirs"
    with pytest.raises(DataError, match="in both"):
        split(plan(train, dev=dev, test=train))


def test_a_copied_test_set_is_found(tmp_path: Path) -> None:
    words = digits_folder(tmp_path / "words", ["zero"])
    shutil.copy(words / "audio/0_theo_5.flac", words / "audio/renamed.flac")
    rows = (words / "metadata.tsv").read_text()
    (words / "metadata.tsv").write_text(rows + "audio/renamed.flac\ttheo\tzero\ttest\n")
    splits, _ = split(plan(words))
    with pytest.raises(DataError, match=r"in both .* as .*common recordings"):
        _content(splits)

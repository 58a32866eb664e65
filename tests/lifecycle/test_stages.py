"""Stages are named by their inputs, made whole or not at all, and made once."""

import json
import os
from pathlib import Path

import pytest

from aimass.data.corpus import Corpus, read
from aimass.lifecycle.stages import Stages, fingerprint
from data.folders import clips_in, write_table


def test_work_is_done_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def work(folder: Path) -> None:
        made.append(folder)
        (folder / "out").write_text("x")

    stages = Stages(tmp_path)
    first = stages.run("a", [1, {"b": 2}], work)
    assert stages.run("a", [1, {"b": 2}], work) == first
    assert stages.reused == []  # this build made it itself
    later = Stages(tmp_path)
    assert later.run("a", [1, {"b": 2}], work) == first
    assert later.reused == ["a"] and len(made) == 1
    assert (first / "out").read_text() == "x"
    assert json.loads((first / "inputs.json").read_text()) == [1, {"b": 2}]
    assert len({stages.run(n, i, work) for n in "ab" for i in (1, 2)}) == 4


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

"""Members that fail, that are killed, that learn jointly, that leave snapshots."""

import json
import os
import shutil
import signal
from pathlib import Path
from threading import Thread
from typing import Any

import pytest

from aimass.base.contract import no_progress
from aimass.base.errors import TrainingError
from aimass.lifecycle.build import build, jobs_of
from aimass.lifecycle.members import Job, inputs_of, symbols_of
from aimass.lifecycle.prepare import prepare, spoken
from aimass.lifecycle.scenario import read
from aimass.lifecycle.stages import Stages
from aimass.lifecycle.workers import train_members

from .folders import command, config, log_of, scenario_file, tiny_scenario
from .test_members import children, until
from .test_tasks import labelled, two_languages

PLAIN = {"parameters": 30000, "subsampling": "stack"}


def with_noise(folder: Path, content: bytes) -> Path:
    (folder / "noise").mkdir(exist_ok=True)
    (folder / "noise/hum.wav").write_bytes(content)
    return folder / "noise"


def two_members(folder: Path, **sections: Any) -> Path:
    """A scenario of two members, of which the second needs a folder of noise."""
    return tiny_scenario(
        folder,
        members=[
            {"name": "whole", **PLAIN},
            {"name": "broken", **PLAIN, "augment": {"policy": "light", "noise": "noise"}},
        ],
        **sections,
    )


def test_a_member_that_fails_is_reported_and_tried_again(home: Path, tmp_path: Path) -> None:
    scenario = two_members(tmp_path)
    with_noise(tmp_path, b"no sound")
    code, said = command(home, "build", scenario, "--json")
    told = json.loads(said)
    assert code == 0
    assert list(told["members"]) == ["whole"] and told["member"] == "whole"
    (failed,) = told["failed"]
    assert failed["name"] == "broken" and "hum.wav" in failed["reason"]

    clip = next((tmp_path / "words/audio").glob("*.flac"))
    shutil.copy(clip, with_noise(tmp_path, b"") / "hum.flac")
    (tmp_path / "noise/hum.wav").unlink()
    trained = {path: path.stat().st_mtime_ns for path in (home / "builds/three").glob("train-*")}
    again = build(scenario, config=config(home))
    assert not again.failed and set(again.members) == {"whole", "broken"}
    assert all(path.stat().st_mtime_ns == then for path, then in trained.items())


def test_too_few_that_are_left_end_the_build(home: Path, tmp_path: Path) -> None:
    noisy = {"policy": "light", "noise": "noise"}
    members = [
        {"name": n, **PLAIN, "augment": noisy | {"passes": p}} for n, p in (("a", 1), ("b", 2))
    ]
    scenario = tiny_scenario(tmp_path, members=members)
    with_noise(tmp_path, b"no sound")
    with pytest.raises(TrainingError, match=r"2 of 2 members failed: 'a': .*; 'b': ") as caught:
        build(scenario, config=config(home))
    assert caught.value.exit_code == 7
    alone = scenario_file(tmp_path, data={"train": "words"}, members=members[:1])
    code, _ = command(home, "build", alone)
    assert code == 3  # what is wrong with a single member is what is wrong with the build


def jobs_in(home: Path, scenario: Path) -> tuple[list[Job], Stages]:
    """What a build would train, with the data prepared."""
    plan = read(scenario)
    stages = Stages(home / "builds" / plan.name)
    prepared = prepare(plan, config(home), stages, no_progress)
    return jobs_of(plan, prepared, stages, config(home)), stages


def test_a_process_that_is_killed_ends_no_other(home: Path, tmp_path: Path) -> None:
    endless = {"name": "endless", **PLAIN, "training": {"epochs": 9000, "batch_size": 16}}
    scenario = tiny_scenario(tmp_path, members=[endless, {"name": "short", **PLAIN}])
    jobs, stages = jobs_in(home, scenario)
    folders = [(job, stages.target("train", inputs_of(job))) for job in jobs]
    before, found = children(os.getpid()), dict[str, Exception]()
    training = Thread(
        target=lambda: found.update(train_members(folders, no_progress, workers=2)), daemon=True
    )
    training.start()
    until(lambda: folders[1][1].is_dir() and (jobs[0].scratch / "log.jsonl").is_file())
    left = children(os.getpid()) - before
    for process in left:  # a helper of multiprocessing may be among them, which nobody misses
        os.kill(process, signal.SIGKILL)
    training.join()
    assert list(found) == ["endless"]
    assert "the process that trained 'endless' was killed" in str(found["endless"])
    assert "goes on from the last checkpoint" in str(found["endless"])
    assert (jobs[0].scratch / "checkpoint.safetensors").is_file()


def test_members_that_learn_jointly(home: Path, tmp_path: Path) -> None:
    members = [
        {"name": "a", **PLAIN},
        {"name": "b", **PLAIN, "seed": 1, "features": {"kind": "mfcc"}},
        {"name": "else", **PLAIN, "training": {"epochs": 1, "batch_size": 16}},
        {"name": "part", **PLAIN, "bag": {"share": 0.5, "by": "speaker"}},
    ]
    scenario = tiny_scenario(tmp_path, task="classify", joint=1.0, members=members)
    labelled(scenario)
    jobs, stages = jobs_in(home, scenario)
    a, b, *others = jobs
    assert a.together is not None and a.together == b.together and a.scratch == b.scratch
    assert all(job.together is None for job in others)
    folders = [(job, stages.target("train", inputs_of(job))) for job in jobs]
    assert train_members(folders[:2], no_progress) == {}
    for job, folder in folders[:2]:
        assert len(log_of(folder)) == 2
        assert (job.scratch / job.name / "log.jsonl").is_file()
    apart, _ = jobs_in(home, scenario_file(tmp_path, task="classify", members=members,
                                           data={"train": "words"}))  # fmt: skip
    assert [job.together for job in apart] == [None] * 4
    assert inputs_of(apart[0]) != inputs_of(a)


def test_what_a_member_may_have_of_its_own(home: Path, tmp_path: Path) -> None:
    members = [
        {"name": "words", **PLAIN},
        {"name": "letters", **PLAIN, "tokens": {"kind": "characters"}},
        {"name": "bag", **PLAIN, "bag": {"share": 0.5, "by": "speaker"}},
        {"name": "other", **PLAIN, "seed": 3, "bag": {"share": 0.5, "by": "speaker"}},
        {"name": "warm", **PLAIN, "sampling_temperature": 4.0},
    ]
    jobs, _ = jobs_in(home, tiny_scenario(tmp_path, members=members))
    words, letters, bag, other, warm = (json.dumps(inputs_of(job), default=str) for job in jobs)
    assert len({words, letters, bag, other, warm}) == 5
    assert "bag" not in words and "tokens" not in words  # as they were before there were such
    assert symbols_of(jobs[0]) != symbols_of(jobs[1])
    assert set("zerosix") <= set("".join(symbols_of(jobs[1]).symbols))


def test_the_data_names_its_languages(tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path)
    assert spoken(read(scenario)).language == "en"
    two_languages(scenario)
    assert spoken(read(scenario)).languages == ("en", "zh")
    said = scenario_file(tmp_path, language="zh+en", data={"train": "words"})
    assert spoken(read(said)).languages == ("zh", "en")

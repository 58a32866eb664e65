"""Students of a scenario: taught, named after their teacher, published; and labels by a teacher."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Task, no_progress
from aimass.base.errors import AimassError, DataError, RequestError, ScenarioError, TrainingError
from aimass.data import corpus as corpora
from aimass.lifecycle import said
from aimass.lifecycle.build import build
from aimass.lifecycle.distil import Student, distil, planned
from aimass.lifecycle.label import label
from aimass.lifecycle.lesson import Lesson
from aimass.lifecycle.scenario import read
from aimass.registry import bundle as bundles
from aimass.registry.massive import voice_of
from aimass.registry.store import Registry
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.load import resolve, shipped
from aimass.training.distil import DistilSpec
from data.folders import DIGITS, rows_of

from .folders import (
    WORDS,
    aimass,
    aimass_json,
    command,
    config,
    content_of,
    scenario_file,
    tiny_scenario,
)
from .test_tasks import LABELS, labelled

SMALL = {"parameters": 30000, "subsampling": "stack"}
QUICK = {"epochs": 2, "batch_size": 16}


@dataclass(frozen=True)
class Class:
    """A home with a teacher of labels called ``three``, and its scenario."""

    home: Path
    scenario: Path
    said: dict[str, Any]

    def other(self, file: str, **sections: Any) -> Path:
        """The scenario with other sections."""
        return scenario_file(self.scenario.parent, file, **(LEARNT | sections))

    def distil(self, path: Path, **changes: Any) -> list[Student]:
        """Students by the teacher."""
        plan = planned(path, **({"teacher": "three"} | changes))
        return distil(plan, config=config(self.home))


LEARNT: dict[str, Any] = {
    "task": "classify",
    "members": [{"name": "a", **SMALL}],
    "augment": {"policy": "light", "joined": 1, "ramp": 0, "passes": 2},
    "training": {"epochs": 12, "batch_size": 8, "learning_rate": 0.008},
    "distil": {"students": [SMALL], "training": QUICK},
}
"""A teacher that learns, and students that need not."""


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory, tables: Path) -> Class:
    folder = tmp_path_factory.mktemp("school")
    (folder / "home").mkdir()
    shutil.copy(tables, folder / "home")
    scenario = tiny_scenario(folder, **LEARNT)
    labelled(scenario)
    return Class(folder / "home", scenario, aimass_json(folder / "home", "build", scenario))


@pytest.fixture(scope="module")
def first(school: Class) -> dict[str, Any]:
    """What the command says of a student."""
    args = ("compress", "distil", school.scenario, "--teacher", "three")
    (found,) = aimass_json(school.home, *args)
    assert isinstance(found, dict)
    return found


def more(folder: Path, name: str = "more", split: str = "train", wanted: int = 6) -> Path:
    """Recordings that nobody labelled: words of the corpus that no training clip says."""
    (folder / name / "deep").mkdir(parents=True, exist_ok=True)
    words = ("two", "three") if split == "train" else WORDS
    rows = [row for row in rows_of(words) if row[3] == split][:wanted]
    for row in rows:
        shutil.copy(DIGITS / row[0], folder / name / "deep")
    return folder / name


def test_a_student_is_published_beside_its_teacher(school: Class, first: dict[str, Any]) -> None:
    assert (first["model"], first["version"]) == ("three-student", 1)
    assert first["teacher"]["model"] == "three@1"
    teacher = school.said["scorecard"]
    assert first["teacher"]["error_rate"] == teacher["error_rate"]
    compared = first["comparison"]
    assert compared["difference"] == pytest.approx(
        first["test"]["error_rate"] - teacher["error_rate"]
    )
    bundle = bundles.load(Path(first["folder"]))
    taught = bundle.manifest.lineage["distilled"]
    voice = voice_of(bundles.load(Path(school.said["folder"])))
    assert (taught["teacher"], taught["digest"]) == ("three", voice)
    assert (taught["by"], taught["alpha"], taught["temperature"]) == ("posteriors", 0.9, 2.0)
    assert bundle.manifest.scores["float"]["test"]["utterances"] == 18
    assert str(school.home.parent) not in (bundle.folder / bundles.MANIFEST).read_text()
    registered = Registry(school.home).resolve("three-student", "production")
    assert registered is not None and registered.digest == first["digest"]


def test_it_answers_by_name(school: Class, first: dict[str, Any]) -> None:
    clip = next((school.scenario.parent / "words/audio").glob("*.flac"))
    said_of_it = aimass(school.home, "transcribe", clip, "--model", first["model"])
    assert said_of_it.strip() in LABELS.values()


def test_distilling_again_trains_nothing(school: Class, first: dict[str, Any]) -> None:
    builds = school.home / "builds/three"
    before = {path: path.stat().st_mtime_ns for path in builds.glob("*-*")}
    args = ("compress", "distil", school.scenario, "--teacher", "three")
    assert aimass_json(school.home, *args) == [first]
    assert before == {path: path.stat().st_mtime_ns for path in builds.glob("*-*")}
    assert not list((builds / "unfinished").glob("*/"))


def test_what_is_deleted_is_made_again_bit_for_bit(school: Class, first: dict[str, Any]) -> None:
    builds = school.home / "builds/three"
    stores = list(builds.glob("teachers-*"))
    assert len(list(stores[0].glob("said-*/"))) == 2  # one for each pass
    for path in [*stores, *builds.glob("train-*"), *builds.glob("said-*")]:
        shutil.rmtree(path)
    (again,) = school.distil(school.scenario)
    assert again.bundle.digest == first["digest"]


def test_students_of_any_kind_share_their_teacher(school: Class) -> None:
    students = [
        {"name": "fine", **SMALL},
        {"name": "coarse", **SMALL, "family": "recurrent", "features": {"bins": 20}},
    ]
    path = school.other("two.yaml", distil={"students": students, "training": {"epochs": 1}})
    shutil.rmtree(next((school.home / "builds/three").glob("teachers-*")))
    found = school.distil(path)
    assert [one.published.name for one in found] == ["three-fine", "three-coarse"]
    (store,) = (school.home / "builds/three").glob("teachers-*")
    assert len(list(store.glob("said-*/"))) == 1  # of the one pass that one epoch needs


def test_what_a_student_learns_from_is_part_of_its_digest(
    school: Class, first: dict[str, Any]
) -> None:
    (other,) = school.distil(school.scenario, temperature=3.0)
    assert other.bundle.digest != first["digest"]
    given = Lesson(
        resolve("three", config(school.home)), "0", "posteriors", DistilSpec(), Path("a"), Path(),
        school.home,
    )  # fmt: skip
    changes: list[dict[str, Any]] = [
        {"digest": "1"},
        {"by": "answers"},
        {"spec": DistilSpec(alpha=0.5)},
        {"spec": DistilSpec(keep=2)},
        {"heard": Path("b")},
    ]
    others = [replace(given, **change).inputs for change in changes]
    assert all(inputs != given.inputs for inputs in others)
    assert replace(given, store=Path("c"), home=Path("d")).inputs == given.inputs


def test_clips_that_nobody_labelled_are_heard(school: Class) -> None:
    folder = more(school.scenario.parent)
    data = {"train": "words", "unlabelled": "more", "margin": 0.1}
    (soft,) = school.distil(school.other("soft.yaml", data=data), epochs=1)
    assert soft.unlabelled == len(list(folder.rglob("*.flac"))) == 6
    assert "labelled" not in json.dumps(soft.bundle.manifest.lineage)  # names stay here


def test_answers_teach_what_the_teacher_is_sure_of(school: Class) -> None:
    more(school.scenario.parent)
    path = school.other("hard.yaml", data={"train": "words", "unlabelled": "more"})
    counts = []
    for confidence in (0.0, 1.0):
        (one,) = school.distil(path, targets="answers", confidence=confidence, epochs=1)
        assert one.bundle.manifest.lineage["distilled"]["by"] == "answers"
        counts.append(one.unlabelled)
    assert counts[0] == 6 > counts[1]


def test_dev_and_test_are_not_heard(school: Class) -> None:
    more(school.scenario.parent, "leak", split="test")
    path = school.other("leak.yaml", data={"train": "words", "unlabelled": "leak"})
    with pytest.raises(DataError, match="is in both"):
        school.distil(path)


def test_words_are_taught_by_answers(home: Path, tmp_path: Path) -> None:
    more(tmp_path)
    about = {"teacher": "digits", "students": [SMALL], "confidence": 0.5}
    scenario = tiny_scenario(tmp_path, distil=about)
    (found,) = distil(scenario, config=config(home))
    assert found.teacher == "digits"
    assert found.bundle.manifest.lineage["distilled"]["by"] == "answers"
    (path,) = (home / "builds/three").glob("said-*/said.jsonl")
    told = said.read(path)
    right = sum(one.text == one.answers[0][0] for one in told)
    assert right >= 0.9 * len(told) >= 40
    assert all(one.confidence is not None and one.confidence >= 0.5 for one in told)
    assert found.unlabelled == 0  # two and three cannot be written in three words


def test_words_are_taught_by_the_rows_of_one_teacher(home: Path, tmp_path: Path) -> None:
    more(tmp_path)
    data = {"train": "words", "unlabelled": "more"}
    about = {"teacher": "digits", "targets": "posteriors", "students": [SMALL]}
    tiny_scenario(tmp_path)
    scenario = scenario_file(tmp_path, data=data, distil=about)
    (found,) = distil(scenario, config=config(home))
    digits = bundles.load(shipped()["digits"])
    assert found.bundle.symbols() == digits.symbols()  # so that rows can be compared
    assert found.unlabelled == 6


def test_a_teacher_of_other_labels(school: Class, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, task="classify", distil={"students": [SMALL]})
    with pytest.raises(TrainingError, match=r"'three' does not know \['one', 'six', 'zero'\]"):
        distil(planned(scenario, teacher="three"), config=config(school.home))


def test_nobody_teaches_voiceprints_or_without_a_name(school: Class, tmp_path: Path) -> None:
    path = tiny_scenario(tmp_path, task="embed")
    with pytest.raises(RequestError, match=r"names no teacher and was not built.*--teacher NAME"):
        distil(planned(path), config=config(tmp_path / "empty"))
    with pytest.raises(AimassError):
        distil(planned(path, teacher="three"), config=config(school.home))
    code, _ = command(school.home, "compress", "distil", school.scenario, "--teacher", "nobody")
    assert code == 5


def test_what_is_typed_takes_the_place_of_what_is_written(school: Class) -> None:
    plan = planned(school.scenario, (40000, 60000), "recurrent", 7, teacher="x", alpha=0.25)
    about = plan.distil
    assert about is not None and about.training is not None
    assert (about.teacher, about.alpha, about.temperature) == ("x", 0.25, 2.0)
    assert (about.training.epochs, about.training.batch_size) == (7, 16)
    named = {one.name: (one.family, one.parameters) for one in plan.students()}
    assert named == {
        "student-40000": ("recurrent", 40000),
        "student-60000": ("recurrent", 60000),
    }
    assert read(school.scenario).students()[0].name == "student"
    for wrong in ({"parameters": (7,)}, {"family": "forest"}, {"temperature": 0.0}):
        with pytest.raises(ScenarioError, match="distil"):
            planned(school.scenario, **wrong)


@pytest.mark.parametrize(
    ("about", "found"),
    [
        ({"students": [{"engine": "digits"}]}, "not an 'engine'"),
        ({"students": [{"name": "a"}, {"name": "a"}]}, "two students called 'a'"),
        ({"studens": []}, "Did you mean 'students'"),
        ({"students": []}, "at least 1"),
        ({"students": [{"familly": "conv"}]}, "Did you mean 'family'"),
        ({"alpha": 2}, "less than or equal to 1"),
    ],
)
def test_sections_that_cannot_be(tmp_path: Path, about: dict[str, Any], found: str) -> None:
    with pytest.raises(ScenarioError, match=found):
        read(tiny_scenario(tmp_path, distil=about))


def test_labels_by_a_teacher_can_be_trained_on(home: Path, tmp_path: Path) -> None:
    folder, target = more(tmp_path), tmp_path / "out/labels.jsonl.gz"
    args = ("compress", "label", folder, "--teacher", "digits", "--output", target)
    told = aimass_json(home, *args, "--confidence", "0.1")
    corpus = corpora.read(target)
    assert told == {
        "manifest": str(target),
        "heard": 6,
        "kept": len(corpus.clips),
        "seconds": pytest.approx(sum(clip.duration or 0 for clip in corpus.clips), abs=0.01),
    }
    assert {clip.text for clip in corpus.clips} & {"two", "three"}
    assert "Labels by digits" in corpus.licence
    with pytest.raises(DataError, match="is sure of none of 6"):
        label(folder, "digits", target, confidence=1.0, config=config(home))
    with pytest.raises(RequestError, match=r"labels\.csv"):
        label(folder, "digits", tmp_path / "labels.csv", config=config(home))


class Counting(BundleEngine):
    """The digits model; notes what it is asked and stops where it is told to."""

    asked = 0
    stop_at = -1
    language: str | None = None

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        self.asked += 1
        self.language = options.language
        if self.asked == self.stop_at:
            raise KeyboardInterrupt
        return super().recognize(samples, options)


@pytest.fixture
def counting() -> Iterator[Counting]:
    yield Counting(bundles.load(shipped()["digits"]))


def test_asking_goes_on_where_it_was_stopped(tmp_path: Path, counting: Counting) -> None:
    clips = said.unlabelled(more(tmp_path)).clips
    whole = said.ask(
        counting, clips, Task.TRANSCRIBE, "en", fresh(tmp_path / "a"), progress=no_progress
    )
    scratch = fresh(tmp_path / "b")
    counting.asked, counting.stop_at = 0, 4
    with pytest.raises(KeyboardInterrupt):
        said.ask(counting, clips, Task.TRANSCRIBE, "en", scratch, progress=no_progress)
    with (scratch / said.FILE).open("a") as file:
        file.write('{"clip": {"id"')  # a line in which it was killed
    found = said.ask(counting, clips, Task.TRANSCRIBE, "en", scratch, progress=no_progress)
    assert found == whole and counting.asked == len(clips) + 1
    said.write(whole, tmp_path / said.FILE)
    assert said.read(tmp_path / said.FILE) == whole


@pytest.mark.parametrize(
    ("task", "language", "told"),
    [("transcribe", "en", "en"), ("transcribe", "zh+en", None), ("classify", "zh", None)],
)
def test_a_teacher_is_told_the_one_language_of_words(
    tmp_path: Path, counting: Counting, task: str, language: str, told: str | None
) -> None:
    clip = said.unlabelled(more(tmp_path)).clips[0]
    found = said.answered(counting, clip, Task(task), language)
    assert counting.language == told
    assert found.text in ("two", "three") and found.answers == ((found.text, 1.0),)


def fresh(folder: Path) -> Path:
    folder.mkdir()
    return folder


def test_tables_give_speakers_and_their_training_split(tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path)
    table = said.unlabelled(scenario.parent / "words/metadata.tsv")
    rows = [row for row in rows_of(WORDS) if row[3] == "train"]
    assert len(table.clips) == len(rows)
    assert {clip.speaker for clip in table.clips} == {row[1] for row in rows}
    assert not any(clip.text for clip in table.clips)
    every = said.unlabelled(scenario.parent / "words")
    assert len(every.clips) == len(rows_of(WORDS))
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no recordings"):
        said.unlabelled(tmp_path / "empty")


def test_silence_teaches_nobody(tmp_path: Path) -> None:
    folder = more(tmp_path)
    soundfile.write(folder / "silent.wav", np.zeros(8000, np.float32), 8000)
    (folder / "broken.wav").write_bytes(b"RIFF")
    clips, _ = said.audible(said.unlabelled(folder), tmp_path / "cache", 0.1, no_progress)
    assert len(clips) == 6
    assert all(clip.duration is not None and clip.duration < 2 for clip in clips)


def test_a_build_knows_the_section_and_stays_itself(school: Class) -> None:
    """Students change nothing of what is built before them."""
    built = build(school.other("plain.yaml", distil=None), config=config(school.home))
    taught = bundles.load(Path(school.said["folder"]))
    assert content_of(built.bundle) == content_of(taught)
    assert json.dumps(built.to_dict()["scorecard"]) == json.dumps(school.said["scorecard"])

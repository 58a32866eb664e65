"""Each task and a scenario of two languages, from recordings to answers."""

from pathlib import Path

from aimass.data.corpus import Clip
from aimass.data.corpus import read as read_corpus
from aimass.lifecycle.build import build
from aimass.registry import bundle as bundles
from data.folders import rows_of, write_table

from .folders import WORDS, aimass, aimass_json, config, tiny_scenario

LABELS = {"zero": "volume up", "one": "volume down", "six": "lights off"}


def labelled(scenario: Path) -> None:
    """Give each word a class of two words for its label."""
    rows = [[row[0], row[1], LABELS[row[2]], row[3]] for row in rows_of(WORDS)]
    write_table(scenario.parent / "words", ["file", "speaker", "text", "split"], rows)


def test_commands_are_classified(home: Path, tmp_path: Path) -> None:
    scenario = tiny_scenario(
        tmp_path, task="classify", training={"epochs": 15, "batch_size": 8, "learning_rate": 0.008}
    )
    labelled(scenario)
    built = build(scenario, config=config(home))
    manifest = bundles.load(built.published.folder).manifest
    assert (manifest.task, manifest.metric) == ("classify", "classification_error")
    assert built.scorecard.metric == "classification_error"
    assert built.scorecard.error_rate <= 1 / 3 and built.scorecard.matrix is not None
    clips = [row[0] for row in rows_of(WORDS) if row[3] == "test"]
    words = scenario.parent / "words"
    said = aimass(home, "transcribe", *(words / clip for clip in clips), "--model", "three")
    answers = [line.rpartition(": ")[2] for line in said.splitlines()]
    assert set(answers) <= set(LABELS.values())
    truth = [LABELS[row[2]] for row in rows_of(WORDS) if row[3] == "test"]
    wrong = sum(a != b for a, b in zip(answers, truth, strict=True))
    assert wrong == built.scorecard.errors.total
    card = aimass_json(home, "eval", "--data", words, "--model", "three")
    assert card["error_rate"] == built.scorecard.error_rate


def test_voiceprints(home: Path, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, task="embed")
    rows = rows_of(WORDS)
    strangers = sorted({row[1] for row in rows})[-2:]
    held = {"train": "dev", "test": "test"}  # the recordings of strangers judge, in two halves
    table = [[r[0], r[1], "x", held[r[3]] if r[1] in strangers else "train"] for r in rows]
    write_table(scenario.parent / "words", ["file", "speaker", "text", "split"], table)
    built = build(scenario, config=config(home))
    assert built.scorecard.metric == "eer" and 0 <= built.scorecard.error_rate <= 1
    manifest = bundles.load(built.published.folder).manifest
    assert manifest.task == "embed"
    for name in {row[1] for row in rows}:  # speakers' names do not travel with a model
        assert name not in (built.published.folder / bundles.MANIFEST).read_text()


def two_languages(scenario: Path) -> None:
    """Half of the speakers write what they say in Chinese."""
    chinese = dict(zip(WORDS, "零一六", strict=True))
    rows = [
        [row[0], row[1], *((chinese[row[2]], "zh") if row[1] < "k" else (row[2], "en")), row[3]]
        for row in rows_of(WORDS)
    ]
    write_table(scenario.parent / "words", ["file", "speaker", "text", "lang", "split"], rows)


def test_two_languages_in_one_scenario(home: Path, tmp_path: Path) -> None:
    scenario = tiny_scenario(tmp_path, language="zh+en")
    two_languages(scenario)
    clips: tuple[Clip, ...] = read_corpus(scenario.parent / "words").clips
    assert {clip.language for clip in clips} == {"zh", "en"}
    built = build(scenario, config=config(home))
    bundle = bundles.load(built.published.folder)
    assert (bundle.manifest.language, bundle.manifest.metric) == ("zh+en", "mer")
    symbols = "".join(bundle.symbols().symbols)
    assert all(character in symbols for character in "零一六")
    assert set("zerosix") <= set(symbols)
    assert [row.language for row in built.scorecard.per_language] == ["en", "zh"]

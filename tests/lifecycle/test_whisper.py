"""A member whose encoder is Whisper's, from a scenario file to words."""

from pathlib import Path
from typing import Any

import pytest

from aimass.audio.decode import load
from aimass.base.contract import RecognizeOptions
from aimass.base.errors import ScenarioError
from aimass.lifecycle.build import Built, build
from aimass.lifecycle.scenario import read
from aimass.registry import pretrained
from aimass.runtime.bundled import BundleEngine

from .folders import CHANCE, WORDS, config, scenario_file, tiny_scenario

MEMBER: dict[str, Any] = {
    "name": "ear",
    "family": "whisper",
    "start_from": "whisper-tiny.en",
    "layers": 1,
    "frozen": True,
    "parameters": 40_000,
}


def home_with_whisper(folder: Path, test_home: Path) -> Path:
    (folder / "home/models").mkdir(parents=True)
    model = pretrained.pull("whisper-tiny.en", home=test_home)
    (folder / "home/models/whisper-tiny.en").symlink_to(model)
    return folder / "home"


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory, test_home: Path) -> Built:
    folder = tmp_path_factory.mktemp("whisper")
    home = home_with_whisper(folder, test_home)
    path = tiny_scenario(
        folder,
        task="classify",
        members=[MEMBER],
        training={"epochs": 12, "batch_size": 8, "learning_rate": 0.003},
    )
    return build(path, config=config(home))


def test_it_learns_from_few_words(built: Built) -> None:
    assert built.member == "ear"
    assert built.scorecard.error_rate <= CHANCE / 2


def test_the_bundle_says_what_it_is(built: Built) -> None:
    manifest = built.bundle.manifest
    form, features = built.bundle.form, built.bundle.features
    assert (form.whole, form.stack) == (True, 4)
    assert (features.kind, features.sample_rate) == ("whisper", 16000)
    assert manifest.licences["start"] == "whisper-tiny.en: MIT"
    assert manifest.lineage["model"]["whisper"]["layers"] == 1
    assert manifest.parameters > 2_000_000  # all that runs, the frozen part too


def test_the_bundle_runs_as_any_other(built: Built, tmp_path: Path) -> None:
    engine = BundleEngine(built.bundle)
    assert engine.max_seconds == pytest.approx(29.6)
    six = Path(__file__).parents[2] / "samples/digits/audio/6_theo_0.flac"
    samples = load(six, rate=16000).mono()
    whole = engine.recognize(samples, RecognizeOptions())
    assert whole.text in WORDS
    stream = engine.stream()
    for first in range(0, len(samples), 1000):
        stream.accept(samples[first : first + 1000])
        assert stream.results().text == ""
    assert stream.finish().text == whole.text


@pytest.mark.parametrize(
    ("change", "found"),
    [
        ({"start_from": None}, "nothing to start from"),
        ({"stack": 3}, "stack: 3"),
        ({"features": {"kind": "fbank"}}, "features of kind fbank"),
    ],
)
def test_what_does_not_fit_whisper_is_refused(
    tmp_path: Path, change: dict[str, Any], found: str
) -> None:
    path = scenario_file(tmp_path, members=[MEMBER | change])
    with pytest.raises(ScenarioError, match=f"'ear' of the family whisper with {found}"):
        read(path)


def test_sections_of_the_scenario_leave_whisper_its_front_end(tmp_path: Path) -> None:
    others = {"family": "conv", "name": "other"}
    path = scenario_file(tmp_path, features={"bins": 40}, members=[MEMBER, others])
    ear, other = read(path).resolved()
    assert ear.features is not None
    assert other.features is not None
    assert (ear.features.kind, ear.features.bins) == ("whisper", None)
    assert (other.features.kind, other.features.bins) == ("fbank", 40)


def test_whisper_is_no_start_for_another_family(tmp_path: Path, test_home: Path) -> None:
    home = home_with_whisper(tmp_path, test_home)
    path = tiny_scenario(tmp_path, members=[{"family": "conv", "start_from": "whisper-tiny.en"}])
    with pytest.raises(ScenarioError, match="a model of kind whisper"):
        build(path, config=config(home))

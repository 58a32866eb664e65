"""The PocketSphinx adapter on the model that lies in its package."""

import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pocketsphinx
import pytest
import soundfile

from aimass.base.contract import Engine, RecognizeOptions, Samples
from aimass.base.errors import BundleError, MissingExtra
from aimass.registry import pretrained
from aimass.runtime.pocketsphinx import PocketSphinxEngine

TIMED = RecognizeOptions(word_times=True)


@pytest.fixture(scope="module")
def folder() -> Path:
    return Path(pocketsphinx.get_model_path("en-us"))


@pytest.fixture(scope="module")
def engine(folder: Path) -> PocketSphinxEngine:
    return PocketSphinxEngine.open(folder, name="pocketsphinx", workers=1, threads=1)


@pytest.fixture(scope="module")
def speech() -> Samples:
    """ "And so my fellow Americans", 2.3 s."""
    path = Path(__file__).parents[2] / "samples" / "jfk.wav"
    samples, _ = soundfile.read(path, dtype="float32", stop=37000)
    return np.asarray(samples, np.float32)


def test_some_of_real_speech_is_understood(engine: PocketSphinxEngine, speech: Samples) -> None:
    (segment,) = engine.recognize(speech, TIMED).segments
    texts = segment.text.split()
    assert {"my", "fellow"} <= set(texts)
    assert texts == [word.text for word in segment.words]
    assert 0 < segment.confidence <= 1
    edges = [edge for word in segment.words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(speech) / 16000
    assert all(0 <= word.confidence <= 1 for word in segment.words)
    (fellow,) = [word for word in segment.words if word.text == "fellow"]
    assert 0.8 < fellow.start < fellow.end < 2


def test_words_only_when_asked(engine: PocketSphinxEngine, speech: Samples) -> None:
    assert engine.recognize(speech, RecognizeOptions()).segments[0].words == ()


def test_what_was_heard_before_changes_nothing(engine: PocketSphinxEngine, speech: Samples) -> None:
    first = engine.recognize(speech, TIMED)
    engine.recognize(speech[8000:24000] * 0.1, TIMED)
    assert engine.recognize(speech, TIMED) == first


def test_calls_from_several_threads_wait_for_each_other(
    engine: PocketSphinxEngine, speech: Samples
) -> None:
    alone = engine.recognize(speech, TIMED)
    with ThreadPoolExecutor(3) as pool:
        assert list(pool.map(lambda _: engine.recognize(speech, TIMED), range(3))) == [alone] * 3


@pytest.mark.parametrize("count", [0, 1, 200, 16000, 12 * 16000])
def test_silence_of_any_length_is_survived(engine: PocketSphinxEngine, count: int) -> None:
    for segment in engine.recognize(np.zeros(count, np.float32), TIMED).segments:
        assert segment.end <= count / 16000


def test_noise_takes_bounded_work(engine: PocketSphinxEngine) -> None:
    noise = np.random.default_rng(1).normal(0, 0.1, 16000).astype(np.float32)
    engine.recognize(noise, TIMED)


def test_engine_keeps_the_contract(engine: PocketSphinxEngine) -> None:
    assert isinstance(engine, Engine)
    assert engine.sample_rate == 16000
    assert engine.invents_on_silence


def test_the_installed_package_is_the_one_of_the_catalogue(folder: Path, tmp_path: Path) -> None:
    pulled = pretrained.pull("pocketsphinx", home=tmp_path, source=folder)
    assert pretrained.verify(pulled).kind == "pocketsphinx"


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"there is no cmudict-en-us\.dict"):
        PocketSphinxEngine.open(tmp_path, name="broken", workers=1, threads=1)


def test_a_damaged_file_does_not_end_the_process(folder: Path, tmp_path: Path) -> None:
    """As its own library would do."""
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "en-us" / "transition_matrices").write_bytes(b"s3")
    with pytest.raises(BundleError, match="en-us/transition_matrices is damaged"):
        PocketSphinxEngine.open(tmp_path, name="broken", workers=1, threads=1)


def test_without_pocketsphinx(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pocketsphinx", None)
    with pytest.raises(MissingExtra, match=r"pip install 'aimass\[pocketsphinx\]'"):
        PocketSphinxEngine.open(folder, name="p", workers=1, threads=1)


def test_importing_the_adapter_is_cheap() -> None:
    code = "import sys, aimass.runtime.pocketsphinx; sys.exit('pocketsphinx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

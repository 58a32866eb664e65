"""The Whisper adapter on the real tiny.en model, pulled once into the test home."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import soundfile

from aimass.base.contract import Engine, RecognizeOptions, Samples
from aimass.base.errors import BundleError, MissingExtra, RequestError
from aimass.decoding.mbr import log_prob
from aimass.registry import pretrained
from aimass.runtime import whisper
from aimass.runtime.whisper import WhisperEngine
from aimass.text.normalise import normalise

SAID = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for "
    "your country"
)


@pytest.fixture(scope="session")
def folder(test_home: Path) -> Path:
    return pretrained.pull("whisper-tiny.en", home=test_home)


@pytest.fixture(scope="session")
def engine(folder: Path) -> WhisperEngine:
    return WhisperEngine.open(folder, name="whisper-tiny.en", workers=2, threads=1)


@pytest.fixture(scope="session")
def speech() -> Samples:
    samples, rate = soundfile.read(
        Path(__file__).parents[2] / "samples" / "jfk.wav", dtype="float32"
    )
    assert rate == 16000
    return np.asarray(samples, np.float32)


def test_real_speech_is_understood(engine: WhisperEngine, speech: Samples) -> None:
    found = engine.recognize(speech, RecognizeOptions())
    assert normalise(found.text, "en") == SAID
    assert found.language == "en"
    duration = len(speech) / 16000
    for segment in found.segments:
        assert 0 <= segment.start <= segment.end <= duration
        assert 0 < segment.confidence <= 1
        assert segment.tokens
        assert segment.words == ()
        assert segment.text == segment.text.strip()


def test_word_times(engine: WhisperEngine, speech: Samples) -> None:
    found = engine.recognize(speech, RecognizeOptions(word_times=True))
    words = [word for segment in found.segments for word in segment.words]
    assert normalise(" ".join(word.text for word in words), "en") == SAID
    edges = [edge for word in words for edge in (word.start, word.end)]
    assert edges == sorted(edges)
    assert edges[-1] <= len(speech) / 16000
    (asked,) = [word for word in words if word.text.lower().startswith("fellow")]
    assert 0.5 < asked.start < asked.end < 3
    assert all(0 <= word.confidence <= 1 for word in words)


def test_alternatives_have_words_with_times_and_the_best_comes_first(
    engine: WhisperEngine, speech: Samples
) -> None:
    found = engine.n_best(speech, RecognizeOptions(), 4)
    assert len({one.segments[0].tokens for one in found}) == 4
    assert normalise(found[0].text, "en") == SAID
    scores = [log_prob(one) / len(one.segments[0].tokens) for one in found]
    assert scores == sorted(scores, reverse=True)
    for one in found:
        words = one.segments[0].words
        assert " ".join(word.text for word in words) == one.text
        edges = [edge for word in words for edge in (word.start, word.end)]
        assert edges == sorted(edges)
        assert all(0 <= word.confidence <= 1 for word in words)
    assert engine.n_best(speech[:0], RecognizeOptions(), 2)[0].text == ""


def test_nothing_says_nothing(engine: WhisperEngine) -> None:
    assert engine.recognize(np.zeros(0, np.float32), RecognizeOptions()).segments == ()


@pytest.mark.parametrize("seconds", [0.01, 0.3, 1.0, 29.99, 30.0])
def test_silence_of_any_length_is_survived(engine: WhisperEngine, seconds: float) -> None:
    silence = np.zeros(round(seconds * 16000), np.float32)
    for segment in engine.recognize(silence, RecognizeOptions()).segments:
        assert segment.end <= seconds


def test_threads_get_their_own_answers_side_by_side(engine: WhisperEngine, speech: Samples) -> None:
    cuts = [speech, speech[: 4 * 16000]] * 3
    alone = [engine.recognize(cut, RecognizeOptions()).text for cut in cuts[:2]]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda c: engine.recognize(c, RecognizeOptions()).text, cuts))
    assert together == alone * 3


def test_prompt_and_hotwords_steer_spelling(engine: WhisperEngine, speech: Samples) -> None:
    steered = RecognizeOptions(prompt="AND SO MY FELLOW AMERICANS", hotwords=("Kennedy", "JFK"))
    assert normalise(engine.recognize(speech, steered).text, "en") == SAID


def test_very_long_prompts_do_not_break(engine: WhisperEngine, speech: Samples) -> None:
    options = RecognizeOptions(prompt="word " * 2000, hotwords=("several words",) * 500)
    engine.recognize(speech, options)


def test_temperature_samples(engine: WhisperEngine, speech: Samples) -> None:
    found = engine.recognize(speech, RecognizeOptions(temperature=0.3))
    assert found.segments
    assert all(segment.temperature == 0.3 for segment in found.segments)


@pytest.mark.parametrize("language", ["en", "EN", "en-US", "en_GB", "fr"])
def test_an_english_model_hears_english(
    engine: WhisperEngine, speech: Samples, language: str
) -> None:
    found = engine.recognize(speech[: 4 * 16000], RecognizeOptions(language=language))
    assert found.language == "en"


@pytest.mark.parametrize(("asked", "near"), [("eng", "en"), ("xq", "x|q"), ("germ", "de|m|r")])
def test_an_unknown_language_names_the_nearest(
    engine: WhisperEngine, asked: str, near: str
) -> None:
    with pytest.raises(RequestError, match=f"nearest are .*({near})") as caught:
        engine.recognize(np.zeros(16000, np.float32), RecognizeOptions(language=asked))
    assert caught.value.param == "language"


def test_engine_keeps_the_contract(engine: WhisperEngine) -> None:
    assert isinstance(engine, Engine)
    assert (engine.sample_rate, engine.max_seconds) == (16000, 30)
    assert engine.invents_on_silence


@pytest.mark.parametrize(
    ("change", "invented"),
    [
        ({}, False),
        ({"start": 12.0}, True),
        ({"no_speech_prob": 0.9}, False),
        ({"no_speech_prob": 0.9, "avg_logprob": -0.8}, True),
        ({"compression_ratio": 5.0}, False),
        ({"compression_ratio": 5.0, "avg_logprob": -1.5}, True),
    ],
)
def test_what_counts_as_invented(change: dict[str, float], invented: bool) -> None:
    sound = {"start": 1.0, "no_speech_prob": 0.1, "avg_logprob": -0.3, "compression_ratio": 1.5}
    assert whisper._invented(SimpleNamespace(**(sound | change)), duration=10.0) is invented


@pytest.mark.parametrize("lost", ["model.bin", "config.json", "tokenizer.json"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, lost: str) -> None:
    for path in folder.iterdir():
        if path.name != lost:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(BundleError, match=f"there is no {lost}"):
        WhisperEngine.open(tmp_path, name="broken", workers=1, threads=1)


@pytest.mark.parametrize("broken", ["model.bin", "tokenizer.json"])
def test_a_cut_file_is_an_error_of_ours(folder: Path, tmp_path: Path, broken: str) -> None:
    for path in folder.iterdir():
        if path.name == broken:
            (tmp_path / path.name).write_bytes(path.read_bytes()[:1000])
        else:
            (tmp_path / path.name).symlink_to(path)
    with pytest.raises(BundleError, match="does not load"):
        WhisperEngine.open(tmp_path, name="broken", workers=1, threads=1)


def test_without_faster_whisper(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "faster_whisper", None)
    with pytest.raises(MissingExtra, match=r"pip install 'aimass\[whisper\]'"):
        WhisperEngine.open(folder, name="w", workers=1, threads=1)


def test_importing_the_adapter_is_cheap() -> None:
    code = "import sys, aimass.runtime.whisper; sys.exit('faster_whisper' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_closing_lets_go(folder: Path, speech: Samples) -> None:
    engine = WhisperEngine.open(folder, name="w", workers=1, threads=1)
    engine.close()
    with pytest.raises(RuntimeError):
        engine.recognize(speech, RecognizeOptions())

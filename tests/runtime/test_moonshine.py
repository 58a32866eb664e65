"""The Moonshine adapter on the real tiny English model, pulled once into the test home."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import soundfile

from aimass.base.contract import Engine, RecognizeOptions, Samples
from aimass.base.errors import BundleError
from aimass.decoding.mbr import log_prob
from aimass.evaluation.errors import count_errors
from aimass.registry import pretrained
from aimass.runtime.moonshine import MoonshineEngine, read_pieces
from aimass.text.normalise import normalise

SAID = (
    "and so my fellow americans ask not what your country can do for you ask what you can do for "
    "your country"
)
FILES = ("encoder_model.ort", "decoder_model_merged.ort", "tokenizer.bin")
PLAIN = RecognizeOptions()


@pytest.fixture(scope="module")
def folder(test_home: Path) -> Path:
    return pretrained.pull("moonshine-tiny-en", home=test_home)


@pytest.fixture(scope="module")
def engine(folder: Path) -> MoonshineEngine:
    return MoonshineEngine.open(folder, name="moonshine-tiny-en", workers=2, threads=1)


@pytest.fixture(scope="module")
def speech() -> Samples:
    path = Path(__file__).parents[2] / "samples" / "jfk.wav"
    samples, rate = soundfile.read(path, dtype="float32")
    assert rate == 16000
    return np.asarray(samples, np.float32)


def test_real_speech_is_understood(engine: MoonshineEngine, speech: Samples) -> None:
    (segment,) = engine.recognize(speech, PLAIN).segments
    errors = count_errors(SAID.split(), normalise(segment.text, "en").split())
    assert errors.total <= 1
    assert segment.start == 0
    assert segment.end == pytest.approx(len(speech) / 16000)
    assert 0 < segment.confidence <= 1
    assert segment.words == ()


def test_alternatives_are_distinct_and_the_best_first(
    engine: MoonshineEngine, speech: Samples
) -> None:
    found = engine.n_best(speech, PLAIN, 7)
    assert len(found) == 7
    assert len({one.segments[0].tokens for one in found}) == 7
    means = [one.segments[0].confidence for one in found]
    assert means == sorted(means, reverse=True)
    assert all(log_prob(one) < 0 for one in found)
    assert engine.n_best(speech, PLAIN, 1)[0].text == engine.recognize(speech, PLAIN).text
    for one in found:
        words = one.segments[0].words
        assert " ".join(word.text for word in words) == one.text
        assert all(0 < word.confidence <= 1 and word.end == word.start == 0 for word in words)


def test_beams_score_what_greedy_steps_do(engine: MoonshineEngine, speech: Samples) -> None:
    """The cache is reordered with the beams: scoring an answer anew gives the same."""
    sound = speech[: 3 * 16000]
    for beam in engine._search(sound, 5, 3.0)[:3]:
        row = {"input_values": sound[None], "attention_mask": np.ones((1, len(sound)), np.int64)}
        given = {
            "encoder_hidden_states": engine._encoder.run(None, row)[0],
            "encoder_attention_mask": row["attention_mask"],
            "input_ids": np.array([[1, *beam.tokens[:-1]]], np.int64),
            "use_cache_branch": np.array([False]),
        }
        logits = engine._decoder.run(["logits"], given | dict(engine._start))[0][0].astype(float)
        rows = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
        scores = [rows[place, token] for place, token in enumerate(beam.tokens)]
        assert scores == pytest.approx(
            list(beam.log_probs), abs=0.5
        )  # of 8-bit graphs, whose steps depend on the rest of a batch


def test_threads_get_their_own_answers(engine: MoonshineEngine, speech: Samples) -> None:
    cuts = [speech[: 3 * 16000], speech[4 * 16000 :]]
    alone = [engine.recognize(cut, PLAIN) for cut in cuts]
    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(lambda cut: engine.recognize(cut, PLAIN), cuts)) == alone


@pytest.mark.parametrize("seconds", [0.0, 0.001, 0.1, 1.0, 30.0])
def test_silence_of_any_length_is_survived(engine: MoonshineEngine, seconds: float) -> None:
    silence = np.zeros(round(seconds * 16000), np.float32)
    for segment in engine.recognize(silence, PLAIN).segments:
        assert segment.end <= seconds


def test_engine_keeps_the_contract(engine: MoonshineEngine) -> None:
    assert isinstance(engine, Engine)
    assert (engine.sample_rate, engine.max_seconds) == (16000, 30)
    assert engine.invents_on_silence


@pytest.mark.parametrize("lost", FILES)
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, lost: str) -> None:
    for file in FILES:
        if file != lost:
            (tmp_path / file).symlink_to(folder / file)
    with pytest.raises(BundleError, match=f"there is no {lost}"):
        MoonshineEngine.open(tmp_path, name="broken", workers=1, threads=1)


@pytest.mark.parametrize("broken", FILES)
def test_a_cut_file_is_an_error_of_ours(folder: Path, tmp_path: Path, broken: str) -> None:
    for file in FILES:
        if file == broken:
            (tmp_path / file).write_bytes((folder / file).read_bytes()[:1001])
        else:
            (tmp_path / file).symlink_to(folder / file)
    with pytest.raises(BundleError, match="does not load"):
        MoonshineEngine.open(tmp_path, name="broken", workers=1, threads=1)


def test_pieces_of_any_length_are_read(tmp_path: Path) -> None:
    pieces = [b"", b"a", b"b" * 127, b"c" * 128, b"d" * 300]
    lengths = [[len(p)] if len(p) < 128 else [128 + len(p) % 128, len(p) // 128] for p in pieces]
    path = tmp_path / "tokenizer.bin"
    path.write_bytes(b"".join(bytes(n) + p for n, p in zip(lengths, pieces, strict=True)))
    assert read_pieces(path) == pieces

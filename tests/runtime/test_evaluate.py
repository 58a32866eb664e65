"""Measuring: the errors are those of the recordings named, whole or cut out of longer ones."""

from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Task
from aimass.base.errors import AudioNotFound, DataError, RequestError, UnknownModel
from aimass.data import manifest
from aimass.data.corpus import Clip, Corpus
from aimass.evaluation.compare import compare
from aimass.evaluation.cost import Cost
from aimass.evaluation.errors import Errors
from aimass.evaluation.verification import Trial, score_trials
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.evaluate import evaluate, metric_of, peak_memory_mb

from . import digits
from .digits import DIGITS, RATE

KEYS = [
    "metric", "error_rate", "interval", "errors", "utterances", "speakers",
    "per_speaker", "rtf", "peak_memory_mb", "audio_seconds", "worst",
    "compute_seconds", "rtf_median", "rtf_p95", "multiply_adds",
    "confusions", "matrix", "calibration", "per_language", "per_utterance",
]  # fmt: skip


class Parrot:
    """Says the same to everything, and keeps what it heard."""

    name = "parrot"
    sample_rate = RATE
    max_seconds = 2.0
    invents_on_silence = False

    def __init__(self, says: str = "one") -> None:
        self.says = says
        self.heard: list[Samples] = []
        self.options: list[RecognizeOptions] = []

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        self.heard.append(samples)
        self.options.append(options)
        return Hypothesis((Segment(0.0, len(samples) / RATE, self.says),))

    def close(self) -> None:
        pass


def corpus_of(*clips: Clip) -> Corpus:
    return Corpus(clips, "", Path("test"))


def test_the_shipped_model_on_the_sample_digits() -> None:
    told: list[tuple[str, int, int | None]] = []
    card = evaluate(digits.engine(), DIGITS, progress=lambda *step: told.append(step))
    assert card.metric == "wer"
    assert card.error_rate <= 0.05
    assert (card.utterances, card.speakers) == (60, 6)
    assert told[-1] == ("evaluate", 60, 60)
    found: dict[str, Any] = card.to_dict()
    assert list(found) == KEYS
    assert found["errors"].keys() == {"substitutions", "deletions", "insertions", "length"}
    assert found["per_speaker"][0].keys() == {"speaker", "utterances", "error_rate", "interval"}
    low, high = found["interval"]
    assert 0 <= low <= card.error_rate <= high <= 1
    total = sum(len(digits.samples(clip.path)) for clip in digits.clips()) / RATE
    assert found["audio_seconds"] == pytest.approx(total)
    assert 0 < found["rtf"] < 50
    assert 0 < found["rtf_median"] <= found["rtf_p95"]
    assert card.calibration is not None
    assert (card.calibration.level, card.calibration.count) == ("word", 60)
    first = card.per_utterance[0]
    assert first.audio == str(DIGITS / first.utterance_id)
    assert first.confidence is not None and 0.5 < first.confidence <= 1
    assert first.seconds == pytest.approx(len(digits.samples(Path(first.audio))) / RATE)
    assert found["peak_memory_mb"] > 20


def test_guessing_one_word_is_right_one_time_in_ten() -> None:
    card = evaluate(Parrot(), DIGITS)
    assert card.error_rate == pytest.approx(0.9)
    assert len(card.worst) == 20
    assert {row.heard for row in card.confusions} == {"one"}
    assert sum(row.count for row in card.confusions) == 54


def test_the_split_is_the_one_asked_for() -> None:
    assert evaluate(Parrot(), DIGITS, split="train").utterances == 240
    with pytest.raises(DataError, match="no clip in split 'dev'"):
        evaluate(Parrot(), DIGITS, split="dev")


def test_a_model_by_name() -> None:
    some = corpus_of(*digits.clips()[:3])
    assert evaluate("digits", some).utterances == 3
    with pytest.raises(UnknownModel):
        evaluate("nobody", some)


def test_cuts_of_a_longer_recording(tmp_path: Path) -> None:
    chosen = digits.clips()[::2]
    sound, starts = digits.in_a_row(chosen, pause=0.3)
    soundfile.write(tmp_path / "long.wav", sound, RATE)
    cuts = [
        replace(
            clip,
            path=tmp_path / "long.wav",
            start=start - 0.1,
            duration=len(digits.samples(clip.path)) / RATE + 0.2,
        )
        for clip, start in zip(chosen, starts, strict=True)
    ]
    manifest.write(cuts, tmp_path / "cuts.jsonl.gz")
    card = evaluate(digits.engine(), tmp_path / "cuts.jsonl.gz")
    assert card.utterances == 30
    assert card.error_rate <= 0.07
    seconds = sum(cut.duration or 0 for cut in cuts)
    assert card.cost.audio_seconds == pytest.approx(seconds, abs=0.01)

    turned = [replace(cut, text=other.text) for cut, other in zip(cuts, cuts[3:], strict=False)]
    assert evaluate(digits.engine(), corpus_of(*turned)).error_rate > 0.9  # the start matters


@pytest.mark.parametrize(
    ("start", "duration", "first", "last"),
    [(0.0, None, 0, 32_000), (0.5, 1.0, 4_000, 12_000), (3.0, None, 24_000, 32_000)],
)
def test_an_engine_hears_the_stretch_and_no_more(
    tmp_path: Path, start: float, duration: float | None, first: int, last: int
) -> None:
    sound = np.random.default_rng(0).uniform(-0.5, 0.5, 4 * RATE).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", sound, RATE, subtype="FLOAT")
    parrot = Parrot()
    clip = Clip("a", tmp_path / "a.wav", "one", language="de", start=start, duration=duration)
    card = evaluate(parrot, corpus_of(clip))
    assert np.array_equal(np.concatenate(parrot.heard), sound[first:last])
    assert card.cost.audio_seconds == pytest.approx((last - first) / RATE)
    assert {options.language for options in parrot.options} == {"de"}


def test_a_long_cut_is_given_in_pieces_that_the_engine_takes(tmp_path: Path) -> None:
    sound, _ = digits.in_a_row(digits.clips()[:12], pause=0.4)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    parrot = Parrot()
    clip = Clip("a", tmp_path / "a.wav", "one", start=0.5, duration=8.0)
    evaluate(parrot, corpus_of(clip))
    lengths = [len(samples) for samples in parrot.heard]
    assert max(lengths) <= parrot.max_seconds * RATE
    assert sum(lengths) == 8 * RATE


def test_metrics() -> None:
    clips = (digits.clips()[0], replace(digits.clips()[1], id="b"))
    assert evaluate(Parrot("zero"), corpus_of(*clips), metric="cer").error_rate == 0
    assert evaluate(Parrot("zeroes"), corpus_of(*clips), metric="cer").error_rate == 0.5
    assert evaluate(Parrot("zeroes"), corpus_of(*clips), metric="wer").error_rate == 1
    right = evaluate(Parrot("zero"), corpus_of(*clips), metric="classification_error")
    assert (right.metric, right.error_rate) == ("classification_error", 0)
    with pytest.raises(RequestError, match=r"metric 'accuracy'.*wer, cer") as caught:
        evaluate(Parrot(), corpus_of(*clips), metric="accuracy")  # type: ignore[arg-type]
    assert caught.value.param == "metric"


@pytest.mark.parametrize(
    ("languages", "metric"),
    [
        (["en"], "wer"),
        ([None], "wer"),
        (["ja", "ja"], "cer"),
        (["zh"], "cer"),
        (["zh-CN", "yue"], "cer"),
        (["ja", "en"], "mer"),
        (["zh", None], "mer"),
        (["de", None], "wer"),
    ],
)
def test_the_metric_of_a_language(languages: list[str | None], metric: str) -> None:
    clips = [replace(digits.clips()[n], language=name) for n, name in enumerate(languages)]
    assert metric_of(Parrot(), corpus_of(*clips)) == metric


def test_an_unknown_language_is_seen_by_its_script() -> None:
    clips = [
        replace(clip, language=None, text=text)
        for clip, text in zip(digits.clips(), ["一", "二", "three"], strict=False)
    ]
    assert metric_of(Parrot(), corpus_of(*clips[:2])) == "cer"
    assert metric_of(Parrot(), corpus_of(*clips)) == "mer"


def as_task(task: Task, scores: dict[str, Any]) -> BundleEngine:
    """The digits model, whose words serve as labels."""
    engine = BundleEngine(digits.engine().bundle)
    about = {"task": task, "metric": "classification_error", "scores": scores}
    manifest = engine.bundle.manifest.model_copy(update=about)
    engine.bundle = replace(engine.bundle, manifest=manifest)
    return engine


def test_labels() -> None:
    card = evaluate(as_task(Task.CLASSIFY, {"multiply_adds": 6_876_800}), DIGITS)
    assert card.metric == "classification_error"
    assert card.errors.length == 60
    assert card.error_rate <= 0.05
    assert card.cost.multiply_adds == 6_876_800
    assert card.matrix is not None and card.calibration is not None
    assert {"zero", "nine"} <= set(card.matrix.labels)
    assert sum(map(sum, card.matrix.counts)) == 60
    assert (card.calibration.level, card.calibration.count) == ("utterance", 60)


class Undecided(Parrot):
    """Hears another label in each of two stretches, the second more surely."""

    def __init__(self, task: Task) -> None:
        super().__init__()
        self.bundle = as_task(task, {}).bundle

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        found = super().recognize(samples, options)
        first, second = Segment(0, 1, "two", (), 0.25), Segment(1, 2, "one", (), 0.64)
        return replace(found, segments=(first, second, Segment(1, 2, "")))


def test_the_surest_of_several_labels_counts() -> None:
    clip = replace(digits.clips()[0], text="one")
    card = evaluate(Undecided(Task.CLASSIFY), corpus_of(clip))
    assert card.error_rate == 0
    assert card.per_utterance[0].confidence == pytest.approx(0.64)
    words = evaluate(Undecided(Task.TRANSCRIBE), corpus_of(clip), metric="wer")
    assert words.errors.insertions == 1
    assert words.per_utterance[0].confidence == pytest.approx(0.4)  # the geometric mean


def test_voiceprints_are_trials() -> None:
    some = corpus_of(*digits.clips()[::4])
    engine = as_task(Task.EMBED, {"multiply_adds": 7})
    card = evaluate(engine, some)
    rows = [engine.graph.log_probs(digits.samples(clip.path))[-1] for clip in some.clips]
    trials = [
        Trial(float(a @ b), one.speaker or "", other.speaker or "")
        for (one, a), (other, b) in combinations(zip(some.clips, rows, strict=True), 2)
    ]
    assert replace(card, cost=Cost()) == score_trials(trials)
    assert card.metric == "eer" and card.utterances == 15 * 14 / 2
    assert card.cost.rtf is not None and card.cost.multiply_adds == 7
    assert replace(evaluate(engine, some, metric="eer"), cost=Cost()) == score_trials(trials)


def test_voiceprints_are_not_words(tmp_path: Path) -> None:
    engine = as_task(Task.EMBED, {})
    with pytest.raises(RequestError, match=r"metric 'wer' of digits.*Expected eer"):
        evaluate(engine, DIGITS, metric="wer")
    with pytest.raises(RequestError, match="metric 'eer'"):
        evaluate(Parrot(), DIGITS, metric="eer")
    with pytest.raises(DataError, match="1 clips of test have no speaker"):
        evaluate(engine, corpus_of(replace(digits.clips()[0], speaker=None)))


def silence(folder: Path) -> Clip:
    """Two seconds of nothing, of the speaker of the first clip."""
    soundfile.write(folder / "off.wav", np.zeros(2 * RATE), RATE)
    return replace(digits.clips()[0], id="off", path=folder / "off.wav", text="one two")


@pytest.mark.parametrize(("start", "duration"), [(0.0, None), (0.5, 1.0), (0.5, None)])
def test_silence_is_an_answer_without_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, start: float, duration: float | None
) -> None:
    mute = replace(silence(tmp_path), start=start, duration=duration)
    heard = digits.clips()[:3]
    card = evaluate(digits.engine(), corpus_of(mute, *heard))
    alone = evaluate(digits.engine(), corpus_of(*heard))
    assert card.errors == alone.errors + Errors(0, 2, 0, 2)
    assert card.per_utterance[-1].seconds == (duration or 2 - start)
    assert card.cost.audio_seconds == pytest.approx(
        (alone.cost.audio_seconds or 0) + (duration or 2 - start)
    )
    (told,) = caplog.messages
    assert told.startswith("1 of 4 recordings are digital silence, the first is ")
    assert str(mute.path) in told


def test_silence_has_no_voice(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    engine, heard = as_task(Task.EMBED, {}), digits.clips()[::4]
    card = evaluate(engine, corpus_of(silence(tmp_path), *heard))
    alone = evaluate(engine, corpus_of(*heard))
    assert replace(card, cost=Cost()) == replace(alone, cost=Cost())
    assert "left out" in caplog.text


def test_two_models_on_the_same_recordings() -> None:
    good, bad = evaluate(digits.engine(), DIGITS), evaluate(Parrot(), DIGITS)
    found = compare(good, bad)
    assert found.significant and found.difference < -0.8
    assert (found.losses, found.speakers, found.test) == (0, 6, "mapsswe")


def test_a_bundle_knows_its_metric() -> None:
    japanese = replace(digits.clips()[0], language="ja")
    assert metric_of(digits.engine(), corpus_of(japanese)) == "wer"


def test_a_recording_that_is_gone(tmp_path: Path) -> None:
    with pytest.raises(AudioNotFound):
        evaluate(Parrot(), corpus_of(Clip("a", tmp_path / "gone.wav", "one")))


def test_memory_is_of_this_process() -> None:
    assert 20 < peak_memory_mb() < 1_000_000

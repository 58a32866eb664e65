"""Fitting finds what was planted, and on real posteriors never lets the best member down."""

from collections.abc import Sequence
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from aimass.base.errors import DataError
from aimass.data.corpus import read
from aimass.data.sound import sound_of
from aimass.data.types import Clip
from aimass.decoding.combine import METHODS, Combination, LogProbs, Method, tempered
from aimass.ensemble.fit import MOST_UTTERANCES, _spread, fit, folds, reheated
from aimass.ensemble.outputs import Outputs, answered, scored
from aimass.evaluation.cost import Cost
from aimass.evaluation.scorecard import Metric, Scorecard, Scored, score
from aimass.registry import bundle as bundles
from aimass.runtime.bundled import BundleEngine, decoder
from aimass.runtime.load import shipped
from aimass.text.tokens import LabelSet, TokenSet

DIGITS = Path(__file__).parents[2] / "samples/digits"
RATE = 8000
LABELS = LabelSet(("go", "left", "right", "stop"))
MEANS: tuple[Method, ...] = ("arithmetic", "geometric")


def label_outputs(
    noises: Sequence[float], utterances: int = 800, speakers: int = 8, seed: int = 0
) -> Outputs:
    """Members whose scores carry so much noise, which they know of: they are well calibrated."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, LABELS.size, utterances)
    rows = []
    for noise in noises:
        scores = np.eye(LABELS.size)[truth] + rng.normal(0, noise, (utterances, LABELS.size))
        rows.append([tempered(one[None].astype(np.float32), noise**2) for one in scores])
    heard = [
        Clip(f"{n:04}", Path("x"), LABELS.symbols[label], f"spk{n % speakers}")
        for n, label in enumerate(truth)
    ]
    return outputs_of(heard, rows, LABELS)


def outputs_of(
    heard: Sequence[Clip], rows: Sequence[Sequence[LogProbs]], symbols: TokenSet | LabelSet
) -> Outputs:
    """Outputs of members that gave these rows."""
    count = len(rows)
    return Outputs(
        tuple(f"member{n}" for n in range(count)),
        tuple(heard),
        tuple(map(tuple, rows)),
        tuple(tuple(map(lambda c, r: said(c, r, symbols), heard, own)) for own in rows),
        (Cost(),) * count,
        (0.04,) * count,
    )


def said(clip: Clip, rows: LogProbs, symbols: TokenSet | LabelSet) -> Scored:
    search = decoder(symbols, 0.04)
    search.accept(rows)
    seconds = len(rows) * 0.04
    return scored(clip, search.text, search.confidence, seconds, search.words(seconds))


def with_rows(outputs: Outputs, member: int, rows: Sequence[LogProbs]) -> Outputs:
    """The same with one member's rows changed."""
    every = [list(own or ()) for own in outputs.rows]
    every[member] = list(rows)
    return outputs_of(outputs.clips, every, LABELS)


def card(outputs: Outputs, how: Combination, symbols: TokenSet | LabelSet) -> Scorecard:
    metric: Metric = "classification_error" if isinstance(symbols, LabelSet) else "wer"
    return score(answered(outputs, how, symbols), metric)


@pytest.mark.parametrize("method", MEANS)
def test_who_knows_nothing_is_not_heard(method: Method) -> None:
    outputs = label_outputs([0.4, 0.4, 0.4])
    rows = outputs.rows[2]
    assert rows is not None
    shuffled = np.random.default_rng(1).permutation(len(rows))
    found = fit(with_rows(outputs, 2, [rows[i] for i in shuffled]), method, LABELS)
    assert found.weights[2] == 0
    assert found.weights[:2] == pytest.approx((0.5, 0.5), abs=0.06)


@pytest.mark.parametrize("method", MEANS)
def test_a_poor_member_counts_less(method: Method) -> None:
    """Weight and temperature together: who errs surely and often is told to be less sure."""
    outputs = label_outputs([0.4, 0.4])
    rows = list(outputs.rows[1] or ())
    for place in range(0, len(rows), 3):
        rows[place] = np.roll(rows[place], 1, axis=1)
    found = fit(with_rows(outputs, 1, rows), method, LABELS)
    good, poor = (w / t for w, t in zip(found.weights, found.temperatures, strict=True))
    assert poor < 0.3 * good
    assert found.weights[1] <= found.weights[0]


@pytest.mark.parametrize("method", METHODS)
def test_members_alike_are_heard_alike(method: Method) -> None:
    found = fit(label_outputs([0.6, 0.6, 0.6], utterances=400), method, LABELS)
    assert found.weights == pytest.approx((1 / 3,) * 3)
    assert found.method == method


@pytest.mark.parametrize("method", MEANS)
def test_the_temperature_of_a_hot_member_is_found(method: Method) -> None:
    outputs = label_outputs([0.6, 0.6])
    hot = [tempered(row, 0.25) for row in outputs.rows[1] or ()]
    found = fit(with_rows(outputs, 1, hot), method, LABELS)
    assert found.temperatures[0] == pytest.approx(1, rel=0.15)
    assert found.temperatures[1] == pytest.approx(4, rel=0.15)


@pytest.mark.parametrize("method", MEANS)
def test_what_was_fitted_means_what_it_says_to_strangers(method: Method) -> None:
    dev, test = (label_outputs([0.6, 0.7, 0.8], 1600, seed=seed) for seed in (1, 2))
    hot = [
        outputs_of(o.clips, [[tempered(r, 0.15) for r in own or ()] for own in o.rows], LABELS)
        for o in (dev, test)
    ]
    before = card(hot[1], Combination.equal(method, 3), LABELS).calibration
    after = card(hot[1], fit(hot[0], method, LABELS), LABELS).calibration
    assert before is not None and after is not None
    assert after.ece < 0.02 < before.ece


@pytest.mark.parametrize("method", METHODS)
def test_the_same_outputs_give_the_same_combination(method: Method) -> None:
    outputs = label_outputs([0.5, 0.8], utterances=200)
    found = fit(outputs, method, LABELS)
    assert fit(outputs, method, LABELS) == found == reheated(outputs, found, LABELS)
    assert Combination.from_dict(found.to_dict()) == found
    order = np.random.default_rng(0).permutation(200).tolist()
    assert fit(outputs.at(order), method, LABELS).weights == pytest.approx(found.weights, abs=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_one_member_alone(method: Method) -> None:
    assert fit(label_outputs([0.6], utterances=100), method, LABELS).weights == (1.0,)


def test_labels_that_nobody_knows_are_passed_over() -> None:
    outputs = label_outputs([0.5, 0.7], utterances=200)
    odd = [replace(c, text="jump") if n % 5 == 0 else c for n, c in enumerate(outputs.clips)]
    known = [n for n in range(200) if n % 5]
    found = fit(replace(outputs, clips=tuple(odd)), "geometric", LABELS)
    assert found == fit(outputs.at(known), "geometric", LABELS)
    odd = [replace(c, text="jump") for c in outputs.clips]
    with pytest.raises(DataError, match="nothing can be fitted"):
        fit(replace(outputs, clips=tuple(odd)), "geometric", LABELS)


def test_members_that_have_no_mean() -> None:
    outputs = label_outputs([0.5, 0.7], utterances=40)
    without = replace(outputs, rows=(outputs.rows[0], None))
    with pytest.raises(DataError, match="1 of which give none"):
        fit(without, "arithmetic", LABELS)
    assert fit(without, "vote", LABELS).weights == (0.5, 0.5)
    wider = LabelSet((*LABELS.symbols, "up"))
    with pytest.raises(DataError, match="rows of 4 outputs"):
        fit(outputs, "arithmetic", wider)


def test_speakers_are_left_out_whole() -> None:
    outputs = label_outputs([0.5], utterances=60, speakers=5)
    parts = folds(outputs)
    by = {clip.speaker: part for clip, part in zip(outputs.clips, parts.tolist(), strict=True)}
    assert sorted(by.values()) == [0, 1, 2, 3, 4]
    assert [by[clip.speaker] for clip in outputs.clips] == parts.tolist()
    nobody = tuple(replace(clip, speaker=None) for clip in outputs.clips)
    assert len(set(folds(replace(outputs, clips=nobody)).tolist())) == 8


def test_a_large_dev_set_is_thinned_for_all_speakers_alike() -> None:
    speakers = ["a"] * 5000 + ["b"] * 300 + ["c"] * 10
    kept = _spread(speakers)
    assert len(kept) <= MOST_UTTERANCES
    assert kept == sorted(set(kept))
    counts = [sum(speakers[place] == name for place in kept) for name in "abc"]
    assert counts == [133, 133, 10]


@cache
def engine() -> BundleEngine:
    """The shipped digits model."""
    return BundleEngine(bundles.load(shipped()["digits"]))


@cache
def heard_digits() -> tuple[tuple[Clip, ...], tuple[tuple[LogProbs, ...], ...]]:
    """Four digits of one speaker at a time, to a model in some noise, in more, and too late."""
    rng = np.random.default_rng(0)
    texts: list[Clip] = []
    rows: list[list[LogProbs]] = [[], [], []]
    spoken = read(DIGITS).split("test").clips
    names = sorted({clip.speaker or "" for clip in spoken})
    for number in range(36):
        name = names[number % len(names)]
        own = [clip for clip in spoken if clip.speaker == name]
        picked = [own[i] for i in rng.integers(0, len(own), 4)]
        sound = np.concatenate([sound_of(clip, RATE) for clip in picked])
        noise = rng.normal(0, np.sqrt(np.mean(sound**2)), len(sound))
        for member, level in enumerate((0.2, 0.5)):
            noisy = (sound + level * noise).astype(np.float32)
            rows[member].append(engine().graph.log_probs(noisy))
        rows[2].append(late(rows[0][-1], 3))
        text = " ".join(clip.text for clip in picked)
        texts.append(Clip(f"{number:02}", Path("x"), text, name, duration=len(sound) / RATE))
    return tuple(texts), tuple(map(tuple, rows))


def late(rows: LogProbs, frames: int) -> LogProbs:
    """Rows after some more silence."""
    silent = np.full((frames, rows.shape[1]), -12.0, np.float32)
    silent[:, -1] = 0
    return np.concatenate([silent, rows[:-frames]])


def digit_outputs(members: Sequence[int]) -> Outputs:
    texts, rows = heard_digits()
    return outputs_of(texts, [rows[member] for member in members], engine().symbols)


@pytest.mark.parametrize("method", METHODS)
def test_real_words_of_members_unlike(method: Method) -> None:
    """On what it was fitted on, the whole is no worse than its best member or equal weights."""
    symbols, outputs = engine().symbols, digit_outputs([0, 1])
    found = fit(outputs, method, symbols)
    errors = card(outputs, found, symbols).errors.total
    assert errors <= card(outputs, Combination.equal(method, 2), symbols).errors.total
    if method in MEANS:
        alone = [score(own, "wer").errors.total for own in outputs.answers]
        assert alone[0] < alone[1]
        assert errors <= alone[0]


@pytest.mark.parametrize("method", MEANS)
def test_members_that_speak_at_other_times_have_no_mean(method: Method) -> None:
    """Of models whose peaks lie apart the mean hears little: fitting falls back to one."""
    symbols, outputs = engine().symbols, digit_outputs([0, 2])
    alone = score(outputs.answers[0], "wer").errors.total
    together = card(outputs, Combination.equal(method, 2), symbols).errors.total
    found = fit(outputs, method, symbols)
    assert together > alone + 20
    assert card(outputs, found, symbols).errors.total <= alone
    assert max(found.weights) > 0.8


def test_confidences_of_real_words_are_calibrated() -> None:
    symbols, outputs = engine().symbols, digit_outputs([0, 1])
    found = fit(outputs, "geometric", symbols)
    stated = [
        card(outputs, how, symbols).calibration for how in (found, replace(found, temperature=1.0))
    ]
    assert stated[0] is not None and stated[1] is not None
    assert stated[0].brier <= stated[1].brier + 0.002


def test_texts_that_the_tokens_cannot_spell() -> None:
    symbols, outputs = engine().symbols, digit_outputs([0, 1])
    odd = tuple(replace(clip, text="hundred") for clip in outputs.clips)
    with pytest.raises(DataError, match="nothing can be fitted"):
        fit(replace(outputs, clips=odd), "geometric", symbols)

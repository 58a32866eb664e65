"""What members said: heard once, kept exactly, and combined by laws."""

import json
from dataclasses import replace
from pathlib import Path
from typing import get_args

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples
from aimass.base.errors import DataError
from aimass.data.corpus import Corpus, read
from aimass.decoding.combine import Combination, Method
from aimass.decoding.label import LabelDecoder
from aimass.ensemble.outputs import Outputs, answered, collect, joined
from aimass.evaluation.scorecard import score
from aimass.registry import bundle as bundles
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import shipped

from .voices import LABELS, clips, outputs

METHODS: tuple[Method, ...] = get_args(Method)
SAMPLES = Path(__file__).parents[2] / "samples/digits"


class Foreign:
    """The digits model as an engine that tells nobody its posteriors."""

    def __init__(self, engine: BundleEngine) -> None:
        self._engine = engine
        self.name, self.sample_rate = "foreign", engine.sample_rate
        self.max_seconds, self.invents_on_silence = 30.0, False

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        return self._engine.recognize(samples, options)

    def close(self) -> None:
        self._engine.close()


@pytest.fixture(scope="module")
def engine() -> BundleEngine:
    return BundleEngine(bundles.load(shipped()["digits"]))


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return read(SAMPLES).split("test")


@pytest.fixture(scope="module")
def digits(engine: BundleEngine, corpus: Corpus) -> Outputs:
    told: list[tuple[str, int, int | None]] = []
    found = collect(
        {"digits": engine, "foreign": Foreign(engine)}, corpus, lambda *a: told.append(a)
    )
    assert told[-1] == ("collect", len(corpus.clips), len(corpus.clips))
    return found


def test_members_say_what_they_say_when_evaluated(
    digits: Outputs, engine: BundleEngine, corpus: Corpus
) -> None:
    card = evaluate(engine, corpus)
    for own in digits.answers:
        again = score(own, "wer", "en")
        assert again.per_utterance == card.per_utterance
        assert again.calibration == card.calibration
    ours, foreign = digits.rows
    assert foreign is None
    assert ours is not None
    assert {rows.shape[1] for rows in ours} == {engine.symbols.size}
    assert digits.frame_seconds == (engine.graph.frame_seconds, None)
    assert all(answer.words for answer in digits.answers[1] if answer.hypothesis)


def test_each_member_has_its_own_cost(digits: Outputs, corpus: Corpus) -> None:
    heard = sum(answer.seconds or 0 for answer in digits.answers[0])
    for cost in digits.costs:
        assert cost.audio_seconds == pytest.approx(heard)
        assert cost.rtf is not None and 0 < cost.rtf < 1


@pytest.mark.parametrize("method", METHODS)
def test_one_member_equals_itself(digits: Outputs, engine: BundleEngine, method: Method) -> None:
    part = digits.only([0])
    said = answered(part, Combination.equal(method, 1), engine.symbols)
    assert [a.hypothesis for a in said] == [a.hypothesis for a in digits.answers[0]]
    for ours, theirs in zip(said, digits.answers[0], strict=True):
        assert ours.confidence == pytest.approx(theirs.confidence, abs=1e-4)
        assert replace(ours, confidence=None, words=()) == replace(
            theirs, confidence=None, words=()
        )


def test_what_is_kept_is_what_was_said(digits: Outputs, tmp_path: Path) -> None:
    digits.save(tmp_path / "kept")
    again = Outputs.read(tmp_path / "kept")
    assert (again.names, again.clips, again.answers) == (digits.names, digits.clips, digits.answers)
    assert (again.costs, again.frame_seconds) == (digits.costs, digits.frame_seconds)
    assert again.rows[1] is None
    for ours, theirs in zip(again.rows[0] or (), digits.rows[0] or (), strict=True):
        assert np.array_equal(ours, theirs)


@pytest.mark.parametrize("damage", ["gone", "rows", "format", "json", "answers", "lengths"])
def test_what_was_damaged_is_told(tmp_path: Path, damage: str) -> None:
    folder = tmp_path / "kept"
    outputs([1.0, 2.0]).save(folder)
    index = folder / "outputs.json"
    plain = json.loads(index.read_text())
    if damage == "gone":
        index.unlink()
    elif damage == "rows":
        (folder / "rows-1.npz").write_bytes(b"PK\x03\x04 nothing")
    elif damage == "lengths":
        np.savez(folder / "rows-1.npz", rows=np.zeros((3, 5), np.float32), lengths=np.array([9]))
    elif damage == "json":
        index.write_text("{")
    else:
        plain |= {"format": 99} if damage == "format" else {"answers": plain["answers"][:1]}
        index.write_text(json.dumps(plain))
    with pytest.raises(DataError, match=r"no outputs|do not fit"):
        Outputs.read(folder)


def test_collections_apart_in_time_join(tmp_path: Path) -> None:
    whole = outputs([1.0, 2.0, 3.0])
    again = joined([whole.only([0]), whole.only([1, 2])])
    assert (again.names, again.answers) == (whole.names, whole.answers)
    with pytest.raises(DataError, match="different utterances"):
        joined([whole.only([0]), whole.only([1]).at(range(5))])
    with pytest.raises(DataError, match="do not fit"):
        joined([whole.only([0]), whole.only([0])])


def test_labels_are_those_of_the_decoder() -> None:
    found = outputs([1.0])
    said = answered(found, Combination.equal("geometric", 1), LABELS)
    for rows, answer in zip(found.rows[0] or (), said, strict=True):
        decoder = LabelDecoder(LABELS)
        decoder.accept(rows)
        assert answer.hypothesis == decoder.text
        assert answer.confidence == pytest.approx(decoder.confidence, abs=1e-5)


few = settings(max_examples=40)
weights = st.lists(st.integers(1, 5), min_size=3, max_size=3)
methods = st.sampled_from(METHODS)


def combination(method: Method, counts: list[int]) -> Combination:
    total = sum(counts)
    heats = tuple(0.5 + 0.4 * n for n in range(len(counts)))
    return Combination(method, tuple(n / total for n in counts), heats, 0.8)


@few
@given(weights, methods, st.permutations(range(3)), st.integers(0, 5))
def test_the_order_of_members_does_not_matter(
    counts: list[int], method: Method, order: list[int], seed: int
) -> None:
    found = outputs([0.5, 1.0, 1.5], count=12, seed=seed)
    one = combination(method, counts)
    straight = answered(found, one, LABELS)
    turned = answered(found.only(order), one.only(order), LABELS)
    for a, b in zip(straight, turned, strict=True):
        assert a.hypothesis == b.hypothesis
        if method != "mbr":  # the one whose words are taken may be any of those that say them
            assert a.confidence == pytest.approx(b.confidence, abs=1e-6)


@few
@given(weights, methods, st.integers(0, 2), st.integers(0, 5))
def test_a_copy_that_shares_the_weight_changes_nothing(
    counts: list[int], method: Method, copied: int, seed: int
) -> None:
    found = outputs([0.5, 1.0, 1.5], count=12, seed=seed)
    one = combination(method, [2 * n for n in counts])
    copy = replace(found.only([copied]), names=("copy",))
    shared = [w / 2 if n == copied else w for n, w in enumerate(one.weights)]
    two = Combination(
        method,
        (*shared, one.weights[copied] / 2),
        (*one.temperatures, one.temperatures[copied]),
        one.temperature,
    )
    said = answered(found, one, LABELS)
    again = answered(joined([found, copy]), two, LABELS)
    assert [a.hypothesis for a in said] == [a.hypothesis for a in again]


@pytest.mark.parametrize("method", METHODS)
def test_some_of_the_members_are_as_if_there_were_no_others(method: Method) -> None:
    found = outputs([0.5, 1.0, 1.5])
    one = combination(method, [1, 2, 3])
    some = answered(found, one, LABELS, [2, 0])
    assert some == answered(found.only([2, 0]), one.only([2, 0]), LABELS)


def test_a_member_of_no_weight_is_not_heard() -> None:
    found = outputs([0.5, 1.0, 1.5])
    silent = replace(found, rows=(*found.rows[:2], None))
    one = Combination("geometric", (0.5, 0.5, 0.0), (1.0, 1.0, 1.0))
    assert answered(silent, one, LABELS) == answered(found, one, LABELS)
    with pytest.raises(DataError, match="1 without posteriors"):
        answered(silent, Combination.equal("geometric", 3), LABELS)
    assert len(answered(silent, Combination.equal("vote", 3), LABELS)) == len(found.clips)


def test_members_of_one_frame_rate_may_end_apart(digits: Outputs, engine: BundleEngine) -> None:
    ours = digits.only([0])
    assert ours.rows[0] is not None
    early = replace(ours, names=("early",), rows=(tuple(rows[:-2] for rows in ours.rows[0]),))
    both = joined([ours, early])
    said = answered(both, Combination.equal("arithmetic", 2), engine.symbols)
    assert sum(a.hypothesis == b.hypothesis for a, b in zip(said, ours.answers[0], strict=True)) > (
        0.9 * len(said)
    )
    half = replace(ours, names=("half",), rows=(tuple(np.tile(r, (9, 1)) for r in ours.rows[0]),))
    with pytest.raises(DataError, match="more than another"):
        answered(joined([ours, half]), Combination.equal("arithmetic", 2), engine.symbols)


def test_what_does_not_fit_is_refused(corpus: Corpus) -> None:
    found = outputs([1.0, 2.0])
    with pytest.raises(DataError, match="3 weights for 2 members"):
        answered(found, Combination.equal("vote", 3), LABELS)
    with pytest.raises(DataError, match="over the same 3 outputs"):
        answered(found, Combination.equal("geometric", 2), type(LABELS)(LABELS.symbols[:3]))
    with pytest.raises(DataError, match="without members"):
        collect({}, corpus)
    with pytest.raises(DataError, match="do not fit"):
        replace(found, clips=clips(7))

"""Word voting: its laws on answers of any kind, and answers whose outcome can be worked out."""

import random
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import Hypothesis, Segment, Word
from aimass.base.errors import RequestError
from aimass.decoding.network import aligned, spoken
from aimass.decoding.voting import Ballot, VoteSpec, ballot, decided, surest, vote

FREQUENCY = VoteSpec(alpha=1)


def said(text: str, confidence: float = 1.0, times: bool = False, weight: float = 1.0) -> Ballot:
    words = tuple(
        Word(word, float(place) * times, (place + 0.9) * times, confidence)
        for place, word in enumerate(text.split())
    )
    return Ballot(words, weight)


def text(words: Sequence[Word]) -> str:
    return " ".join(word.text for word in words)


@st.composite
def answers(draw: st.DrawFn) -> Ballot:
    """Words of a small alphabet, so that answers meet; with times in order, or without any."""
    texts = draw(st.lists(st.sampled_from(["a", "b", "c", "A.", "three-four"]), max_size=7))
    timed = draw(st.booleans())
    words, now = [], 0.0
    for one in texts:
        start = now + draw(st.integers(0, 4)) / 4
        now = start + draw(st.integers(1, 4)) / 4
        sure = draw(st.integers(1, 10)) / 10
        words.append(Word(one, start * timed, now * timed, sure))
    return Ballot(tuple(words), draw(st.integers(1, 8)) / 4)


specs = st.builds(
    VoteSpec,
    alpha=st.sampled_from([0.0, 0.3, 0.5, 1.0]),
    confidence=st.sampled_from(["mean", "max"]),
    null=st.sampled_from([0.0, 0.4, 0.9]),
)
several = st.lists(answers(), min_size=1, max_size=5)


def same(found: Sequence[Word], expected: Sequence[Word]) -> None:
    assert [word.text for word in found] == [word.text for word in expected]
    for one, other in zip(found, expected, strict=True):
        assert (one.start, one.end, one.confidence) == pytest.approx(
            (other.start, other.end, other.confidence)
        )


# Laws


@given(answers(), specs)
def test_one_ballot_is_itself(one: Ballot, spec: VoteSpec) -> None:
    same(vote([one], spec), one.words)


@given(answers(), st.integers(2, 5), specs)
def test_identical_ballots_give_that_answer(one: Ballot, count: int, spec: VoteSpec) -> None:
    same(vote([one] * count, spec), one.words)


@given(several, specs, st.randoms(use_true_random=False))
def test_the_order_of_ballots_does_not_matter(
    ballots: list[Ballot], spec: VoteSpec, shuffler: random.Random
) -> None:
    mixed = list(ballots)
    shuffler.shuffle(mixed)
    assert vote(mixed, spec) == vote(ballots, spec)


@given(several, specs, st.data())
def test_a_copy_with_its_weight_shared_changes_nothing(
    ballots: list[Ballot], spec: VoteSpec, data: st.DataObject
) -> None:
    which = data.draw(st.integers(0, len(ballots) - 1))
    share = data.draw(st.sampled_from([0.1, 1 / 3, 0.5]))
    one = ballots[which]
    parts = [replace(one, weight=one.weight * part) for part in (share, 1 - share)]
    shared = [*ballots[:which], *parts, *ballots[which + 1 :]]
    same(vote(shared, spec), vote(ballots, spec))


@given(several, specs, st.sampled_from([1e-6, 1 / 3, 7.0]))
def test_only_proportions_of_weights_count(
    ballots: list[Ballot], spec: VoteSpec, factor: float
) -> None:
    scaled = [replace(one, weight=one.weight * factor) for one in ballots]
    same(vote(scaled, spec), vote(ballots, spec))


@given(several, specs)
def test_words_lie_in_order_and_confidences_between_0_and_1(
    ballots: list[Ballot], spec: VoteSpec
) -> None:
    found = vote(ballots, spec)
    starts = [word.start for word in found]
    assert starts == sorted(starts)
    for word in found:
        assert word.start <= word.end
        assert 0 <= word.confidence <= 1


@st.composite
def alike(draw: st.DrawFn) -> list[Ballot]:
    """Ballots most of which say the same words, more or less surely, the weightiest first."""
    words = draw(st.lists(st.sampled_from("ab"), max_size=2))
    sure = st.sampled_from([0.0, 0.2, 0.6, 0.9, 1.0])
    found = []
    for _ in range(draw(st.integers(2, 7))):
        texts = draw(st.sampled_from([words] * 4 + [["a"], ["a", "c"], []]))
        own = tuple(Word(one, 0.0, 0.0, draw(sure)) for one in texts)
        found.append(Ballot(own, draw(st.sampled_from([0.2, 1.0, 1.5, 4.0]))))
    return sorted(found, key=lambda one: -one.weight)


@given(alike() | several, specs | st.builds(VoteSpec, alpha=st.floats(0.3, 1)))
def test_what_is_decided_stays(ballots: list[Ballot], spec: VoteSpec) -> None:
    key, last = spoken(), vote(ballots, spec)
    for heard in range(1, len(ballots)):
        some = ballots[:heard]
        if decided(some, sum(one.weight for one in ballots[heard:]), spec):
            assert key(text(vote(some, spec))) == key(text(last))


@given(several)
def test_every_word_of_an_answer_stands_in_a_slot_of_its_own(ballots: list[Ballot]) -> None:
    share = 1 / len(ballots)
    slots = aligned([(one.words, share) for one in ballots], spoken())
    for one in ballots:
        held = [arc for slot in slots for arc in slot.arcs if arc.word in one.words]
        assert len(held) >= sum(len(spoken()(word.text).split()) for word in one.words)
    assert all(sum(slot.keys.values()) <= 1 + 1e-9 for slot in slots)


# Outcomes that can be worked out


@pytest.mark.parametrize(
    ("texts", "outcome"),
    [
        (["the cat sat", "the bat sat", "the cat sat"], "the cat sat"),
        (["the cat sat", "cat sat", "the cat sat down"], "the cat sat"),
        (["a b c d", "a x c d", "a b y d"], "a b c d"),
        (["say it again", "it again", "it again"], "it again"),
        (["", "noise", ""], ""),
        (["", "hello", "hello"], "hello"),
    ],
)
def test_the_majority_wins(texts: list[str], outcome: str) -> None:
    assert text(vote([said(one) for one in texts], FREQUENCY)) == outcome


def test_a_weight_is_as_good_as_so_many_voters() -> None:
    ballots = [said("the cat", weight=2.5), said("the bat"), said("the bat")]
    assert text(vote(ballots, FREQUENCY)) == "the cat"


def test_confidence_wins_where_votes_are_even() -> None:
    ballots = [said("the cat", 0.4), said("the bat", 0.9)]
    assert text(vote(ballots, VoteSpec(alpha=0.5))) == "the bat"


def test_a_sure_voter_beats_two_that_guess() -> None:
    ballots = [said("cat", 0.2), said("cat", 0.3), said("bat", 0.95)]
    assert text(vote(ballots, VoteSpec(alpha=0.3))) == "bat"
    assert text(vote(ballots, VoteSpec(alpha=0.9))) == "cat"
    assert text(vote(ballots, VoteSpec(alpha=0.3, confidence="max"))) == "bat"


def test_nothing_has_a_confidence_of_its_own() -> None:
    ballots = [said("um yes", 0.5), said("yes", 0.5)]
    assert text(vote(ballots, VoteSpec(alpha=0.5, null=0.2))) == "um yes"
    assert text(vote(ballots, VoteSpec(alpha=0.5, null=0.8))) == "yes"


def test_time_tells_repeated_words_apart() -> None:
    long = Ballot(tuple(Word("no", at, at + 0.3, 1.0) for at in (1.0, 4.0, 9.0)), 1.0)
    short = Ballot((Word("no", 9.1, 9.4, 1.0),), 0.5)
    first, _, last = aligned([(long.words, 2 / 3), (short.words, 1 / 3)], spoken())
    assert [len(slot.arcs) for slot in (first, last)] == [1, 2]


def test_words_far_apart_in_time_are_not_rivals() -> None:
    early = Ballot((Word("yes", 0.0, 0.5, 1.0),))
    late = Ballot((Word("no", 20.0, 20.5, 1.0),))
    assert len(aligned([(early.words, 0.5), (late.words, 0.5)], spoken())) == 2


def test_systems_without_times_vote_and_get_those_of_the_others() -> None:
    timed, other = said("a b c", times=True), said("a b c")
    same(vote([timed, other]), timed.words)
    found = vote([said("a c", times=True), said("a b c", weight=2)])
    assert [(word.start, word.end) for word in found] == [(0, 0.9), (0.9, 1), (1, 1.9)]


def test_case_and_punctuation_are_no_disagreement_and_the_best_writer_is_kept() -> None:
    ballots = [said("Mister Smith, yes.", weight=1.5), said("mr. smith yes"), said("mr smith no")]
    assert text(vote(ballots, FREQUENCY, spoken("en"))) == "Mister Smith, yes."


def test_a_number_stays_one_word_where_all_of_it_wins() -> None:
    ballots = [said("room 42 please", 0.8, times=True), said("room forty two please", weight=0.5)]
    assert text(vote(ballots, FREQUENCY, spoken("en"))) == "room 42 please"
    others = [said("room forty five please") for _ in range(2)]
    assert text(vote([ballots[0], *others], FREQUENCY, spoken("en"))) == "room forty five please"


def test_confidence_is_the_mean_over_all_systems() -> None:
    found = vote([said("yes", 0.9), said("yes", 0.6), said("no", 0.3)])
    same(found, [Word("yes", 0.0, 0.0, 0.5)])


def test_signs_that_no_key_keeps_still_vote() -> None:
    assert text(vote([said("- yes"), said("- yes"), said("yes")], FREQUENCY)) == "- yes"


def test_a_long_answer_takes_bounded_work() -> None:
    words = [f"word{number % 97}" for number in range(4000)]
    ballots = [said(" ".join(words), times=timed) for timed in (True, False)]
    ballots.append(said(" ".join([*words[:1700], *words[1900:]]), weight=0.5))
    assert text(vote(ballots, FREQUENCY)) == " ".join(words)


def test_a_short_answer_meets_a_long_one() -> None:
    long = " ".join(f"w{number}" for number in range(3000))
    assert text(vote([said(long), said("w1500 w2999", weight=0.5)], FREQUENCY)) == long
    assert text(vote([said("w7 w2990", weight=2), said(long)], FREQUENCY)) == "w7 w2990"


# Deciding early


def test_a_majority_that_agrees_decides() -> None:
    two = [said("go left"), said("Go left.")]
    assert decided(two, 1, FREQUENCY)
    assert not decided(two, 2, FREQUENCY)
    assert not decided([said("go left"), said("go right")], 1, FREQUENCY)
    assert not decided([], 0, FREQUENCY)


def test_where_confidences_count_it_takes_a_larger_majority() -> None:
    for sure, rest in ((0.9, 1.3), (0.3, 0.7)):  # the less sure, the less others may weigh
        four = [said("go left", sure)] * 4
        assert decided(four, rest) and not decided(four, rest + 0.1)
    assert decided([said("")] * 4, 1.3) and not decided([said("")] * 4, 1.4)
    assert not decided([said("go")] * 9, 1, VoteSpec(alpha=0.3))  # one that is sure may add a word
    assert decided([said("go")] * 9, 1, VoteSpec(alpha=0.3, null=0.9))
    assert not decided([said("go")] * 9, 1, VoteSpec(alpha=0))


def test_who_agrees_in_doubt_helps_another_word() -> None:
    four, spec = [said("go")] * 4, VoteSpec(alpha=0.3, null=1)
    assert text(vote([*four, said("no", weight=2.8)], spec)) == "go"
    others = [said("go", 0.0, weight=1.63), said("no", weight=1.17)]
    assert text(vote([*four, *others], spec)) == "no"
    assert decided(four, 2.7, spec) and not decided(four, 2.8, spec)


# Choosing one


def test_the_surest_is_chosen() -> None:
    assert surest([said("a b", 0.5), said("c", 0.9), said("d e", 0.7)]) == 1
    assert surest([said("a b", 0.5), said("c", 0.9, weight=0.3)]) == 0
    assert surest([said("a", 0.4), said("")]) == 1
    with pytest.raises(RequestError):
        surest([])


def test_an_answer_becomes_a_ballot() -> None:
    words = (Word("Go", 0.1, 0.4, 0.9),)
    found = Hypothesis((Segment(0, 1, "Go", words, 0.9), Segment(1, 2, "left now", (), 0.5)))
    assert ballot(found, 2.0) == Ballot(
        (*words, Word("left", 0, 0, 0.5), Word("now", 0, 0, 0.5)), 2.0
    )


@pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf")])
def test_a_weight_that_is_none_is_refused(weight: float) -> None:
    with pytest.raises(RequestError, match="weight"):
        vote([said("a", weight=weight)])


def test_a_spec_outside_0_and_1_is_refused() -> None:
    with pytest.raises(RequestError, match="alpha"):
        vote([said("a")], VoteSpec(alpha=1.5))


def test_no_ballots_and_no_weight_say_nothing() -> None:
    assert vote([]) == ()
    assert vote([said("a", weight=0)]) == ()

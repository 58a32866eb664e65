"""Minimum Bayes risk: its laws, and lists whose best answer can be worked out."""

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rapidfuzz.distance import Levenshtein

from aimass.base.contract import Hypothesis, Segment
from aimass.base.errors import RequestError
from aimass.decoding.mbr import Candidate, candidates, choose, log_prob, posteriors


def said(text: str, probability: float, weight: float = 1.0, system: str = "") -> Candidate:
    return Candidate(tuple(text.split()), math.log(probability), weight, system)


listed = st.lists(
    st.builds(
        Candidate,
        st.lists(st.sampled_from("abc"), max_size=5).map(tuple),
        st.integers(-40, 0).map(lambda value: value / 4),
        st.just(1.0),
        st.sampled_from(["one", "other"]),
    ),
    min_size=1,
    max_size=8,
)


@given(listed, st.sampled_from([0.5, 1.0, 3.0]))
def test_no_other_candidate_is_expected_to_err_less(
    found: list[Candidate], temperature: float
) -> None:
    shares = posteriors(found, temperature)
    assert math.fsum(shares) == pytest.approx(1)

    def risk(words: tuple[str, ...]) -> float:
        return sum(
            share * Levenshtein.distance(words, one.words)
            for one, share in zip(found, shares, strict=True)
        )

    best = risk(found[choose(found, temperature)].words)
    assert all(best <= risk(one.words) + 1e-6 for one in found)


@given(listed, st.randoms(use_true_random=False))
def test_the_order_of_candidates_does_not_matter(
    found: list[Candidate], shuffler: random.Random
) -> None:
    mixed = list(found)
    shuffler.shuffle(mixed)
    assert mixed[choose(mixed)].words == found[choose(found)].words


@given(listed)
def test_a_copy_of_all_changes_nothing(found: list[Candidate]) -> None:
    assert choose([*found, *found]) == choose(found)


def test_the_answer_in_the_middle_beats_the_likeliest() -> None:
    found = [said("x y z", 0.4), said("a b c", 0.3), said("a b d", 0.3)]
    assert found[choose(found)].words == ("a", "b", "c")


def test_a_low_temperature_takes_the_likeliest_and_the_first_of_equals() -> None:
    found = [said("x y z", 0.4), said("a b c", 0.3), said("a b d", 0.3), said("x y z", 0.1)]
    assert choose(found, 0.01) == 0


def test_lists_of_systems_count_by_their_weights_alone() -> None:
    """However long a list or low its probabilities, it has its system's share."""
    first = [said("a b", 0.6, 2, "one"), said("a c", 0.4, 2, "one")]
    second = [said("x y", 1e-9 / (n + 1), 1, "other") for n in range(5)]
    shares = posteriors([*first, *second])
    assert math.fsum(shares[:2]) == pytest.approx(2 / 3)
    assert shares[0] == pytest.approx(0.4)
    assert choose([*first, *second]) == 0


def test_an_engines_list_becomes_candidates() -> None:
    found = Hypothesis((Segment(0, 1, "Go LEFT.", (), 0.5, (4, 5, 6)), Segment(1, 2, "now")))
    assert log_prob(found) == pytest.approx(3 * math.log(0.5))
    (one,) = candidates([found], 2, "one")
    assert one == Candidate(("go", "left", "now"), log_prob(found), 2, "one")
    assert candidates([Hypothesis()]) == (Candidate((), 0.0),)


def test_long_lists_of_long_answers_take_bounded_work() -> None:
    words = [str(number % 50) for number in range(2000)]
    found = [
        Candidate((*words[:place], "x", *words[place:]), -place / 1000) for place in range(400)
    ]
    assert 0 <= choose(found) < 400


@pytest.mark.parametrize(
    "found",
    [
        [],
        [Candidate(("a",), float("nan"))],
        [Candidate(("a",), 0.0, weight=0.0)],
        [Candidate(("a",), -math.inf)],
    ],
)
def test_what_cannot_be_weighed_is_refused(found: list[Candidate]) -> None:
    with pytest.raises(RequestError):
        choose(found)


def test_a_temperature_of_none_is_refused() -> None:
    with pytest.raises(RequestError, match="temperature"):
        choose([said("a", 1)], 0)

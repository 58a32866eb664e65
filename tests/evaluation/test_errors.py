"""Laws of error counts."""

from hypothesis import given
from hypothesis import strategies as st

from aimass.evaluation.errors import Errors, confusions, count_errors, heard_right

WORDS = st.lists(st.sampled_from(["a", "b", "c", "dd"]), max_size=12)


def distance(reference: list[str], hypothesis: list[str]) -> int:
    """The edit distance by the recurrence of its definition."""
    row = list(range(len(hypothesis) + 1))
    for i, said in enumerate(reference, 1):
        last, row[0] = row[0], i
        for j, heard in enumerate(hypothesis, 1):
            last, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, last + (said != heard))
    return row[-1]


@given(WORDS, WORDS)
def test_counts_are_the_shortest_edit_and_balance(reference: list[str], heard: list[str]) -> None:
    errors = count_errors(reference, heard)
    assert errors.total == distance(reference, heard)
    assert errors.length == len(reference)
    assert errors.length - errors.deletions + errors.insertions == len(heard)


@given(WORDS, WORDS)
def test_the_other_way_round_swaps_insertions_and_deletions(a: list[str], b: list[str]) -> None:
    there, back = count_errors(a, b), count_errors(b, a)
    assert there.total == back.total
    assert there.deletions - there.insertions == back.insertions - back.deletions


@given(WORDS)
def test_the_same_has_no_error(words: list[str]) -> None:
    assert count_errors(words, words) == Errors(length=len(words))


@given(st.lists(st.tuples(WORDS, WORDS)))
def test_pooling_adds_up(pairs: list[tuple[list[str], list[str]]]) -> None:
    counts = [count_errors(*pair) for pair in pairs]
    pooled = sum(counts, Errors())
    assert pooled.total == sum(c.total for c in counts)
    assert pooled.rate == pooled.total / max(1, sum(len(r) for r, _ in pairs))


def test_kinds() -> None:
    assert count_errors(["the", "cat", "sat"], ["a", "cat", "sat", "down"]) == Errors(1, 0, 1, 3)
    assert count_errors(["the", "cat"], []) == Errors(0, 2, 0, 2)
    assert count_errors([], ["uh", "huh"]).rate == 2


@given(WORDS, WORDS)
def test_right_and_confused_words_are_those_counted(said: list[str], heard: list[str]) -> None:
    errors = count_errors(said, heard)
    right = heard_right(said, heard)
    assert len(right) == len(heard)
    assert right.count(False) == errors.substitutions + errors.insertions
    found = confusions([(said, heard)], top=1000)
    assert sum(row.count for row in found) == errors.total
    assert sum(row.count for row in found if not row.heard) == errors.deletions
    assert all(row.said != row.heard for row in found)

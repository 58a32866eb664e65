"""Subwords: as the definition gives them, from counts alone."""

from collections import Counter
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from aimass.text.bpe import LONGEST_WORD, MIN_PAIR_COUNT, learn

Counts = st.dictionaries(
    st.text("abcd", min_size=1, max_size=8), st.integers(1, 30), min_size=1, max_size=12
)


def slowly(counts: dict[str, int], size: int) -> set[str]:
    """The definition: all pairs are counted again after each join."""
    words = {tuple("▁" + word): count for word, count in counts.items()}
    symbols = {symbol for word in words for symbol in word}
    while len(symbols) < size:
        pairs: Counter[tuple[str, str]] = Counter()
        for word, count in words.items():
            for pair in pairwise(word):
                pairs[pair] += count
        best = min(pairs, key=lambda pair: (-pairs[pair], pair), default=None)
        if best is None or pairs[best] < MIN_PAIR_COUNT:
            break
        symbols.add("".join(best))
        words = {joined(word, best): count for word, count in words.items()}
    return symbols


def joined(word: tuple[str, ...], pair: tuple[str, str]) -> tuple[str, ...]:
    for place in range(len(word) - 1):
        if word[place : place + 2] == pair:
            return (*word[:place], "".join(pair), *joined(word[place + 2 :], pair))
    return word


@given(Counts, st.integers(1, 60))
def test_equals_the_definition(counts: dict[str, int], size: int) -> None:
    assert learn(counts, size, "▁") == slowly(counts, size)


@given(Counts, st.integers(1, 60))
def test_the_order_of_words_does_not_matter(counts: dict[str, int], size: int) -> None:
    assert learn(dict(reversed(counts.items())), size, "▁") == learn(counts, size, "▁")


@given(Counts, st.integers(1, 60))
def test_a_larger_set_holds_the_smaller(counts: dict[str, int], size: int) -> None:
    assert learn(counts, size, "▁") <= learn(counts, size + 5, "▁")


def test_by_hand() -> None:
    counts = {"low": 10, "lower": 5}
    letters = set("▁lower")
    # ▁l, lo and ow stand 15 times each; "l" comes before "o" and "▁" in the order of code points.
    assert learn(counts, 7, "▁") == letters | {"lo"}
    assert learn(counts, 8, "▁") == letters | {"lo", "low"}
    assert learn(counts, 99, "▁") == letters | {"lo", "low", "▁low"}  # "er" is too rare


def test_an_endless_word_gives_its_letters_alone() -> None:
    assert learn({"ab" * LONGEST_WORD: 99}, 50, "▁") == {"▁", "a", "b"}

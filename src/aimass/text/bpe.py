"""Subwords learned from text by joining the pair that stands together most often.

Sennrich et al. (2016), "Neural machine translation of rare words with subword units", section
3.2, on the counts of words; the mark of a word's beginning is a symbol of its own, as in
SentencePiece (Kudo and Richardson 2018), so that any known letter may begin a word.
"""

import heapq
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import pairwise

MIN_PAIR_COUNT = 10  # a subword that is heard less often is not learned from sound
LONGEST_WORD = 100  # characters; what is longer is no word, and gives its characters alone

Pair = tuple[str, str]


def learn(counts: Mapping[str, int], size: int, mark: str) -> set[str]:
    """The subwords of words: the mark, all characters, and what is joined from them.

    Depends on nothing but the counts: of pairs that are equally frequent the first in the order
    of code points is joined.

    Args:
        counts: how often each word is said.
        size: of the set; fewer where no further pair is seen ``MIN_PAIR_COUNT`` times, and as
            many as there are characters where those are more.
        mark: stands before each word.
    """
    return _letters(counts, mark).union(map("".join, merges(counts, size, mark)))


def merges(counts: Mapping[str, int], size: int, mark: str) -> Iterator[Pair]:
    """The pairs that make a set of a size, in the order in which they are joined."""
    symbols = _letters(counts, mark)
    table = _Pairs([(n, [mark, *w]) for w, n in counts.items() if len(w) <= LONGEST_WORD])
    while len(symbols) < size and (pair := table.most_frequent()):
        table.join(pair)
        symbols.add("".join(pair))
        yield pair


def joined(symbols: Sequence[str], pair: Pair) -> Iterator[str]:
    """The symbols of a word, a pair of them as one, from the left."""
    place = 0
    while place < len(symbols):
        if tuple(symbols[place : place + 2]) == pair:
            yield "".join(pair)
            place += 2
        else:
            yield symbols[place]
            place += 1


def _letters(words: Iterable[str], mark: str) -> set[str]:
    return {mark, *(char for word in words for char in word)}


class _Pairs:
    """How often each two symbols stand together, and in which words.

    Args:
        words: how often each is said, and its symbols.
    """

    def __init__(self, words: Sequence[tuple[int, list[str]]]) -> None:
        self._words = list(words)
        self._counts: Counter[Pair] = Counter()
        self._places: defaultdict[Pair, set[int]] = defaultdict(set)
        for place in range(len(words)):
            self._count(place, 1)
        # Entries whose count has changed since are passed over: each change adds a new one.
        self._heap: list[tuple[int, Pair]] = []
        self._push(self._counts)

    def most_frequent(self) -> Pair | None:
        """The pair to join next, None where all are rare."""
        while self._heap:
            negative, pair = heapq.heappop(self._heap)
            if -negative == self._counts[pair]:
                return pair
        return None

    def join(self, pair: Pair) -> None:
        """Make one symbol of a pair wherever it stands."""
        changed: set[Pair] = set()
        for place in self._places.pop(pair):
            count, symbols = self._words[place]
            changed |= self._count(place, -1)
            self._words[place] = (count, list(joined(symbols, pair)))
            changed |= self._count(place, 1)
        self._push(changed)

    def _push(self, pairs: Iterable[Pair]) -> None:
        for pair in pairs:
            if self._counts[pair] >= MIN_PAIR_COUNT:
                heapq.heappush(self._heap, (-self._counts[pair], pair))

    def _count(self, place: int, sign: int) -> set[Pair]:
        """Count the pairs of a word, or take them back."""
        count, symbols = self._words[place]
        pairs = list(pairwise(symbols))
        for pair in pairs:
            self._counts[pair] += sign * count
            if sign > 0:
                self._places[pair].add(place)
        return set(pairs)

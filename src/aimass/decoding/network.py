"""Answers of several systems put side by side: slots, in each of which every system votes.

Confusion networks of Mangu, Brill and Stolcke (2000), "Finding consensus in speech recognition:
word error minimization and other applications of confusion networks", grown one answer after the
other as in Fiscus (1997), "A post-processing system to yield reduced word error rates: ROVER".
The cost of an alignment is the expected number of edits against the answers already there, and
rises with the distance in time where both sides know it.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Word
from aimass.text.normalise import normalise

Key = Callable[[str], str]
"""The form in which words are compared; several words where one is spoken as several."""

Costs = npt.NDArray[np.int64]

_UNIT = 1_000_000  # one edit; whole numbers, so that sums do not depend on their order
_PACE = 0.5  # edits for each second between the middles of two words
_FARTHEST = 2.0  # edits that a distance in time costs at most
_BAND = 512  # slots on either side of the diagonal; bounds the work for answers of any length
_FAR = 1 << 50
_MATCH, _SKIP, _INSERT = range(3)


@dataclass(frozen=True, slots=True)
class Arc:
    """One word of one system in a slot; a word that is spoken as several stands in several.

    Args:
        key: what is compared.
        rank: the place of its system in the canonical order, 0 the weightiest.
        index: of the word in its answer.
        piece, pieces: which of the parts of the word this is.
    """

    key: str
    word: Word
    weight: float
    rank: int
    index: int
    piece: int = 0
    pieces: int = 1


@dataclass(slots=True)
class Slot:
    """What the systems say in one place; those without an arc say nothing there."""

    arcs: list[Arc] = field(default_factory=list)
    keys: dict[str, float] = field(default_factory=dict)
    span: tuple[float, float] | None = None

    def add(self, arcs: Sequence[Arc]) -> None:
        """Take what one group of systems says alike."""
        self.arcs += arcs
        key = arcs[0].key
        self.keys[key] = self.keys.get(key, 0.0) + math.fsum(arc.weight for arc in arcs)
        self.span = mean_span(self.arcs)


@dataclass(slots=True)
class _Group:
    """Answers that agree word for word."""

    members: list[list[Arc]] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)

    @property
    def weight(self) -> float:
        return round(math.fsum(self.weights), 9)

    @property
    def columns(self) -> list[list[Arc]]:
        return [list(column) for column in zip(*self.members, strict=True)]


def aligned(answers: Sequence[tuple[Sequence[Word], float]], key: Key) -> list[Slot]:
    """Align the answers of systems, given as words with a weight above 0; weights add up to 1.

    The order of answers does not matter: copies are one answer, those that agree word for word
    join as one group, and the groups join by weight, then by content. Work grows with the length
    of an answer times at most 1,025 slots (or, where a short answer meets a long one, with the
    length of both), and with the number of groups.
    """
    copies: dict[tuple[Word, ...], list[float]] = {}
    for said, share in answers:
        copies.setdefault(tuple(said), []).append(share)
    merged = [(said, math.fsum(shares)) for said, shares in copies.items()]
    ranked = sorted(merged, key=lambda answer: (-round(answer[1], 9), _content(answer[0])))
    groups: dict[tuple[str, ...], _Group] = {}
    for rank, (words, weight) in enumerate(ranked):
        arcs = _arcs(words, weight, rank, key)
        group = groups.setdefault(tuple(arc.key for arc in arcs), _Group())
        group.members.append(arcs)
        group.weights.append(weight)
    slots, heard = list[Slot](), list[float]()
    for _, group in sorted(groups.items(), key=lambda item: (-item[1].weight, item[0])):
        slots = _joined(slots, group.columns, math.fsum(heard))
        heard += group.weights
    return slots


def mean_span(arcs: Sequence[Arc]) -> tuple[float, float] | None:
    """The weighted mean of the times of arcs; None where none of them has times."""
    timed = [arc for arc in arcs if arc.word.end > arc.word.start]
    total = math.fsum(arc.weight for arc in timed)
    if not timed:
        return None
    start = math.fsum(arc.weight * arc.word.start for arc in timed) / total
    return start, max(start, math.fsum(arc.weight * arc.word.end for arc in timed) / total)


def spoken(language: str | None = None) -> Key:
    """Compare words as scoring does: without case and punctuation, and "Mr." as "mister"."""

    @lru_cache(maxsize=1 << 16)
    def key(text: str) -> str:
        return normalise(text, language)

    return key


def _arcs(words: Sequence[Word], weight: float, rank: int, key: Key) -> list[Arc]:
    """An answer as arcs; a word of which nothing is left by the key is compared as it is."""
    arcs = []
    for index, word in enumerate(words):
        parts = key(word.text).split() or [word.text]
        for piece, part in enumerate(parts):
            arcs.append(Arc(part, word, weight, rank, index, piece, len(parts)))
    return arcs


def _joined(slots: list[Slot], columns: list[list[Arc]], heard: float) -> list[Slot]:
    """The network with one more group of answers, each column what its members say alike."""
    grown, place = list[Slot](), 0
    for move, column in _path(slots, columns, heard):
        if move == _INSERT:
            grown.append(Slot())
        else:
            grown.append(slots[place])
            place += 1
        if move != _SKIP:
            grown[-1].add(columns[column])
    return grown


def _path(
    slots: Sequence[Slot], columns: Sequence[Sequence[Arc]], heard: float
) -> list[tuple[int, int]]:
    """The cheapest way through slots and columns: moves, each with its column."""
    if not slots:
        return [(_INSERT, column) for column in range(len(columns))]
    skips = np.array([_cost(math.fsum(slot.keys.values()) / heard) for slot in slots], np.int64)
    costs = _Matches(slots, heard)
    lows, moves = _moves(skips, [costs.row(column) for column in columns])
    path, place, column = list[tuple[int, int]](), len(slots), len(columns)
    while place or column:
        move = int(moves[column - 1][place - lows[column - 1]]) if column else _SKIP
        path.append((move, column - 1))
        place -= move != _INSERT
        column -= move != _SKIP
    return path[::-1]


def _moves(
    skips: Costs, rows: Sequence[Callable[[int, int], Costs]]
) -> tuple[list[int], list[npt.NDArray[np.int8]]]:
    """The best last move at each column and slot, with the first slot that each row holds.

    Each row is one vector operation: skipping slots adds up along it, so the best place to
    start skipping from is a running minimum of what is left when the sum is taken off.
    """
    total, count = len(skips), max(1, len(rows))
    half = max(_BAND, total // count + 1)  # so that the bands of two rows overlap
    summed = np.concatenate([[0], np.cumsum(skips)])
    best = summed.copy()
    lows, moves = list[int](), list[npt.NDArray[np.int8]]()
    for number, row in enumerate(rows, start=1):
        centre = round(number * total / count)
        low, high = max(0, centre - half), min(total, centre + half)
        inserted = best[low : high + 1] + _UNIT
        matched = np.full(high - low + 1, _FAR)
        first = max(low, 1)
        matched[first - low :] = best[first - 1 : high] + row(first - 1, high)
        reached = np.minimum(matched, inserted)
        along = np.minimum.accumulate(reached - summed[low : high + 1]) + summed[low : high + 1]
        kind = np.where(matched <= inserted, _MATCH, _INSERT)
        moves.append(np.where(along < reached, _SKIP, kind).astype(np.int8))
        lows.append(low)
        best = np.full(total + 1, _FAR)
        best[low : high + 1] = along
    return lows, moves


class _Matches:
    """What it costs to put words into the slots of a network."""

    def __init__(self, slots: Sequence[Slot], heard: float) -> None:
        self._same: dict[str, list[tuple[int, int]]] = {}
        for place, slot in enumerate(slots):
            for key, weight in slot.keys.items():
                self._same.setdefault(key, []).append((place, _cost(1 - weight / heard)))
        spans = [slot.span or (np.nan, np.nan) for slot in slots]
        self._middles = np.array(spans).mean(axis=1)

    def row(self, column: Sequence[Arc]) -> Callable[[int, int], Costs]:
        """The costs of one word in the slots from one place to before another."""
        same, span = self._same.get(column[0].key, []), mean_span(column)

        def costs(low: int, high: int) -> Costs:
            found = np.full(high - low, _UNIT)
            for place, cost in same:
                if low <= place < high:
                    found[place - low] = cost
            if span is not None:
                apart = np.abs(self._middles[low:high] - (span[0] + span[1]) / 2)
                late = np.minimum(np.nan_to_num(apart) * _PACE, _FARTHEST)
                found += np.rint(late * _UNIT).astype(np.int64)
            return found

        return costs


def _content(words: Sequence[Word]) -> tuple[tuple[str, float, float, float], ...]:
    return tuple((word.text, word.start, word.end, word.confidence) for word in words)


def _cost(edits: float) -> int:
    return round(edits * _UNIT)

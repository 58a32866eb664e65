"""Counting errors between what was said and what was recognised."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from rapidfuzz.distance import Levenshtein


@dataclass(frozen=True, slots=True)
class Errors:
    """The edits of the shortest alignment; `length` counts the reference tokens.

    Counts of several utterances add up: ``sum(errors, Errors())`` pools them.
    """

    substitutions: int = 0
    deletions: int = 0
    insertions: int = 0
    length: int = 0

    @property
    def total(self) -> int:
        """All edits together."""
        return self.substitutions + self.deletions + self.insertions

    @property
    def rate(self) -> float:
        """Edits per reference token; may pass 1. Insertions against nothing count as 1 each."""
        return self.total / max(self.length, 1)

    def __add__(self, other: "Errors") -> "Errors":
        return Errors(
            self.substitutions + other.substitutions,
            self.deletions + other.deletions,
            self.insertions + other.insertions,
            self.length + other.length,
        )


@dataclass(frozen=True, slots=True)
class Confusion:
    """What was said and heard instead, and how often.

    ``heard`` is empty for what was missed, ``said`` for what was invented.
    """

    said: str
    heard: str
    count: int


@dataclass(frozen=True, slots=True)
class Matrix:
    """How often each label (row) was recognised as each (column), in order of ``labels``."""

    labels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Align two token sequences with the fewest edits and count them by kind.

    The total is unique (Levenshtein 1966); where several alignments reach it, the split by kind
    is the one that rapidfuzz finds.
    """
    kinds = Counter(edit.tag for edit in Levenshtein.editops(reference, hypothesis))
    return Errors(kinds["replace"], kinds["delete"], kinds["insert"], len(reference))


def heard_right(reference: Sequence[str], hypothesis: Sequence[str]) -> list[bool]:
    """For each token of the hypothesis, whether it stands against the same token."""
    right = [True] * len(hypothesis)
    for edit in Levenshtein.editops(reference, hypothesis):
        if edit.tag != "delete":
            right[edit.dest_pos] = False
    return right


def confusions(
    compared: Iterable[tuple[Sequence[str], Sequence[str]]], top: int
) -> tuple[Confusion, ...]:
    """The edits that come most often; ties in order of their words."""
    found: Counter[tuple[str, str]] = Counter()
    for reference, hypothesis in compared:
        for edit in Levenshtein.editops(reference, hypothesis):
            said = "" if edit.tag == "insert" else reference[edit.src_pos]
            heard = "" if edit.tag == "delete" else hypothesis[edit.dest_pos]
            found[said, heard] += 1
    rows = sorted(found.items(), key=lambda row: (-row[1], row[0]))[:top]
    return tuple(Confusion(said, heard, count) for (said, heard), count in rows)


def matrix(pairs: Sequence[tuple[str, str]], most: int) -> Matrix | None:
    """The confusion matrix of ``(said, heard)`` labels; None with more than `most` labels."""
    labels = sorted({label for pair in pairs for label in pair})
    if not labels or len(labels) > most:
        return None
    found = Counter(pairs)
    counts = tuple(tuple(found[said, heard] for heard in labels) for said in labels)
    return Matrix(tuple(labels), counts)

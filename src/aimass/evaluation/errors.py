"""Counting errors between what was said and what was recognised."""

from collections import Counter
from collections.abc import Sequence
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


def count_errors(reference: Sequence[str], hypothesis: Sequence[str]) -> Errors:
    """Align two token sequences with the fewest edits and count them by kind.

    The total is unique (Levenshtein 1966); where several alignments reach it, the split by kind
    is the one that rapidfuzz finds.
    """
    kinds = Counter(edit.tag for edit in Levenshtein.editops(reference, hypothesis))
    return Errors(kinds["replace"], kinds["delete"], kinds["insert"], len(reference))

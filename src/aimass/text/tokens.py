"""Token sets: what a model's outputs stand for.

A token that begins a word starts with ``▁`` (SentencePiece's mark), so that one rule turns any
token sequence into text. A character of a script without spaces (Chinese, Japanese, Thai) is a
token of its own and never has the mark, beside whatever spells the words of other scripts. The
blank of CTC is the last id, the form sherpa-onnx expects.

The table of symbols says all, whatever made it: text is cut into the fewest symbols, and of cuts
that are equally few the one with the longest first symbol is taken, then the longest second, and
so on. The merges of ``bpe`` are not kept: on the texts of LJSpeech, replaying them takes 0.4 to
1.1 % more symbols (``benchmarks/bench_subwords.py``). Uzan et al. (2024), "Greed is all you need:
an evaluation of tokenizer inference methods", compare ways to cut.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from aimass.base.errors import BundleError, DataError
from aimass.text import vocabulary
from aimass.text.spacing import respaced, runs, stands_alone, unspaced
from aimass.text.vocabulary import WORD_START, Kind

__all__ = ["BLANK", "WORD_START", "LabelSet", "TokenSet"]

BLANK = "<blk>"
MAX_TABLE_BYTES = 4 << 20


@dataclass(frozen=True)
class TokenSet:
    """An ordered list of symbols; the blank comes last and is not in ``symbols``."""

    symbols: tuple[str, ...]

    @property
    def blank(self) -> int:
        """The id of the CTC blank."""
        return len(self.symbols)

    @property
    def size(self) -> int:
        """Number of outputs of a model, the blank included."""
        return len(self.symbols) + 1

    def encode(self, text: str) -> list[int]:
        """Token ids of normalised text.

        Raises:
            DataError: text with a word or character that the set does not hold.
        """
        return [token for run in runs(text) for token in self._encode(run)]

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids, spaced as its scripts are."""
        text = "".join(self.symbols[i] for i in ids).replace(WORD_START, " ")
        return respaced(text) if self._unspaced else " ".join(text.split())

    def parts(self, before: int, token: int) -> bool:
        """Whether a token after another begins a word, or a character that is a word of its own."""
        symbol = self.symbols[token]
        if symbol.startswith(WORD_START) or not self._unspaced:
            return symbol.startswith(WORD_START)
        return stands_alone(symbol) or stands_alone(self.symbols[before][-1:])

    def _encode(self, run: str) -> list[int]:
        """The ids of a word, or of characters without spaces."""
        alone = stands_alone(run)
        marked = run if alone else WORD_START + run
        ids = self._fewest(marked)
        if not ids and alone:  # a set of whole words marks these too
            ids = self._fewest(WORD_START + run)
        if not ids:
            unknown = (marked[self._reach(marked) :].removeprefix(WORD_START) or WORD_START)[0]
            raise DataError(
                f"'{run[:40]}' holds {unknown!r}, which is not in the token set",
                expected="the words or characters of the training text",
                fix="Correct the text, or train again with it",
            )
        return ids

    def _fewest(self, text: str) -> list[int]:
        """The ids of the fewest symbols that make up a text; none where none do."""
        counts, first = {len(text): 0}, {}  # by place: symbols from there on, length of the first
        for start in range(len(text) - 1, -1, -1):
            for length in self._lengths:
                count = counts.get(start + length)
                if count is None or text[start : start + length] not in self._ids:
                    continue
                if start not in counts or count + 1 < counts[start]:
                    counts[start], first[start] = count + 1, length
        ids: list[int] = []
        place = 0
        while place in first:
            ids.append(self._ids[text[place : place + first[place]]])
            place += first[place]
        return ids

    def _reach(self, text: str) -> int:
        """How much of a text, from its beginning, symbols make up."""
        reached = {0}
        for end in range(1, len(text) + 1):
            if any(end - n in reached and text[end - n : end] in self._ids for n in self._lengths):
                reached.add(end)
        return max(reached)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {symbol: index for index, symbol in enumerate(self.symbols)}

    @cached_property
    def _lengths(self) -> list[int]:
        """The lengths that symbols have, the longest first."""
        return sorted({len(symbol) for symbol in self.symbols if symbol}, reverse=True)

    @cached_property
    def _unspaced(self) -> bool:
        """Whether any symbol is of a script without spaces."""
        return any(unspaced(None, symbol) for symbol in self.symbols)

    def save(self, path: Path) -> None:
        """Write ``symbol id`` lines, the blank last."""
        _save((*self.symbols, BLANK), path)

    @classmethod
    def load(cls, path: Path) -> "TokenSet":
        """Read what `save` wrote.

        Raises:
            BundleError: lines that are no ``symbol id``, or a blank that is not last.
        """
        symbols = _load(path)
        if symbols[-1] != BLANK:
            raise BundleError(
                f"{path.name} is no token table: its last symbol is '{symbols[-1][:20]}'",
                expected=f"{BLANK} as the last symbol",
                fix="Pack the bundle again",
            )
        return cls(symbols[:-1])

    @classmethod
    def from_texts(
        cls, texts: Iterable[str], kind: Kind = "auto", size: int | None = None
    ) -> "TokenSet":
        """The set for normalised training texts, chosen by `aimass.text.vocabulary.symbols`.

        Raises:
            DataError: texts without words, or with more tokens than a model may have.
            ScenarioError: an unknown kind, or a size that does not go with it or the texts.
        """
        return cls(tuple(sorted(vocabulary.symbols(texts, kind, size))))


@dataclass(frozen=True)
class LabelSet:
    """What a classifier tells apart, in the order of its outputs."""

    symbols: tuple[str, ...]

    @property
    def size(self) -> int:
        """Number of outputs of a model."""
        return len(self.symbols)

    def encode(self, label: str) -> list[int]:
        """The number of a label, alone in a list.

        Raises:
            DataError: a label that the set does not hold.
        """
        if label not in self.symbols:
            raise DataError(
                f"the label '{label[:40]}' is not among the {self.size} of the training data",
                expected="labels of the training data",
                fix="Correct the label, or train again with it",
            )
        return [self.symbols.index(label)]

    def save(self, path: Path) -> None:
        """Write ``label number`` lines."""
        _save(self.symbols, path)

    @classmethod
    def load(cls, path: Path) -> "LabelSet":
        """Read what `save` wrote. Raises: BundleError for anything else."""
        return cls(_load(path))

    @classmethod
    def from_texts(cls, texts: Iterable[str]) -> "LabelSet":
        """The labels of training texts, in order.

        Raises:
            DataError: fewer than two, which leaves nothing to tell apart; or one that is no name.
        """
        labels = tuple(sorted(set(texts)))
        for label in labels:
            if not label.strip() or label.splitlines() != [label]:
                raise DataError(
                    f"a recording has the label {label[:40]!r}",
                    expected="a name in one line",
                    fix="Correct its text, or leave it out",
                )
        if len(labels) < 2:
            raise DataError(
                f"the training data has {len(labels)} label",
                expected="at least two",
                fix="Add recordings of another label; for what is none of them, label 'other'",
            )
        return cls(labels)


def _save(symbols: Sequence[str], path: Path) -> None:
    lines = [f"{symbol} {index}" for index, symbol in enumerate(symbols)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def _load(path: Path) -> tuple[str, ...]:
    try:
        if path.stat().st_size > MAX_TABLE_BYTES:
            raise OSError(f"it has more than {MAX_TABLE_BYTES} bytes")
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BundleError(
            f"{path.name} cannot be read: {error}",
            expected="a table in UTF-8",
            fix="Pack the bundle again",
        ) from error
    pairs = [line.rsplit(" ", 1) for line in content.removesuffix("\n").split("\n")]
    if not all(len(p) == 2 and p[1] == str(i) for i, p in enumerate(pairs)):
        raise BundleError(
            f"{path.name} is no token table",
            expected="lines 'symbol id' counting from 0",
            fix="Pack the bundle again",
        )
    return tuple(pair[0] for pair in pairs)

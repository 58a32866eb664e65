"""Token sets: what a model's outputs stand for.

A token that begins a word starts with ``▁`` (SentencePiece's mark), so that one rule turns any
token sequence into text. The blank of CTC is the last id, the form sherpa-onnx expects.
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimass.base.errors import BundleError, DataError

BLANK = "<blk>"
WORD_START = "▁"
MAX_CLOSED_WORDS = 200
MIN_WORD_COUNT = 10


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
        ids = {symbol: index for index, symbol in enumerate(self.symbols)}
        encoded: list[int] = []
        for word in text.split():
            if WORD_START + word in ids:
                encoded.append(ids[WORD_START + word])
                continue
            pieces = [WORD_START + word[0], *word[1:]]
            unknown = [piece for piece in pieces if piece not in ids]
            if unknown:
                raise DataError(
                    f"'{word}' holds {unknown[0].lstrip(WORD_START)!r}, which is not in the "
                    "token set",
                    expected="the words or characters of the training text",
                    fix="Correct the text, or train again with it",
                )
            encoded += [ids[piece] for piece in pieces]
        return encoded

    def decode(self, ids: Iterable[int]) -> str:
        """Text of token ids."""
        return "".join(self.symbols[i] for i in ids).replace(WORD_START, " ").strip()

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
    def from_texts(cls, texts: Sequence[str]) -> "TokenSet":
        """The set that suits normalised training texts.

        Whole words where the vocabulary is small and every word is heard often (a command
        needs no spelling), characters otherwise.
        """
        words = Counter(word for text in texts for word in text.split())
        if not words:
            raise DataError(
                "the training text has no words",
                expected="at least one word",
                fix="Fill the text column",
            )
        if len(words) <= MAX_CLOSED_WORDS and min(words.values()) >= MIN_WORD_COUNT:
            return cls(tuple(WORD_START + word for word in sorted(words)))
        starts = {WORD_START + word[0] for word in words}
        return cls(tuple(sorted(starts | {char for word in words for char in word[1:]})))


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
            DataError: fewer than two, which leaves nothing to tell apart.
        """
        labels = tuple(sorted(set(texts)))
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

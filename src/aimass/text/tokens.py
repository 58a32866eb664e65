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
        lines = [f"{symbol} {index}" for index, symbol in enumerate((*self.symbols, BLANK))]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> "TokenSet":
        """Read what `save` wrote.

        Raises:
            BundleError: lines that are no ``symbol id``, or a blank that is not last.
        """
        try:
            content = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise BundleError(
                f"{path.name} cannot be read: {error}",
                expected="a token table in UTF-8",
                fix="Pack the bundle again",
            ) from error
        pairs = [line.rsplit(" ", 1) for line in content.removesuffix("\n").split("\n")]
        ordered = all(len(p) == 2 and p[1] == str(i) for i, p in enumerate(pairs))
        if not pairs or not ordered or pairs[-1][0] != BLANK:
            raise BundleError(
                f"{path.name} is no token table",
                expected=f"lines 'symbol id' counting from 0, with {BLANK} last",
                fix="Pack the bundle again",
            )
        return cls(tuple(pair[0] for pair in pairs[:-1]))

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

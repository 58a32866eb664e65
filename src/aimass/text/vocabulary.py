"""Which tokens suit texts: whole words, characters or subwords."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from typing import Literal, get_args

from aimass.base.errors import DataError, ScenarioError
from aimass.text import bpe
from aimass.text.spacing import mixed_tokens, stands_alone

WORD_START = "▁"
MAX_CLOSED_WORDS = 200
MIN_WORD_COUNT = 10
SUBWORDS = 500  # of bpe where no size is given: the choice of icefall's LibriSpeech recipes
MAX_TOKENS = 20_000  # outputs of a model; all characters of Chinese newspapers are some 7,000

Kind = Literal["auto", "words", "characters", "bpe"]
KINDS: tuple[Kind, ...] = get_args(Kind)


def symbols(texts: Iterable[str], kind: Kind = "auto", size: int | None = None) -> set[str]:
    """The tokens for normalised training texts.

    A character of a script without spaces is always a token of its own.

    Args:
        kind: how other words are spelled. ``words``: not at all, nothing else can be heard.
            ``characters``. ``bpe``: by subwords (`aimass.text.bpe`). ``auto``: whole words
            where they are few and every one is heard often (a command needs no spelling), else
            characters.
        size: of ``bpe``, the number of subwords, ``SUBWORDS`` where not given; there are fewer
            where the texts do not repeat themselves enough.

    Raises:
        DataError: texts without words, or with more tokens than a model may have.
        ScenarioError: an unknown kind, or a size that does not go with it or the texts.
    """
    _check_choice(kind, size)
    counts = Counter(unit for text in texts for unit in mixed_tokens(text))
    if not counts:
        raise DataError(
            "the training text has no words",
            expected="at least one word",
            fix="Fill the text column",
        )
    alone = {unit for unit in counts if stands_alone(unit)}
    words = {unit: count for unit, count in counts.items() if unit not in alone}
    spelled = _subwords(words, size) if kind == "bpe" else _SPELLINGS[kind](words)
    if len(alone) + len(spelled) > MAX_TOKENS:
        raise DataError(
            f"the training text has {len(alone) + len(spelled)} different tokens",
            expected=f"at most {MAX_TOKENS}",
            fix="Choose tokens 'bpe' or 'characters', or check the text for what is no text",
        )
    return alone | spelled


def _check_choice(kind: str, size: int | None) -> None:
    if kind not in KINDS:
        raise ScenarioError(
            f"there are no tokens of the kind '{kind[:40]}'",
            expected=f"one of {', '.join(KINDS)}",
            fix="Choose one of them",
            param="tokens",
        )
    if size is not None and (kind != "bpe" or not 0 < size <= MAX_TOKENS):
        raise ScenarioError(
            f"{size} tokens of the kind '{kind}' are wanted",
            expected=f"a size for the kind 'bpe' alone, 1 to {MAX_TOKENS}",
            fix="Leave out the size, or choose 'bpe'",
            param="tokens",
        )


def _closed(words: Iterable[str]) -> set[str]:
    return {WORD_START + word for word in words}


def _characters(words: Iterable[str]) -> set[str]:
    return {char for word in words for char in (WORD_START + word[0], *word[1:])}


def _suitable(words: Mapping[str, int]) -> set[str]:
    """Whole words where they are few and all of them frequent, else characters."""
    rarest = min(words.values(), default=0)
    closed = len(words) <= MAX_CLOSED_WORDS and rarest >= MIN_WORD_COUNT
    return _closed(words) if closed else _characters(words)


def _subwords(words: Mapping[str, int], size: int | None) -> set[str]:
    """Subwords, as many as wanted where the text has them."""
    if not words:
        return set()
    symbols = bpe.learn(words, size or SUBWORDS, WORD_START)
    if size is not None and len(symbols) > size:
        raise ScenarioError(
            f"the training text has {len(symbols) - 1} different characters, and {size} subwords "
            "are wanted",
            expected=f"at least {len(symbols)}",
            fix="Choose a larger size, or 'characters'",
            param="tokens",
        )
    return symbols


_SPELLINGS: dict[str, Callable[[Mapping[str, int]], set[str]]] = {
    "auto": _suitable,
    "words": _closed,
    "characters": _characters,
}

"""One written form for what is spoken the same, so that scoring counts errors of hearing only."""

import re
import unicodedata
from typing import Literal

from aimass.text.english import one_spelling, spell_symbols
from aimass.text.numbers import spell_numbers

Unit = Literal["word", "char"]

_APOSTROPHES = str.maketrans(dict.fromkeys("’‘ʼʻ`´＇", "'"))


def primary_language(code: str) -> str:
    """The language of a code such as ``zh-CN`` or ``en_GB``, in lower case without its region."""
    return code.lower().replace("_", "-").partition("-")[0]


def normalise(text: str, language: str | None = None) -> str:
    """Fold a transcript for scoring; folding twice changes nothing.

    Compatibility forms, case, punctuation and white space are folded in every language;
    apostrophes inside a word stay ("there's"). With a `language`, numbers become words where
    num2words has that language, and English gets its conventions (`aimass.text.english`).

    Args:
        language: ISO 639-1 code, None when unknown.
    """
    english = language is not None and re.split("[-_]", language.lower())[0] == "en"
    text = _fold(text)
    if english:
        text = spell_symbols(text)
    if language is not None:
        text = _fold(spell_numbers(text, language))
    text = _words_only(text)
    return one_spelling(text) if english else text


def tokens(text: str, unit: Unit) -> list[str]:
    """What an error rate counts: words, or characters without the spaces.

    Characters are for languages that write without spaces, and for spelling.
    """
    words = text.split()
    return words if unit == "word" else list("".join(words))


def _fold(text: str) -> str:
    """Compatibility form and case (Unicode 16, section 3.13: NFKC_Casefold)."""
    text = text.translate(_APOSTROPHES)
    text = "".join(char for char in text if unicodedata.category(char) != "Cf")
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFD", text).casefold())
    return unicodedata.normalize("NFKC", folded.casefold())


def _words_only(text: str) -> str:
    """Letters, marks, digits and in-word apostrophes; anything else parts words."""
    kept = "".join(
        char if char == "'" or unicodedata.category(char)[0] in "LMN" else " " for char in text
    )
    words = (word.strip("'") for word in re.sub("'{2,}", " ", kept).split())
    return " ".join(word for word in words if word)

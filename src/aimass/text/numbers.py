"""Digits to words, in the languages that num2words speaks."""

import re
from collections.abc import Callable
from functools import cache

from num2words import CONVERTER_CLASSES, num2words

# Where a comma groups thousands and a point begins the fraction; elsewhere it is the other way.
_POINT_FRACTION = {"en", "ja", "ko", "th", "he", "te", "kn", "bn", "am", "cy"}

# Endings that make digits an ordinal, as they look after compatibility folding ("1º" is "1o").
_ORDINALS = {
    "en": "st|nd|rd|th",
    "fr": "er|re|eme|ème|e",
    "es": "o|a",
    "it": "o|a",
    "pt": "o|a",
}

_LONGEST = 12  # digits; anything longer is a telephone or card number and is read digit by digit


def spell_numbers(text: str, language: str) -> str:
    """Replace every number in `text` by words of `language`.

    Args:
        language: ISO 639-1 code, a region may follow (``pt-BR``). Digits stay as they are in a
            language without number words here.

    English is read as people read it aloud: "1863" as a year, "90s" as "nineties", numbers that
    begin with zero and very long ones digit by digit.
    """
    code = speakable(language)
    if code is None:
        return text
    base = code.partition("_")[0]
    text = _grouping(base).sub(lambda match: re.sub(r"\D", "", match[0]), text)
    if base in _ORDINALS:
        text = re.sub(rf"(\d+)({_ORDINALS[base]})\b", lambda m: _ordinal(m[1], m[2], code), text)
    if base == "en":
        text = re.sub(r"(\d+)'?s\b", lambda m: _decade(m[1]), text)
    mark = r"\." if base in _POINT_FRACTION else ","
    text = re.sub(rf"(?<![\d.,])\d+{mark}\d+(?![.,]?\d)", lambda m: _fraction(m[0], code), text)
    return re.sub(r"\d+", lambda m: f" {_cardinal(m[0], code)} ", text)


@cache
def speakable(language: str) -> str | None:
    """num2words' code for a language, None when it has none."""
    parts = language.replace("-", "_").split("_")
    full = "_".join([parts[0].lower(), *(part.upper() for part in parts[1:])])
    for code in (full, parts[0].lower()):
        if code in CONVERTER_CLASSES:
            return code
    return None


@cache
def _grouping(base: str) -> re.Pattern[str]:
    mark = "," if base in _POINT_FRACTION else r"[. ]"
    return re.compile(rf"(?<![\d.,])\d{{1,3}}(?:{mark}\d{{3}})+(?![\d])")


def _cardinal(digits: str, code: str) -> str:
    if len(digits) > _LONGEST or (len(digits) > 1 and int(digits[0]) == 0):
        return " ".join(_say(digit, code) for digit in digits)
    if code.startswith("en") and _is_year(digits):
        return _say(digits, code, "year")
    return _say(digits, code)


def _is_year(digits: str) -> bool:
    return len(digits) == 4 and (1100 <= int(digits) <= 1999 or 2010 <= int(digits) <= 2099)


def _ordinal(digits: str, ending: str, code: str) -> str:
    if len(digits) > _LONGEST:
        return digits + ending
    words = _say(digits, code, "ordinal")
    if ending == "a" and words.endswith("o"):
        words = words[:-1] + "a"
    return f" {words} "


def _decade(digits: str) -> str:
    words = _cardinal(digits, "en")
    return f" {words[:-1]}ies " if words.endswith("y") else f" {words}s "


def _fraction(number: str, code: str) -> str:
    whole, part = re.split(r"[.,]", number)
    if len(whole) + len(part) > _LONGEST:
        return number
    return f" {_attempt(lambda: num2words(f'{whole}.{part}', lang=code), number)} "


def _say(digits: str, code: str, kind: str = "cardinal") -> str:
    return _attempt(lambda: num2words(int(digits), lang=code, to=kind), digits)


def _attempt(speak: Callable[[], str], digits: str) -> str:
    """The words, or the digits themselves where num2words' table of the language has a hole.

    Its converters fail in many ways (NotImplementedError, OverflowError, IndexError, KeyError,
    TypeError) and a few answer with digits; scoring must go on all the same.
    """
    try:
        words = speak()
    except Exception:
        return digits
    return digits if any(char.isdigit() for char in words) else words

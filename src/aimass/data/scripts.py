"""What a text is written with: its scripts, how much there is to say, what nobody can say.

Scripts are told by the names of characters in the Unicode database that Python carries, which
begin with them: ``LATIN SMALL LETTER A``.
"""

import unicodedata
from collections import Counter
from collections.abc import Iterable

LATIN = "LATIN"
_LATIN = (
    "en de fr es it pt nl pl cs sk sl hr bs ro hu fi sv da no nb nn et lv lt tr az uz vi id ms sw "
    "ca eu gl ga gd cy is mt sq af tl la eo rw so yo ig ha zu xh br fy lb oc su jv ceb haw mi"
)
_OTHERS = {
    "CYRILLIC": "ru uk be bg mk kk ky tg mn tt ba cv",
    "ARABIC": "ar fa ur ps ug sd ckb",
    "HEBREW": "he yi",
    "GREEK": "el",
    "ARMENIAN": "hy",
    "GEORGIAN": "ka",
    "DEVANAGARI": "hi mr ne sa",
    "BENGALI": "bn as",
    "GURMUKHI": "pa",
    "GUJARATI": "gu",
    "ORIYA": "or",
    "TAMIL": "ta",
    "TELUGU": "te",
    "KANNADA": "kn",
    "MALAYALAM": "ml",
    "SINHALA": "si",
    "THAI": "th",
    "LAO": "lo",
    "MYANMAR": "my",
    "KHMER": "km",
    "TIBETAN": "bo dz",
    "ETHIOPIC": "am ti",
    "CJK BOPOMOFO": "zh cmn yue",
    "CJK HIRAGANA KATAKANA": "ja",
    "HANGUL CJK": "ko",
    "CYRILLIC LATIN": "sr",
}
SCRIPTS: dict[str, frozenset[str]] = {
    language: frozenset(scripts.split())
    for scripts, languages in (_OTHERS | {LATIN: _LATIN}).items()
    for language in languages.split()
}
"""By language, the scripts it is written with."""

_LETTERS = {"CJK": 2.5, "HANGUL": 2.5, "HIRAGANA": 2.0, "KATAKANA": 2.0, "ETHIOPIC": 2.0}
"""Letters of an alphabet that take as long to say as one character of a syllabic script."""

_JOINERS = "\u200c\u200d\u200e\u200f"  # that Indic and right-to-left texts need


def scripts(text: str) -> frozenset[str]:
    """The scripts of a text's letters; digits, signs and punctuation have none."""
    return frozenset(_script(char) for char in unicodedata.normalize("NFKC", text)) - {""}


def expected_scripts(language: str | None, texts: Iterable[str]) -> frozenset[str]:
    """The scripts of a language; where the table lacks it, those of a twentieth of its texts.

    Args:
        texts: all texts of that language.
    """
    if language in SCRIPTS:
        return SCRIPTS[language]
    seen = [scripts(text) for text in texts]
    found = Counter(script for one in seen for script in one)
    return frozenset(script for script, count in found.items() if count * 20 >= len(seen))


def foreign_scripts(text: str, expected: frozenset[str]) -> frozenset[str]:
    """Scripts that do not belong in a text; Latin words among others do, as names and brands."""
    found = scripts(text)
    foreign = found - expected
    return frozenset() if foreign == {LATIN} and found & expected else foreign


def spoken_length(text: str) -> float:
    """How much there is to say in a normalised text, in letters of an alphabet."""
    return sum(_LETTERS.get(_script(char), 1.0) for char in text if not char.isspace())


def unspeakable(text: str) -> list[str]:
    """Characters that are no writing: controls, emoji, what no decoder could read."""
    return sorted(
        {
            char
            for char in text
            if char not in _JOINERS and unicodedata.category(char) in {"Cc", "Cn", "Co", "Cs", "So"}
        }
    )


def _script(char: str) -> str:
    if char.isascii():
        return LATIN if char.isalpha() else ""
    if unicodedata.category(char) not in {"Lu", "Ll", "Lt", "Lo"}:
        return ""  # marks and modifiers belong to several
    return unicodedata.name(char, "UNKNOWN").partition(" ")[0].partition("-")[0]

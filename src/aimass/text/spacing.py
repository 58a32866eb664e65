"""Which scripts are written without spaces, and text in which they stand beside others.

Chinese, Japanese, Thai, Lao, Burmese and Khmer part no words: there a character is the unit of
tokens, of error rates and of alignment. Korean and Vietnamese part theirs, as English does.
"""

import re

from aimass.text.normalise import primary_language

UNSPACED = {"zh", "cmn", "yue", "ja", "th", "lo", "my", "km"}
"""Languages that are written without spaces, where characters are counted instead of words."""

_SCRIPTS = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3041-\u309a\u309d-\u309f\u30a1-\u30ff\u31f0-\u31ff"  # kana and their marks
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_CHARACTER = re.compile(f"[{_SCRIPTS}]")
_UNIT = re.compile(f"[{_SCRIPTS}]|[^\\s{_SCRIPTS}]+")
_RUN = re.compile(f"[{_SCRIPTS}]+|[^\\s{_SCRIPTS}]+")
_NO_GAP = re.compile(f"(?<=[{_SCRIPTS}]) (?=[{_SCRIPTS}])")
_GAP = re.compile(f"(?<=[{_SCRIPTS}])(?=[^ {_SCRIPTS}])|(?<=[^ {_SCRIPTS}])(?=[{_SCRIPTS}])")


def unspaced(language: str | None, text: str) -> bool:
    """Whether text is written without spaces: by its language, by its script where unknown."""
    if language is not None:
        return primary_language(language) in UNSPACED
    return _CHARACTER.search(text) is not None


def stands_alone(text: str) -> bool:
    """Whether text begins with a character of a script without spaces."""
    return _CHARACTER.match(text) is not None


def mixed_tokens(text: str) -> list[str]:
    """Characters of the scripts written without spaces, words of all others.

    The unit of the mixed error rate, as code-switching between Mandarin and English is scored:
    Lyu et al. (2010), "SEAME: a Mandarin-English code-switching speech corpus in South-East
    Asia"; Zeng et al. (2019), "On the end-to-end solution to Mandarin-English code-switching
    speech recognition".
    """
    return _UNIT.findall(text)


def runs(text: str) -> list[str]:
    """Words, and stretches of characters without spaces."""
    return _RUN.findall(text)


def respaced(text: str) -> str:
    """The one way to space text: between words and where scripts meet, nowhere else."""
    return _GAP.sub(" ", _NO_GAP.sub("", " ".join(text.split())))

"""What an error rate counts: words, characters, or in each script its own unit."""

import re
from collections.abc import Sequence
from typing import Literal, get_args

from aimass.text.normalise import normalise, primary_language, tokens

Metric = Literal["wer", "cer", "mer", "classification_error", "eer"]
METRICS: tuple[Metric, ...] = get_args(Metric)

UNSPACED = {"zh", "cmn", "yue", "ja", "th", "lo", "my", "km"}
"""Languages that are written without spaces, where characters are counted instead of words."""

_UNSPACED_SCRIPT = (
    "\u0e00-\u0eff"  # Thai, Lao
    "\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff"  # Myanmar
    "\u1780-\u17ff"  # Khmer
    "\u3005-\u3007\u3041-\u3096\u309d-\u309f\u30a1-\u30ff\u31f0-\u31ff"  # kana and their marks
    "\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0003ffff"  # Han
)
_MIXED = re.compile(f"[{_UNSPACED_SCRIPT}]|[^\\s{_UNSPACED_SCRIPT}]+")
_CHARACTER = re.compile(f"[{_UNSPACED_SCRIPT}]")


def unspaced(language: str | None, text: str) -> bool:
    """Whether text is written without spaces: by its language, by its script where unknown."""
    if language is not None:
        return primary_language(language) in UNSPACED
    return _CHARACTER.search(text) is not None


def mixed_tokens(text: str) -> list[str]:
    """Characters of the scripts written without spaces, words of all others.

    The unit of the mixed error rate, as code-switching between Mandarin and English is scored:
    Lyu et al. (2010), "SEAME: a Mandarin-English code-switching speech corpus in South-East
    Asia"; Zeng et al. (2019), "On the end-to-end solution to Mandarin-English code-switching
    speech recognition".
    """
    return _MIXED.findall(text)


def units(text: str, metric: Metric, language: str | None) -> Sequence[str]:
    """The normalised tokens of one side; a label is one token and stays as it is.

    Args:
        language: ISO 639-1 code for number words and spelling, None for neither.
    """
    if metric == "classification_error":
        return [text]
    folded = normalise(text, language)
    if metric == "mer":
        return mixed_tokens(folded)
    return tokens(folded, "char" if metric == "cer" else "word")


def joint(metric: Metric) -> str:
    """What stands between two units where they are shown again."""
    return "" if metric == "cer" else " "

"""What an error rate counts: words, characters, or in each script its own unit."""

from collections.abc import Sequence
from typing import Literal, get_args

from aimass.text.normalise import normalise, tokens
from aimass.text.spacing import UNSPACED, mixed_tokens, unspaced

__all__ = ["METRICS", "UNSPACED", "Metric", "joint", "mixed_tokens", "units", "unspaced"]

Metric = Literal["wer", "cer", "mer", "classification_error", "eer"]
METRICS: tuple[Metric, ...] = get_args(Metric)


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

"""English conventions of scoring: one written form for what is spoken the same.

References such as LibriSpeech's write "mister" and "to day" where a recogniser writes "Mr." and
"today"; neither is an error. The tables are short on purpose: contractions stay as spoken, and
nothing that a listener could tell apart is merged.
"""

import re

_SYMBOLS = {"&": " and ", "%": " percent ", "@": " at ", "+": " plus "}
_CURRENCIES = {"$": "dollar", "£": "pound", "€": "euro"}
_ABBREVIATIONS = {
    "mr": "mister",
    "mrs": "missus",
    "ms": "miss",
    "dr": "doctor",
    "st": "saint",
    "prof": "professor",
    "rev": "reverend",
    "capt": "captain",
    "lieut": "lieutenant",
    "jr": "junior",
    "sr": "senior",
    "vs": "versus",
    "etc": "et cetera",
    "ok": "okay",
    "grey": "gray",
    "defence": "defense",
    "offence": "offense",
    "centre": "center",
    "theatre": "theater",
    "fibre": "fiber",
    "sombre": "somber",
    "ploughed": "plowed",
    "plough": "plow",
}
_PAIRS = re.compile(
    r"\b(?:(to) (day|night|morrow)|(every|any|some) (one|body|thing)|(for) (ever)|(per) (cent))\b"
)
_OUR = re.compile(
    r"\b((?:un|dis)?(?:arm|behavi|clam|col|endeav|fav|flav|harb|hon|hum|lab|neighb|od|parl|ranc"
    r"|rum|savi|splend|val|vap|vig))our"
)
_ISE = re.compile(
    r"\b(apolog|author|civil|critic|emphas|organ|real|recogn|sympath|util)is"
    r"(?=(?:e|es|ed|er|ing|ation)\b)"
)
_AND = re.compile(
    r"\b(hundred|thousand|million|billion) and"
    r"(?= (?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|\w+teen|\w+ty)\b)"
)
_MONEY = re.compile(r"([$£€])\s?(\d[\d,]*(?:\.\d+)?)")


def spell_symbols(text: str) -> str:
    """Say symbols in words: "$5" becomes "5 dollars", "%" becomes "percent"."""
    text = _MONEY.sub(_money, text)
    for symbol, words in _SYMBOLS.items():
        text = text.replace(symbol, words)
    return text


def one_spelling(text: str) -> str:
    """Give folded words their one form: abbreviations, British spellings, split pairs."""
    text = " ".join(_ABBREVIATIONS.get(word, word) for word in text.split())
    text = _PAIRS.sub(lambda match: "".join(part for part in match.groups() if part), text)
    text = _OUR.sub(r"\1or", text)
    text = _ISE.sub(r"\1iz", text)
    return _AND.sub(r"\1", text)


def _money(match: re.Match[str]) -> str:
    symbol, amount = match.groups()
    unit = _CURRENCIES[symbol]
    return f"{amount} {unit} " if amount == "1" else f"{amount} {unit}s "

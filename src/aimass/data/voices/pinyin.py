"""From Chinese characters to the phonemes that Kokoro was trained on.

The sounds are those of Duanmu (2007), "The Phonology of Standard Chinese", written as IPA with
arrows for tones. Readings of characters come from pypinyin, which knows words, so that 行 in
商行 and in 行李 differ.
"""

import re

from aimass.data.voices.contract import missing

_TONES = {"1": "→", "2": "↗", "3": "↓", "4": "↘", "5": ""}
_INITIALS = {
    **{"zh": "ꭧ", "ch": "ꭧʰ", "sh": "ʂ", "b": "p", "p": "pʰ", "m": "m", "f": "f", "d": "t"},
    **{"t": "tʰ", "n": "n", "l": "l", "g": "k", "k": "kʰ", "h": "x", "j": "ʨ", "q": "ʨʰ"},
    **{"x": "ɕ", "r": "ɻ", "z": "ʦ", "c": "ʦʰ", "s": "s"},
}
# The tone stands after the vowel, where "0" is.
_FINALS = {
    **{"a": "a0", "ai": "ai0", "an": "a0n", "ang": "a0ŋ", "ao": "au0", "e": "ɤ0", "ei": "ei0"},
    **{"en": "ə0n", "eng": "ə0ŋ", "er": "ɚ0", "i": "i0", "ia": "ja0", "ian": "jɛ0n"},
    **{"iang": "ja0ŋ", "iao": "jau0", "ie": "je0", "in": "i0n", "ing": "i0ŋ", "io": "jɔ0"},
    **{"iong": "jʊ0ŋ", "iu": "jou0", "ong": "ʊ0ŋ", "ou": "ou0", "u": "u0", "ua": "wa0"},
    **{"uai": "wai0", "uan": "wa0n", "uang": "wa0ŋ", "ueng": "wə0ŋ", "ui": "wei0"},
    **{"un": "wə0n", "uo": "wo0", "o": "wo0", "v": "y0", "ve": "ɥe0", "van": "ɥɛ0n", "vn": "y0n"},
}
_SYLLABLE = re.compile(r"(zh|ch|sh|[bpmfdtnlgkhjqxrzcs])?([a-zv]+?)([1-5])")


def phonemes(text: str) -> str:
    """Phonemes of Chinese text; a word is written without spaces, other characters are kept.

    Raises:
        MissingExtra: pypinyin is not installed.
    """
    try:
        from pypinyin import Style, pinyin
    except ImportError as error:
        raise missing("kokoro", "pypinyin, for Chinese,", error) from error
    read = pinyin(text, style=Style.TONE3, neutral_tone_with_five=True, v_to_u=False)
    return "".join(syllable(found[0]) for found in read)


def syllable(read: str) -> str:
    """Phonemes of one syllable such as ``zhong1``; anything else is given back."""
    match = _SYLLABLE.fullmatch(_full(read))
    if match is None or match[2] not in _FINALS:
        return read
    initial, final, tone = match[1] or "", match[2], match[3]
    if final == "o" and not initial:
        return "ɔ" + _TONES[tone]
    if final == "i" and initial in ("zh", "ch", "sh", "r", "z", "c", "s"):
        sounds = "ɨ0"
    else:
        sounds = _FINALS[final]
    return _INITIALS.get(initial, "") + sounds.replace("0", _TONES[tone])


def _full(read: str) -> str:
    """A syllable with its vowel written out: ``yu4`` is v4, ``wo3`` uo3, ``ju2`` jv2."""
    read = read.replace("ü", "v")
    read = re.sub("^([jqx])u", r"\1v", read)
    read = re.sub("^yu", "v", read)
    read = re.sub("^y(?=i)|^w(?=u)", "", read)
    read = re.sub("^you", "iu", read)
    read = re.sub("^wei", "ui", read)
    read = re.sub("^wen(?!g)", "un", read)
    return re.sub("^w", "u", re.sub("^y", "i", read))

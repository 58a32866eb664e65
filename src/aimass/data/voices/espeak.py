"""eSpeak NG through the library that espeakng-loader ships: a hundred languages and voices.

Formant synthesis: clear, quick and not very human. Its rules from spelling to phonemes serve
Kokoro too.
"""

import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np

from aimass.audio.types import Audio
from aimass.data.voices.contract import (
    Delivery,
    Voice,
    check,
    missing,
    speakable,
    unknown_language,
    unknown_voice,
)
from aimass.data.voices.native import Espeak, spoken
from aimass.text.normalise import primary_language

_WORDS_PER_MINUTE = 165
# Chinese is called by its ISO 639-3 code; a bare "en" would be British.
_NAMES = {"zh": "cmn", "en": "en-us", "pt": "pt-br", "no": "nb"}
_TOYS = ("robo", "demonic", "croak", "whisper", "tweaky", "anikarobot", "unirobot", "fast", "max")
_LOCK = threading.Lock()  # the library's state is one for the process


class EspeakVoices:
    """eSpeak NG. A voice is a variant such as ``f3`` or ``klatt2``; each speaks every language."""

    name = "espeak"
    licence = "eSpeak NG (a program under GPL-3.0-or-later, which does not bind the sound it makes)"
    blends = False
    pitches = True

    def __init__(self, library: Espeak) -> None:
        self._rate = library.rate
        names = sorted(path.name for path in Path(library.data, "voices", "!v").iterdir())
        self._variants = [n for n in names if not n.lower().startswith(_TOYS) and " " not in n]

    @classmethod
    def open(cls, folder: Path | None = None) -> "EspeakVoices":
        """Load the library; its voices lie beside it.

        Raises:
            MissingExtra: espeakng-loader is not installed, or its library does not load here.
        """
        del folder
        return cls(_library())

    def voices(self, language: str | None = None) -> Sequence[Voice]:
        """The variants that sound like people; the same ones for each language."""
        if language is not None and _voice(language) is None:
            return []
        said = primary_language(language) if language else "mul"
        return [Voice(name, said, f"eSpeak NG, variant {name}") for name in self._variants]

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """Speak at 22.05 kHz.

        Raises:
            RequestError: a text, voice, language, speed or pitch that it cannot speak, or more
                than two minutes of it.
        """
        check(delivery)
        if delivery.voice not in self._variants:
            raise unknown_voice(self.name, delivery.voice, self._variants)
        request = {
            "text": speakable(text),
            "voice": f"{_known(delivery.language)}+{delivery.voice}",
            "words_per_minute": round(_WORDS_PER_MINUTE * delivery.speed),
            "pitch": round(50 + 49 * float(np.log2(delivery.pitch))),  # 0 to 99
        }
        samples = np.frombuffer(spoken(self.name, request), "<i2").astype(np.float32)
        return Audio(samples[None] / np.float32(32768), self._rate)


def phonemes(text: str, language: str) -> str:
    """IPA of a text, clauses joined by commas; ``^`` ties letters of one phoneme.

    Raises:
        RequestError: a language without rules.
        MissingExtra: espeakng-loader is not installed, or its library does not load here.
    """
    name = _known(language)
    with _LOCK:
        _library().choose(name)
        return _library().phonemes(text)


def _known(language: str) -> str:
    name = _voice(language)
    if name is None:
        raise unknown_language("espeak", language, ["a language of eSpeak NG"])
    return name


def _voice(language: str) -> str | None:
    """What the library calls a language, None where it has no rules for it."""
    short = primary_language(language)
    region = language.lower().replace("_", "-")
    for name in (region, _NAMES.get(short, short)):
        # A bare code goes by the table; anything else than letters might name a file.
        if name not in _NAMES and name.replace("-", "").isalpha() and _chosen(name):
            return name
    return None


def _chosen(name: str) -> bool:
    with _LOCK:
        return _library().choose(name)


@cache
def _library() -> Espeak:
    """The one library of this process.

    Raises:
        MissingExtra: espeakng-loader is not installed, or its library does not load here.
    """
    try:
        return Espeak()
    except (ImportError, OSError, RuntimeError) as error:
        raise missing("espeak", "espeakng-loader", error) from error

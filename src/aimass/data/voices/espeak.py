"""eSpeak NG through the library that espeakng-loader ships: a hundred languages and voices.

Formant synthesis: clear, quick (200 times real time) and not very human. Its rules from spelling
to phonemes serve Kokoro too.
"""

import ctypes
import threading
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from aimass.audio.types import Audio
from aimass.base.contract import Samples
from aimass.base.errors import RequestError
from aimass.data.voices.contract import (
    Delivery,
    Voice,
    check,
    missing,
    speakable,
    unknown_language,
    unknown_voice,
)
from aimass.text.normalise import primary_language

_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_UTF8 = 1
_RATE, _PITCH = 1, 3  # parameters of espeak_SetParameter
_WORDS_PER_MINUTE = 165
_MOST_SECONDS = 120
_IPA, _TIED = 0x02, 0x80 | ord("^") << 8
# Chinese is called by its ISO 639-3 code; a bare "en" would be British.
_NAMES = {"zh": "cmn", "en": "en-us", "pt": "pt-br", "no": "nb"}
_TOYS = ("robo", "demonic", "croak", "whisper", "tweaky", "anikarobot", "unirobot", "fast", "max")
_LOCK = threading.Lock()  # the library's state is one for the process

_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class EspeakVoices:
    """eSpeak NG. A voice is a variant such as ``f3`` or ``klatt2``; each speaks every language."""

    name = "espeak"
    licence = "eSpeak NG (a program under GPL-3.0-or-later, which does not bind the sound it makes)"
    blends = False
    pitches = True

    def __init__(self, library: "Library") -> None:
        self._library = library

    @classmethod
    def open(cls, folder: Path | None = None) -> "EspeakVoices":
        """Load the library; its voices lie beside it.

        Raises:
            MissingExtra: espeakng-loader is not installed, or its library does not load here.
        """
        del folder
        return cls(library())

    def voices(self, language: str | None = None) -> Sequence[Voice]:
        """The variants that sound like people; the same ones for each language."""
        if language is not None and not self._library.speaks(language):
            return []
        spoken = primary_language(language) if language else "mul"
        names = self._library.variants
        return [Voice(name, spoken, f"eSpeak NG, variant {name}") for name in names]

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """Speak at 22.05 kHz.

        Raises:
            RequestError: a text, voice, language, speed or pitch that it cannot speak, or more
                than two minutes of it.
        """
        check(delivery)
        if delivery.voice not in self._library.variants:
            raise unknown_voice(self.name, delivery.voice, self._library.variants)
        samples = self._library.speak(speakable(text), delivery)
        return Audio(samples[None], self._library.rate)


class Library:
    """The native library, initialised once in a process.

    Args:
        path: the shared library.
        data: the folder with its languages and variants.
    """

    def __init__(self, path: Path, data: Path) -> None:
        self._native = ctypes.CDLL(str(path))
        self._native.espeak_TextToPhonemes.restype = ctypes.c_char_p
        rate = self._native.espeak_Initialize(_SYNCHRONOUS, 0, str(data).encode(), _DONT_EXIT)
        if rate <= 0:
            raise OSError(f"eSpeak NG does not start with {data}")
        self.rate: int = rate
        names = sorted(found.name for found in (data / "voices" / "!v").iterdir())
        self.variants = [n for n in names if not n.lower().startswith(_TOYS) and " " not in n]
        self._pieces: list[Any] = []
        self._left = 0
        self._callback = _Callback(self._take)  # kept: the library holds only its address
        self._native.espeak_SetSynthCallback(self._callback)

    def speaks(self, language: str) -> bool:
        """Whether a language is known."""
        with _LOCK:
            return self._choose(language) is not None

    def speak(self, text: str, delivery: Delivery) -> Samples:
        """Samples, shape ``(samples,)``, at ``rate``."""
        with _LOCK:
            chosen = self._choose(delivery.language, delivery.voice)
            if chosen is None:
                raise unknown_language("espeak", delivery.language, ["a language of eSpeak NG"])
            pace = round(_WORDS_PER_MINUTE * delivery.speed)
            self._native.espeak_SetParameter(_RATE, pace, 0)
            # 0 to 99 spans about two octaves around 50.
            self._native.espeak_SetParameter(_PITCH, round(50 + 49 * np.log2(delivery.pitch)), 0)
            self._pieces, self._left = [], _MOST_SECONDS * self.rate
            content = text.encode()
            self._native.espeak_Synth(content, len(content) + 1, 0, 0, 0, _UTF8, None, None)
            pieces, self._pieces = self._pieces, []
        if self._left < 0:
            raise RequestError(
                f"{text[:40]!r} takes more than {_MOST_SECONDS} s to say",
                expected="a shorter text",
                fix="Cut it at sentences",
                param="text",
            )
        spoken = np.concatenate([np.zeros(0, np.int16), *pieces])
        return spoken.astype(np.float32) / np.float32(32768)

    def phonemes(self, text: str, language: str) -> str:
        """IPA of a text, clauses joined by commas; ``^`` ties letters of one phoneme.

        Raises:
            RequestError: a language without rules.
        """
        with _LOCK:
            if self._choose(language) is None:
                raise unknown_language("espeak", language, ["a language of eSpeak NG"])
            content = ctypes.create_string_buffer(text.encode())
            rest = ctypes.c_void_p(ctypes.addressof(content))
            clauses = []
            while rest.value is not None:
                found = self._native.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA | _TIED)
                clauses.append((found or b"").decode("utf-8", "replace").strip())
        return ", ".join(clause for clause in clauses if clause)

    def _choose(self, language: str, variant: str = "") -> str | None:
        """Set the voice; the name that was understood, None for an unknown language."""
        short = primary_language(language)
        for name in (language.lower(), _NAMES.get(short, short)):
            if name.replace("-", "").isalnum() and name not in _NAMES:
                full = f"{name}+{variant}" if variant else name
                if self._native.espeak_SetVoiceByName(full.encode()) == 0:
                    return full
        return None

    def _take(self, wave: int | None, count: int, _events: int | None) -> int:
        """Called by the library with some samples; a 1 stops it."""
        if wave and count > 0:
            self._left -= count
            if self._left < 0:
                return 1
            shorts = ctypes.cast(wave, ctypes.POINTER(ctypes.c_int16))
            self._pieces.append(np.ctypeslib.as_array(shorts, (count,)).copy())
        return 0


@cache
def library() -> Library:
    """The one library of this process.

    Raises:
        MissingExtra: espeakng-loader is not installed, or its library does not load here.
    """
    try:
        import espeakng_loader

        return Library(
            Path(espeakng_loader.get_library_path()), Path(espeakng_loader.get_data_path())
        )
    except (ImportError, OSError, RuntimeError) as error:
        raise missing("espeak", "espeakng-loader", error) from error

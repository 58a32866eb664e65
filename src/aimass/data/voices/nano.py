"""SVOX Pico through py-nanotts: six small voices, five languages, fifty times real time."""

from collections.abc import Sequence
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
from aimass.data.voices.native import spoken
from aimass.text.normalise import primary_language

_RATE = 16000
_VOICES = ("de-DE", "en-GB", "en-US", "es-ES", "fr-FR", "it-IT")


class NanoVoices:
    """SVOX Pico. A voice speaks its own language alone."""

    name = "nanotts"
    licence = "SVOX Pico voices as py-nanotts ships them, Apache-2.0"
    blends = False
    pitches = True

    @classmethod
    def open(cls, folder: Path | None = None) -> "NanoVoices":
        """Load the library; its voices lie inside it.

        Raises:
            MissingExtra: py-nanotts is not installed.
        """
        del folder
        try:
            import py_nanotts  # noqa: F401 - each utterance's own process uses it
        except ImportError as error:
            raise missing(cls.name, "py-nanotts", error) from error
        return cls()

    def voices(self, language: str | None = None) -> Sequence[Voice]:
        """The voices of a language, of all when None."""
        wanted = primary_language(language) if language else None
        return [
            Voice(name, name, f"SVOX Pico, {name}")
            for name in _VOICES
            if wanted in (None, primary_language(name))
        ]

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """Speak at 16 kHz.

        Raises:
            RequestError: a text, voice, language, speed or pitch that it cannot speak.
        """
        check(delivery)
        if delivery.voice not in _VOICES:
            raise unknown_voice(self.name, delivery.voice, _VOICES)
        if primary_language(delivery.language) != primary_language(delivery.voice):
            raise unknown_language(f"the voice {delivery.voice}", delivery.language, _VOICES)
        request = {"speed": delivery.speed, "pitch": delivery.pitch, "voice": delivery.voice}
        content = spoken(self.name, {"text": speakable(text), **request})
        samples = np.frombuffer(content, "<i2").astype(np.float32) / np.float32(32768)
        return Audio(samples[None], _RATE)

"""What a voice engine is, and how one is found.

An engine is a plug-in: an entry point in the group ``aimass.voices`` that names a class with an
``open`` of its own. What comes with AI Mass is in the files beside this one.
"""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path
from typing import Protocol, Self, runtime_checkable

from aimass.audio.types import Audio
from aimass.base.errors import MissingExtra, RequestError

VOICES = "aimass.voices"
MOST_CHARACTERS = 500  # of one utterance: bounds the time and memory of native code
SPEEDS = (0.5, 2.0)
PITCHES = (0.5, 2.0)
# Engines read these as commands (Pico's <play file=...>, eSpeak's [[phonemes]]) or not at all.
_MARKUP = str.maketrans(dict.fromkeys("<>[]{}|\\", " "))


@dataclass(frozen=True, slots=True)
class Voice:
    """One way to sound.

    Args:
        id: as `Delivery.voice` takes it.
        language: of the person or the data behind it, ISO 639-1 or with a region (``en-GB``).
        description: for people.
    """

    id: str
    language: str
    description: str


@dataclass(frozen=True, slots=True)
class Delivery:
    """How a text is to be spoken.

    Args:
        voice: an id of the engine's.
        language: of the text; a voice may speak it with an accent.
        speed: 1 is the voice's own.
        pitch: 1 is the voice's own; engines without such a control ignore it.
    """

    voice: str
    language: str
    speed: float = 1.0
    pitch: float = 1.0


@runtime_checkable
class VoiceEngine(Protocol):
    """Something that speaks. One thread at a time.

    ``blends`` marks engines that speak with the mean of several voices, ids joined by ``+``;
    ``pitches`` those that honour a delivery's pitch. ``licence`` says what binds the sound.
    """

    name: str
    licence: str
    blends: bool
    pitches: bool

    @classmethod
    def open(cls, folder: Path | None) -> Self:
        """Load the engine; `folder` holds its weights, None for one that has them installed."""

    def voices(self, language: str | None = None) -> Sequence[Voice]:
        """The voices that were made for a language, for all languages when None."""

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """One channel at the engine's own rate.

        Raises:
            RequestError: a text, voice, language, speed or pitch that it cannot speak.
        """


def engines() -> list[str]:
    """The names of the engines that are registered."""
    return sorted({entry.name for entry in entry_points(group=VOICES)})


def open_engine(name: str, folder: Path | None = None) -> VoiceEngine:
    """Load an engine by name.

    Raises:
        RequestError: no engine of that name.
        MissingExtra: its library is not installed.
        BundleError: `folder` does not hold its weights.
    """
    for entry in entry_points(group=VOICES):
        if entry.name == name:
            kind: type[VoiceEngine] = entry.load()
            return kind.open(folder)
    raise RequestError(
        f"there is no voice engine '{name[:80]}'",
        expected=f"one of {', '.join(engines())}",
        fix="Choose one of them, or install the package that brings it",
        param="engine",
    )


def speakable(text: str) -> str:
    """A text as every engine may be given it: folded, without markup, at most 500 characters.

    Raises:
        RequestError: nothing to speak, too much of it, or control characters.
    """
    folded = unicodedata.normalize("NFKC", text)
    if any(unicodedata.category(char) in ("Cc", "Cs", "Co") for char in folded):
        raise _bad(f"control characters in {text[:40]!r}", "one line of text", "text")
    folded = " ".join(folded.translate(_MARKUP).split())
    if not any(char.isalnum() for char in folded):
        raise _bad(f"nothing to speak in {text[:40]!r}", "at least one letter or digit", "text")
    if len(folded) > MOST_CHARACTERS:
        what = f"a text of {len(folded)} characters"
        raise _bad(what, f"at most {MOST_CHARACTERS}; cut it at sentences", "text")
    return folded


def check(delivery: Delivery) -> None:
    """Refuse a speed or pitch that no voice has.

    Raises:
        RequestError: outside ``SPEEDS`` or ``PITCHES``, or no number.
    """
    for name, value, (low, high) in (
        ("speed", delivery.speed, SPEEDS),
        ("pitch", delivery.pitch, PITCHES),
    ):
        if not low <= value <= high:
            raise _bad(f"{name} {value}", f"{low} to {high}", name)


def unknown_voice(engine: str, voice: str, known: Sequence[str]) -> RequestError:
    """What to say of a voice that an engine does not have."""
    some = ", ".join(known[:8]) + (" and more" if len(known) > 8 else "")
    return RequestError(
        f"{engine} has no voice '{voice[:80]}'",
        expected=f"one of its {len(known)} voices: {some}",
        fix=f"See: aimass data voices --engine {engine}",
        param="voice",
    )


def unknown_language(engine: str, language: str, known: Sequence[str]) -> RequestError:
    """What to say of a language that an engine does not speak."""
    return RequestError(
        f"{engine} does not speak language '{language[:20]}'",
        expected=f"one of {', '.join(known)}",
        fix="Choose another engine or language",
        param="language",
    )


def missing(engine: str, package: str, error: Exception) -> MissingExtra:
    """What to say of an engine whose library is not installed."""
    return MissingExtra(
        f"the voice engine {engine} needs {package}, which is not installed ({error})",
        expected="the voices extra",
        fix="Type: pip install 'aimass[voices]'",
    )


def _bad(found: str, expected: str, param: str) -> RequestError:
    return RequestError(found, expected=expected, fix="Correct it", param=param)

"""Kokoro-82M: human voices in eight languages, and new ones as means of them.

Hexgrad (2025), "Kokoro-82M", a StyleTTS 2 (Li et al. 2023) without diffusion, as an ONNX graph
of phonemes, a style and a speed. A voice is a table of styles, one row for each number of
phonemes; the mean of two tables is a voice as well.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnxruntime

from aimass.audio.types import Audio
from aimass.base.errors import BundleError, RequestError
from aimass.data.voices import espeak, pinyin
from aimass.data.voices.contract import (
    Delivery,
    Voice,
    check,
    speakable,
    unknown_language,
    unknown_voice,
)
from aimass.text.normalise import primary_language

_RATE = 24000
_MOST_PHONEMES = 510
_MOST_BLENDED = 8
_STYLE = 256
# The phonemes by their number; _ stands for none. From the model's own config.json.
_SYMBOLS = (
    '_;:,.!?__—…"()“” \u0303ʣʥʦʨᵝꭧAI_____O_Q_ST__W_Yᵊabcdef_hijklmnopqrstuvwxyzɑɐɒæ__βɔɕç_ɖðʤə_ɚɛɜ'
    "__ɟ_ɡ______ɥ_ɨɪʝ______ɯɰŋɳɲɴø_ɸθœ__ɹ_ɾɻ_ʁɽʂʃʈʧ_ʊʋ_ʌɣɤ_χʎ___ʒʔ_______ˈˌː___ʰ_ʲ____↓_→↗↘___ᵻ"
)
_NUMBERS = {symbol: number for number, symbol in enumerate(_SYMBOLS) if symbol != "_"}
_LANGUAGES = {"a": "en-US", "b": "en-GB", "e": "es", "f": "fr", "h": "hi", "i": "it"}
_LANGUAGES |= {"j": "ja", "p": "pt-BR", "z": "zh"}
_SPOKEN = ("en", "es", "fr", "hi", "it", "pt", "zh")  # ja would need a dictionary of its own
# eSpeak's phonemes in the model's alphabet, longest first; later lines are of English alone.
_TIED = {"a^ɪ": "I", "a^ʊ": "W", "e^ɪ": "A", "ɔ^ɪ": "Y", "o^ʊ": "O", "ə^ʊ": "Q"}
_TIED |= {"d^ʒ": "ʤ", "t^ʃ": "ʧ", "d^z": "ʣ", "t^s": "ʦ", "^": "", "-": ""}
_ENGLISH = {"ə^l": "ᵊl", "ɚ": "əɹ", "r": "ɹ", "x": "k", "ç": "k", "ɐ": "ə", "ɬ": "l"}
_AMERICAN = {"ɜːɹ": "ɜɹ", "ɜː": "ɜɹ", "ː": "", "ɾ": "T"}

Styles = npt.NDArray[np.float32]
"""Style vectors by number of phonemes, shape ``(510, 256)``."""


class KokoroVoices:
    """Kokoro with a folder of voices.

    Args:
        session: the graph.
        tables: styles by voice.
    """

    name = "kokoro"
    licence = "Kokoro-82M with its voices, Apache-2.0"
    blends = True
    pitches = False

    def __init__(self, session: onnxruntime.InferenceSession, tables: dict[str, Styles]) -> None:
        self._session = session
        self._tables = tables

    @classmethod
    def open(cls, folder: Path | None) -> "KokoroVoices":
        """Load ``model.onnx`` and ``voices/*.bin`` from a folder.

        Raises:
            RequestError: no folder.
            BundleError: it does not hold the model.
        """
        if folder is None:
            raise RequestError(
                "the voice engine kokoro was given no weights",
                expected="the folder of its model",
                fix="Type: aimass models pull kokoro",
                param="engine",
            )
        tables = {path.stem: _table(path) for path in sorted((folder / "voices").glob("*.bin"))}
        try:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = options.inter_op_num_threads = 1
            graph = str(folder / "model.onnx")
            session = onnxruntime.InferenceSession(graph, options, ["CPUExecutionProvider"])
        except Exception as error:  # ONNX Runtime raises many kinds; all mean the same here
            raise _damaged(folder, str(error)) from error
        if not tables or [given.name for given in session.get_inputs()] != [
            "tokens",
            "style",
            "speed",
        ]:
            raise _damaged(folder, f"{len(tables)} voices and another graph than ours")
        return cls(session, tables)

    def voices(self, language: str | None = None) -> Sequence[Voice]:
        """The voices made for a language, of all when None."""
        wanted = primary_language(language) if language else None
        return [
            Voice(name, _LANGUAGES[name[0]], f"Kokoro, {'male' if name[1] == 'm' else 'female'}")
            for name in self._tables
            if wanted in (None, primary_language(_LANGUAGES[name[0]]))
        ]

    def speak(self, text: str, delivery: Delivery) -> Audio:
        """Speak at 24 kHz. A voice such as ``zf_xiaobei+zm_yunxi`` is the mean of its parts.

        Raises:
            RequestError: a text, voice, language or speed that it cannot speak.
            MissingExtra: what turns this language into phonemes is not installed.
        """
        check(delivery)
        styles = self._styles(delivery.voice)
        said = phonemes(speakable(text), delivery.language)
        # A recogniser understands single words a little better when they end like sentences.
        said += "" if said.endswith((".", "!", "?")) else "."
        numbers = [_NUMBERS[symbol] for symbol in said if symbol in _NUMBERS]
        if not 1 < len(numbers) <= _MOST_PHONEMES:
            raise RequestError(
                f"{text[:40]!r} has {len(numbers)} phonemes in '{delivery.language}'",
                expected=f"1 to {_MOST_PHONEMES}",
                fix="Check the language, or cut the text at sentences",
                param="text",
            )
        feed = {
            "tokens": np.array([[0, *numbers, 0]], np.int64),
            "style": styles[None, len(numbers) - 1],
            "speed": np.array([delivery.speed], np.float32),
        }
        samples = np.asarray(self._session.run(None, feed)[0], np.float32).reshape(1, -1)
        return Audio(samples, _RATE)

    def _styles(self, voice: str) -> Styles:
        parts = voice.split("+")
        if len(parts) > _MOST_BLENDED or not all(part in self._tables for part in parts):
            raise unknown_voice(self.name, voice, list(self._tables))
        mean: Styles = np.mean([self._tables[part] for part in parts], axis=0, dtype=np.float32)
        return mean


def phonemes(text: str, language: str) -> str:
    """A text in the model's alphabet.

    Raises:
        RequestError: a language that the model does not speak.
        MissingExtra: what turns this language into phonemes is not installed.
    """
    short = primary_language(language)
    if short not in _SPOKEN:
        raise unknown_language("kokoro", language, _SPOKEN)
    if short == "zh":
        return pinyin.phonemes(text)
    said = espeak.phonemes(text, language)
    british = language.lower().replace("_", "-") == "en-gb"
    changes = _TIED
    if short == "en":
        changes = (_ENGLISH if british else _ENGLISH | _AMERICAN) | _TIED
    for old in sorted(changes, key=len, reverse=True):
        said = said.replace(old, changes[old])
    return said


def _table(path: Path) -> Styles:
    content = np.fromfile(path, "<f4").astype(np.float32)
    if content.size != _MOST_PHONEMES * _STYLE or not np.isfinite(content).all():
        raise _damaged(path, f"{content.size} numbers")
    return content.reshape(_MOST_PHONEMES, _STYLE)


def _damaged(path: Path, why: str) -> BundleError:
    return BundleError(
        f"{path} does not hold the Kokoro model: {why}",
        expected=f"model.onnx, and voices/*.bin of {_MOST_PHONEMES} x {_STYLE} float32 each",
        fix="Type: aimass models pull kokoro",
    )

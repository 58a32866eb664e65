"""Native synthesisers, one process for each utterance.

Their libraries carry noise and phase from one utterance into the next, so only the first of a
process is the same each time. A process of its own also ends what hangs, and survives nothing of
a fault in foreign code. Started as ``python -P -m aimass.data.voices.native``, this file needs
little but the standard library, which keeps an utterance at some 50 ms.
"""

import ctypes
import json
import subprocess
import sys
from typing import Any

from aimass.base.errors import RequestError

MOST_SECONDS = 120  # of one utterance
_TIME = 60.0  # seconds that a process may take
_TOO_LONG, _UNKNOWN = 3, 4  # exit codes
_SYNCHRONOUS, _DONT_EXIT = 2, 0x8000
_UTF8 = 1
_SEED = 1
_RATE, _PITCH = 1, 3  # parameters of espeak_SetParameter
_IPA, _TIED = 0x02, 0x80 | ord("^") << 8
_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_int, ctypes.c_void_p)


class Espeak:
    """The library of eSpeak NG as espeakng-loader ships it; its state is one for the process.

    Raises:
        ImportError, OSError, RuntimeError: it is not installed, or does not load here.
    """

    def __init__(self) -> None:
        import espeakng_loader

        self._native = ctypes.CDLL(espeakng_loader.get_library_path())
        self._native.espeak_TextToPhonemes.restype = ctypes.c_char_p
        self.data: str = espeakng_loader.get_data_path()
        self.rate: int = self._native.espeak_Initialize(
            _SYNCHRONOUS, 0, self.data.encode(), _DONT_EXIT
        )
        if self.rate <= 0:
            raise OSError(f"eSpeak NG does not start with {self.data}")
        self._native.espeak_ng_SetRandSeed(_SEED)  # of breath and flutter; else the time of day

    def choose(self, name: str) -> bool:
        """Take a voice such as ``en-us+f3``; whether there is one."""
        return bool(self._native.espeak_SetVoiceByName(name.encode()) == 0)

    def phonemes(self, text: str) -> str:
        """IPA of a text, clauses joined by commas; ``^`` ties letters of one phoneme."""
        content = ctypes.create_string_buffer(text.encode())
        rest = ctypes.c_void_p(ctypes.addressof(content))
        clauses = []
        while rest.value is not None:
            found = self._native.espeak_TextToPhonemes(ctypes.byref(rest), _UTF8, _IPA | _TIED)
            clauses.append((found or b"").decode("utf-8", "replace").strip())
        return ", ".join(clause for clause in clauses if clause)

    def speak(self, text: str, words_per_minute: int, pitch: int) -> bytes | None:
        """16-bit samples at ``rate``, None where they are too many.

        Args:
            pitch: 0 to 99.
        """
        pieces: list[bytes] = []
        left = MOST_SECONDS * self.rate

        def take(wave: int | None, count: int, _events: int | None) -> int:
            nonlocal left
            if wave and count > 0:
                left -= count
                pieces.append(ctypes.string_at(wave, 2 * count))
            return int(left < 0)  # 1 stops it

        callback = _Callback(take)  # kept by this name: the library holds only its address
        self._native.espeak_SetSynthCallback(callback)
        self._native.espeak_SetParameter(_RATE, words_per_minute, 0)
        self._native.espeak_SetParameter(_PITCH, pitch, 0)
        content = text.encode()
        self._native.espeak_Synth(content, len(content) + 1, 0, 0, 0, _UTF8, None, None)
        return b"".join(pieces) if left >= 0 else None


def spoken(engine: str, request: dict[str, Any]) -> bytes:
    """16-bit mono samples of one utterance, from a process of its own.

    Raises:
        RequestError: the voice is not there, or the text cannot be spoken.
    """
    text = str(request["text"])
    command = [sys.executable, "-P", "-m", __name__]  # -P: modules beside the caller do not count
    asked = json.dumps({"engine": engine, **request}).encode()
    try:
        done = subprocess.run(  # noqa: S603 - our interpreter, no shell, the text goes by a pipe
            command, input=asked, capture_output=True, timeout=_TIME, check=False
        )
    except subprocess.TimeoutExpired:
        raise _failed(engine, text, f"takes more than {_TIME:.0f} s") from None
    if done.returncode == _TOO_LONG:
        raise _failed(engine, text, f"would last more than {MOST_SECONDS} s")
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        raise _failed(engine, text, said[-1] if said else f"ended with {done.returncode}")
    return done.stdout


def _failed(engine: str, text: str, why: str) -> RequestError:
    return RequestError(
        f"{engine} cannot speak {text[:40]!r}: {why}",
        expected="a text that it can speak",
        fix="Shorten or correct the text, or choose another voice",
        param="text",
    )


def _main() -> int:
    request = json.load(sys.stdin)
    if request["engine"] == "espeak":
        library = Espeak()
        if not library.choose(request["voice"]):
            return _UNKNOWN
        found = library.speak(request["text"], request["words_per_minute"], request["pitch"])
    else:
        from py_nanotts import NanoTTS

        given = {name: request[name] for name in ("voice", "speed", "pitch")}
        found = NanoTTS().speak(request["text"], **given)
    if found is None:
        return _TOO_LONG
    sys.stdout.buffer.write(found)
    return 0


if __name__ == "__main__":
    sys.exit(_main())

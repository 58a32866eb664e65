"""What a model hears, as plain values that are saved in its bundle.

========== ========================================================= =================
kind       a frame                                                   columns
========== ========================================================= =================
fbank      energies in mel bands                                     bins
mfcc       their cepstrum                                            bins
gammatone  energies behind a fixed time-domain filter bank           bins
waveform   the samples themselves, for filters learned by the model  samples of a shift
whisper    energies in Whisper's own mel bands                       bins
nemo       energies in NeMo's mel bands, as sherpa-onnx hears them   bins
========== ========================================================= =================
"""

import reprlib
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.base.digests import of_value
from aimass.base.errors import FeatureError
from aimass.features import mel

Frames = npt.NDArray[np.float32]
"""Feature frames, shape ``(frames, columns)``."""

KINDS = ("fbank", "mfcc", "gammatone", "waveform", "whisper", "nemo")
COMPRESSIONS = ("log", "pcen")
MIN_RATE, MAX_RATE = 8_000, 48_000
MAX_BINS = 512
MAX_LENGTH_MS = 1000.0
WHISPER_BINS = (80, 128)  # the second since large-v3
LEAST_BANDS = 3  # that kaldi-native-fbank computes


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """The front end of a model.

    Args:
        sample_rate: hertz; audio of another rate is resampled to it.
        bins: mel bands, cepstral coefficients or gammatone filters; frames of ``waveform`` do not
            depend on it.
        frame_length_ms: analysis window; frames of ``waveform`` do not depend on it.
        frame_shift_ms: step between frames, rounded down to whole samples.
        kind: one of `KINDS`.
        compression: of band energies: ``log``, or ``pcen``, which adapts to the level of each band
            and is for ``fbank`` and ``gammatone`` alone.

    Raises:
        FeatureError: values that no front end can have, or that do not fit each other.
    """

    sample_rate: int = 16000
    bins: int = 80
    frame_length_ms: float = 25.0
    frame_shift_ms: float = 10.0
    kind: str = "fbank"
    compression: str = "log"

    def __post_init__(self) -> None:
        _choice("kind", self.kind, KINDS)
        _choice("compression", self.compression, COMPRESSIONS)
        _whole("sample_rate", self.sample_rate, MIN_RATE, MAX_RATE)
        _whole("bins", self.bins, LEAST_BANDS if self.kind in ("fbank", "nemo") else 1, MAX_BINS)
        _between("frame_length_ms", self.frame_length_ms, 1, MAX_LENGTH_MS)
        _between("frame_shift_ms", self.frame_shift_ms, 1, self.frame_length_ms)
        if self.compression == "pcen" and self.kind not in ("fbank", "gammatone"):
            raise FeatureError(
                f"found the compression pcen for features of kind {self.kind}",
                expected="pcen for fbank or gammatone, whose columns are energies",
                fix="Set compression: log, or another kind",
                param="compression",
            )
        self._check_bands()
        self._check_whisper()

    @property
    def shift(self) -> int:
        """Samples between two frames; a fraction is dropped, as in Kaldi."""
        return int(self.sample_rate * 0.001 * self.frame_shift_ms)

    @property
    def length(self) -> int:
        """Samples in a window."""
        return int(self.sample_rate * 0.001 * self.frame_length_ms)

    @property
    def frame_shift(self) -> float:
        """Seconds between two frames."""
        return self.shift / self.sample_rate

    @property
    def bands(self) -> int:
        """Mel bands behind the columns: a cepstrum is taken of at least Kaldi's 23."""
        return max(23, self.bins) if self.kind == "mfcc" else self.bins

    @property
    def columns(self) -> int:
        """Width of a frame."""
        return self.shift if self.kind == "waveform" else self.bins

    @property
    def digest(self) -> str:
        """Hex SHA-256 of the plain values: it names features in a cache."""
        times = {"frame_length_ms": float(self.frame_length_ms)}
        times["frame_shift_ms"] = float(self.frame_shift_ms)
        return of_value(self.to_dict() | times)  # 10 and 10.0 are one number, and two texts

    def frames(self, samples: int) -> int:
        """How many frames a recording of so many samples has, whatever the kind."""
        return (samples + self.shift // 2) // self.shift

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a bundle."""
        return asdict(self)

    def _check_bands(self) -> None:
        if self.kind not in ("fbank", "mfcc", "nemo"):
            return
        bank = mel.slaney if self.kind == "nemo" else mel.bank
        empty = mel.empty_bands(bank(self.sample_rate, mel.fft_size(self.length), self.bands))
        if empty:
            raise FeatureError(
                f"found {empty} of {self.bands} mel bands so narrow that they hear nothing, at "
                f"{self.sample_rate} Hz and windows of {self.frame_length_ms:g} ms",
                expected="bands that each hold a line of the spectrum",
                fix="Take fewer bins or a longer frame_length_ms",
                param="bins",
            )

    def _check_whisper(self) -> None:
        found = (self.sample_rate, self.frame_length_ms, self.frame_shift_ms)
        if self.kind != "whisper" or (found == (16000, 25, 10) and self.bins in WHISPER_BINS):
            return
        raise FeatureError(
            f"found features of kind whisper with {self.bins} bins at {self.sample_rate} Hz, "
            f"windows of {self.frame_length_ms:g} ms every {self.frame_shift_ms:g} ms",
            expected="80 or 128 bins at 16000 Hz, windows of 25 ms every 10 ms, as in Whisper",
            fix="Leave all but the kind out",
            param="kind",
        )


def _choice(name: str, found: str, known: tuple[str, ...]) -> None:
    if found not in known:
        raise FeatureError(
            f"found {name} '{str(found)[:40]}'",
            expected=f"one of {', '.join(known)}",
            fix=f"Correct '{name}'",
            param=name,
        )


def _whole(name: str, found: int, low: int, high: int) -> None:
    if isinstance(found, float):
        raise FeatureError(
            f"found {name} {found}",
            expected="a whole number",
            fix=f"Correct '{name}'",
            param=name,
        )
    _between(name, found, low, high)


def _between(name: str, found: float, low: float, high: float) -> None:
    number = isinstance(found, int | float) and not isinstance(found, bool)
    if not (number and low <= found <= high):  # a NaN is on neither side
        raise FeatureError(
            f"found {name} {reprlib.repr(found)}",
            expected=f"a number from {low:g} to {high:g}",
            fix=f"Correct '{name}'",
            param=name,
        )

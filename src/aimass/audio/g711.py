"""G.711, the telephone's 8-bit code: mu-law (America, Japan) and A-law (elsewhere).

ITU-T Recommendation G.711 (1988). Every value of 16 bits is looked up in a table, and the tables
are made on first use; bytes are those of libsndfile and of a WAV file, bit for bit.
"""

from functools import cache
from typing import Literal, get_args

import numpy as np
import numpy.typing as npt

from aimass.base.contract import Samples
from aimass.base.errors import RequestError

Law = Literal["mulaw", "alaw"]
Bytes = npt.NDArray[np.uint8]

LAWS: tuple[Law, ...] = get_args(Law)
RATE = 8_000
"""Samples per second of every G.711 line."""

_BIAS = 33  # of mu-law, at 14 bits: makes its segments powers of two


def encode(samples: Samples, law: Law) -> Bytes:
    """One byte for each sample; what lies beyond full scale is clipped.

    Raises:
        RequestError: a law that is neither.
    """
    pcm = np.rint(samples * np.float32(32768)).clip(-32768, 32767).astype(np.int16)
    coded: Bytes = _encoding(law)[pcm.view(np.uint16)]
    return coded


def decode(data: bytes | Bytes, law: Law) -> Samples:
    """Samples in [-1, 1], shape ``(bytes,)``.

    Raises:
        RequestError: a law that is neither.
    """
    codes = np.frombuffer(data, np.uint8) if isinstance(data, bytes) else data
    return (_decoding(law) / np.float32(32768)).astype(np.float32)[codes]


@cache
def _decoding(law: Law) -> npt.NDArray[np.int16]:
    """The 16-bit value of every byte, shape ``(256,)``."""
    codes = np.arange(256) ^ (0xFF if _checked(law) == "mulaw" else 0x55)
    exponent, step = codes >> 4 & 7, codes & 15
    if law == "mulaw":
        size = ((2 * step + _BIAS) << exponent) - _BIAS << 2
        negative = codes & 0x80 != 0  # after the complement: a set bit on the line is positive
    else:
        first = exponent == 0  # its steps are as wide as those of the second segment
        size = np.where(first, 2 * step + 1, (2 * step + 33) << np.maximum(exponent, 1) - 1) << 3
        negative = codes & 0x80 == 0
    return np.where(negative, -size, size).astype(np.int16)


@cache
def _encoding(law: Law) -> Bytes:
    """The byte of every 16-bit value, in the order of its unsigned reading, shape ``(65536,)``."""
    pcm = np.arange(65536).astype(np.uint16).view(np.int16).astype(np.int64)
    if _checked(law) == "mulaw":
        size = np.minimum(np.abs(pcm) // 4 + _BIAS, 8191)  # 14 bits, and the highest code
        exponent = np.log2(size).astype(np.int64) - 5
        codes = exponent << 4 | size >> exponent + 1 & 15
        return np.asarray((codes | (pcm < 0) << 7) ^ 0xFF, np.uint8)
    size = np.minimum(np.abs(pcm) // 16, 2047)
    exponent = np.log2(np.maximum(size, 8)).astype(np.int64) - 3
    codes = exponent << 4 | size >> np.maximum(exponent, 1) - 1 & 15
    return np.asarray((codes | (pcm >= 0) << 7) ^ 0x55, np.uint8)


def _checked(law: str) -> str:
    if law not in LAWS:
        raise RequestError(
            f"the G.711 law '{law}'",
            expected=f"one of {', '.join(LAWS)}",
            fix="Correct the name",
            param="law",
        )
    return law

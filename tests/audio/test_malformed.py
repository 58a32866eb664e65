"""Whatever the bytes are, loading them gives audio or an `AudioError`, and soon."""

import hashlib
import random
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimass.audio.decode import load, probe
from aimass.base.errors import (
    AudioError,
    AudioTooLarge,
    CorruptAudio,
    EmptyAudio,
    InvalidSamples,
    NotAudio,
    SilentAudio,
    TruncatedAudio,
    UnsupportedChannels,
    UnsupportedRate,
)
from audio.sounds import one_of_each
from malformed import malformed_inputs

_MALFORMED = list(malformed_inputs())
_DECODING = (CorruptAudio, TruncatedAudio, EmptyAudio)
_EXPECTED: dict[str, tuple[type[AudioError], ...]] = {
    "type": (NotAudio,),
    "text": (NotAudio,),
    "zeros": (NotAudio,),
    "one": (NotAudio,),
    "empty": (EmptyAudio,),
    "float": (InvalidSamples,),
    "silent": (SilentAudio,),
    "wav-rate": (UnsupportedRate,),
    "wav-channels": (UnsupportedChannels,),
    "wav-no-samples": (EmptyAudio,),
    "no-samples": (EmptyAudio,),
    "no-sound": (EmptyAudio,),
    "no-magic": (NotAudio,),
    "bomb-flac": (AudioTooLarge,),
    "bomb-opus": (AudioTooLarge,),
    "bomb-wav": (TruncatedAudio,),
    "cut": (TruncatedAudio, CorruptAudio),
}
"""What each family of names must raise; the longest beginning that fits counts."""


def _expected(name: str) -> tuple[type[AudioError], ...]:
    fitting = [family for family in _EXPECTED if name.startswith(family)]
    return _EXPECTED[max(fitting, key=len)] if fitting else _DECODING


def _child(code: str) -> subprocess.CompletedProcess[str]:
    folder = Path(__file__).parents[1]
    command = [sys.executable, "-c", code]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True)


def test_malformed_inputs_are_as_many_as_asked_for_and_the_same_each_time() -> None:
    assert len(_MALFORMED) == 200
    assert len(dict(_MALFORMED)) == 200
    assert list(malformed_inputs(20, seed=3)) != _MALFORMED[:20]
    code = (
        "import hashlib; from malformed import malformed_inputs as made;"
        "print(*[hashlib.sha256(data).hexdigest() for _, data in made()])"
    )
    made = _child(code)
    here = [hashlib.sha256(data).hexdigest() for _, data in _MALFORMED]
    assert made.stdout.split() == here, "another process makes the same files"


@pytest.mark.parametrize(("name", "data"), _MALFORMED, ids=[name for name, _ in _MALFORMED])
def test_malformed_input_is_refused_with_found_expected_and_fix(name: str, data: bytes) -> None:
    begun = time.monotonic()
    with pytest.raises(_expected(name)) as caught:
        load(data, rate=16_000)
    assert time.monotonic() - begun < 5
    assert caught.value.found and caught.value.expected and caught.value.fix


def test_malformed_input_prints_nothing() -> None:
    result = _child(
        "from contextlib import suppress; from malformed import malformed_inputs as made\n"
        "from aimass.audio.decode import load; from aimass.base.errors import AudioError\n"
        "for name, data in made():\n"
        "    with suppress(AudioError): load(data)\n"
    )
    # mpg123 within libsndfile cannot be silenced on damaged MP3: its notes are all there may be.
    mpg123 = ("Note:", "Warning: Xing", "[src/libmpg123")
    said = [line for line in result.stderr.splitlines() if line.strip()]
    assert [line for line in said if not line.startswith(mpg123)] == []
    assert result.stdout == ""


@settings(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    name=st.sampled_from(sorted(one_of_each())),
    seed=st.integers(0, 2**32 - 1),
    edits=st.integers(1, 12),
    near_start=st.booleans(),
)
def test_mutated_file_decodes_or_raises_audio_error(
    name: str, seed: int, edits: int, near_start: bool
) -> None:
    rng, data = random.Random(seed), bytearray(one_of_each()[name])
    for _ in range(edits):
        at = rng.randrange(min(256, len(data)) if near_start else len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                data[at : at + 4] = rng.choice(
                    [b"\0\0\0\0", b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff"]
                )
            case 2:
                del data[at : at + rng.randrange(1, 40)]
            case _:
                data[at:at] = rng.randbytes(rng.randrange(1, 40))
    begun = time.monotonic()
    for read in (load, probe):
        with suppress(AudioError):
            read(bytes(data))
    assert time.monotonic() - begun < 10


@settings(max_examples=100, deadline=None)
@given(
    st.binary(max_size=400), st.sampled_from(["", "wav", "flac", "vorbis", "mp3", "m4a", "webm"])
)
def test_any_bytes_after_a_true_beginning_decode_or_raise_audio_error(
    tail: bytes, name: str
) -> None:
    head = one_of_each()[name][:40] if name else b""
    with suppress(AudioError):
        load(head + tail)

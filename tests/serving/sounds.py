"""Real recordings, and long ones made of them."""

import csv
import io
from functools import cache
from pathlib import Path

import numpy as np
import soundfile

SAMPLES = Path(__file__).parents[2] / "samples"
JFK = SAMPLES / "jfk.wav"
RATE = 8000


@cache
def digits(split: str = "test") -> list[tuple[Path, str]]:
    """Recordings of one digit each, and what they say."""
    with (SAMPLES / "digits/metadata.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    return [(SAMPLES / "digits" / r["file"], r["text"]) for r in rows if r["split"] == split]


@cache
def digit(word: str) -> bytes:
    """A recording of one digit."""
    return next(path.read_bytes() for path, text in digits() if text == word)


@cache
def long_wav(seconds: int) -> bytes:
    """Digits with pauses between them, over and over."""
    pause = (np.random.default_rng(0).normal(size=RATE // 2) * 1e-4).astype(np.float32)
    pieces = []
    for path, _ in digits()[:20]:
        pieces += [soundfile.read(path, dtype="float32")[0], pause]
    out = io.BytesIO()
    soundfile.write(out, np.resize(np.concatenate(pieces), seconds * RATE), RATE, format="WAV")
    return out.getvalue()

"""A data folder in which one fault of every kind is planted, and which clips have which."""

import shutil
from pathlib import Path

import numpy as np
import soundfile

from aimass.data.checks import Code

from .folders import DIGITS, SAMPLES, rows_of, write_table

COLUMNS = ["file", "speaker", "text", "split", "lang"]
WORDS = ("one", "two", "three", "four", "five")
SPLITS = {"nicolas": "dev", "yweweler": "test"}
RATE = 8000
ASKED = "and so my fellow americans ask not what your country can do for you "

Rows = list[list[str]]


def clean(folder: Path) -> Rows:
    """Real digits in splits that share no speaker; the rows of their table."""
    rows: Rows = []
    (folder / "audio").mkdir(parents=True)
    for name, speaker, text, _ in rows_of(WORDS):
        shutil.copy(DIGITS / name, folder / name)
        rows.append([name, speaker, text, SPLITS.get(speaker, "train"), "en"])
    write_table(folder, COLUMNS, rows)
    return rows


def planted(folder: Path) -> dict[str, Code]:
    """The same with a clip for every fault; gives the code that each id must be found with."""
    rows = clean(folder)
    faults: dict[str, Code] = {}

    def plant(code: Code, text: str, sound: np.ndarray | None, rate: int = RATE) -> Path:
        name = f"audio/{code}.wav"
        rows.append([name, "theo", text, "train", "en"])
        faults[name] = code
        if sound is not None:
            soundfile.write(folder / name, sound, rate, subtype="PCM_16")
        return folder / name

    def take(word: str, number: int) -> np.ndarray:
        """A digit that is not in the folder, and sounds like no other."""
        sound, _ = soundfile.read(DIGITS / rows_of([word])[number][0])
        return np.asarray(sound)

    plant(Code.MISSING, "one", None)
    broken = plant(Code.UNREADABLE, "six", take("six", 0))
    broken.write_bytes(broken.read_bytes()[:1000])
    plant(Code.UNREADABLE_RATE, "six", take("six", 10), 12 * RATE)
    plant(Code.SILENT, "six", 1e-4 * np.sin(np.arange(RATE)))
    plant(Code.EMPTY_TEXT, "…!", take("six", 1))
    plant(Code.TOO_SHORT_FOR_TEXT, ASKED, take("six", 2))
    plant(Code.TOO_SHORT, "six", take("six", 3)[:400])
    speech, _ = soundfile.read(SAMPLES / "jfk.wav")
    plant(Code.TOO_LONG, ASKED * 5, np.tile(speech[::2], 3))
    plant(Code.TOO_LONG_FOR_TEXT, "yes", speech[::2])
    plant(Code.UNUSUAL_PACE, "five", np.repeat(take("five", 4), 5))
    plant(Code.CLIPPED, "six", np.clip(80 * take("six", 5), -1, 1))
    plant(Code.WRONG_RATE, "six", np.repeat(take("six", 6), 2), 2 * RATE)
    plant(Code.DUPLICATE_AUDIO, "one", _of(folder, rows, "one", "theo"))
    plant(Code.DUPLICATE_OTHER_TEXT, "six", _of(folder, rows, "two", "theo"))
    original = next(row[0] for row in rows if row[1:3] == ["theo", "two"])
    faults[original] = Code.DUPLICATE_OTHER_TEXT  # nobody knows which of the two is right
    plant(Code.DUPLICATE_OTHER_SPLIT, "one", _of(folder, rows, "one", "yweweler"))
    plant(Code.SPEAKER_IN_TWO_SPLITS, "six", take("six", 7))
    rows[-1][1] = "yweweler"
    plant(Code.UNEXPECTED_SCRIPT, "шесть", take("six", 8))
    plant(Code.UNTOKENISABLE, "six \U0001f389", take("six", 9))
    write_table(folder, COLUMNS, rows)
    return faults


def _of(folder: Path, rows: Rows, word: str, speaker: str) -> np.ndarray:
    name = next(row[0] for row in rows if row[1:3] == [speaker, word])
    return np.asarray(soundfile.read(folder / name, dtype="int16")[0])

"""What all readers share: files inside a folder, lines of text, licences, languages."""

import codecs
import math
import os
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path

from aimass.base.errors import DataError
from aimass.data.types import LICENCE_FILES, split_named
from aimass.text.normalise import primary_language

AUDIO = {
    ".wav", ".flac", ".mp3", ".ogg", ".oga", ".opus", ".m4a", ".aac", ".aif", ".aiff", ".au",
    ".w64", ".webm", ".mp4",
}  # fmt: skip
UNSTATED = "not stated"
LONGEST_LINE = 1 << 20  # characters
LARGEST_TEXT = 1 << 20  # bytes of a transcript beside its recording
_YES = {"1", "true", "yes", "y"}
_NO = {"", "0", "false", "no", "n"}
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_LANGUAGES = {
    "arabic": "ar", "cantonese": "yue", "chinese": "zh", "dutch": "nl", "english": "en",
    "french": "fr", "german": "de", "hindi": "hi", "italian": "it", "japanese": "ja",
    "korean": "ko", "mandarin": "zh", "polish": "pl", "portuguese": "pt", "russian": "ru",
    "spanish": "es", "thai": "th", "tibetan": "bo", "turkish": "tr", "vietnamese": "vi",
}  # fmt: skip


def language_of(value: object) -> str | None:
    """The ISO 639 code for ``en-GB``, ``en_GB`` or ``English``; None for nothing."""
    name = primary_language(str(value or "").strip())
    return _LANGUAGES.get(name, name) or None


def is_file(path: Path) -> bool:
    """Whether a file stands there, for any name that a table may hold."""
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that is too long, or holds NUL
        return False


def inside(folder: Path, name: str, where: str) -> Path:
    """The path of a name inside a folder.

    Raises:
        DataError: the name, or a link on its way, leads out of the folder.
    """
    path = folder / name
    try:
        confined = "\0" not in name and path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a ring of links
        confined = False
    if not confined:
        raise DataError(
            f"{where} names {name[:200]!r}, which lies outside the folder",
            expected="paths inside the data folder",
            fix="Move the recording into the folder",
        )
    return path


def recordings(folder: Path) -> list[Path]:
    """Every recording below a folder in the order of their names, hidden ones left out.

    Links to folders are not followed.

    Raises:
        DataError: a link to a file that lies outside the folder.
    """
    found = []
    for root, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        for name in sorted(names):
            path = Path(root, name)
            if path.suffix.lower() in AUDIO and not name.startswith("."):
                if path.is_symlink():
                    inside(folder, str(path.relative_to(folder)), str(folder))
                found.append(path)
    return found


def opened_lines(path: Path) -> Iterator[str]:
    """The lines of a text file with their ends, in UTF-8, or what its byte order mark says.

    Raises:
        DataError: another encoding, or a line without end.
    """
    try:
        with path.open("rb") as raw:
            head = raw.read(4)
        encoding = next((name for mark, name in _MARKS if head.startswith(mark)), "utf-8")
        with path.open(encoding=encoding, newline="") as file:
            while line := file.readline(LONGEST_LINE):
                if len(line) == LONGEST_LINE:
                    raise ValueError(f"a line of more than {LONGEST_LINE} characters")
                yield line
    except (OSError, ValueError) as error:
        raise DataError(
            f"{path} does not parse: {error}",
            expected="lines of UTF-8 text, or UTF-16 with its byte order mark",
            fix="Save it again as UTF-8",
        ) from error


def pairs(path: Path) -> dict[str, str]:
    """The lines ``KEY rest of the line`` of a file such as Kaldi's; the rest may be empty.

    Raises:
        DataError: as `opened_lines`, or a key that comes twice.
    """
    found: dict[str, str] = {}
    for number, line in enumerate(opened_lines(path), start=1):
        key, _, rest = line.strip().replace("\t", " ").partition(" ")
        if key in found:
            raise DataError(
                f"{path} line {number} names {key} twice",
                expected="each key once",
                fix="Remove one of the two lines",
            )
        if key:
            found[key] = rest.strip()
    return found


def transcript(path: Path) -> str:
    """The text of a file that stands beside its recording, on one line."""
    if path.stat().st_size > LARGEST_TEXT:
        raise DataError(
            f"{path} holds {path.stat().st_size} bytes",
            expected=f"the words of one recording, at most {LARGEST_TEXT} bytes",
            fix="Move the file away, or cut the recording and its text",
        )
    text = " ".join(" ".join(opened_lines(path)).split())
    return checked_text(text, str(path))


def checked_text(text: str, where: str) -> str:
    """The text itself, unless it holds what no text holds."""
    if "\0" in text:
        raise DataError(
            f"{where} holds NUL characters",
            expected="text",
            fix="Save it again as UTF-8",
        )
    return text


def seconds(value: object, where: str) -> float:
    """A time in seconds; a decimal comma is as good as a point.

    Raises:
        DataError: no number, or one below zero.
    """
    try:
        number = float(str(value).strip().replace(",", "."))
    except ValueError:
        number = math.nan
    if not 0 <= number < math.inf:
        raise DataError(
            f"{where} has the time {str(value)[:40]!r}",
            expected="seconds from the start of the recording, 0 or more",
            fix="Correct the time",
        )
    return number


def split_value(value: str, where: str) -> str | None:
    """The split that a field gives; None where it is empty.

    Raises:
        DataError: it gives something else.
    """
    if value and split_named(value) is None:
        raise DataError(
            f"{where} has split '{value[:100].lower()}'",
            expected="train, dev or test",
            fix="Correct the split column",
        )
    return split_named(value) if value else None


def truth(value: str, where: str) -> bool:
    """Whether a field of the column ``synthetic`` says yes; empty is no.

    Raises:
        DataError: it says neither.
    """
    if value.lower() not in _YES | _NO:
        raise DataError(
            f"{where} has synthetic '{value[:100]}'",
            expected="yes or no",
            fix="Correct the column",
        )
    return value.lower() in _YES


def top_splits(folder: Path, paths: Iterable[Path]) -> Mapping[str, str]:
    """The split that each top folder of some paths stands for; empty unless all of them do."""
    tops = {path.relative_to(folder).parts[0] for path in paths}
    named = {top: split for top in tops if (split := split_named(top))}
    return named if len(named) == len(tops) else {}


def licence_of(folder: Path) -> str:
    """What the licence file in a folder says.

    Raises:
        DataError: a link that leaves the folder: what it leads to would go out with every model.
    """
    for name in LICENCE_FILES:
        if (folder / name).is_file():
            with inside(folder, name, str(folder)).open(encoding="utf-8", errors="replace") as file:
                return file.read(LARGEST_TEXT).strip()
    return UNSTATED


def some(names: Iterable[str], most: int = 3) -> str:
    """The first few names of many."""
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(islice(names, most)) + more

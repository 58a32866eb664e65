"""Text files beside audio: ``x.wav`` with its words in ``x.txt`` or ``x.lab``."""

from pathlib import Path

from aimass.data.sources.files import inside, licence_of, recordings, top_splits, transcript
from aimass.data.types import Clip, Corpus, Layout, Missing

ENDINGS = (".txt", ".lab")


def recognise(folder: Path) -> bool:
    """Whether any recording has its text beside it."""
    return any(_text_of(path) is not None for path in recordings(folder))


def read(folder: Path) -> Corpus:
    """Read every recording and the text beside it; top folders named after splits are splits.

    Raises:
        DataError: a text that is no text, or a link that leaves the folder.
    """
    sounds = recordings(folder)
    splits = top_splits(folder, sounds)
    clips: list[Clip] = []
    missing: list[Missing] = []
    for path in sounds:
        name = path.relative_to(folder)
        split = splits.get(name.parts[0])
        beside = _text_of(path)
        text = ""
        if beside is not None:
            inside(folder, str(beside.relative_to(folder)), str(folder))
            text = transcript(beside)
        if text:
            clips.append(Clip(name.as_posix(), path, text, split=split))
        else:
            found = f"{path} has no text beside it" if beside is None else f"{beside} is empty"
            missing.append(Missing(name.as_posix(), "text", found, split))
    notes = ("speakers are not known: this layout does not tell them",)
    layout = Layout("text beside audio", notes=notes)
    return Corpus(tuple(clips), licence_of(folder), folder, layout, tuple(missing))


def _text_of(path: Path) -> Path | None:
    found = (path.with_suffix(ending) for ending in ENDINGS)
    return next((text for text in found if text.is_file()), None)

"""What a corpus holds, in the few numbers that a newcomer asks for first."""

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from aimass.audio.decode import probe
from aimass.base.contract import Progress, no_progress
from aimass.base.errors import AudioError
from aimass.data.types import Corpus

EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Summary:
    """A corpus in numbers.

    Args:
        seconds: what the headers of the recordings say, all clips together.
        unreadable: clips whose recording has no header that we read, with the first reason.
        unmeasured: clips whose recording does not say how long it is.
        texts: how many different ones there are; for commands, these are the classes.
    """

    corpus: Corpus
    seconds: float
    unreadable: tuple[str, ...]
    unmeasured: int
    texts: int

    def to_dict(self) -> dict[str, Any]:
        """The summary as JSON-able values."""
        clips, layout = self.corpus.clips, self.corpus.layout
        speakers = Counter(clip.speaker for clip in clips)
        return {
            "source": str(self.corpus.source),
            "layout": layout.name,
            "columns": dict(layout.columns),
            "notes": list(layout.notes),
            "clips": len(clips),
            "hours": self.seconds / 3600,
            "texts": self.texts,
            "speakers": len(speakers.keys() - {None}),
            "clips_without_speaker": speakers[None],
            "splits": _counted(clip.split for clip in clips),
            "languages": _counted(clip.language for clip in clips),
            "synthetic": sum(clip.synthetic for clip in clips),
            "missing": [{"id": m.id, "what": m.what, "found": m.found}
                        for m in self.corpus.missing],
            "unreadable": list(self.unreadable),
            "unmeasured": self.unmeasured,
            "licence": self.corpus.licence,
            "examples": [{"id": c.id, "text": c.text} for c in clips[:EXAMPLES]],
        }  # fmt: skip


def summarise(corpus: Corpus, progress: Progress = no_progress) -> Summary:
    """Count a corpus; of its sound, the headers alone are read, once for each recording."""
    lengths: dict[Path, float | str | None] = {}
    total, unmeasured, unreadable = 0.0, 0, []
    for number, clip in enumerate(corpus.clips, start=1):
        if clip.path not in lengths:
            lengths[clip.path] = _length(clip.path)
        length = lengths[clip.path]
        if isinstance(length, str):
            unreadable.append(f"{clip.id}: {length}")
        elif clip.duration is not None:
            total += clip.duration
        elif length is not None:
            total += max(0.0, length - clip.start)
        else:
            unmeasured += 1
        progress("headers", number, len(corpus.clips))
    texts = len({clip.text for clip in corpus.clips})
    return Summary(corpus, total, tuple(unreadable), unmeasured, texts)


def _length(path: Path) -> float | str | None:
    """Seconds, None where the header does not say, or why there is no header."""
    try:
        return probe(path).duration
    except AudioError as error:
        return error.found


def _counted(values: Any) -> dict[str, int]:
    """How often each value comes, the most frequent first; ``unknown`` for None."""
    counts = Counter("unknown" if value is None else value for value in values)
    return dict(counts.most_common())

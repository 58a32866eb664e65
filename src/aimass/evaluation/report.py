"""The scorecard as a page for people: pictures, tables, and the recordings that went wrong."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path

import numpy as np
import soundfile

from aimass.audio.decode import blocks
from aimass.base.contract import Samples
from aimass.base.errors import AudioError, MissingExtra
from aimass.base.files import write_bytes
from aimass.base.page import rendered
from aimass.data.report import check_folder
from aimass.evaluation.scorecard import Scorecard, UtteranceScore, write

TEMPLATE = "report.html.j2"
PAGE, CARD = "index.html", "scorecard.json"
RATE = 16_000
SPEAKERS, OF_EACH = 5, 3  # worst speakers, and utterances to hear of each
NAMES = {
    "wer": "word error rate",
    "cer": "character error rate",
    "mer": "mixed error rate",
    "classification_error": "classification error",
    "eer": "equal error rate",
}


@dataclass(slots=True)
class _Player:
    """Copies stretches of recordings beside the page; each once, and not too many."""

    folder: Path
    most: int
    seconds: float
    links: dict[str, str | None] = field(default_factory=dict)

    def link(self, row: UtteranceScore) -> str | None:
        """The address of a copy, relative to the page; None where there is nothing to hear."""
        if row.utterance_id not in self.links and len(self.links) < self.most:
            self.links[row.utterance_id] = self._copy(row)
        return self.links.get(row.utterance_id)

    def _copy(self, row: UtteranceScore) -> str | None:
        if row.audio is None:
            return None
        length = min(row.seconds or self.seconds, self.seconds)
        try:
            samples = _stretch(Path(row.audio), row.start, length)
        except AudioError:  # moved away since it was measured; the numbers stay true
            return None
        name = f"audio/{len(self.links):03d}.wav"
        (self.folder / "audio").mkdir(exist_ok=True)
        soundfile.write(self.folder / name, samples, RATE, subtype="PCM_16")
        return name


def write_html(
    card: Scorecard,
    folder: Path,
    *,
    title: str = "Scorecard",
    most: int = 30,
    seconds: float = 15.0,
) -> Path:
    """Write ``index.html``, ``scorecard.json`` and ``audio/`` into a folder; gives the page.

    The page needs nothing but the folder, which may be moved or sent.

    Args:
        most: recordings to copy.
        seconds: longest stretch of each.

    Raises:
        MissingExtra: without jinja2 and matplotlib, which come with the extra ``train``.
        RequestError: the folder is a file.
    """
    check_folder(folder)
    try:
        import jinja2  # noqa: F401  # asked for before anything is written

        from aimass.evaluation.plots import FULL_LABELS, pictures

        drawn = pictures(card)
    except ImportError as error:
        raise MissingExtra(
            "the parts that write reports are not installed",
            expected="jinja2 and matplotlib",
            fix="Type: pip install 'aimass[train]'",
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    player = _Player(folder, most, seconds)
    numbers = {row.utterance_id: row for row in card.per_utterance}
    worst = [(row, numbers.get(row.utterance_id)) for row in card.worst]
    page = rendered(
        Path(__file__).parent,
        TEMPLATE,
        title=title,
        card=card,
        metric=NAMES[card.metric],
        drawn=drawn,
        whole_matrix=card.matrix is not None and len(card.matrix.labels) >= FULL_LABELS,
        worst=[(row, own, player.link(own) if own else None) for row, own in worst],
        speakers=[
            (row, _heard(card, row.speaker, player))
            for row in card.worst_speakers(SPEAKERS)
            if row.error_rate
        ],
    )
    write_bytes(folder / PAGE, page.encode())
    write(card, folder / CARD)
    for name in (PAGE, CARD):
        (folder / name).chmod(0o644)  # both are made for others to read
    return folder / PAGE


def _heard(card: Scorecard, speaker: str, player: _Player) -> list[tuple[UtteranceScore, str]]:
    """The utterances of a speaker with most errors that can be heard."""
    own = [row for row in card.per_utterance if row.speaker == speaker and row.errors]
    own.sort(key=lambda row: (-row.errors, row.utterance_id))
    links = ((row, player.link(row)) for row in own[:OF_EACH])
    return [(row, link) for row, link in links if link]


def _stretch(path: Path, start: float, seconds: float) -> Samples:
    """The mono samples of a stretch at `RATE`; no more is decoded than that needs."""
    first, last = round(start * RATE), round((start + seconds) * RATE)
    parts: list[Samples] = []
    at = 0
    sound: Iterator[Samples] = (block.mono() for block in blocks(path, rate=RATE))
    for block in chain(sound, [np.empty(0, np.float32)]):
        parts.append(block[max(0, first - at) : max(0, last - at)])
        at += len(block)
        if at >= last:
            break
    whole: Samples = np.concatenate(parts)
    return whole

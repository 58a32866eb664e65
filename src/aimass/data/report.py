"""The report on a corpus: JSON for programs, and a page with pictures and sound for people."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import soundfile

from aimass.audio.decode import blocks
from aimass.audio.types import Audio
from aimass.base.errors import AudioError, MissingExtra, RequestError
from aimass.base.files import write_bytes, write_json
from aimass.base.page import rendered
from aimass.data.checks import MEANINGS, STOPS, Code, Finding, Measurements, counts
from aimass.data.corpus import Clip, Corpus
from aimass.data.split import how_held_out
from aimass.data.statistics import Row, statistics

TEMPLATE = "report.html.j2"
PAGE, NUMBERS = "index.html", "report.json"
MAX_ROWS = 60  # of a table on the page; the JSON has all
_T = TypeVar("_T")


def check_folder(folder: Path) -> None:
    """Refuse a place that can be no folder, before the work that a report tells of.

    Raises:
        RequestError: it, or what it should stand in, is a file.
    """
    place = next(path for path in (folder, *folder.parents) if path.exists())
    if not place.is_dir():
        raise RequestError(
            f"the report {folder}, where {place} is a file",
            expected="a folder, which need not be there yet",
            fix="Name a folder with --report",
            param="report",
        )


@dataclass(frozen=True, slots=True)
class Report:
    """What is known of a corpus after it was checked.

    Args:
        measurements: of every clip.
        findings: as `aimass.data.checks.check` orders them.
        excluded: codes whose clips a policy leaves out.
    """

    corpus: Corpus
    measurements: Measurements
    findings: Sequence[Finding]
    excluded: Sequence[Code] = field(default=())

    def statistics(self) -> dict[str, list[Row]]:
        """Rows by split, language, speaker and, where texts are few, label; largest first."""
        return statistics(self.corpus, self.measurements, self.findings)

    def notes(self) -> list[str]:
        """Sentences on what was decided for the reader to confirm."""
        clips = self.corpus.clips
        told = list(self.corpus.layout.notes)
        if {clip.split for clip in clips} & {"dev", "test"}:
            told.append("The corpus brings splits of its own")
        else:
            told.append(how_held_out(clips))
        if count := sum(clip.synthetic for clip in clips):
            told.append(f"{count} clips are synthetic speech, which only trains")
        return told

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        corpus = self.corpus
        found = counts(self.findings)
        return {
            "source": str(corpus.source),
            "layout": corpus.layout.name,
            "columns": dict(corpus.layout.columns),
            "notes": self.notes(),
            "licence": corpus.licence,
            "clips": len(corpus.clips),
            "hours": sum(self.measurements[clip.id].seconds for clip in corpus.clips) / 3600,
            "counts": {str(code): count for code, count in found.items()},
            "stops": [str(code) for code in found if code in STOPS and code not in self.excluded],
            "excluded": [str(code) for code in self.excluded],
            "clips_found": len({finding.clip for finding in self.findings}),
            "statistics": {
                kind: [asdict(row) for row in rows] for kind, rows in self.statistics().items()
            },
            "findings": [asdict(finding) for finding in self.findings],
        }

    def write(self, folder: Path, *, examples: int = 5, seconds: float = 12.0) -> Path:
        """Write ``index.html``, ``report.json`` and ``audio/`` into a folder; gives the page.

        The page needs nothing but the folder, which may be moved or sent.

        Args:
            examples: clips to hear for each code, and of the whole.
            seconds: longest stretch of each.

        Raises:
            MissingExtra: without jinja2 and matplotlib, which come with the extra ``train``.
            RequestError: the folder is a file.
        """
        check_folder(folder)
        try:
            import jinja2  # noqa: F401  # asked for before anything is written

            from aimass.data.pictures import pictures, spectrogram
        except ImportError as error:
            raise MissingExtra(
                "the parts that write reports are not installed",
                expected="jinja2 and matplotlib",
                fix="Type: pip install 'aimass[train]'",
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        player = _Player(folder, seconds)
        report, rows = self.to_dict(), self.statistics()
        page = rendered(
            Path(__file__).parent,
            TEMPLATE,
            report=report,
            statistics=rows,
            most=MAX_ROWS,
            drawn=pictures(self.corpus.clips, self.measurements, rows),
            found=self._examples(player, examples),
            samples=[
                (clip, player.link(clip), spectrogram(sound))
                for clip in self._samples(examples + 1)
                if (sound := _sound(clip, seconds)) is not None
            ],
        )
        write_bytes(folder / PAGE, page.encode())
        write_json(folder / NUMBERS, report)
        for name in (PAGE, NUMBERS):
            (folder / name).chmod(0o644)  # both are made for others to read
        return folder / PAGE

    def _examples(self, player: "_Player", most: int) -> list[dict[str, Any]]:
        """For each code its meaning, count, and clips to hear, spread over all that were found."""
        clips = {clip.id: clip for clip in self.corpus.clips}
        by_code: dict[Code, list[Finding]] = defaultdict(list)
        for finding in self.findings:
            by_code[finding.code].append(finding)
        return [
            {
                "code": str(code),
                "meaning": MEANINGS[code],
                "count": count,
                "stops": code in STOPS,
                "excluded": code in self.excluded,
                "examples": [
                    (finding, clips.get(finding.clip), player.link(clips.get(finding.clip)))
                    for finding in _spread(by_code[code], most)
                ],
            }
            for code, count in counts(self.findings).items()
        ]

    def _samples(self, most: int) -> list[Clip]:
        """Clips without a finding that stop nothing, of different speakers where there are."""
        found = {finding.clip for finding in self.findings if finding.code in STOPS}
        good = [clip for clip in self.corpus.clips if clip.id not in found]
        of_each: dict[str, list[Clip]] = defaultdict(list)
        for clip in good:
            of_each[clip.speaker or clip.id].append(clip)
        if len(of_each) < most:
            return _spread(good, most)
        chosen = _spread(list(of_each.values()), most)
        return [own[len(own) * place // most] for place, own in enumerate(chosen)]


def _spread(items: Sequence[_T], most: int) -> list[_T]:
    """At most so many items, evenly from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


@dataclass(slots=True)
class _Player:
    """Copies clips beside the page, each once."""

    folder: Path
    seconds: float
    links: dict[str, str | None] = field(default_factory=dict)

    def link(self, clip: Clip | None) -> str | None:
        """The address of a copy, relative to the page; None where there is nothing to hear."""
        if clip is None:
            return None
        if clip.id not in self.links:
            self.links[clip.id] = self._copy(clip)
        return self.links[clip.id]

    def _copy(self, clip: Clip) -> str | None:
        sound = _sound(clip, self.seconds)
        if sound is None:
            return None
        name = f"audio/{len(self.links):03d}.flac"
        (self.folder / "audio").mkdir(exist_ok=True)
        soundfile.write(self.folder / name, sound.mono(), sound.rate, subtype="PCM_16")
        return name


def _sound(clip: Clip, most: float) -> Audio | None:
    """The beginning of a clip; None where it does not decode or holds nothing."""
    first = clip.start
    seconds = most if clip.duration is None else min(most, clip.duration)
    parts: list[Audio] = []
    try:
        # Whole seconds of blocks up to the end of the stretch, and no more.
        needed = int(first + seconds) + 1
        parts += islice(blocks(clip.path, block_seconds=1.0), needed)
    except AudioError:
        pass  # of a recording that breaks off, what came before
    if not parts:
        return None
    rate = parts[0].rate
    samples = np.concatenate([part.samples for part in parts], axis=1)
    samples = samples[:, round(first * rate) : round((first + seconds) * rate)]
    return Audio(samples, rate) if samples.shape[1] else None

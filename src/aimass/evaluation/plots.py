"""The pictures of a scorecard as SVG whose colours are those of the page around it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from aimass.base.page import ACCENT, INK, LINE, MUTED, SECOND, THIRD, Drawing, short, svg
from aimass.evaluation.interval import error_interval
from aimass.evaluation.scorecard import Scorecard, SpeakerScore, UtteranceScore

if TYPE_CHECKING:
    pass

_NAME = 28  # characters of a name in a picture
HALF, WHOLE = 5.4, 11.2  # inches of a picture in half the page, and in all of it
FULL_LABELS = 16  # from here on a matrix takes the whole page
_MOST_SPEAKERS = 40
_MOST_LABELS = 60
_LENGTHS = 8


def pictures(card: Scorecard) -> dict[str, str]:
    """The SVG of each picture that the scorecard has numbers for, by name."""
    found: dict[str, str] = {}
    if card.per_speaker:
        rows = card.worst_speakers(_MOST_SPEAKERS)
        found["speakers"] = svg("speakers", (HALF, 0.7 + 0.22 * len(rows)), _speakers(rows))
    if card.errors.total and card.metric not in ("classification_error", "eer"):
        found["kinds"] = svg("kinds", (WHOLE, 1.1), _kinds(card))
    if card.calibration is not None:
        found["reliability"] = svg("reliability", (HALF, 4.4), _reliability(card))
    if card.matrix is not None:
        side = HALF if len(card.matrix.labels) < FULL_LABELS else WHOLE
        found["matrix"] = svg("matrix", (side, min(side, 9)), _matrix(card))
    known = [row for row in card.per_utterance if row.seconds]
    if len({row.seconds for row in known}) > 1:
        found["lengths"] = svg("lengths", (HALF, 3.2), _lengths(known))
    return found


def _speakers(rows: Sequence[SpeakerScore]) -> Drawing:
    def draw(axes: Any) -> None:
        shown = rows[::-1]  # the worst on top
        places = np.arange(len(shown))
        errors = np.array([100 * row.error_rate for row in shown])
        ends = 100 * np.array([row.interval for row in shown])
        axes.hlines(places, ends[:, 0], ends[:, 1], color=ACCENT, lw=5, alpha=0.25)
        axes.plot(errors, places, "o", color=ACCENT, ms=5, clip_on=False)
        axes.set_yticks(places, [short(row.speaker, _NAME) for row in shown])
        axes.set_xlim(left=0)
        axes.set_ylim(-0.7, len(shown) - 0.3)
        axes.grid(axis="x", color=LINE, lw=0.6)
        axes.set_xlabel("error rate, %")

    return draw


def _kinds(card: Scorecard) -> Drawing:
    def draw(axes: Any) -> None:
        begin = 0
        kinds = (
            ("substitutions", card.errors.substitutions, ACCENT),
            ("deletions", card.errors.deletions, SECOND),
            ("insertions", card.errors.insertions, THIRD),
        )
        for name, count, colour in kinds:
            axes.barh(0, count, left=begin, color=colour, height=0.5, label=f"{name} {count:,}")
            begin += count
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.set_xlim(0, begin)
        axes.set_xlabel("edits")
        axes.legend(ncols=3, frameon=False, labelcolor=INK, loc="lower left", bbox_to_anchor=(0, 1))

    return draw


def _reliability(card: Scorecard) -> Drawing:
    def draw(axes: Any) -> None:
        assert card.calibration is not None
        bins = card.calibration.bins
        most = max(row.count for row in bins)
        for row in bins:
            share = 0.25 + 0.75 * row.count / most  # a bin that holds little is pale
            axes.bar(
                (row.low + row.high) / 2,
                row.accuracy,
                width=0.92 * (row.high - row.low),
                color=ACCENT,
                alpha=share,
            )
        axes.plot([0, 1], [0, 1], "--", color=MUTED, lw=1)
        stated, true = [row.confidence for row in bins], [row.accuracy for row in bins]
        axes.plot(stated, true, "o", color=SECOND, ms=4, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("confidence")
        axes.set_ylabel(f"share of {card.calibration.level}s that are right")

    return draw


def _matrix(card: Scorecard) -> Drawing:
    def draw(axes: Any) -> None:
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

        assert card.matrix is not None
        counts = np.array(card.matrix.counts)
        shares = counts / np.maximum(counts.sum(1, keepdims=True), 1)
        for wrong, colour in ((False, ACCENT), (True, SECOND)):
            cells = [(r, c) for r, c in np.argwhere(counts) if (r != c) == wrong]
            if not cells:  # a model that is always right, or never
                continue
            axes.add_collection(
                PatchCollection(
                    [Rectangle((c - 0.5, r - 0.5), 1, 1) for r, c in cells],
                    facecolor=colour,
                    alpha=[0.15 + 0.85 * float(shares[r, c]) for r, c in cells],
                    linewidth=0,
                )
            )
        size = len(counts)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5), aspect="equal")
        axes.set_xlabel("recognised")
        axes.set_ylabel("said")
        if size > _MOST_LABELS:
            axes.set(xticks=[], yticks=[])
            return
        names = [short(label, 18) or "nothing" for label in card.matrix.labels]
        axes.set_xticks(range(size), names, rotation=90)
        axes.set_yticks(range(size), names)
        if size <= 25:
            for row, column in np.argwhere(counts):
                number = str(counts[row, column])
                axes.text(column, row, number, color=INK, ha="center", va="center", fontsize=7)

    return draw


def _lengths(rows: Sequence[UtteranceScore]) -> Drawing:
    def draw(axes: Any) -> None:
        ordered = sorted(rows, key=lambda row: (row.seconds or 0, row.utterance_id))
        groups = [
            [ordered[i] for i in places]
            for places in np.array_split(np.arange(len(ordered)), min(_LENGTHS, len(ordered)))
        ]
        middle = [float(np.median([row.seconds or 0 for row in group])) for group in groups]
        rates, ends = [], []
        for group in groups:
            errors, lengths = [r.errors for r in group], [r.length for r in group]
            rates.append(100 * sum(errors) / max(1, sum(lengths)))
            ends.append(error_interval(errors, lengths, [row.speaker for row in group]))
        edges = 100 * np.array(ends)
        axes.vlines(middle, edges[:, 0], edges[:, 1], color=ACCENT, lw=5, alpha=0.25)
        axes.plot(middle, rates, "o-", color=ACCENT, ms=5, lw=1, clip_on=False)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=LINE, lw=0.6)
        axes.set_xlabel("length of utterance, s (groups of equal size)")
        axes.set_ylabel("error rate, %")

    return draw

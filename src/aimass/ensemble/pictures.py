"""The pictures of a massive model as SVG whose colours are those of the page around it."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from aimass.base.page import ACCENT, INK, LINE, MUTED, SECOND, THIRD, Drawing, short, svg
from aimass.ensemble.prune import Selection
from aimass.ensemble.weigh import Table, Weighing
from aimass.evaluation.scorecard import Scorecard

HALF, WHOLE = 5.4, 11.2  # inches of a picture in half the page, and in all of it
_NAME = 24  # characters of a name in a picture
_MOST_TOLD = 12  # members up to which a cell tells its number


def pictures(
    weighing: Weighing, selection: Selection | None, before: Scorecard, after: Scorecard
) -> dict[str, str]:
    """The SVG of each picture that there are numbers for, by name."""
    found: dict[str, str] = {}
    if selection is not None:
        found["curve"] = svg("curve", (WHOLE, 4.2), _curve(selection))
    names = [short(member.name, _NAME) for member in weighing.members]
    if len(names) > 1:
        side = (HALF, max(2.4, 0.5 * len(names) + 1.6))
        apart = _percent(weighing.disagreement)
        most = max((v for row in apart for v in row if v is not None), default=0.0) or 1.0
        found["disagreement"] = svg("disagreement", side, _heat(names, apart, most, "{:.1f}"))
        found["correlation"] = svg(
            "correlation", side, _heat(names, weighing.correlation, 1.0, "{:.2f}", (SECOND, THIRD))
        )
    for name, card in (("before", before), ("after", after)):
        if card.calibration is not None:
            found[name] = svg(name, (HALF, 4.4), _reliability(card))
    return found


def _curve(selection: Selection) -> Drawing:
    def draw(axes: Any) -> None:
        steps = selection.steps
        costs = [step.cost for step in steps]
        known = all(cost is not None for cost in costs)
        scale = 1e6 if selection.unit == "multiply_adds" else 1.0
        places = [(cost or 0) / scale for cost in costs] if known else range(1, len(steps) + 1)
        apart = 0.004 * (max(places) - min(places))  # so that the two intervals stand side by side
        own = [100 * step.error_rate for step in steps]
        _with_intervals(axes, places, own, [s.interval for s in steps], ACCENT, -apart)
        held = [step.held_out for step in steps]
        if None not in held:
            rates = [100 * (rate or 0) for rate in held]
            ends = [step.held_out_interval or (0.0, 0.0) for step in steps]
            _with_intervals(axes, places, rates, ends, SECOND, apart)
        for number, place in enumerate(places, start=1):  # the table below has the names
            axes.annotate(
                str(number),
                (place, 1),
                xycoords=("data", "axes fraction"),
                xytext=(0, 3),
                textcoords="offset points",
                color=MUTED,
                ha="center",
            )
        kept = list(places)[selection.kept - 1]
        axes.plot([kept], [own[selection.kept - 1]], "o", ms=13, mfc="none", mec=INK, mew=1.2)
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=LINE, lw=0.6)
        unit = "multiply-adds for 1 s of sound, million" if scale > 1 else "real-time factor, sum"
        axes.set_xlabel(unit if known else "members")
        axes.set_ylabel("error rate, %")

    return draw


def _with_intervals(
    axes: Any,
    places: Sequence[float],
    rates: Sequence[float],
    ends: Sequence[tuple[float, float]],
    colour: str,
    shift: float,
) -> None:
    moved = [place + shift for place in places]
    edges = 100 * np.array(ends)
    axes.vlines(moved, edges[:, 0], edges[:, 1], color=colour, lw=4, alpha=0.25)
    axes.plot(moved, rates, "o-", color=colour, ms=5, lw=1.2, clip_on=False)


def _percent(table: Table) -> Table:
    return tuple(tuple(None if v is None else 100 * v for v in row) for row in table)


def _heat(
    names: Sequence[str],
    table: Table,
    most: float,
    form: str,
    colours: tuple[str, str] = (ACCENT, ACCENT),
) -> Drawing:
    """Cells of two colours, for values above 0 and below, the darker the farther from it."""

    def draw(axes: Any) -> None:
        from matplotlib.collections import PatchCollection
        from matplotlib.patches import Rectangle

        size = len(names)
        cells = [
            (r, c, value)
            for r, row in enumerate(table)
            for c, value in enumerate(row)
            if value is not None and r != c
        ]
        for above, colour in zip((True, False), colours, strict=True):
            some = [cell for cell in cells if (cell[2] >= 0) == above]
            if not some:
                continue
            axes.add_collection(
                PatchCollection(
                    [Rectangle((c - 0.5, r - 0.5), 0.97, 0.97) for r, c, _ in some],
                    facecolor=colour,
                    alpha=[0.06 + 0.8 * min(1.0, abs(value) / most) for _, _, value in some],
                    linewidth=0,
                )
            )
        for r, c, value in cells if size <= _MOST_TOLD else []:
            told = form.format(value)
            axes.text(c, r, told, color=INK, ha="center", va="center", fontsize=8)
        axes.set(xlim=(-0.5, size - 0.5), ylim=(size - 0.5, -0.5))
        axes.set_xticks(range(size), names, rotation=90)
        axes.set_yticks(range(size), names)
        axes.tick_params(length=0)
        for side in ("left", "bottom"):
            axes.spines[side].set_visible(False)

    return draw


def _reliability(card: Scorecard) -> Drawing:
    def draw(axes: Any) -> None:
        assert card.calibration is not None
        bins = card.calibration.bins
        most = max(row.count for row in bins)
        for row in bins:
            axes.bar(
                (row.low + row.high) / 2,
                row.accuracy,
                width=0.92 * (row.high - row.low),
                color=ACCENT,
                alpha=0.25 + 0.75 * row.count / most,  # a bin that holds little is pale
            )
        axes.plot([0, 1], [0, 1], "--", color=MUTED, lw=1)
        stated, true = [row.confidence for row in bins], [row.accuracy for row in bins]
        axes.plot(stated, true, "o", color=SECOND, ms=4, clip_on=False)
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("confidence")
        axes.set_ylabel(f"share of {card.calibration.level}s that are right")

    return draw

"""The curve of a model's operating points: JSON for programs, a page with a picture for people."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from aimass.base.errors import MissingExtra
from aimass.base.files import write_bytes, write_json
from aimass.base.page import ACCENT, INK, LINE, MUTED, Drawing, rendered, short, svg
from aimass.evaluation.report import NAMES
from aimass.registry.points import LEVELS, Point, Wish
from aimass.runtime.dial import pick

TEMPLATE = "curve.html.j2"
PAGE, NUMBERS = "index.html", "curve.json"
SIZE = (11.2, 4.6)  # inches
_NAME = 24  # characters of a name in the picture


def write_curve(
    folder: Path,
    numbers: dict[str, Any],
    points: Sequence[Point],
    measured: Sequence[Point],
    metric: str,
) -> Path:
    """Write ``index.html`` and ``curve.json`` into a folder; gives the page.

    Args:
        numbers: what the JSON holds.
        points: those that no other one dominates, from the cheapest to the costliest.
        measured: all of them.

    Raises:
        MissingExtra: without jinja2 and matplotlib, which come with the extra ``train``.
    """
    told = next((title for key, title in NAMES.items() if key == metric), metric)
    kept = {point.name for point in points}
    try:
        page = rendered(
            Path(__file__).parent,
            TEMPLATE,
            title=numbers["model"],
            machine=numbers["machine"],
            metric=told,
            points=points,
            dominated=[point for point in measured if point.name not in kept],
            levels={level: pick(points, Wish(quality=level)).point.name for level in LEVELS},
            drawn=svg("curve", SIZE, _curve(_at_once(points), _at_once(measured))),
        )
    except ImportError as error:
        raise MissingExtra(
            "the parts that write reports are not installed",
            expected="jinja2 and matplotlib",
            fix="Type: pip install 'aimass[train]'",
        ) from error
    folder.mkdir(parents=True, exist_ok=True)
    write_bytes(folder / PAGE, page.encode())
    write_json(folder / NUMBERS, numbers)
    for name in (PAGE, NUMBERS):
        (folder / name).chmod(0o644)  # both are made for others to read
    return folder / PAGE


def _at_once(points: Sequence[Point]) -> list[Point]:
    """Without longer chunks, which err and cost alike."""
    return [point for point in points if not point.chunk_ms]


def _curve(points: Sequence[Point], measured: Sequence[Point]) -> Drawing:
    counted = all(point.multiply_adds is not None for point in measured)

    def cost(point: Point) -> float:
        return (point.multiply_adds or 0) / 1e6 if counted else point.rtf

    def draw(axes: Any) -> None:
        kept = {point.name for point in points}
        for point in measured:
            colour = ACCENT if point.name in kept else MUTED
            low, high = (100 * end for end in point.interval)
            axes.vlines(cost(point), low, high, color=colour, lw=4, alpha=0.25)
            axes.plot([cost(point)], [100 * point.error_rate], "o", color=colour, ms=5)
        places = [cost(point) for point in points]
        axes.step(places, [100 * p.error_rate for p in points], where="post", color=ACCENT, lw=1)
        for point in points:
            axes.annotate(
                short(point.name, _NAME),
                (cost(point), 100 * point.error_rate),
                xytext=(6, 5),
                textcoords="offset points",
                color=INK,
                fontsize=8,
            )
        if min(map(cost, measured)) > 0:
            axes.set_xscale("log")
        axes.set_ylim(bottom=0)
        axes.grid(axis="y", color=LINE, lw=0.6)
        axes.set_xlabel(
            "multiply-adds for 1 s of sound, million" if counted else "real-time factor, one core"
        )
        axes.set_ylabel("error rate, %")

    return draw

"""What the pages for people share: their template engine, and pictures in the page's own colours.

jinja2 and matplotlib come with the extra ``train`` and are imported when a page is made.
"""

import io
import re
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

# Colours that stand for those of the page, so that one picture suits light and dark.
INK, MUTED, LINE, ACCENT, SECOND, THIRD = (f"#{n:02d}{n:02d}{n:02d}" for n in range(1, 7))
_PAGE = {
    INK: "var(--ink)",
    MUTED: "var(--muted)",
    LINE: "var(--line)",
    ACCENT: "var(--accent)",
    SECOND: "var(--second)",
    THIRD: "var(--third)",
}

Drawing = Callable[[Any], None]
"""Draws into matplotlib axes."""


def rendered(folder: Path, template: str, **values: Any) -> str:
    """A template of a folder with its values; all text is escaped, and none may be missing."""
    import jinja2

    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(folder),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(template).render(**values)


def svg(name: str, inches: tuple[float, float], draw: Drawing) -> str:
    """A picture as an element of a page, where no other picture has its name."""
    import matplotlib
    from matplotlib.figure import Figure

    style = {
        "svg.fonttype": "none",
        "svg.hashsalt": name,
        "font.size": 9,
        "text.parse_math": False,  # a "$" in a speaker's name is no formula
    }
    with matplotlib.rc_context(style), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # glyphs that our font lacks; the page's has them
        figure = Figure(figsize=inches, layout="constrained")
        axes = figure.add_subplot()
        figure.patch.set_alpha(0)
        _plain(axes)
        draw(axes)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None, "Creator": None})
    return _inline(written.getvalue(), name)


def short(text: str, most: int) -> str:
    """Text of at most so many characters, all of which may stand in a picture."""
    # Characters that XML does not allow would make the whole page unreadable.
    text = "".join(char if char.isprintable() else " " for char in text)
    return text if len(text) <= most else text[: most - 1] + "…"


def _plain(axes: Any) -> None:
    """Thin lines, no frame, the colours of the page."""
    axes.patch.set_alpha(0)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    for side in ("left", "bottom"):
        axes.spines[side].set_color(LINE)
    axes.tick_params(colors=MUTED, labelcolor=INK, length=3)
    axes.xaxis.label.set_color(MUTED)
    axes.yaxis.label.set_color(MUTED)
    axes.set_axisbelow(True)


def _inline(svg: str, name: str) -> str:
    """The element alone, as wide as the page lets it be, its identities apart from others'."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg, flags=re.DOTALL)
    svg = re.sub(r'(<svg[^>]*?) width="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(<svg[^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'(\bid="|href="#|url\(#)', rf"\g<1>{name}-", svg)
    for stands, colour in _PAGE.items():
        svg = svg.replace(stands, colour)
    return svg

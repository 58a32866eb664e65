"""The pictures of a report: SVG whose colours are those of the page around it, and spectrograms."""

import base64
import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.audio.types import Audio
from aimass.base.page import ACCENT, LINE, SECOND, Drawing, short, svg
from aimass.data.checks import Measurements
from aimass.data.corpus import Clip
from aimass.data.statistics import Row, paces

_NAME = 24  # characters of a name in a picture
HALF, HEIGHT = 5.4, 2.4  # inches
_MOST_BARS = 40
_FFT, _SHIFT, _RANGE_DB = 512, 160, 70.0


def pictures(
    clips: Sequence[Clip], measurements: Measurements, statistics: Mapping[str, Sequence[Row]]
) -> dict[str, str]:
    """The SVG of each picture that there are numbers for, by name."""
    sounds = [measurements[clip.id] for clip in clips if not measurements[clip.id].fault]
    found: dict[str, str] = {}
    histograms = {
        "durations": ([sound.seconds for sound in sounds], "seconds in a clip"),
        "active": ([sound.active for sound in sounds], "seconds of activity in a clip"),
        "levels": ([sound.loud_db for sound in sounds], "level of the loudest parts, dBFS"),
        "peaks": ([sound.peak_db for sound in sounds], "peak, dBFS"),
        "paces": (paces(clips, measurements), "letters in an active second"),
    }
    for name, (values, label) in histograms.items():
        if values:
            found[name] = svg(name, (HALF, HEIGHT), _histogram(np.array(values), label))
    for name in ("speaker", "label"):
        rows = statistics.get(name, ())
        if len(rows) > 1:
            height = 0.6 + 0.2 * min(len(rows), _MOST_BARS)
            found[name] = svg(name, (HALF, height), _bars(rows[:_MOST_BARS]))
    return found


def spectrogram(sound: Audio) -> str:
    """The address of a picture: time to the right, 0 to half the rate upwards, 70 dB deep."""
    from matplotlib.image import imsave

    samples = sound.mono()
    shift = max(_SHIFT, len(samples) // 600)  # a picture is no wider than a page
    padded = np.pad(samples, (0, _FFT))
    windows = np.lib.stride_tricks.sliding_window_view(padded, _FFT)[::shift]
    power = np.abs(np.fft.rfft(windows * np.hanning(_FFT), axis=1)[:, 1:]) ** 2
    levels = 10 * np.log10(np.maximum(power, 1e-10)).T[::-1]
    top = float(levels.max())
    written = io.BytesIO()
    imsave(written, levels[::2], format="png", cmap="magma", vmin=top - _RANGE_DB, vmax=top)
    return "data:image/png;base64," + base64.b64encode(written.getvalue()).decode()


def _histogram(values: npt.NDArray[np.float64], label: str) -> Drawing:
    def draw(axes: Any) -> None:
        # A few strays must not squeeze all others into one bar: they stand in the outermost.
        low, high = np.percentile(values, [0.2, 99.8])
        spare = max(0.1 * (high - low), 0.02 * abs(high), 0.05)
        low, high = max(values.min(), low - spare), min(values.max(), high + spare)
        low, high = (low, high) if high > low else (low - 0.5, high + 0.5)
        axes.hist(np.clip(values, low, high), bins=40, range=(low, high), color=ACCENT)
        axes.axvline(np.median(values), color=SECOND, lw=1.4)
        axes.set_xlabel(f"{label}; median {np.median(values):.3g}")
        axes.set_ylabel("clips")
        axes.grid(axis="y", color=LINE, lw=0.6)

    return draw


def _bars(rows: Sequence[Row]) -> Drawing:
    def draw(axes: Any) -> None:
        shown = rows[::-1]  # the largest on top
        places = range(len(shown))
        axes.barh(places, [row.clips for row in shown], color=ACCENT, height=0.7)
        axes.barh(places, [row.found for row in shown], color=SECOND, height=0.7)
        axes.set_yticks(places, [short(row.name, _NAME) for row in shown])
        axes.set_ylim(-0.6, len(shown) - 0.4)
        axes.grid(axis="x", color=LINE, lw=0.6)
        axes.set_xlabel("clips")

    return draw

"""The dial: which operating point a request or setting asks for, and where those of here are kept.

::

    AIMASS_HOME/dial/points/DIGEST.json    measured on this machine, by the digest of the bundle
    AIMASS_HOME/dial/set/NAME.json         how `aimass dial set` set the model of that name

A bundle is never changed: what is measured here stands beside it and comes before what it says of
the machine that packed it. What a request asks for comes before how the model is set here, and
that before what its scenario said.
"""

import json
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from aimass.base.contract import Engine, RecognizeOptions
from aimass.base.errors import BundleError, RequestError
from aimass.base.files import write_json
from aimass.base.settings import settings
from aimass.registry.bundle import Bundle
from aimass.registry.points import LEVELS, MOST_POINTS, Level, Point, Wish, by_cost

log = logging.getLogger(__name__)

FORMAT = 1
MAX_BYTES = 4 << 20
KEPT = 0.9
"""The share of what the best point gains over the cheapest that ``balanced`` keeps."""

_STEP = 1e-3  # of an error rate, so that a limit of 0 is not infinitely far

Value = TypeVar("Value")


class Measured(BaseModel):
    """What was measured on this machine.

    Args:
        machine, data: where and on what, for people.
        points: those that no other one dominates.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(FORMAT, ge=FORMAT, le=FORMAT)
    model: str
    machine: str
    data: str
    points: tuple[Point, ...] = Field(min_length=1, max_length=MOST_POINTS)


@dataclass(frozen=True, slots=True)
class Picked:
    """A point and why it was picked."""

    point: Point
    why: str


def pick(points: Sequence[Point], wish: Wish) -> Picked:
    """The point that a wish asks for, among points none of which dominates another.

    Without a level, a highest error asks for the cheapest point that keeps it, a latency alone
    for the most accurate. Where a latency is given, streams gather sound for as long as that
    allows, which costs least; else they hear at once.

    Raises:
        RequestError: no point of that name, or none within the limits; says which is nearest.
    """
    if wish.quality is not None and wish.quality not in LEVELS:
        return _named(points, wish)
    within = by_cost(point for point in points if not _beyond(point, wish))
    if not within:
        raise _nothing(points, wish)
    best = min(within, key=lambda point: point.error_rate)
    level = _level(wish)
    if level == "fast":
        return _gathering(within, within[0], wish, "the cheapest")
    if level == "accurate":
        return _gathering(within, best, wish, "the lowest error")
    most = best.error_rate + (1 - KEPT) * (within[0].error_rate - best.error_rate)
    point = next(point for point in within if point.error_rate <= most + 1e-12)
    gain = f"{KEPT:.0%} of what the best gains over the cheapest"
    return _gathering(within, point, wish, f"the cheapest that keeps {gain}")


class Dial:
    """The points of one model on this machine, and how it is set. Shared by all threads.

    Files are looked at anew when they change, so that a setting takes effect without a restart.

    Args:
        name: of the model.
        parts: whether it is made of several, which points may leave out.
        packed: the points of its bundle.
        usual: what its bundle asks for where nobody does.
    """

    def __init__(
        self,
        name: str,
        parts: bool = False,
        packed: Sequence[Point] = (),
        usual: Wish | None = None,
        measured: Path | None = None,
        setting: Path | None = None,
    ) -> None:
        self.name = name
        self.parts = parts
        self.packed = tuple(packed)
        self.usual = usual or Wish()
        self._measured = _File(measured, Measured.model_validate)
        self._setting = _File(setting, Wish.model_validate)

    @classmethod
    def of(cls, bundle: Bundle, home: Path) -> "Dial":
        """The dial of a bundle."""
        manifest = bundle.manifest
        return cls(
            manifest.name,
            manifest.massive is not None,
            manifest.points or (),
            manifest.dial,
            points_path(home, bundle.digest),
            setting_path(home, manifest.name),
        )

    @property
    def measured(self) -> Measured | None:
        """What was measured on this machine."""
        return self._measured.value

    @property
    def points(self) -> tuple[Point, ...]:
        """Those measured on this machine, else those of the bundle."""
        return self.measured.points if self.measured else self.packed

    @property
    def standing(self) -> Wish:
        """What is asked for where a request says nothing."""
        return self._setting.value or self.usual

    def picked(self, options: RecognizeOptions) -> Picked | None:
        """The point for a request, and why; None where the model just runs as it is.

        Raises:
            RequestError: the request asks for what no point gives, or for a point of a model that
                nobody measured.
        """
        wish = asked(options)
        if not wish:
            return self._usual()
        if self.points:
            return pick(self.points, wish)
        limits = wish.max_error is not None or wish.max_latency_ms is not None
        # Who has one way to run gives it at any level; as it is, a model is as good as it gets.
        if not limits and (wish.quality == "accurate" or (not self.parts and _level(wish))):
            return None
        raise _unmeasured(self.name, wish)

    def point(self, options: RecognizeOptions) -> Point | None:
        """The point for a request alone. Raises: RequestError as `picked`."""
        found = self.picked(options)
        return None if found is None else found.point

    def _usual(self) -> Picked | None:
        wish, points = self.standing, self.points
        if not wish or not points:
            return None
        try:
            return pick(points, wish)
        except RequestError as error:  # set when there were others; no fault of the request
            log.warning("'%s' runs as it is: %s", self.name, error)
            return None


def dial_of(engine: Engine, home: Path | None = None) -> Dial:
    """The dial of a loaded model; one without points of a model that is no bundle."""
    own: Dial | None = getattr(engine, "dial", None)
    if own is not None:
        return own
    bundle: Bundle | None = getattr(engine, "bundle", None)
    return Dial.of(bundle, home or settings().home) if bundle is not None else Dial(engine.name)


def check(engine: Engine, options: RecognizeOptions, home: Path | None = None) -> None:
    """Refuse what a model cannot give, before any sound is read. Raises: RequestError."""
    if asked(options):
        dial_of(engine, home).picked(options)


def asked(options: RecognizeOptions) -> Wish:
    """What a request asks of the dial. Raises: RequestError for what nobody can ask."""
    if (options.quality, options.max_latency_ms, options.max_error) == (None, None, None):
        return _NOTHING
    return wish_of(options.quality, options.max_latency_ms, options.max_error)


def wish_of(
    quality: str | None = None,
    max_latency_ms: float | None = None,
    max_error: float | None = None,
) -> Wish:
    """A wish of words and numbers that a person gave. Raises: RequestError."""
    try:
        return Wish(quality=quality, max_latency_ms=max_latency_ms, max_error=max_error)
    except ValidationError as error:
        fault = error.errors()[0]
        raise RequestError(
            f"{fault['loc'][0]} {str(fault['input'])[:40]!r}",
            expected=f"{', '.join(LEVELS)} or the name of a point, and limits above 0",
            fix="Correct it",
            param=str(fault["loc"][0]),
        ) from error


def points_path(home: Path, digest: str) -> Path:
    """Where the points measured here of a bundle are kept."""
    return home / "dial/points" / f"{digest}.json"


def setting_path(home: Path, name: str) -> Path:
    """Where it is kept how the model of a name is set."""
    return home / "dial/set" / f"{name}.json"


def keep(path: Path, value: Measured | Wish | None) -> None:
    """Write a file of the dial, or with None take it away."""
    if value is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, value.model_dump(mode="json"))


class _File(Generic[Value]):
    """What a JSON file says now; None where there is none."""

    def __init__(self, path: Path | None, read: Callable[[Any], Value]) -> None:
        self._path, self._read = path, read
        self._known: tuple[int | None, Value | None] = (None, None)

    @property
    def value(self) -> Value | None:
        """The content, read anew when the file has changed. Raises: BundleError."""
        if self._path is None:
            return None
        try:
            changed = self._path.stat().st_mtime_ns
        except OSError:
            return None
        if self._known[0] != changed:
            self._known = (changed, self._load(self._path))
        return self._known[1]

    def _load(self, path: Path) -> Value:
        try:
            if path.stat().st_size > MAX_BYTES:
                raise ValueError(f"it has more than {MAX_BYTES} bytes")
            return self._read(json.loads(path.read_text(encoding="utf-8")))
        except (OSError, ValueError, RecursionError) as error:
            raise BundleError(
                f"{path} cannot be read: {str(error)[:300]}",
                expected="what aimass dial measure or set writes",
                fix="Remove it, and measure or set the dial again",
            ) from error


_NOTHING = Wish()


def _level(wish: Wish) -> Level | None:
    """The level of a wish; None of one that names a point."""
    if wish.quality is None:
        return "accurate" if wish.max_error is None else "fast"
    return next((level for level in LEVELS if level == wish.quality), None)


def _named(points: Sequence[Point], wish: Wish) -> Picked:
    for point in points:
        if point.name == wish.quality:
            if _beyond(point, wish):
                raise _nothing([point], wish)
            return Picked(point, "asked for by name")
    raise RequestError(
        f"no operating point '{wish.quality}'",
        expected=f"one of {', '.join([*LEVELS, *(point.name for point in points)])}",
        fix="See: aimass dial show MODEL",
        param="quality",
    )


def _gathering(within: Sequence[Point], point: Point, wish: Wish, why: str) -> Picked:
    """A point with the chunks that cost a stream least, where a wish says how long is allowed."""
    why += _limits(wish)
    if wish.max_latency_ms is None or point.stream_rtf is None:
        return Picked(point, why)
    alike = [one for one in within if one.stages == point.stages and one.stream_rtf is not None]
    least = min(alike, key=lambda one: one.stream_rtf or 0.0)
    return Picked(least, why + (f", in chunks of {least.chunk_ms:g} ms" if least.chunk_ms else ""))


def _beyond(point: Point, wish: Wish) -> float:
    """How far a point is beyond the limits, the ratios of both together; 0 within them."""
    over = 0.0
    if wish.max_error is not None and point.error_rate > wish.max_error:
        over += math.log((point.error_rate + _STEP) / (wish.max_error + _STEP))
    if wish.max_latency_ms is not None and point.lag_ms > wish.max_latency_ms:
        over += math.log(point.lag_ms / wish.max_latency_ms)
    return over


def _limits(wish: Wish) -> str:
    parts = []
    if wish.max_error is not None:
        parts.append(f"an error of at most {wish.max_error:.2%}")
    if wish.max_latency_ms is not None:
        parts.append(f"a latency of at most {wish.max_latency_ms:g} ms")
    return f" with {' and '.join(parts)}" if parts else ""


def _nothing(points: Sequence[Point], wish: Wish) -> RequestError:
    near = min(points, key=lambda point: _beyond(point, wish))
    tight = wish.max_error is not None and near.error_rate > wish.max_error
    return RequestError(
        f"no operating point{_limits(wish)}",
        expected=f"what one gives; the nearest is '{near.name}' with {near.error_rate:.2%} error "
        f"and {near.lag_ms:.0f} ms",
        fix="Ask for less, or see: aimass dial show MODEL",
        param="max_error" if tight else "max_latency_ms",
    )


def _unmeasured(name: str, wish: Wish) -> RequestError:
    param = next(key for key, value in wish.model_dump().items() if value is not None)
    odd = param == "quality" and wish.quality not in LEVELS
    return RequestError(
        f"{param} of '{name}', whose operating points nobody has measured",
        expected=f"one of {', '.join(LEVELS)}" if odd else "a model with operating points",
        fix=f"Type: aimass dial measure {name} --data DIR",
        param=param,
    )

"""The dial: what is picked satisfies what was asked, or the error says what is nearest."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import BundleError, RequestError
from aimass.registry import bundle as bundles
from aimass.registry.points import LEVELS, Point, Stage, Wish, by_cost, curve
from aimass.runtime import dial as dials
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.dial import Dial, Measured, check, dial_of, keep, pick, wish_of
from aimass.runtime.load import shipped

from . import digits


def point(name: str, error: float, adds: int | None = 1, lag: float = 100, **more: Any) -> Point:
    measured: dict[str, Any] = {
        "interval": (error, error),
        "utterances": 100,
        "speakers": 4,
        "rtf": 0.01,
        "latency_ms": lag,
        "wait_ms": 0,
        "memory_mb": 1,
    }
    return Point(name=name, error_rate=error, multiply_adds=adds, **(measured | more))


ERRORS = st.integers(0, 8).map(lambda n: n / 100)
LAGS = st.integers(1, 6).map(lambda n: n * 100.0)


@st.composite
def any_points(draw: st.DrawFn) -> list[Point]:
    count = draw(st.integers(1, 10))
    known = draw(st.booleans())
    return [
        point(
            f"p{n}",
            draw(ERRORS),
            draw(st.integers(1, 5)) if known else None,
            draw(LAGS),
            rtf=draw(st.integers(1, 5)) / 100,
        )
        for n in range(count)
    ]


def cost(one: Point) -> float:
    return one.rtf if one.multiply_adds is None else one.multiply_adds


def dominates(one: Point, other: Point) -> bool:
    own = (cost(one), one.error_rate, one.lag_ms)
    its = (cost(other), other.error_rate, other.lag_ms)
    return all(a <= b for a, b in zip(own, its, strict=True)) and own != its


@given(any_points())
def test_the_curve_has_no_dominated_point(points: list[Point]) -> None:
    kept = curve(points)
    assert kept == by_cost(kept)
    assert not any(dominates(one, other) for one in points for other in kept)
    same = {(cost(p), p.error_rate, p.lag_ms) for p in kept}
    for left_out in (p for p in points if p not in kept):
        own = (cost(left_out), left_out.error_rate, left_out.lag_ms)
        assert own in same or any(dominates(one, left_out) for one in kept)


@given(
    any_points(),
    st.sampled_from([None, *LEVELS]),
    st.none() | ERRORS,
    st.none() | LAGS,
)
def test_what_is_picked_satisfies_what_was_asked(
    points: list[Point], quality: str | None, most: float | None, lag: float | None
) -> None:
    points = curve(points)
    wish = Wish(quality=quality, max_error=most, max_latency_ms=lag)
    within = [
        p
        for p in points
        if (most is None or p.error_rate <= most) and (lag is None or p.lag_ms <= lag)
    ]
    if not within:
        with pytest.raises(RequestError, match="the nearest is 'p") as caught:
            pick(points, wish)
        assert caught.value.param in ("max_error", "max_latency_ms")
        return
    picked = pick(points, wish).point
    assert picked in within
    errors, costs = [p.error_rate for p in within], [cost(p) for p in within]
    if quality == "fast" or (quality is None and most is not None):
        assert cost(picked) == min(costs)
    elif quality == "accurate" or quality is None:
        assert picked.error_rate == min(errors)
    else:
        fast, best = pick(points, wish.model_copy(update={"quality": "fast"})).point, min(errors)
        assert fast.error_rate - picked.error_rate >= 0.9 * (fast.error_rate - best) - 1e-9
        assert cost(fast) <= cost(picked)


POINTS = (point("one", 0.05, 1), point("two", 0.02, 5, 300), point("all", 0.01, 10, 900))


def asked(**wish: Any) -> RecognizeOptions:
    return RecognizeOptions(**wish)


def test_the_nearest_is_told() -> None:
    with pytest.raises(RequestError, match=r"nearest is 'all' with 1\.00% error") as caught:
        pick(POINTS, Wish(max_error=0.001))
    assert caught.value.param == "max_error"
    with pytest.raises(RequestError, match=r"nearest is 'one' .* 100 ms") as caught:
        pick(POINTS, Wish(max_latency_ms=50))
    assert caught.value.param == "max_latency_ms"
    with pytest.raises(RequestError, match=r"no operating point 'best'.*fast, balanced, accurate"):
        pick(POINTS, Wish(quality="best"))
    with pytest.raises(RequestError, match="nearest is 'two'"):
        pick(POINTS, Wish(quality="two", max_latency_ms=200))
    assert pick(POINTS, Wish(quality="two")).point.name == "two"


@pytest.mark.parametrize(
    "wish", [{"quality": "a b"}, {"max_error": -0.1}, {"max_latency_ms": 0}, {"quality": ""}]
)
def test_what_nobody_can_ask(wish: dict[str, Any]) -> None:
    with pytest.raises(RequestError) as caught:
        wish_of(**wish)
    assert caught.value.param == next(iter(wish))


def test_a_request_comes_before_a_setting_and_that_before_the_bundle(tmp_path: Path) -> None:
    path = tmp_path / "set.json"
    dial = Dial("m", True, POINTS, Wish(quality="fast"), setting=path)

    def runs(**wish: Any) -> str | None:
        found = dial.point(asked(**wish))
        return None if found is None else found.name

    assert runs() == "one"
    keep(path, Wish(max_error=0.02))
    assert runs() == "two" and runs(quality="accurate") == "all"
    keep(path, Wish(quality="gone"))  # a point of another measuring: no fault of a request
    assert runs() is None
    keep(path, None)
    assert runs() == "one"
    assert Dial("m", True, POINTS).point(asked()) is None


def test_what_is_measured_here_comes_before_what_was_packed(tmp_path: Path) -> None:
    path = dials.points_path(tmp_path, "d" * 64)
    dial = Dial("m", True, POINTS, measured=path)
    own = Measured(model="m", machine="here", data="some", points=(point("own", 0.03),))
    keep(path, own)
    assert dial.points == own.points and dial.measured == own
    path.write_text("{")
    with pytest.raises(BundleError, match="cannot be read"):
        _ = dial.points
    path.write_text(json.dumps(own.model_dump() | {"format": 2}))
    with pytest.raises(BundleError):
        _ = dial.points


def test_a_model_without_points() -> None:
    single, many = Dial("m"), Dial("m", parts=True)
    for level in LEVELS:
        assert single.point(asked(quality=level)) is None
    assert many.point(asked(quality="accurate")) is None
    for dial, wish in (
        (many, {"quality": "fast"}),
        (single, {"quality": "two"}),
        (single, {"max_error": 0.1}),
        (single, {"quality": "fast", "max_latency_ms": 100}),
    ):
        with pytest.raises(RequestError, match="aimass dial measure m"):
            dial.point(asked(**wish))


def test_an_engine_is_asked_before_it_hears(tmp_path: Path) -> None:
    engine = digits.engine()
    check(engine, asked(), tmp_path)
    check(engine, asked(quality="balanced"), tmp_path)
    with pytest.raises(RequestError, match="max_error of 'digits'"):
        check(engine, asked(max_error=0.5), tmp_path)
    own = Measured(model="digits", machine="here", data="some", points=(point("own", 0.03),))
    keep(dials.points_path(tmp_path, engine.bundle.digest), own)
    check(engine, asked(max_error=0.5), tmp_path)
    assert dial_of(engine, tmp_path).points == own.points


def test_points_that_cannot_be() -> None:
    for odd in ({"name": "fast"}, {"rtf": float("nan")}, {"stages": [Stage(members=("a",))] * 9}):
        with pytest.raises(ValueError):
            Point.model_validate(POINTS[0].model_dump() | odd)
    for threshold in (-0.1, 1.1):
        with pytest.raises(ValueError):
            Stage(members=("a",), threshold=threshold)


CHUNKED = [
    point("all", 0.02, 9, 400, stream_rtf=0.05),
    point("all.160ms", 0.02, 9, 560, stream_rtf=0.03, chunk_ms=160),
    point("all.640ms", 0.02, 9, 1040, stream_rtf=0.01, chunk_ms=640),
    point("one", 0.04, 1, 300, stream_rtf=0.02, stages=(Stage(members=("a",)),)),
]


@pytest.mark.parametrize(
    ("wish", "name"),
    [
        (Wish(quality="accurate"), "all"),  # nobody said how long it may take
        (Wish(max_error=0.03), "all"),
        (Wish(max_latency_ms=2000), "all.640ms"),
        (Wish(max_latency_ms=600), "all.160ms"),
        (Wish(max_latency_ms=500), "all"),
        (Wish(max_latency_ms=350), "one"),
        (Wish(quality="fast", max_latency_ms=2000), "one"),
        (Wish(quality="all.160ms"), "all.160ms"),
    ],
)
def test_chunks_are_as_long_as_a_latency_allows(wish: Wish, name: str) -> None:
    found = pick(CHUNKED, wish)
    assert found.point.name == name
    chunk = found.point.chunk_ms
    assert (f"in chunks of {chunk:g} ms" in found.why) == bool(chunk and wish.quality is None)


def test_one_model_streams_in_the_chunks_of_its_point() -> None:
    engine = BundleEngine(bundles.load(shipped()["digits"]))
    sound, piece, told = digits.speech(), engine.sample_rate // 20, []
    at_once = engine.stream()
    engine.dial = Dial("digits", packed=(point("later", 0.0, chunk_ms=300),))
    later = engine.stream(RecognizeOptions(quality="later"))
    for first in range(0, len(sound), piece):
        for stream in (at_once, later):
            stream.accept(sound[first : first + piece])
        told.append((at_once.results().text, later.results().text))
    assert any(own and not late for own, late in told)
    whole = engine.recognize(sound, RecognizeOptions()).text
    assert at_once.finish().text == later.finish().text == whole != ""
    with pytest.raises(RequestError, match="no operating point 'sooner'"):
        engine.stream(RecognizeOptions(quality="sooner"))

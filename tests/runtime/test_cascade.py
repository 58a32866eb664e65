"""Cascades: threshold 0 is the first stage, threshold 1 the last, and nobody is asked twice."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples
from aimass.base.errors import BundleError
from aimass.decoding.combine import Method
from aimass.registry.bundle import Bundle
from aimass.registry.points import Point, Stage
from aimass.runtime.answers import stated
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.dial import Dial
from aimass.runtime.massive import MassiveEngine, StreamingMassiveEngine

from . import digits
from .digits import RATE, speech
from .massives import engine, massive

METHODS: tuple[Method, ...] = ("arithmetic", "geometric", "vote", "choose")
WEIGHTS = (0.5, 0.3, 0.2)
CASCADE = RecognizeOptions(quality="cascade", word_times=True)
PART = RecognizeOptions(quality="part", word_times=True)
WHOLE = RecognizeOptions(word_times=True)


@pytest.fixture(scope="module")
def babblers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """Three models that say different things."""
    folder = tmp_path_factory.mktemp("members")
    return {f"b{seed}": digits.babbling(folder / f"b{seed}", seed) for seed in (4, 5, 6)}


@pytest.fixture(scope="module")
def rates(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    """The same, one of which hears at another rate."""
    folder = tmp_path_factory.mktemp("members")
    return {
        f"b{seed}": digits.babbling(folder / f"b{seed}", seed, rate)
        for seed, rate in ((4, RATE), (5, RATE), (6, 2 * RATE))
    }


@pytest.fixture(scope="module")
def guessers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("members")
    return {f"g{s}": digits.guessing(folder / f"g{s}", s) for s in range(3)}


def point(name: str, *stages: Stage, **changes: Any) -> Point:
    """A point with numbers that mean nothing here."""
    measured: dict[str, Any] = {
        "error_rate": 0.1,
        "interval": (0.05, 0.15),
        "utterances": 10,
        "speakers": 2,
        "rtf": 0.01,
        "latency_ms": 100,
        "wait_ms": 50,
        "memory_mb": 5,
    }
    return Point(name=name, stages=stages, **(measured | changes))


def turned(found: MassiveEngine, *points: Point) -> MassiveEngine:
    """The engine with these points on its dial."""
    found.dial = Dial(found.name, True, points)
    return found


Made = Callable[..., MassiveEngine]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    """A massive model with a cascade of two stages, and a point of its first stage alone.

    Packed once, opened anew for each test.
    """
    packed: dict[str, Bundle] = {}

    def make(
        method: Method,
        members: dict[str, Bundle],
        threshold: float,
        first: Sequence[str],
        weights: Sequence[float] = WEIGHTS,
        **changes: Any,
    ) -> MassiveEngine:
        digests = [member.digest for member in members.values()]
        key = repr((method, list(members), digests, weights, changes))
        if key not in packed:
            folder = tmp_path_factory.mktemp("massive") / "many"
            packed[key] = massive(folder, method, members, weights, **changes)
        found = engine(packed[key])
        stages = (
            Stage(members=tuple(first), threshold=threshold),
            Stage(members=tuple(members)),
        )
        return turned(found, point("cascade", *stages), point("part", stages[0]))

    return make


def streamed(
    found: MassiveEngine, samples: Samples, cuts: Sequence[int], options: RecognizeOptions
) -> Hypothesis:
    assert isinstance(found, StreamingMassiveEngine)
    stream = found.stream(options)
    for piece in np.split(samples, sorted(cuts)):
        stream.accept(piece)
    return stream.finish()


def same(one: Hypothesis, other: Hypothesis) -> None:
    assert one.text == other.text
    assert [s.confidence for s in one.segments] == pytest.approx(
        [s.confidence for s in other.segments], abs=2e-3
    )


@pytest.mark.parametrize("method", METHODS)
def test_threshold_0_is_the_first_stage_and_1_the_whole(
    made: Made, babblers: dict[str, Bundle], method: Method
) -> None:
    for first in (["b4"], ["b5", "b6"]):
        low = made(method, babblers, 0.0, first)
        high = made(method, babblers, 1.0, first)
        for samples in (speech()[: 2 * RATE], np.zeros(RATE, np.float32)):
            same(low.recognize(samples, CASCADE), low.recognize(samples, PART))
            same(high.recognize(samples, CASCADE), high.recognize(samples, WHOLE))
    alone = BundleEngine(babblers["b4"])
    one = made(method, babblers, 0.0, ["b4"]).recognize(speech(), CASCADE)
    assert one.text == alone.recognize(speech(), WHOLE).text


@pytest.mark.parametrize("method", METHODS)
def test_an_answer_goes_on_exactly_below_the_threshold(
    made: Made, guessers: dict[str, Bundle], method: Method
) -> None:
    sounds = [speech()[: n * RATE // 2] for n in range(1, 9)]
    part = made(method, guessers, 0.0, ["g0"])
    sures = [stated(part.recognize(sound, PART)) for sound in sounds]
    threshold = float(np.median(sures))
    found = made(method, guessers, threshold, ["g0"], massive={"stop_early": False})
    went = 0
    for sound, sure in zip(sounds, sures, strict=True):
        on = sure < threshold
        same(found.recognize(sound, CASCADE), found.recognize(sound, WHOLE if on else PART))
        went += on
    assert 0 < went < len(sounds)


@pytest.mark.parametrize("method", METHODS)
def test_a_stream_in_any_pieces_is_the_whole(
    made: Made, rates: dict[str, Bundle], method: Method
) -> None:
    sounds = [np.repeat(speech()[: n * RATE // 2], 2) for n in range(1, 5)]
    part = made(method, rates, 0.0, ["b4", "b6"])
    sures = [stated(part.recognize(sound, PART)) for sound in sounds]
    middle = float(np.mean(sorted(sures)[1:3]))
    found = made(method, rates, middle, ["b4", "b6"])

    @settings(max_examples=6)
    @given(st.lists(st.integers(0, 8 * RATE), max_size=8), st.sampled_from(sounds))
    def law(cuts: list[int], samples: Samples) -> None:
        same(streamed(found, samples, cuts, CASCADE), found.recognize(samples, CASCADE))

    law()


def test_partials_are_of_the_first_stage(made: Made, babblers: dict[str, Bundle]) -> None:
    found = made("geometric", babblers, 1.0, ["b5"])
    assert isinstance(found, StreamingMassiveEngine)
    cascade, part = found.stream(CASCADE), found.stream(PART)
    for piece in np.split(speech(), 4):
        cascade.accept(piece)
        part.accept(piece)
        same(cascade.results(), part.results())
    last = cascade.finish()
    same(last, found.recognize(speech(), WHOLE))
    assert last.text != part.finish().text


def count_steps(found: MassiveEngine) -> list[str]:
    """Notes the members that are run from now on, once for each run of a graph."""
    ran: list[str] = []
    for name, member in found.members.items():
        assert isinstance(member, BundleEngine)
        step = member.graph.step

        def noted(*given: Any, name: str = name, step: Any = step) -> Any:
            ran.append(name)
            return step(*given)

        member.graph.step = noted  # type: ignore[assignment, method-assign]
    return ran


@pytest.mark.parametrize("method", ["geometric", "choose"])
def test_nobody_is_asked_twice(made: Made, guessers: dict[str, Bundle], method: Method) -> None:
    found = made(method, guessers, 1.0, ["g0", "g1"], massive={"stop_early": False})
    ran = count_steps(found)
    for options, members in ((CASCADE, "012"), (PART, "01")):
        ran.clear()
        found.recognize(speech(), options)
        assert {name[1] for name in ran} == set(members)
        assert len({ran.count(name) for name in ran}) == 1
    for cuts in ([], [RATE, 2 * RATE]):
        ran.clear()
        streamed(found, speech(), cuts, PART)
        first = sorted(ran)
        ran.clear()
        found.recognize(speech(), CASCADE)
        once = ran.count("g2")
        ran.clear()
        streamed(found, speech(), cuts, CASCADE)
        assert sorted(ran) == [*first, *["g2"] * once]


def test_the_last_stage_stops_early(made: Made, guessers: dict[str, Bundle]) -> None:
    same_one = dict.fromkeys("abcde", guessers["g0"])
    weights = (0.3, 0.3, 0.2, 0.1, 0.1)
    found = made("arithmetic", same_one, 1.0, ["a"], weights)
    sounds = [speech()[: n * RATE // 2] for n in range(1, 9)]
    ran = count_steps(found)
    found.recognize(max(sounds, key=lambda s: stated(found.recognize(s, PART))), CASCADE)
    assert "e" not in ran


def test_a_student_beside_the_members(made: Made, babblers: dict[str, Bundle]) -> None:
    """Its weight is 0: it is heard in its own stage alone."""
    weights = (0.0, 0.6, 0.4)
    for method in METHODS:
        found = made(method, babblers, 1.0, ["b4"], weights)
        same(found.recognize(speech(), CASCADE), found.recognize(speech(), WHOLE))
        own = found.recognize(speech(), PART).text
        assert own == BundleEngine(babblers["b4"]).recognize(speech(), WHOLE).text


def fails(found: MassiveEngine, *names: str) -> None:
    for name in names:
        member = found.members[name]
        assert isinstance(member, BundleEngine)

        def odd(*given: Any) -> Any:
            raise ValueError("out of order")

        member.graph.step = odd  # type: ignore[assignment, method-assign]


@pytest.mark.parametrize("method", METHODS)
def test_members_that_fail(made: Made, babblers: dict[str, Bundle], method: Method) -> None:
    found = made(method, babblers, 0.0, ["b4"])
    wanted = made(method, {n: babblers[n] for n in ("b5", "b6")}, 0.0, ["b5"], (0.6, 0.4))
    fails(found, "b4")  # then the next stage answers
    same(found.recognize(speech(), CASCADE), wanted.recognize(speech(), WHOLE))
    assert found.dead == {"b4": "out of order"}
    found = made(method, babblers, 1.0, ["b4"])
    part = found.recognize(speech(), PART)
    fails(found, "b5", "b6")  # then the first stage does
    same(found.recognize(speech(), CASCADE), part)
    fails(found, "b4")
    with pytest.raises(BundleError, match="out of order"):
        found.recognize(speech(), CASCADE)


def test_members_that_are_not_there(made: Made, babblers: dict[str, Bundle]) -> None:
    found = made("vote", babblers, 0.0, ["b4"])
    gone = point("cascade", Stage(members=("b9",)), Stage(members=("b4",)))
    turned(found, gone, point("part", Stage(members=("b9",))))
    same(found.recognize(speech(), PART), found.recognize(speech(), WHOLE))
    alone = BundleEngine(babblers["b4"]).recognize(speech(), WHOLE)
    assert found.recognize(speech(), CASCADE).text == alone.text


def test_long_sound_is_left_to_the_first_stage(made: Made, guessers: dict[str, Bundle]) -> None:
    found = made("geometric", guessers, 1.0, ["g0"])
    found.max_seconds = 2.0
    same(streamed(found, speech(), [RATE], CASCADE), streamed(found, speech(), [], PART))
    short = speech()[:RATE]
    same(streamed(found, short, [100], CASCADE), found.recognize(short, WHOLE))


def test_sound_is_gathered(made: Made, babblers: dict[str, Bundle]) -> None:
    found = made("geometric", babblers, 1.0, ["b4"])
    gathered = point("cascade", *[Stage(members=("b4",))], chunk_ms=500)
    turned(found, gathered)
    ran = count_steps(found)
    assert isinstance(found, StreamingMassiveEngine)
    stream = found.stream(CASCADE)
    for piece in np.split(speech(), 100):  # of 40 ms
        stream.accept(piece)
    last = stream.finish()
    assert len(ran) <= 10
    same(last, found.recognize(speech(), CASCADE))

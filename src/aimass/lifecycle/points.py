"""Measuring the operating points of a bundle: errors from what members said, time from its engine.

What each member says of every utterance is known already, and so is what any cascade of them
answers. The points that are worth it are then run through the engine that serves them, on some of
the utterances: for their time, and to see that it answers what was computed.
"""

import logging
import platform
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from aimass.base.contract import Engine, Progress, RecognizeOptions, Samples
from aimass.base.errors import BundleError
from aimass.base.randomness import generator
from aimass.compression.bound import peak
from aimass.data.corpus import Clip
from aimass.data.sound import sound_of
from aimass.decoding.combination import Combination
from aimass.ensemble.kept import Outputs, scored
from aimass.ensemble.points import Outcome, Plan, Table, outcome
from aimass.ensemble.sweep import SweepSpec, sweep
from aimass.ensemble.ways import Kind, judge_of
from aimass.ensemble.weigh import Judge
from aimass.registry import bundle as bundles
from aimass.registry.bundle import WHOLE_SECONDS, Bundle
from aimass.registry.massive import MemberModel
from aimass.registry.points import Point, Wish, curve
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.dial import Dial
from aimass.runtime.massive import MassiveEngine, open_bundle, whole
from aimass.runtime.memory import memory_of

log = logging.getLogger("aimass.lifecycle")

ALONE = "as-it-is"
PIECE_SECONDS = 0.1
CHUNKS_MS = (160, 320, 640)  # in which a stream may be heard instead of at once
WORTH = 0.9  # of the work of shorter chunks, or less: else longer ones are not worth the wait
LATE = 0.95  # the share of utterances that wait no longer


@dataclass(frozen=True, slots=True)
class DialSpec:
    """How to measure.

    Args:
        sweep: which points are worth measuring.
        timed: the most utterances that are run through the engine; evenly from all.
        waited: the most of them that are run as streams too.
        seconds: after so many no further utterance is begun, files and streams each; large
            pretrained members take seconds for one.
    """

    sweep: SweepSpec = field(default_factory=SweepSpec)
    timed: int = 200
    waited: int = 50
    seconds: float = 300.0


@dataclass(frozen=True, slots=True)
class Trial:
    """All points that were measured.

    Args:
        points: those that others dominate too.
        checked: answers of the engine that were compared with what was computed.
        differing: those of them that had another number of errors.
    """

    points: tuple[Point, ...]
    checked: int
    differing: int

    @property
    def kept(self) -> tuple[Point, ...]:
        """Those that no other one dominates, from the cheapest to the costliest.

        Longer chunks of one of them stay beside it, as long as each saves a stream work.
        """
        found = []
        for point in curve([point for point in self.points if not point.chunk_ms]):
            found.append(point)
            for longer in self.points:
                before = found[-1]
                if longer.chunk_ms and longer.stages == point.stages and _saves(longer, before):
                    found.append(longer)
        return tuple(found)

    def to_dict(self, model: str) -> dict[str, Any]:
        """Plain values for JSON."""
        kept = self.kept
        others = [point for point in self.points if point not in kept]
        return {
            "model": model,
            "machine": machine(),
            "points": [point.model_dump(mode="json") for point in kept],
            "dominated": [point.model_dump(mode="json") for point in others],
            "checked": self.checked,
            "differing": self.differing,
        }


def _saves(longer: Point, before: Point) -> bool:
    """Whether longer chunks cost a stream enough less."""
    own, other = longer.stream_rtf, before.stream_rtf
    return own is not None and other is not None and own <= WORTH * other


def measure_points(
    bundle: Bundle,
    models: Mapping[str, MemberModel],
    heard: Mapping[str, Outputs],
    kind: Kind,
    home: Path,
    spec: DialSpec,
    progress: Progress,
) -> Trial:
    """The operating points of a bundle, measured on this machine.

    Args:
        models: its members by name, or itself.
        heard: what they said of ``dev``, where points are chosen, and of ``test`` where that is
            other data, where they are measured; else they are measured on speakers of dev who
            were left out. Of a single model either will do.
        kind: of the members.
    """
    last = heard["test" if "test" in heard else "dev"]
    computed: list[Outcome]
    if bundle.massive is None:
        judge = _judge_alone(last, kind)
        plans = [Plan(ALONE, (), judge.alone[0], 0.0)]
        found = [Outcome(judge.alone[0], float(last.costs[0].multiply_adds or 0), (1.0,))]
        computed = found
        counted = last.costs[0].multiply_adds is not None
    else:
        combination, early = bundle.massive.combining, bundle.massive.stop_early
        table = Table(judge_of(heard["dev"], kind, combination), early)
        plans = sweep(table, spec.sweep)
        judge = judge_of(last, kind, combination)
        there = Table(judge, early) if "test" in heard else table
        found = computed = [outcome(there, plan.stages) for plan in plans]
        if "test" not in heard:  # then errors are told of what was chosen without the speaker
            found = [
                Outcome(plan.errors, one.cost, one.shares)
                for plan, one in zip(plans, computed, strict=True)
            ]
        counted = there.counted
    points = [_point(plan, one, judge, counted) for plan, one in zip(plans, found, strict=True)]
    return _timed(bundle, models, points, computed, judge, home, spec, progress)


def with_points(bundle: Bundle, points: Sequence[Point], wish: Wish | None = None) -> Bundle:
    """A bundle that is not published yet, with its operating points written into it.

    Args:
        wish: which of them is taken where nobody asks for one; the model as it is when None.
    """
    content = bundle.manifest.model_dump(mode="json", exclude={"format", "files", "points", "dial"})
    content["points"] = [point.model_dump(mode="json") for point in points]
    if wish:
        content["dial"] = wish.model_dump(mode="json")
    return bundles.write(bundle.folder, content, bundle.golden())


def _judge_alone(heard: Outputs, kind: Kind) -> Judge:
    return judge_of(heard, kind, Combination.equal("choose", 1))


def _point(plan: Plan, found: Outcome, judge: Judge, counted: bool) -> Point:
    """A point with everything but what only its engine tells."""
    return Point(
        name=plan.name,
        stages=plan.stages,
        error_rate=judge.rate(found.errors),
        interval=judge.interval(found.errors),
        utterances=len(judge.speakers),
        speakers=len(set(judge.speakers) - {None}),
        multiply_adds=round(found.cost) if counted else None,
        shares=tuple(round(share, 4) for share in found.shares) if plan.stages else (),
        rtf=0.0,
        latency_ms=0.0,
        wait_ms=0.0,
        memory_mb=0.0,
    )


@dataclass(slots=True)
class _Clock:
    """What the engine showed of one point: work and sound in seconds, of files and of streams."""

    work: float = 0.0
    sound: float = 0.0
    waits: list[float] = field(default_factory=list)
    stream_work: float = 0.0
    stream_sound: float = 0.0
    differing: int = 0

    @property
    def stream_rtf(self) -> float | None:
        """Work for a second of streamed sound; None where nothing was streamed."""
        return self.stream_work / self.stream_sound if self.stream_sound else None

    @property
    def wait_ms(self) -> float:
        """From the last sample to the final answer; 19 of 20 utterances took no longer."""
        return 1000 * float(np.quantile(self.waits, LATE)) if self.waits else 0.0


def _timed(
    bundle: Bundle,
    models: Mapping[str, MemberModel],
    points: Sequence[Point],
    computed: Sequence[Outcome],
    judge: Judge,
    home: Path,
    spec: DialSpec,
    progress: Progress,
) -> Trial:
    """Run points through the engine, in turn on each utterance, so that all meet the same noise.

    Args:
        computed: what the members' answers say that each point gives.
    """
    memory = _memory(models)
    engine = whole(open_bundle(bundle.folder, home=home))
    clocks = {point.name: _Clock() for point in points}
    clips = judge.outputs.clips
    places = np.linspace(0, len(clips) - 1, min(spec.timed, len(clips))).round().astype(int)
    places = generator(0, "timed").permutation(places)  # whoever is left out is no speaker's
    stream, until = max(1, len(places) // max(1, spec.waited)), time.monotonic() + spec.seconds
    for number, place in enumerate(places.tolist()):
        if number and time.monotonic() > until:
            places = places[:number]
            break
        samples = sound_of(clips[place], engine.sample_rate)
        for point, own in zip(points, computed, strict=True):
            clock = clocks[point.name]
            errors = _run(engine, point, clips[place], samples, judge, clock)
            clock.differing += bool(errors is not None and errors != own.errors[place])
            if number % stream == 0:
                _wait(engine, point, clips[place], samples, clock)
        progress("time", number + 1, len(places))
    differing = sum(clock.differing for clock in clocks.values())
    if differing:
        log.warning("%d answers of '%s' are not what was computed", differing, engine.name)
    told = {p.name: _told(p, clocks[p.name], bundle, models, memory) for p in points}
    if hasattr(engine, "stream"):
        some = [clips[place] for place in places[:: 2 * stream].tolist()]
        chunked = _chunked(engine, curve(list(told.values())), some, spec.seconds, progress)
        told |= {point.name: point for point in chunked}
    engine.close()
    return Trial(tuple(told.values()), len(points) * len(places), differing)


def _chunked(
    engine: Engine,
    points: Sequence[Point],
    clips: Sequence[Clip],
    seconds: float,
    progress: Progress,
) -> list[Point]:
    """Points and their longer chunks, with the work of a stream, all in turn."""
    longer = [
        point.model_copy(
            update={
                "name": f"{point.name}.{chunk_ms}ms",
                "chunk_ms": float(chunk_ms),
                "latency_ms": point.latency_ms + chunk_ms,
            }
        )
        for point in points
        for chunk_ms in CHUNKS_MS
    ]
    clocks = {point.name: _Clock() for point in (*points, *longer)}
    until = time.monotonic() + seconds
    for number, clip in enumerate(clips):
        if number and time.monotonic() > until:
            break
        samples = sound_of(clip, engine.sample_rate)
        for point in (*points, *longer):
            _wait(engine, point, clip, samples, clocks[point.name])
        progress("stream", number + 1, len(clips))
    return [
        point.model_copy(
            update={"stream_rtf": clocks[point.name].stream_rtf}
            | ({"wait_ms": clocks[point.name].wait_ms} if point.chunk_ms else {})
        )
        for point in (*points, *longer)
    ]


def _dialled(engine: Engine, point: Point) -> None:
    """Set a model of ours to a point that nobody stored yet."""
    if isinstance(engine, MassiveEngine | BundleEngine):
        engine.dial = Dial(engine.name, isinstance(engine, MassiveEngine), (point,))


def _run(
    engine: Engine, point: Point, clip: Clip, samples: Samples, judge: Judge, clock: _Clock
) -> float | None:
    """Answer one utterance; gives the errors, None where the sound is cut for its length."""
    kept = samples[: round(engine.max_seconds * engine.sample_rate)]
    options = RecognizeOptions(language=clip.language, quality=point.name)
    _dialled(engine, point)
    started = time.perf_counter()
    answer = engine.recognize(kept, options)
    clock.work += time.perf_counter() - started
    clock.sound += len(kept) / engine.sample_rate
    if len(kept) < len(samples):
        return None
    return float(judge.counted([scored(clip, answer.text, None, None)])[0])


def _wait(engine: Engine, point: Point, clip: Clip, samples: Samples, clock: _Clock) -> None:
    """Hear one utterance piece by piece, for the work and the wait after its last sample."""
    kept = samples[: round(engine.max_seconds * engine.sample_rate)]
    options = RecognizeOptions(language=clip.language, quality=point.name)
    _dialled(engine, point)
    streaming = getattr(engine, "stream", None)
    if streaming is None:
        started = time.perf_counter()
        engine.recognize(kept, options)
        clock.waits.append(time.perf_counter() - started)
        return
    begun = time.perf_counter()
    stream = streaming(options)
    piece = round(PIECE_SECONDS * engine.sample_rate)
    for first in range(0, len(kept), piece):
        stream.accept(kept[first : first + piece])
    started = time.perf_counter()
    stream.finish()
    ended = time.perf_counter()
    clock.waits.append(ended - started)
    clock.stream_work += ended - begun
    clock.stream_sound += len(kept) / engine.sample_rate


def _told(
    point: Point,
    clock: _Clock,
    bundle: Bundle,
    models: Mapping[str, MemberModel],
    memory: Mapping[str, float],
) -> Point:
    """A point with what its engine showed."""
    rtf = clock.work / max(clock.sound, 1e-9)
    counted = point.multiply_adds is not None and rtf > 0
    members = point.members or tuple(_heard(bundle, models))
    first = point.stages[0].members if point.stages else members
    return point.model_copy(
        update={
            "rtf": rtf,
            "of_peak": 2 * (point.multiply_adds or 0) / rtf / peak() if counted else None,
            "stream_rtf": clock.stream_rtf,
            "wait_ms": clock.wait_ms,
            "latency_ms": max(_behind_ms(models[name]) for name in first),
            "memory_mb": sum(memory[name] for name in members),
        }
    )


def _heard(bundle: Bundle, models: Mapping[str, MemberModel]) -> list[str]:
    """The members of a model as it is."""
    if bundle.massive is None:
        return list(models)
    weights = bundle.massive.combining.weights
    return [name for name, weight in zip(models, weights, strict=True) if weight > 0]


def _behind_ms(model: MemberModel) -> float:
    """How long after a sound a member's rows can have it, computing aside."""
    if not isinstance(model, Bundle) or model.form.whole:
        return 1000 * WHOLE_SECONDS  # nothing is heard before the end
    features, form = model.features, model.form
    frames = features.frame_length_ms + (form.stack - 1) * 1000 * features.frame_shift
    return frames + 1000 * form.tail


def _memory(models: Mapping[str, MemberModel]) -> dict[str, float]:
    """What each member takes, megabytes: its weights at least, and at worst no more is known."""
    kinds = {
        name: ("bundle" if isinstance(model, Bundle) else model.kind, model.folder)
        for name, model in models.items()
    }
    try:
        grown = memory_of(kinds)
    except BundleError as error:  # no reason to lose what was built
        log.warning("memory is told by weights alone: %s", error)
        grown = dict.fromkeys(models, 0.0)
    return {name: max(grown[name], _weights_mb(model)) for name, model in models.items()}


def _weights_mb(model: MemberModel) -> float:
    files = [model.graph] if isinstance(model, Bundle) else [model.folder / f for f in model.files]
    return sum(path.stat().st_size for path in files) / 1e6


def machine() -> str:
    """The machine in a few words, for people."""
    name = platform.processor() or platform.machine()
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                name = line.partition(":")[2].strip()
                break
    return f"{name}, {platform.system()}"

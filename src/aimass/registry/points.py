"""Operating points: measured settings of the dial, and which of them are worth having.

A point says what runs and what that was measured to give. What runs is the model as it is, or a
cascade of its members in stages: an answer that is less sure than its stage wants goes on to the
next stage, which asks more members. One stage is a part of the members, without going on.
"""

from collections.abc import Iterable, Sequence
from typing import Any, Literal, get_args

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    model_serializer,
    model_validator,
)

from aimass.decoding.combination import MAX_TEMPERATURE, MIN_TEMPERATURE

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
MOST_POINTS = 64
MOST_STAGES = 8

Level = Literal["fast", "balanced", "accurate"]
LEVELS: tuple[Level, ...] = get_args(Level)


class _Brief(BaseModel):
    """Leaves out what is not there: TOML has no word for it."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Stage(_Brief):
    """Members whose answers are combined, with the weights that the model gives them.

    Args:
        members: by name; those that an earlier stage asked are not asked again.
        threshold: an answer that is less sure than this goes on to the next stage: at 0 none
            does, at 1 all do. Of the last stage it says nothing.
        temperature: at which the confidences of this stage mean what they say.
    """

    members: tuple[str, ...] = Field(min_length=1)
    threshold: float = Field(0.0, ge=0, le=1)
    temperature: float = Field(1.0, ge=MIN_TEMPERATURE, le=MAX_TEMPERATURE)


class Point(_Brief):
    """A setting of the dial, with what was measured for it.

    Args:
        stages: what runs; the model as it is where there are none.
        chunk_ms: in a stream, sound is gathered until there is so much of it; 0 runs at once.
        error_rate, interval: on recordings on which nothing was fitted, of so many utterances by
            so many speakers.
        rtf: seconds of work for one second of sound, on one core of the machine that measured.
        stream_rtf: the same where sound comes in pieces of a tenth of a second; None of a model
            that does not stream.
        multiply_adds: for one second of sound, on average; None where a member's are unknown.
        of_peak: the operations per second that these come to, two each, as a share of what one
            core's best product of matrices reaches on the machine that measured.
        latency_ms: how long after a sound the words so far can have it, computing aside.
        wait_ms: from the last sample to the final answer; 19 of 20 utterances took no longer.
        memory_mb: what the members that may be asked take, megabytes.
        shares: of the sound that each stage was given.
    """

    name: str = Field(pattern=NAME)
    stages: tuple[Stage, ...] = Field((), max_length=MOST_STAGES)
    chunk_ms: float = Field(0.0, ge=0, le=10_000)
    error_rate: float = Field(ge=0)
    interval: tuple[float, float]
    utterances: int = Field(ge=0)
    speakers: int = Field(ge=0)
    rtf: float = Field(ge=0)
    stream_rtf: float | None = Field(None, ge=0)
    multiply_adds: int | None = Field(None, ge=0)
    of_peak: float | None = Field(None, ge=0)
    latency_ms: float = Field(ge=0)
    wait_ms: float = Field(ge=0)
    memory_mb: float = Field(ge=0)
    shares: tuple[float, ...] = ()

    @model_validator(mode="after")
    def _fits(self) -> "Point":
        if self.name in LEVELS:
            raise ValueError(f"'{self.name}' is a level of quality, and names no point")
        return self

    @property
    def lag_ms(self) -> float:
        """What a budget of latency is about: the worse of a stream's lag and its last wait."""
        return max(self.latency_ms, self.wait_ms)

    @property
    def members(self) -> tuple[str, ...]:
        """Every member that may be asked; nothing where the model runs as it is."""
        return tuple(dict.fromkeys(name for stage in self.stages for name in stage.members))


class Wish(_Brief):
    """What is asked of the dial: a level of quality or the name of a point, and limits.

    Args:
        quality: ``fast``, ``balanced``, ``accurate``, or a point's name.
        max_latency_ms: limit of `Point.lag_ms`.
        max_error: limit of the error rate.
    """

    quality: str | None = Field(None, pattern=NAME)
    max_latency_ms: float | None = Field(None, gt=0)
    max_error: float | None = Field(None, ge=0)

    def __bool__(self) -> bool:
        return any(value is not None for value in self.__dict__.values())


def by_cost(points: Iterable[Point]) -> list[Point]:
    """Points from the cheapest to the costliest.

    Cost is counted in multiply-adds, which are the same anywhere, where all of them are known,
    else in seconds. Of equal cost the better one comes first.
    """
    found = list(points)
    counted = all(point.multiply_adds is not None for point in found)

    def cost(point: Point) -> tuple[float, ...]:
        own = float(point.multiply_adds or 0) if counted else point.rtf
        return own, point.error_rate, point.lag_ms, point.memory_mb

    return sorted(found, key=lambda point: (cost(point), point.name))


def curve(points: Sequence[Point]) -> list[Point]:
    """The points that no other one dominates, from the cheapest to the costliest.

    One dominates another if it is no worse in cost, error and latency, and better in one of them.
    Of points that are the same in all three the first is kept.
    """
    kept: list[Point] = []
    for point in by_cost(points):  # who comes first is no more expensive
        if not any(
            other.error_rate <= point.error_rate and other.lag_ms <= point.lag_ms for other in kept
        ):
            kept.append(point)
    return kept

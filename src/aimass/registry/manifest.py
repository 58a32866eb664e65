"""What ``bundle.toml`` holds: an ordinary bundle's front end and graph, or a massive one's members.

Both say who they are in the same words; a program that asks for a name, a task, scores or licences
need not know which it meets.
"""

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    field_validator,
    model_serializer,
    model_validator,
)

from aimass.base.contract import Task
from aimass.base.errors import BundleError, FeatureError
from aimass.decoding.combine import Combination
from aimass.features.spec import FeatureSpec
from aimass.registry.points import MOST_POINTS, Point, Wish

NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"
DIGEST = r"^[0-9a-f]{64}$"
MOST_MEMBERS = 64
ON_ROWS = ("arithmetic", "geometric")
"""Methods that combine posteriors, so that members share their outputs."""


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class _Brief(_Strict):
    """Leaves out what is not there: TOML has no word for it."""

    @model_serializer(mode="wrap")
    def _said(self, handler: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return {key: value for key, value in handler(self).items() if value is not None}


class Features(_Strict):
    """The front end, as `FeatureSpec` holds it."""

    kind: str
    sample_rate: int = Field(ge=8000, le=48000)
    bins: int = Field(gt=0, le=512)
    frame_length_ms: float = Field(gt=0)
    frame_shift_ms: float = Field(gt=0)
    compression: str = "log"  # bundles packed before there was a choice do not name it

    @model_validator(mode="after")
    def _fits(self) -> "Features":
        try:
            FeatureSpec(**self.model_dump())
        except FeatureError as error:
            raise ValueError(str(error)) from error
        return self


class Graph(_Strict):
    """How the streaming graph is fed.

    ``stack`` feature frames make one output row, ``cache`` is the shape of one stream's past,
    ``tail`` the seconds of silence that follow the last sample so that the last word comes out.
    A ``whole`` graph is given an utterance in one piece, of 30 s with the tail at most.
    """

    stack: int = Field(gt=0)
    cache: tuple[int, int, int]
    tail: float = Field(ge=0, le=10)
    precision: str
    whole: bool = False


class Member(_Brief):
    """One model of a massive model.

    Args:
        digest: of the ``bundle.toml`` in ``members/NAME``; of a pretrained model, what
            `aimass.registry.massive.digest_of` gives.
        pretrained: the name under which a model that is not contained is kept in
            ``AIMASS_HOME/models``.
    """

    name: str = Field(pattern=NAME)
    digest: str = Field(pattern=DIGEST)
    pretrained: str | None = Field(None, pattern=NAME)


class Vote(_Strict):
    """How words are voted on, as `aimass.decoding.voting.VoteSpec` holds it."""

    alpha: float = Field(0.5, ge=0, le=1)
    confidence: Literal["mean", "max"] = "mean"
    null: float = Field(0.5, ge=0, le=1)


class Massive(_Strict):
    """What makes many models one.

    Args:
        sample_rate: of the sound that the whole takes; members that want another are given it.
        combination: what `Combination.to_dict` gives, in the order of the members.
        word_times: whether members are asked for word times where answers are combined. Times
            and confidences help a vote, but cost some engines accuracy (Whisper).
        stop_early: whether members are no longer asked once the outcome is decided.
        vote: how votes are counted where the method is ``vote``.
    """

    sample_rate: int = Field(ge=8000, le=48000)
    combination: dict[str, Any]
    members: tuple[Member, ...] = Field(min_length=1, max_length=MOST_MEMBERS)
    word_times: bool = True
    stop_early: bool = True
    vote: Vote = Vote()

    @field_validator("combination")
    @classmethod
    def _combines(cls, found: Mapping[str, Any]) -> dict[str, Any]:
        try:
            return Combination.from_dict(found).to_dict()
        except BundleError as error:
            raise ValueError(str(error)) from error

    @model_validator(mode="after")
    def _fits(self) -> "Massive":
        names = {member.name.casefold() for member in self.members}  # folders on any disk
        if len(names) < len(self.members):
            raise ValueError("two members have one name")
        if len(self.combination["weights"]) != len(self.members):
            raise ValueError("there is not one weight for each member")
        return self

    @property
    def combining(self) -> Combination:
        """How the outputs of the members become one."""
        return Combination.from_dict(self.combination)

    @property
    def contained(self) -> tuple[Member, ...]:
        """The members whose bundles lie in the folder."""
        return tuple(member for member in self.members if member.pretrained is None)


class Manifest(_Brief):
    """The content of ``bundle.toml``: features and graph, or ``massive``.

    ``points`` are the operating points that were measured when it was packed, and ``dial`` says
    which of them is taken where nobody asks for one.
    """

    format: int
    name: str = Field(pattern=NAME)
    task: Task
    language: str
    metric: str
    parameters: int
    features: Features | None = None
    graph: Graph | None = None
    massive: Massive | None = None
    points: tuple[Point, ...] | None = Field(None, max_length=MOST_POINTS)
    dial: Wish | None = None
    scores: dict[str, Any]
    lineage: dict[str, Any]
    licences: dict[str, str]
    files: dict[str, str]

    @model_validator(mode="after")
    def _one_kind(self) -> "Manifest":
        own = [part is not None for part in (self.features, self.graph)]
        if any(own) if self.massive else not all(own):
            raise ValueError("a bundle has features and a graph, or members")
        if self.massive and self.task is Task.EMBED:
            raise ValueError("voiceprints of several models do not combine")
        return self

    @model_validator(mode="after")
    def _points_fit(self) -> "Manifest":
        names = [point.name for point in self.points or ()]
        if len(set(names)) < len(names):
            raise ValueError("two points have one name")
        known = {member.name for member in self.massive.members} if self.massive else set()
        for point in self.points or ():
            if odd := set(point.members) - known:
                raise ValueError(f"the point '{point.name}' asks for {', '.join(sorted(odd))}")
        return self

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model was trained on; ``zh+en`` stands for two."""
        return tuple(self.language.split("+"))

    @property
    def on_rows(self) -> bool:
        """Whether it is a massive model that combines posteriors."""
        return self.massive is not None and self.massive.combination["method"] in ON_ROWS

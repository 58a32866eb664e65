"""The scenario: what one group of users speaks about, in one YAML file.

::

    name: commands               # the model's name
    task: classify               # transcribe | classify | embed
    language: zh+en              # ISO 639-1; several joined by +
    data:                        # any layout of docs/data.md
      train: ../data/commands
      dev: ../data/commands-dev  # held out from train when not given
      test: ../data/commands-test
      synthetic: ../data/spoken  # from `aimass data speak`: for training alone
      columns: {text: sentence}  # our names of columns to the table's, where it cannot be guessed
      exclude: [silent]          # codes of `aimass data check` whose clips are left out
      unlabelled: ../data/more   # recordings without texts, for students of a teacher
    synthesis: {engine: kokoro, count: 20}   # speak the texts too, to train on
    features: {kind: fbank, bins: 80}
    augment: {policy: strong, noise: ../data/noise, rooms: ../data/rooms}
    training: {epochs: 40}
    members:                     # a number, or a list; each may have sections of its own
      - {family: conv, parameters: 280000}
      - {family: recurrent, features: {bins: 40}, seed: 1, bag: {share: 0.8, by: speaker}}
      - {engine: whisper-base}   # a model that is there already
    ensemble: {methods: [geometric, vote]}
    distil: {students: [{family: conv, parameters: 60000}]}   # small models that learn from it
    gates: {error_rate: 0.03}
    quality: balanced            # what the dial is set to: or max_error, max_latency_ms
    tune: {training.learning_rate: {low: 0.001, high: 0.01, log: true}}
"""

import difflib
import reprlib
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import yaml
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from aimass.augment import policy as policies
from aimass.augment.policy import Policy
from aimass.base.contract import Task
from aimass.base.errors import ScenarioError
from aimass.data.checks import Code
from aimass.decoding.combination import Method
from aimass.ensemble.plan import MOST, planned
from aimass.ensemble.prune import Unit
from aimass.evaluation.gates import Gates
from aimass.lifecycle.search import Path as Place
from aimass.lifecycle.search import Range, placed
from aimass.models.spec import Family, Subsampling
from aimass.registry.points import Wish
from aimass.text.vocabulary import Kind

MAX_BYTES = 1 << 20
NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

Count = Annotated[int, Field(gt=0, le=100_000, strict=True)]
Seed = Annotated[int, Field(ge=0, strict=True)]


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Data(_Strict):
    """Where the recordings are; relative paths start at the scenario file.

    ``margin`` is the silence, in seconds, that stays around the speech of a training clip; all of
    it where none is given.
    """

    train: Path
    dev: Path | None = None
    test: Path | None = None
    synthetic: Path | None = None
    columns: dict[str, str] = {}
    margin: float | None = Field(None, ge=0.05, le=10)
    exclude: tuple[Code, ...] = ()
    unlabelled: Path | None = None


class Tokens(_Strict):
    """How words are spelled: see `aimass.text.vocabulary`; for the task transcribe alone."""

    kind: Kind = "auto"
    size: int | None = Field(None, gt=0, le=20_000, strict=True)


class Synthesis(_Strict):
    """Speech to train on beside the recordings: every text of the training data, spoken.

    ``voices`` are the engine's; all that were made for the language when there are none.
    """

    engine: str = Field("espeak", pattern=NAME)
    count: int = Field(10, gt=0, le=1000, strict=True)
    voices: tuple[str, ...] = ()
    blend: float = Field(0.0, ge=0, le=1)
    seed: Seed = 1


class Features(_Strict):
    """The front end; what is not set follows from the rate of the recordings."""

    kind: Literal["fbank", "mfcc", "gammatone", "waveform", "whisper", "nemo"] = "fbank"
    bins: int | None = Field(None, gt=0, le=512, strict=True)
    compression: Literal["log", "pcen"] = "log"
    sample_rate: int | None = Field(None, ge=8000, le=48000, strict=True)
    frame_length_ms: float = Field(25.0, gt=0, le=1000)


class Augment(_Strict):
    """How training sound strays from the recordings.

    ``policy`` is a name or the steps written out; ``joined`` says how many utterances are put
    together at most (3 where words are transcribed, else 1), and ``ramp`` in how many epochs all
    this grows to its full strength (4 where words are transcribed, else 0).
    """

    policy: str | dict[str, Any] = "standard"
    noise: Path | None = None
    rooms: Path | None = None
    joined: int | None = Field(None, gt=0, le=50, strict=True)
    pause: tuple[float, float] = (0.02, 0.3)
    ramp: int | None = Field(None, ge=0, le=1000, strict=True)
    passes: Count = 6

    def found(self) -> Policy:
        """The policy itself. Raises: ScenarioError for an unknown name, step or value."""
        if isinstance(self.policy, str):
            return policies.named(self.policy)
        return Policy.from_dict(self.policy)


class Training(_Strict):
    """How long and how hard to train.

    ``processes`` share every batch of one member; members train side by side anyway.
    """

    epochs: Count = 80
    batch_size: int = Field(32, gt=0, le=4096, strict=True)
    learning_rate: float = Field(3e-3, gt=0, le=1)
    matrix_rate: float = Field(0.02, ge=0, le=1)
    weight_decay: float = Field(0.05, ge=0, le=1)
    patience: int = Field(0, ge=0, le=100_000, strict=True)
    keep: int = Field(3, gt=0, le=50, strict=True)
    cycles: int = Field(1, gt=0, le=16, strict=True)
    processes: int = Field(1, gt=0, le=64, strict=True)
    seed: Seed = 0


class Bag(_Strict):
    """The part of the training data that a member hears; its seed is the member's own."""

    share: float = Field(1.0, gt=0, le=1)
    by: Literal["utterance", "speaker"] = "utterance"
    replace: bool = False
    seed: Seed | None = None


class Ensemble(_Strict):
    """How the members become one.

    ``methods`` are those that are tried, all that suit the task when there are none; ``budget``
    is the most that the members that stay may cost together, in ``unit``: seconds of work, or
    multiply-adds, for a second of sound. ``prune: false`` keeps all members, also those without
    which there are fewer errors on dev, which few speakers say little about.
    """

    methods: tuple[Method, ...] = ()
    budget: float | None = Field(None, gt=0)
    unit: Unit = "rtf"
    prune: bool = True

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if self.budget is not None and not self.prune:
            raise ValueError("either a 'budget', or 'prune: false', which keeps all members")
        return self


class Member(_Strict):
    """One model to train; sections that it does not have are the scenario's.

    ``engine`` names a model that is there already, and nothing else is said of such a member.

    ``subsampling`` is ``conv`` where the features are a spectrum and ``stack`` is a power of two.
    ``start_from`` names a model whose weights are taken over where they fit; with ``frozen`` all
    but the last layer stay as they are. The family ``whisper`` starts from a Whisper model, of
    whose encoder it takes the first ``layers``; with ``frozen`` the encoder stays as it is.
    """

    name: str | None = Field(None, pattern=NAME)
    family: Family = "conv"
    parameters: int = Field(280_000, ge=30_000, le=15_000_000, strict=True)
    stack: int = Field(4, gt=0, le=16, strict=True)
    subsampling: Subsampling | None = None
    kernel: int = Field(7, gt=1, le=65, strict=True)
    dilations: tuple[Annotated[int, Field(gt=0, le=64)], ...] = Field(
        (1, 2, 4), min_length=1, max_length=64
    )
    dropout: float = Field(0.1, ge=0, lt=1)
    seed: Seed | None = None
    start_from: str | None = None
    layers: int | None = Field(None, gt=0, le=64, strict=True)
    frozen: bool = False
    engine: str | None = None
    bag: Bag | None = None
    sampling_temperature: float = Field(1.0, ge=1, le=1000)
    tokens: Tokens | None = None
    features: Features | None = None
    augment: Augment | None = None
    training: Training | None = None

    @model_validator(mode="after")
    def _foreign(self) -> Self:
        if self.engine is not None and self.model_fields_set - {"engine", "name"}:
            raise ValueError("nothing but a name beside 'engine', whose model is trained already")
        return self


class Distil(_Strict):
    """Students: small models that learn from a teacher, beside labels or without them.

    ``teacher`` is any model, or what the build itself publishes where none is named. It has the
    share ``alpha`` in what a student learns, labels have the rest; posteriors are compared at
    ``temperature``. ``targets`` are its ``posteriors`` (labels) or its ``answers`` (words); of
    recordings that nobody labelled, answers below ``confidence`` teach nothing. ``n_best`` answers
    are taken of an engine that gives several. Of posteriors the ``keep`` likeliest are kept.
    """

    teacher: str | None = None
    targets: Literal["posteriors", "answers"] | None = None
    alpha: float = Field(0.9, ge=0, le=1)
    temperature: float = Field(2.0, gt=0, le=100)
    confidence: float = Field(0.7, ge=0, le=1)
    n_best: int = Field(1, gt=0, le=20, strict=True)
    keep: int = Field(20, gt=0, le=1000, strict=True)
    students: tuple[Member, ...] = Field(
        (Member(parameters=60_000),), min_length=1, max_length=MOST
    )
    training: Training | None = None

    @model_validator(mode="after")
    def _trained(self) -> Self:
        if any(one.engine is not None for one in self.students):
            raise ValueError("students that are trained, not an 'engine'")
        return self


class Scenario(_Strict):
    """A scenario file, checked."""

    name: str = Field(pattern=NAME)
    task: Task
    language: str = Field("en", pattern=r"^[a-z]{2,3}(\+[a-z]{2,3})*$")
    data: Data
    tokens: Tokens = Tokens()
    synthesis: Synthesis | None = None
    features: Features = Features()
    augment: Augment = Augment()
    training: Training = Training()
    joint: float = Field(0.0, ge=0, le=100)  # before members: their plan depends on it
    members: tuple[Member, ...] = Field((Member(),), min_length=1, max_length=MOST)
    ensemble: Ensemble = Ensemble()
    distil: Distil | None = None
    gates: Gates = Gates()
    tune: dict[Place, Range] = {}
    grammar: Path | None = None
    hotwords: tuple[str, ...] = ()
    quality: str | None = Field(None, pattern=NAME)
    max_error: float | None = Field(None, ge=0, allow_inf_nan=False)
    max_latency_ms: float | None = Field(None, gt=0, allow_inf_nan=False)

    @field_validator("members", mode="before")
    @classmethod
    def _planned(cls, members: Any, info: ValidationInfo) -> Any:
        """A number of members stands for a plan of so many."""
        if type(members) is not int:
            return members
        given = {
            name: found.model_dump(exclude_unset=True) if isinstance(found, BaseModel) else found
            for name, found in info.data.items()
        }
        return planned(members, info.data.get("task", Task.TRANSCRIBE), given)

    @property
    def wish(self) -> Wish:
        """Which operating point serves where a request asks for none."""
        return Wish(
            quality=self.quality, max_error=self.max_error, max_latency_ms=self.max_latency_ms
        )

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages spoken; the first is that of clips which do not name theirs."""
        return tuple(self.language.split("+"))

    def resolved(self) -> tuple[Member, ...]:
        """The members with a name of their own; those to train with every section and a seed."""
        members = []
        for number, member in enumerate(self.members):
            if member.engine is not None:
                name = member.name or member.engine.partition("@")[0]
                members.append(member.model_copy(update={"name": name}))
                continue
            training = member.training or self.training
            members.append(
                member.model_copy(
                    update={
                        "name": member.name or f"{member.family}-{number + 1}",
                        "seed": training.seed if member.seed is None else member.seed,
                        "tokens": member.tokens or self.tokens,
                        "features": self._heard_by(member),
                        "augment": member.augment or self.augment,
                        "training": training,
                    }
                )
            )
        return tuple(members)

    def students(self) -> tuple[Member, ...]:
        """The students with a name of their own, every section and a seed."""
        about = self.distil or Distil()
        named = [
            one.model_copy(update={"name": one.name or f"student{f'-{n}' if n > 1 else ''}"})
            for n, one in enumerate(about.students, start=1)
        ]
        own = {"members": tuple(named), "training": about.training or self.training}
        return self.model_copy(update=own).resolved()

    def _heard_by(self, member: Member) -> Features:
        """The front end of a member; Whisper brings its own."""
        if member.family == "whisper":
            return member.features or Features(kind="whisper")
        return member.features or self.features


_SECTIONS: dict[str, type[BaseModel]] = {
    "data": Data,
    "tokens": Tokens,
    "synthesis": Synthesis,
    "features": Features,
    "augment": Augment,
    "training": Training,
    "members": Member,
    "bag": Bag,
    "ensemble": Ensemble,
    "distil": Distil,
    "students": Member,
    "gates": Gates,
    "tune": Range,
}
DIAL = ("quality", "max_error", "max_latency_ms")
"""Keys that say what of a model serves, and change nothing of what is trained."""
_NOT_YET = ("grammar", "hotwords")


def read(path: Path) -> Scenario:
    """Read a scenario file; paths in it become absolute.

    Raises:
        ScenarioError: no file, no YAML, an unknown key (the nearest known one is named), a value
            of the wrong kind, or a key that this version does not act on yet.
    """
    return parse(load(path), path)


def parse(content: dict[str, Any], path: Path) -> Scenario:
    """Check the content of a scenario file; `path` is named in errors, and where paths start."""
    scenario = _valid(content, path)
    for key in _NOT_YET:
        if key in content:
            raise ScenarioError(
                f"{path} sets '{key}', which this version does not act on",
                expected=f"keys among {', '.join(k for k in _keys([]) if k not in _NOT_YET)}",
                fix=f"Remove '{key}'",
                param=key,
            )
    _refuse_same_names(path, scenario.resolved(), "members")
    _refuse_same_names(path, scenario.students(), "students")
    for member in (*scenario.resolved(), *scenario.students()):
        if member.augment is not None:
            member.augment.found()
        if member.family == "whisper":
            _refuse_no_whisper(path, member)
    _refuse_wrong_ranges(path, content, scenario)
    return _located(scenario, path.resolve().parent)


def _valid(content: dict[str, Any], path: Path) -> Scenario:
    try:
        return Scenario.model_validate(content)
    except ValidationError as error:
        raise _explained(path, error) from error


def _refuse_wrong_ranges(path: Path, content: dict[str, Any], scenario: Scenario) -> None:
    """What `tune` tries must be what the file itself might say."""
    for key, allowed in scenario.tune.items():
        for value in allowed.extremes():
            try:
                parse(placed(content, {key: value}) | {"tune": {}}, path)
            except ScenarioError as error:
                raise ScenarioError(
                    f"{path} lets 'tune' try what cannot be: {error.found}"[:1000],
                    expected=error.expected,
                    fix=f"Correct 'tune.{key}'",
                    param=f"tune.{key}",
                ) from error


def _refuse_same_names(path: Path, members: Sequence[Member], key: str) -> None:
    names = [member.name for member in members]
    for name in names:
        if names.count(name) > 1:
            raise ScenarioError(
                f"{path} has two {key} called '{name}'",
                expected="a name for each",
                fix="Rename one of them",
                param=f"{key}.name",
            )


def _refuse_no_whisper(path: Path, member: Member) -> None:
    heard = member.features.kind if member.features else "whisper"
    faults = {
        "start_from": (member.start_from is None, "nothing to start from", "whisper-base"),
        "features.kind": (heard != "whisper", f"features of kind {heard}", "whisper"),
        "stack": (member.stack % 2 == 1, f"stack: {member.stack}", "4, or another even number"),
    }
    for key, (wrong, found, wanted) in faults.items():
        if wrong:
            raise ScenarioError(
                f"{path} has a member '{member.name}' of the family whisper with {found}",
                expected=f"{key}: {wanted}",
                fix=f"Correct '{key}', or take another family",
                param=f"members.{key}",
            )


def _located(scenario: Scenario, base: Path) -> Scenario:
    """The scenario with absolute paths."""
    data = {
        key: base / value
        for key, value in scenario.data.model_dump(exclude_none=True).items()
        if isinstance(value, Path)
    }
    students = scenario.distil and scenario.distil.model_copy(
        update={"students": _at(scenario.distil.students, base)}
    )
    return scenario.model_copy(
        update={
            "data": scenario.data.model_copy(update=data),
            "augment": _absolute(scenario.augment, base),
            "members": _at(scenario.members, base),
            "distil": students,
        }
    )


def _at(members: Sequence[Member], base: Path) -> tuple[Member, ...]:
    return tuple(
        member.model_copy(update={"augment": _absolute(member.augment, base)}) for member in members
    )


def _absolute(augment: Augment | None, base: Path) -> Augment | None:
    if augment is None:
        return None
    paths = {key: getattr(augment, key) for key in ("noise", "rooms")}
    return augment.model_copy(update={k: base / path for k, path in paths.items() if path})


def load(path: Path) -> dict[str, Any]:
    """The content of a scenario file, unchecked. Raises: ScenarioError where it is no YAML."""
    if not path.is_file():
        raise ScenarioError(
            f"there is no file {path}",
            expected="a scenario file",
            fix="Check the path; docs/scenario.md shows one",
        )
    if path.stat().st_size > MAX_BYTES:
        raise ScenarioError(
            f"{path} has {path.stat().st_size} bytes",
            expected=f"at most {MAX_BYTES}",
            fix="Give the scenario file, not the data",
        )
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    # Dates and numbers that cannot be make the reader raise ValueError, deep nesting the other.
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise ScenarioError(
            f"{path} is no YAML: {error}",
            expected="keys and values such as 'name: digits'",
            fix="Correct the line named above",
        ) from error
    if not isinstance(content, dict):
        raise ScenarioError(
            f"{path} holds {type(content).__name__}",
            expected="keys and values such as 'name: digits'",
            fix="docs/scenario.md shows a scenario file",
        )
    return content


def _explained(path: Path, error: ValidationError) -> ScenarioError:
    """The first fault of a scenario in the words of the scenario."""
    fault = error.errors()[0]
    where = [str(part) for part in fault["loc"]]
    key = ".".join(where)
    if fault["type"] == "extra_forbidden":
        known = _keys(where[:-1])
        near = difflib.get_close_matches(where[-1], known, n=1, cutoff=0.5)
        return ScenarioError(
            f"{path} has the unknown key '{key}'",
            expected=f"one of {', '.join(known)}",
            fix=f"Did you mean '{near[0]}'?" if near else f"Remove '{key}'",
            param=key,
        )
    if fault["type"] == "missing":
        return ScenarioError(
            f"{path} lacks the key '{key}'",
            expected=f"a value for '{key}'",
            fix=f"Add '{key}:' to the file",
            param=key,
        )
    return ScenarioError(
        # A short form: a few lines of YAML can stand for gigabytes.
        f"{path} has {key}: {reprlib.repr(fault['input'])[:100]}",
        expected=fault["msg"].removeprefix("Input should be ").removeprefix("Value error, "),
        fix=f"Correct '{key}'",
        param=key,
    )


def _keys(parents: list[str]) -> list[str]:
    """The keys that may stand under `parents`."""
    model: type[BaseModel] = Scenario
    for parent in parents:
        model = _SECTIONS.get(parent, model)  # a number stands for one member of the list
    return list(model.model_fields)

"""Growing: from a number of members to members that differ on purpose.

Members that make the same mistakes gain nothing by being many, and members that are much worse
than the best cost more than they give: equal weights over uneven members do not beat the best
one. So a plan is the beginning of one fixed sequence, in which neighbours differ in family and in
what they hear, and what is likely to cost accuracy (fewer recordings, other tokens, learned
filters) comes late and small. Different families and inputs make errors less alike than seeds do:
Kuncheva and Whitaker 2003, "Measures of diversity in classifier ensembles"; Gontijo-Lopes et al.
2022, "No one representation to rule them all". Bags are nearly whole: a network that is trained on
a bootstrap sample loses more than the ensemble gains (Nixon et al. 2020, "Why are bootstrapped deep
ensembles not better?").
"""

import copy
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from aimass.base.contract import Task

MOST = 64
"""Members in one scenario."""
HEARD_BY_ALL = ("sample_rate",)  # keys of the scenario's features that every member keeps
OTHER_POLICY = {"clean": "light", "light": "standard", "standard": "strong", "strong": "standard"}
"""The neighbour of a policy. ``telephone`` and ``far`` say where a scenario is used, and stay."""


@dataclass(frozen=True, slots=True)
class _Kind:
    """How one member differs from the scenario's own sections."""

    name: str
    family: str
    features: dict[str, Any] = field(default_factory=dict)  # none: the scenario's own
    shape: dict[str, Any] = field(default_factory=dict)
    heard: dict[str, Any] = field(default_factory=dict)  # of the training data
    other_policy: bool = False
    other_tokens: bool = False


_LONG = {"kind": "fbank", "frame_length_ms": 50.0}
"""Spectra of long windows show the pitch of a voice: as many errors, but others (LOG.md)."""

_KINDS = (
    _Kind("conv", "conv"),
    _Kind("recurrent-long", "recurrent", _LONG),
    _Kind("attention", "attention", {"kind": "fbank"}),
    _Kind("conv-long", "conv", _LONG, heard={"bag": {"share": 0.9, "by": "speaker"}}),
    _Kind(
        "recurrent",
        "recurrent",
        {"kind": "fbank"},
        heard={"sampling_temperature": 2.0},
        other_policy=True,
    ),
    _Kind(
        "attention-long",
        "attention",
        _LONG,
        heard={"bag": {"share": 0.9, "by": "utterance"}},
        other_tokens=True,
    ),
    # Bands of the time domain take twenty times the work of mel bands, so they come late.
    _Kind("conv-gammatone", "conv", {"kind": "gammatone"}),
    _Kind("recurrent-pcen", "recurrent", {"kind": "fbank", "compression": "pcen"}),
    _Kind(
        "attention-pcen",
        "attention",
        {"kind": "fbank", "compression": "pcen"},
        heard={"bag": {"share": 0.9, "by": "speaker"}},
        other_policy=True,
    ),
    _Kind("conv-waveform", "conv", {"kind": "waveform"}),
    _Kind("recurrent-mfcc", "recurrent", {"kind": "mfcc", "bins": 40}, other_tokens=True),
    _Kind(
        "attention-stack",
        "attention",
        {"kind": "fbank", "bins": 64},
        {"subsampling": "stack"},
    ),
)


def planned(
    number: int, task: Task, given: Mapping[str, Any] | None = None
) -> list[dict[str, Any]]:
    """The first members of the sequence, as the plain sections of a scenario file.

    The first member is what the scenario would train alone, and a longer plan begins with the
    shorter one, so that growing a massive model trains what is new and nothing else.

    Args:
        number: of members, 1 to `MOST`.
        given: the scenario's own sections ``features``, ``augment``, ``training`` and ``tokens``,
            where it has them; what members share is kept. Where ``joint`` is above 0, members hear
            the same utterances and write the same tokens, as joint training needs.

    Raises:
        ValueError: another number.
    """
    if not 1 <= number <= MOST:
        raise ValueError(f"from 1 to {MOST} members")
    sections = {} if given is None else given
    return [_member(position, task, sections) for position in range(number)]


def _member(position: int, task: Task, given: Mapping[str, Any]) -> dict[str, Any]:
    kind, turn = _KINDS[position % len(_KINDS)], position // len(_KINDS)
    member: dict[str, Any] = {
        "name": f"{kind.name}-{turn + 1}" if turn else kind.name,
        "family": kind.family,
    }
    if position:  # the first is the scenario's own
        member["seed"] = (_section(given, "training").get("seed") or 0) + position
    if kind.features:
        kept = {k: v for k, v in _section(given, "features").items() if k in HEARD_BY_ALL}
        member["features"] = kind.features | kept
    # Around the sequence again, what is heard is known and how it is augmented is new.
    policy = _policy(given) if kind.other_policy != bool(turn % 2) else None
    spelled, apart = task is Task.TRANSCRIBE, not given.get("joint")
    if policy is not None and (apart or not spelled):
        member["augment"] = copy.deepcopy(_section(given, "augment")) | {"policy": policy}
    if kind.other_tokens and spelled and apart:
        member |= _tokens(given)
    return member | copy.deepcopy(kind.shape) | (copy.deepcopy(kind.heard) if apart else {})


def _section(given: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = given.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def _policy(given: Mapping[str, Any]) -> str | None:
    """The neighbour of the scenario's policy; None where it has none."""
    named = _section(given, "augment").get("policy", "standard")
    return OTHER_POLICY.get(named) if isinstance(named, str) else None


def _tokens(given: Mapping[str, Any]) -> dict[str, Any]:
    """Subwords beside characters, characters beside subwords; a closed set of words stays."""
    kind = _section(given, "tokens").get("kind", "auto")
    if kind == "words":
        return {}
    return {"tokens": {"kind": "characters" if kind == "bpe" else "bpe"}}

"""Massive models of tiny members, for the tests of whatever runs them."""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import tomli_w

from aimass.base.contract import Samples
from aimass.base.digests import of_file
from aimass.decoding.combine import Combination, Method
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.massive import MemberModel
from aimass.runtime.load import shipped
from aimass.runtime.massive import MassiveEngine, massive_engine, pack

from .digits import RATE, speech


def about(members: Mapping[str, MemberModel], **changes: Any) -> dict[str, Any]:
    """What a massive model of these members says about itself."""
    first = next((m for m in members.values() if isinstance(m, Bundle)), None)
    return {
        "name": "many",
        "task": first.manifest.task.value if first else "transcribe",
        "language": "en",
        "metric": first.manifest.metric if first else "wer",
        "scores": {"test": {"error_rate": 0.25}},
        "lineage": {"made": "for a test"},
        "licences": {"data": "none"},
    } | changes


def massive(
    folder: Path,
    method: Method,
    members: Mapping[str, MemberModel],
    weights: Sequence[float] | None = None,
    samples: Samples | None = None,
    home: Path | None = None,
    **changes: Any,
) -> Bundle:
    """Pack members; all weigh alike when no weights are given."""
    count = len(members)
    shares = tuple(weights) if weights else (1 / count,) * count
    combination = Combination(method, shares, (1.0,) * len(shares))
    folder.mkdir(parents=True)
    heard = speech()[:RATE] if samples is None else samples
    return pack(folder, about(members, **changes), combination, members, heard, home=home)


def engine(bundle: Bundle, threads: int = 2, home: Path | None = None) -> MassiveEngine:
    """A packed massive model, ready."""
    return massive_engine(bundle, threads=threads, home=home)


def digits_three(folder: Path, method: Method = "geometric", **changes: Any) -> Bundle:
    """The shipped digits model three times, as one model called ``many``."""
    digits = bundles.load(shipped()["digits"])
    members = dict.fromkeys(("one", "two", "three"), digits)
    weights = (0.5, 0.3, 0.2)
    return massive(folder, method, members, weights, digits.golden().samples, **changes)


def resealed(folder: Path) -> None:
    """Take the members of a massive model as they are now into its manifest."""
    path = folder / bundles.MANIFEST
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    for member in content["massive"]["members"]:
        member["digest"] = of_file(folder / bundles.MEMBERS / member["name"] / bundles.MANIFEST)
    path.write_bytes(tomli_w.dumps(content).encode())

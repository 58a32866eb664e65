"""The members of a massive model, opened one by one: a damaged one does not end the others."""

import logging
from pathlib import Path

from aimass.base.contract import Engine
from aimass.base.errors import AimassError
from aimass.registry.bundle import Bundle, load_member
from aimass.registry.manifest import Member
from aimass.registry.massive import pretrained_member
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.kinds import engine_class
from aimass.runtime.panel import Panel, Seat, silent
from aimass.runtime.team import Team

log = logging.getLogger(__name__)


def seated(bundle: Bundle, home: Path, threads: int) -> Panel:
    """The members that load and prove themselves, and why the others do not.

    Args:
        bundle: a massive model.
        home: where pretrained members are kept.
        threads: the budget of all recognitions together.

    Raises:
        BundleError: no member loads.
    """
    massive, name = bundle.massive, bundle.manifest.name
    assert massive is not None
    seats: dict[int, Seat] = {}
    dead: dict[str, str] = {}
    each = max(1, threads // len(massive.members))
    for number, member in enumerate(massive.members):
        try:
            engine = _engine(bundle, member, home, threads, each)
            seats[number] = Seat(member.name, member.digest, engine)
        except Exception as error:  # an adapter's library may raise anything
            told = error.found if isinstance(error, AimassError) else str(error)
            dead[member.name] = told
            log.warning("member '%s' of '%s' is left out: %s", member.name, name, error)
    if not seats:
        raise silent(name, dead)
    combination = massive.combining.only(list(seats))
    return Panel(name, list(seats.values()), combination, Team(threads), dead)


def _engine(bundle: Bundle, member: Member, home: Path, workers: int, threads: int) -> Engine:
    if member.pretrained is None:
        return BundleEngine(load_member(bundle, member), threads)
    found = pretrained_member(member, home)
    opened: Engine = engine_class(found.kind).open(
        found.folder, name=member.name, workers=workers, threads=threads
    )
    return opened

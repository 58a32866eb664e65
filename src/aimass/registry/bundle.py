"""The bundle: a folder with everything needed to run a model and nothing that executes.

::

    bundle.toml    what it is: task, features, scores, lineage, licences, digests of the rest
    model.onnx     the streaming graph
    tokens.txt     what its outputs stand for
    golden.npz     a real input with the output it must reproduce
    LICENCE.txt    the licence of the training data

The digest of ``bundle.toml`` names the bundle, because it holds the digests of all other files.
"""

import tomllib
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import tomli_w
from pydantic import BaseModel, ConfigDict, Field, model_validator

from aimass.base.contract import Samples, Task
from aimass.base.digests import of_file
from aimass.base.errors import BundleError, FeatureError, IntegrityError
from aimass.features.spec import FeatureSpec
from aimass.text.tokens import LabelSet, TokenSet

FORMAT = 1
MANIFEST, GRAPH, TOKENS, GOLDEN, LICENCE = (
    "bundle.toml",
    "model.onnx",
    "tokens.txt",
    "golden.npz",
    "LICENCE.txt",
)
MAX_GOLDEN_BYTES = 64 << 20
WHOLE_SECONDS = 30.0


class _Strict(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


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
    A ``whole`` graph is given an utterance in one piece, of `WHOLE_SECONDS` with the tail at most.
    """

    stack: int = Field(gt=0)
    cache: tuple[int, int, int]
    tail: float = Field(ge=0, le=10)
    precision: str
    whole: bool = False


class Manifest(_Strict):
    """The content of ``bundle.toml``."""

    format: int
    name: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    task: Task
    language: str
    metric: str
    parameters: int
    features: Features
    graph: Graph
    scores: dict[str, Any]
    lineage: dict[str, Any]
    licences: dict[str, str]
    files: dict[str, str]

    @property
    def languages(self) -> tuple[str, ...]:
        """The languages that the model was trained on; ``zh+en`` stands for two."""
        return tuple(self.language.split("+"))


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
    def features(self) -> FeatureSpec:
        """The front end the model was trained with."""
        return FeatureSpec(**self.manifest.features.model_dump())

    def symbols(self) -> TokenSet | LabelSet:
        """What the outputs stand for; nothing where they are a voiceprint."""
        if self.manifest.task is Task.EMBED:
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
    names = sorted(path.name for path in folder.iterdir() if path.name != MANIFEST)
    content = manifest | {
        "format": FORMAT,
        "files": {name: of_file(folder / name) for name in names},
    }
    (folder / MANIFEST).write_bytes(tomli_w.dumps(content).encode())
    return load(folder)


def load(folder: Path) -> Bundle:
    """Read a bundle and check every digest.

    Raises:
        BundleError: no bundle, or one of another format.
        IntegrityError: a file that is missing, changed, or should not be there.
    """
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
        manifest = Manifest.model_validate(content)
    except (OSError, ValueError, RecursionError) as error:  # no UTF-8, TOML or manifest
        raise BundleError(
            f"{path} cannot be read: {error}",
            expected="the manifest of a bundle",
            fix="Pack or fetch the bundle again",
        ) from error
    _check_files(folder, manifest)
    return Bundle(folder, manifest, of_file(path))


def _check_files(folder: Path, manifest: Manifest) -> None:
    found = {p.name for p in folder.iterdir()} - {MANIFEST}
    wanted = set(manifest.files)
    required = {GRAPH, TOKENS, GOLDEN, LICENCE}
    if found != wanted or not required <= wanted:
        odd = sorted(found ^ wanted | required - wanted)
        raise IntegrityError(
            f"{folder} has files that its manifest does not list, or lacks some: {', '.join(odd)}",
            expected=f"exactly {', '.join(sorted(wanted | required))}",
            fix="Fetch or build the bundle again; remove what was added by hand",
        )
    for name, digest in manifest.files.items():
        path = folder / name
        if path.is_symlink() or not path.is_file() or of_file(path) != digest:
            raise IntegrityError(
                f"{path} was changed after it was packed",
                expected=f"SHA-256 {digest}",
                fix="Fetch or build the bundle again",
            )

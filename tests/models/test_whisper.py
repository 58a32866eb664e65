"""Whisper's encoder in torch, held against CTranslate2's own."""

import contextlib
import json
import struct
from pathlib import Path

import ctranslate2
import numpy as np
import numpy.typing as npt
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.base.errors import BundleError, TrainingError
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.features.whisper import CLAMP
from aimass.models import ctranslate
from aimass.models.model import SpeechModel, behind_front, parameters, sized
from aimass.models.spec import ModelSpec, WhisperSpec
from aimass.models.whisper import PREFIX, WhisperEncoder, load_encoder, spec_of
from aimass.registry import pretrained

JFK = Path(__file__).parents[2] / "samples/jfk.wav"
SMALL = WhisperSpec(width=16, layers=2, heads=2, positions=30)
TOLERANCE = 5e-3
"""Of outputs whose mean square is about 1 and whose greatest is about 20; half precision weights,
single precision arithmetic in another order. 1e-3 was measured."""


@pytest.fixture(scope="module", params=["whisper-tiny.en", "whisper-base"])
def folder(request: pytest.FixtureRequest, test_home: Path) -> Path:
    return pretrained.pull(request.param, home=test_home)


@pytest.fixture(scope="module")
def tiny(test_home: Path) -> Path:
    return pretrained.pull("whisper-tiny.en", home=test_home)


def spoken(seconds: float) -> Frames:
    samples = load(JFK, rate=16000).mono()
    samples = np.pad(samples, (0, 30 * 16000 - len(samples)))[: round(seconds * 16000)]
    return extract(samples, FeatureSpec(kind="whisper"))


@torch.no_grad()
def ours(encoder: WhisperEncoder, frames: Frames) -> npt.NDArray[np.float32]:
    found, _ = encoder(torch.from_numpy(frames).unsqueeze(0), torch.zeros(1, 0))
    return np.asarray(found[0].numpy())


def theirs(folder: Path, frames: Frames) -> npt.NDArray[np.float32]:
    model = ctranslate2.models.Whisper(str(folder), compute_type="float32", intra_threads=1)
    clamped = np.maximum(frames, frames.max() - np.float32(CLAMP))
    given = ctranslate2.StorageView.from_array(np.ascontiguousarray(clamped.T[None]))
    return np.asarray(np.array(model.encode(given))[0], np.float32)


@pytest.mark.parametrize("seconds", [0.5, 2.0, 4.0])
def test_outputs_are_those_of_ctranslate2(folder: Path, seconds: float) -> None:
    frames = spoken(seconds)
    found = ours(load_encoder(folder), frames)
    assert found.shape == (len(frames) // 2, load_encoder(folder).columns)
    assert np.abs(found - theirs(folder, frames)).max() < TOLERANCE


def test_thirty_seconds_are_the_most(tiny: Path) -> None:
    encoder = load_encoder(tiny)
    frames = spoken(30)
    assert np.abs(ours(encoder, frames) - theirs(tiny, frames)).max() < TOLERANCE
    with pytest.raises(TrainingError, match="an utterance of 3002 frames") as caught:
        ours(encoder, np.concatenate([frames, frames[:2]]))
    assert "3000" in str(caught.value.expected)


def test_the_shape_is_read_from_the_weights(tiny: Path) -> None:
    assert spec_of(tiny) == WhisperSpec(width=384, layers=4, heads=6, bins=80, positions=1500)
    assert spec_of(tiny, 2).layers == 2
    with pytest.raises(TrainingError, match="layers: 5"):
        spec_of(tiny, 5)


def test_the_first_layers_are_those_of_all(tiny: Path) -> None:
    frames = spoken(1)
    part, whole = load_encoder(tiny, 2), load_encoder(tiny)
    whole.layers = whole.layers[:2]
    whole.norm = torch.nn.LayerNorm(384)
    assert np.array_equal(ours(part, frames), ours(whole, frames))


def test_what_is_80_db_below_the_loudest_is_not_heard(tiny: Path) -> None:
    frames, encoder = spoken(1), load_encoder(tiny, 1)
    quiet = frames.copy()
    quiet[frames < frames.max() - CLAMP] -= 3
    assert (quiet != frames).any()
    assert np.array_equal(ours(encoder, quiet), ours(encoder, frames))


@given(st.integers(1, 30), st.integers(1, 4))
def test_an_utterance_in_a_batch_of_its_length_is_itself(half: int, batch: int) -> None:
    torch.manual_seed(0)
    encoder = WhisperEncoder(SMALL).eval()
    frames = torch.randn(batch, 2 * half, 80)
    with torch.no_grad():
        together = encoder(frames, torch.zeros(batch, 0))[0]
        alone = [encoder(one.unsqueeze(0), torch.zeros(1, 0))[0][0] for one in frames]
    assert together.shape == (batch, half, 16)
    assert torch.allclose(together, torch.stack(alone), atol=1e-5)


@pytest.mark.parametrize("head", ["ctc", "classify", "embed"])
@pytest.mark.parametrize("stack", [2, 4, 8])
def test_every_head_stands_behind_it(head: str, stack: int) -> None:
    spec = ModelSpec("whisper", head, outputs=5, channels=24, stack=stack, whisper=SMALL)  # type: ignore[arg-type]
    model = SpeechModel(spec)
    outputs, state = model(torch.randn(3, 48, 80), model.start(3))
    assert outputs.shape == (3, 48 // stack, 5)
    assert state.shape == (3, model.state_size)
    assert spec.whole
    assert ModelSpec.from_dict(json.loads(json.dumps(spec.to_dict()))) == spec


def test_an_odd_stack_is_refused() -> None:
    with pytest.raises(TrainingError, match="'stack: 3' for the family whisper"):
        SpeechModel(ModelSpec("whisper", stack=3, whisper=SMALL))


def test_the_size_dial_counts_what_stands_behind() -> None:
    spec = sized(ModelSpec("whisper", "classify", outputs=20, whisper=WhisperSpec()), 280_000)
    model = SpeechModel(behind_front(spec))
    assert 230_000 < parameters(model) <= 280_000
    assert not behind_front(spec).whole


def test_only_what_is_wanted_is_read(tiny: Path) -> None:
    path = tiny / ctranslate.FILE
    found = ctranslate.read(path, lambda name: name == "encoder/conv1/bias")
    assert list(found) == ["encoder/conv1/bias"]
    assert found["encoder/conv1/bias"].shape == (384,)
    every = ctranslate.read(path, lambda name: name.startswith(PREFIX))
    assert all(name.startswith(PREFIX) for name in every)
    assert len(every) == 4 + 4 * 12 + 2 + 2


Variable = tuple[str, int, npt.NDArray[np.generic]]


def written(variables: list[Variable], version: int = 6) -> bytes:
    """A file in CTranslate2's format."""

    def text(value: str) -> bytes:
        return struct.pack("<H", len(value) + 1) + value.encode() + b"\0"

    parts = [struct.pack("<I", version), text("WhisperSpec"), struct.pack("<I", 3)]
    parts.append(struct.pack("<I", len(variables)))
    for name, kind, values in variables:
        shape = struct.pack(f"<B{values.ndim}I", values.ndim, *values.shape)
        parts += [text(name), shape, struct.pack("<BI", kind, values.nbytes), values.tobytes()]
    return b"".join([*parts, struct.pack("<I", 0)])


def everything(name: str) -> bool:
    return bool(name)


def test_all_types_of_weights(tmp_path: Path) -> None:
    exact = np.array([[1.5, -2.0], [0.25, 96.0]], np.float32)
    upper = (exact.view(np.uint32) >> 16).astype(np.uint16)
    scale = np.array([100.0, 2.0], np.float32)
    content: list[Variable] = [
        ("single", 0, exact),
        ("half", 4, exact.astype(np.float16)),
        ("brain", 5, upper),
        ("int8", 1, np.array([[50, -100], [1, 127]], np.int8)),
        ("int8_scale", 0, scale),
        ("number", 2, np.array(8, np.int16)),
    ]
    (tmp_path / "model.bin").write_bytes(written(content))
    found = ctranslate.read(tmp_path / "model.bin", everything)
    for name in ("single", "half", "brain"):
        assert np.array_equal(found[name], exact)
    assert np.allclose(found["int8"], [[0.5, -1.0], [0.5, 63.5]])
    assert int(found["number"]) == 8
    assert "int8_scale" not in found
    assert all(values.dtype == np.float32 for values in found.values())


@pytest.mark.parametrize("size", [0, 3, 4, 18, 30, 40, 1000, 100_000])
def test_a_cut_file_is_an_error_of_ours(tiny: Path, tmp_path: Path, size: int) -> None:
    with (tiny / "model.bin").open("rb") as file:
        (tmp_path / "model.bin").write_bytes(file.read(size))
    with pytest.raises(BundleError, match=r"model\.bin cannot be read"):
        spec_of(tmp_path)


@given(st.binary(max_size=200))
def test_any_bytes_are_an_error_of_ours(
    tmp_path_factory: pytest.TempPathFactory, content: bytes
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.bin"
    path.write_bytes(written([])[:20] + content)
    with contextlib.suppress(BundleError):
        ctranslate.read(path, everything)


def test_odd_files_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    one = np.ones((2, 2), np.float32)
    faults = {
        "version, is 99": written([], 99),
        "8 bits and no scale": written([("w", 1, one.astype(np.int8))]),
        "type 9": written([("w", 9, one)]),
        "5 dimensions": written([("w", 0, np.ones((1,) * 5, np.float32))]),
        "ends within w": written([("w", 0, one)])[:-10],
        "announces 4294967295": written([])[:-8] + b"\xff" * 8,
    }
    for what, content in faults.items():
        path.write_bytes(content)
        with pytest.raises(BundleError, match=what):
            ctranslate.read(path, everything)


def test_other_models_are_refused(tmp_path: Path) -> None:
    (tmp_path / "model.bin").write_bytes(written([("decoder/w", 0, np.ones(2, np.float32))]))
    with pytest.raises(BundleError, match="holds no encoder of Whisper"):
        spec_of(tmp_path)
    with pytest.raises(BundleError, match="cannot be read"):
        spec_of(tmp_path / "nowhere")
    content: list[Variable] = [
        ("encoder/conv1/weight", 0, np.ones((4, 80, 3), np.float32)),
        ("encoder/num_heads", 2, np.array(2, np.int16)),
        ("encoder/position_encodings/encodings", 0, np.ones((10, 4), np.float32)),
        ("encoder/layer_0/ffn/linear_0/bias", 0, np.ones(16, np.float32)),
    ]
    (tmp_path / "model.bin").write_bytes(written(content))
    assert spec_of(tmp_path) == WhisperSpec(4, 1, 2, 80, 10)
    with pytest.raises(BundleError, match="holds no encoder of Whisper"):
        load_encoder(tmp_path)

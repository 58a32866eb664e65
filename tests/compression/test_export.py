"""What is exported is what was trained, in our runtime and in sherpa-onnx."""

import os
import subprocess
import sys
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
import sherpa_onnx
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.decode import load as load_audio
from aimass.base.contract import RecognizeOptions, Samples
from aimass.base.errors import TrainingError
from aimass.compression import export as exporting
from aimass.compression.export import INPUTS, OUTPUTS, PARITY, WINDOW, export, quantize
from aimass.data.corpus import read
from aimass.decoding.greedy import GreedyDecoder
from aimass.features.fbank import FeatureSpec
from aimass.models.causal_conv import CausalConv, CausalConvSpec
from aimass.registry import bundle as bundles
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.load import shipped

DIGITS = Path(__file__).parents[2] / "samples/digits"
SHAPE = CausalConvSpec(40, 11, channels=32, blocks=3, kernel=5)


@cache
def model() -> CausalConv:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        made = CausalConv(SHAPE)
        made.mean.normal_(-8, 2)
        made.scale.uniform_(0.2, 0.5)
    return made.eval()


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``float.onnx`` and ``int8.onnx`` of the model."""
    folder = tmp_path_factory.mktemp("graphs")
    export(model(), folder / "float.onnx")
    quantize(folder / "float.onnx", folder / "int8.onnx")
    return folder


def streaming(path: Path) -> StreamingGraph:
    cache_shape = (SHAPE.blocks, SHAPE.channels, SHAPE.kernel - 1)
    graph = bundles.Graph(stack=SHAPE.stack, cache=cache_shape, tail=0.4, precision="float")
    return StreamingGraph(path, graph, FeatureSpec(sample_rate=8000, bins=40))


def sound(batch: int, frames: int) -> npt.NDArray[np.float32]:
    noise = np.random.default_rng(frames).normal(-8, 3, (batch, frames, SHAPE.bins))
    return noise.astype(np.float32)


def by_torch(features: npt.NDArray[np.float32]) -> npt.NDArray[np.float32]:
    with torch.no_grad():
        log_probs, _ = model()(torch.from_numpy(features), model().start(len(features)))
    return np.asarray(log_probs.numpy())


def test_the_graph_is_the_model_in_any_chunks_and_batches(graphs: Path) -> None:
    graph = streaming(graphs / "float.onnx")

    @settings(max_examples=30, deadline=None)
    @given(st.integers(1, 4), st.lists(st.integers(1, 40), min_size=1, max_size=6))
    def law(batch: int, steps: list[int]) -> None:
        features = sound(batch, sum(steps) * SHAPE.stack)
        past = np.repeat(graph.first_cache(), batch, axis=0)
        found, start = [], 0
        for count in steps:
            end = start + count * SHAPE.stack
            log_probs, past = graph.step(features[:, start:end], past)
            found.append(log_probs)
            start = end
        assert np.abs(np.concatenate(found, axis=1) - by_torch(features)).max() <= PARITY

    law()


def test_inputs_and_outputs_by_position(graphs: Path) -> None:
    session = onnxruntime.InferenceSession(graphs / "float.onnx")
    assert tuple(i.name for i in session.get_inputs()) == INPUTS
    assert tuple(o.name for o in session.get_outputs()) == OUTPUTS
    given_values = (
        sound(1, 32).transpose(0, 2, 1),
        np.array([32], np.int64),
        streaming(graphs / "float.onnx").first_cache(),
        np.zeros((1, 1, 1, 1), np.float32),
        np.array([7], np.int64),
    )
    out = session.run(None, dict(zip(INPUTS, given_values, strict=True)))
    assert [o.shape for o in out] == [(1, 8, 11), (1,), (1, 3, 32, 4), (1, 1, 1, 1), (1,)]
    assert (out[1].item(), out[4].item()) == (8, 39)


@pytest.mark.parametrize("name", ["float.onnx", "int8.onnx"])
def test_metadata_for_sherpa_onnx(graphs: Path, name: str) -> None:
    found = {entry.key: entry.value for entry in onnx.load(graphs / name).metadata_props}
    assert (
        found.items()
        >= {
            "window_size": "32",
            "chunk_shift": "32",
            "subsampling_factor": "4",
            "vocab_size": "10",
            "cache_last_channel_dim1": "3",
            "cache_last_channel_dim2": "32",
            "cache_last_channel_dim3": "4",
            "cache_last_time_dim1": "1",
            "cache_last_time_dim2": "1",
            "cache_last_time_dim3": "1",
        }.items()
    )


def test_int8_is_smaller_and_close(graphs: Path) -> None:
    full, small = graphs / "float.onnx", graphs / "int8.onnx"
    assert small.stat().st_size < 0.7 * full.stat().st_size
    features = sound(1, 400)
    one = streaming(full).step(features, streaming(full).first_cache())[0]
    other = streaming(small).step(features, streaming(full).first_cache())[0]
    difference = np.abs(np.exp(one) - np.exp(other)).max()
    assert 0 < difference < 0.1
    kinds = {node.op_type for node in onnx.load(small).graph.node}
    assert "MatMulInteger" in kinds
    assert "ConvInteger" not in kinds  # the depthwise convolutions stay in float


def test_exporting_twice_gives_the_same_bytes(graphs: Path, tmp_path: Path) -> None:
    export(model(), tmp_path / "float.onnx")
    quantize(tmp_path / "float.onnx", tmp_path / "int8.onnx")
    for name in ("float.onnx", "int8.onnx"):
        assert (tmp_path / name).read_bytes() == (graphs / name).read_bytes()


def test_another_process_gives_the_same_bytes(graphs: Path, tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from pathlib import Path\n"
        "from aimass.compression.export import quantize\n"
        "quantize(Path(sys.argv[1]), Path(sys.argv[2]))"
    )
    command = [sys.executable, "-c", code, str(graphs / "float.onnx"), str(tmp_path / "out")]
    subprocess.run(command, env={**os.environ, "PYTHONHASHSEED": "1"}, check=True)
    assert (tmp_path / "out").read_bytes() == (graphs / "int8.onnx").read_bytes()
    keys = [entry.key for entry in onnx.load(graphs / "int8.onnx").metadata_props]
    assert keys == sorted(keys)  # the quantiser shuffles them in some processes


def plant(path: Path, name: str, change: float) -> None:
    """Change the first weight of one initializer of a graph."""
    graph = onnx.load(path)
    (tensor,) = [t for t in graph.graph.initializer if t.name == name]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values.flat[0] += change
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, name))
    onnx.save(graph, path)


@pytest.mark.parametrize("change", [0.05, float("nan")])
@pytest.mark.parametrize("name", ["model.head.bias", "model.blocks.0.depthwise.weight"])
def test_a_planted_difference_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, change: float
) -> None:
    describe = exporting._describe

    def tampered(path: Path, made: CausalConv) -> None:
        describe(path, made)
        plant(path, name, change)

    monkeypatch.setattr(exporting, "_describe", tampered)
    with pytest.raises(TrainingError, match="differs from torch by") as caught:
        export(model(), tmp_path / "graph.onnx")
    assert caught.value.expected == "at most 0.0001"


def test_a_model_of_nan_is_refused(tmp_path: Path) -> None:
    broken = CausalConv(SHAPE).eval()
    broken.load_state_dict(model().state_dict())
    with torch.no_grad():
        broken.head.bias[0] = float("nan")
    with pytest.raises(TrainingError, match="differs from torch by nan"):
        export(broken, tmp_path / "graph.onnx")


@pytest.fixture(scope="module")
def engine() -> BundleEngine:
    return BundleEngine(bundles.load(shipped()["digits"]))


@pytest.fixture(scope="module")
def theirs(engine: BundleEngine) -> Any:
    folder = engine.bundle.folder
    return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
        tokens=str(folder / bundles.TOKENS),
        model=str(folder / bundles.GRAPH),
        sample_rate=8000,
        feature_dim=40,
        num_threads=1,
    )


def their_text(theirs: Any, pieces: list[Samples]) -> str:
    stream = theirs.create_stream()
    for piece in pieces:
        stream.accept_waveform(8000, piece)
        while theirs.is_ready(stream):
            theirs.decode_stream(stream)
    return str(theirs.get_result(stream)).replace("▁", " ").strip()


def spoken(every: int) -> list[tuple[str, Samples]]:
    """Sample digits between a pause and a tail; sherpa-onnx waits for whole windows."""
    pause, tail = np.zeros(2000, np.float32), np.zeros(8000, np.float32)
    return [
        (clip.text, np.concatenate([pause, load_audio(clip.path, rate=8000).mono(), tail]))
        for clip in read(DIGITS).split("test").clips[::every]
    ]


def test_sherpa_onnx_runs_the_graph_as_we_do(engine: BundleEngine, theirs: Any) -> None:
    for _, samples in spoken(4):
        stream = theirs.create_stream()
        stream.accept_waveform(8000, samples)
        decoder = GreedyDecoder(engine.symbols, engine.graph.frame_seconds)
        past, done = engine.graph.first_cache(), 0
        while theirs.is_ready(stream):
            frames = np.array(stream.get_frames(done, WINDOW), np.float32)
            log_probs, past = engine.graph.step(frames.reshape(1, WINDOW, 40), past)
            decoder.accept(log_probs[0])
            theirs.decode_stream(stream)
            done += WINDOW
        said = theirs.get_result(stream).replace("▁", " ").strip()
        assert said == decoder.text
        assert done >= len(samples) // 80 - WINDOW - 2


def test_sherpa_onnx_hears_the_same_words(engine: BundleEngine, theirs: Any) -> None:
    said, same, right = spoken(2), 0, 0
    for text, samples in said:
        found = their_text(theirs, np.array_split(samples, 7))
        same += found == engine.recognize(samples, RecognizeOptions()).text
        right += found == text
    # Not all: its front end for this kind of graph has other mel bands than ours.
    assert same >= 0.9 * len(said)
    assert right >= 0.9 * len(said)


def test_sherpa_onnx_hears_nothing_in_silence(theirs: Any) -> None:
    assert their_text(theirs, [np.zeros(24_000, np.float32)]) == ""

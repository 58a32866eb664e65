"""Graphs that take whole utterances: exported, quantised and run as utterances come in."""

from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.compression.export import cache, export, quantize
from aimass.evaluation.cost import second_of_sound
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec, WhisperSpec
from aimass.registry.bundle import WHOLE_SECONDS, Graph
from aimass.runtime.graph import LogProbs, PosteriorStream, StreamingGraph

FEATURES = FeatureSpec(kind="whisper")
WHISPER = WhisperSpec(width=32, layers=2, heads=4, positions=1500)
TAIL = 0.4


def model(head: str) -> SpeechModel:
    torch.manual_seed(3)
    spec = ModelSpec("whisper", head, outputs=6, channels=24, blocks=1, whisper=WHISPER)  # type: ignore[arg-type]
    return SpeechModel(spec).eval()


@pytest.fixture(scope="module", params=["ctc", "classify", "embed"])
def made(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(request.param)
    export(model(request.param), folder / "float.onnx")
    quantize(folder / "float.onnx", folder / "int8.onnx")
    (folder / "head").write_text(request.param)
    return folder


def opened(folder: Path, name: str = "float") -> StreamingGraph:
    size = cache(model((folder / "head").read_text()))
    graph = Graph(stack=4, cache=size, tail=TAIL, precision=name, whole=True)
    return StreamingGraph(folder / f"{name}.onnx", graph, FEATURES)


def speech() -> Samples:
    return load(Path(__file__).parents[2] / "samples/jfk.wav", rate=16000).mono()


def expected(folder: Path, samples: Samples) -> LogProbs:
    """What torch gives for the utterance and its tail."""
    torch_model = model((folder / "head").read_text())
    frames = extract(np.concatenate([samples, np.zeros(6400, np.float32)]), FEATURES)
    frames = np.concatenate([frames, np.repeat(frames[-1:], -len(frames) % 4, axis=0)])
    with torch.no_grad():
        found, _ = torch_model(torch.from_numpy(frames).unsqueeze(0), torch_model.start(1))
    return np.asarray(found[0].numpy())


@pytest.mark.parametrize("seconds", [0.1, 1.0, 3.3, 11.0])
def test_the_graph_gives_what_torch_gives(made: Path, seconds: float) -> None:
    samples = speech()[: round(16000 * seconds)]
    found, wanted = opened(made).log_probs(samples), expected(made, samples)
    assert found.shape == wanted.shape
    assert np.abs(found - wanted).max() < 1e-4


def test_int8_is_smaller_and_close(made: Path) -> None:
    assert (made / "int8.onnx").stat().st_size < 0.9 * (made / "float.onnx").stat().st_size
    samples = speech()[:32_000]
    difference = opened(made).log_probs(samples) - opened(made, "int8").log_probs(samples)
    assert 0 < np.abs(difference).max() < 0.2


@settings(
    deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(cuts=st.lists(st.integers(0, 20_000), max_size=8))
def test_pieces_of_any_length_give_the_whole(made: Path, cuts: list[int]) -> None:
    graph, samples = opened(made), speech()[:20_000]
    stream = PosteriorStream(graph)
    assert not any(len(stream.accept(piece)) for piece in np.split(samples, sorted(cuts)))
    assert np.abs(stream.finish() - graph.log_probs(samples)).max() < 1e-4


def test_a_long_stream_runs_whenever_it_is_full(made: Path) -> None:
    graph, samples = opened(made), np.tile(speech(), 6)  # 66 s
    stream, rows = PosteriorStream(graph), []
    for piece in np.array_split(samples, 66):
        rows.append(len(stream.accept(piece)))
        assert len(stream._rows._waiting) < 100 * WHOLE_SECONDS
    assert [count for count in rows if count] == [750, 750]
    assert sum(rows) + len(stream.finish()) == 1660


def test_the_cost_is_counted_and_sherpa_is_told_nothing(made: Path) -> None:
    cost = second_of_sound(made / "float.onnx", 10.0, 4)
    assert 100 * 80 * 3 * 32 < cost < 10_000_000
    assert not onnx.load(made / "float.onnx").metadata_props

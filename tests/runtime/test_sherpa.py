"""The sherpa-onnx adapter, on a tiny streaming CTC graph whose answers are planted."""

import subprocess
import sys
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from aimass.base.contract import Engine, RecognizeOptions, Samples, StreamingEngine
from aimass.base.errors import BundleError
from aimass.runtime import sherpa
from aimass.runtime.sherpa import FAMILIES, SherpaEngine, StreamingSherpaEngine, read_metadata

RATE = 16000
WINDOW = 32
METADATA = {
    "window_size": WINDOW,
    "chunk_shift": WINDOW,
    "subsampling_factor": 1,
    "vocab_size": 2,
    **{f"cache_last_{kind}_dim{i}": 1 for kind in ("channel", "time") for i in (1, 2, 3)},
}


def ears(path: Path, metadata: Mapping[str, object]) -> None:
    """A graph that says "low" or "high" where the energy lies, and nothing in silence.

    Row 0 of the weights takes the lower 40 bins, row 1 the upper; the blank has a fixed score
    between their levels in silence and in a tone.
    """
    weights = np.zeros((80, 3), np.float32)
    weights[:40, 0] = weights[40:, 1] = 1 / 40
    constants = {
        "weights": weights,
        "bias": np.array([0, 0, -9], np.float32),
    }
    nodes = [
        helper.make_node("Transpose", ["features"], ["frames"], perm=[0, 2, 1]),
        helper.make_node("MatMul", ["frames", "weights"], ["scores"]),
        helper.make_node("Add", ["scores", "bias"], ["biased"]),
        helper.make_node("LogSoftmax", ["biased"], ["log_probs"], axis=-1),
        helper.make_node("Identity", ["length"], ["out_length"]),
        helper.make_node("Identity", ["cache_1"], ["next_cache_1"]),
        helper.make_node("Identity", ["cache_2"], ["next_cache_2"]),
        helper.make_node("Add", ["cache_length", "length"], ["next_cache_length"]),
    ]
    single, count = TensorProto.FLOAT, TensorProto.INT64
    cache = ["batch", 1, 1, 1]
    graph = helper.make_graph(
        nodes,
        "ears",
        [
            helper.make_tensor_value_info("features", single, ["batch", 80, "frames"]),
            helper.make_tensor_value_info("length", count, ["batch"]),
            helper.make_tensor_value_info("cache_1", single, cache),
            helper.make_tensor_value_info("cache_2", single, cache),
            helper.make_tensor_value_info("cache_length", count, ["batch"]),
        ],
        [
            helper.make_tensor_value_info("log_probs", single, ["batch", "frames", 3]),
            helper.make_tensor_value_info("out_length", count, ["batch"]),
            helper.make_tensor_value_info("next_cache_1", single, cache),
            helper.make_tensor_value_info("next_cache_2", single, cache),
            helper.make_tensor_value_info("next_cache_length", count, ["batch"]),
        ],
        [onnx.numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    helper.set_model_props(model, {key: str(value) for key, value in metadata.items()})
    onnx.save(model, path)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ears")
    ears(folder / "model.onnx", METADATA)
    (folder / "tokens.txt").write_text("▁low 0\n▁high 1\n<blk> 2\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def engine(folder: Path) -> StreamingSherpaEngine:
    engine = SherpaEngine.open(folder, name="ears", workers=2, threads=1)
    assert isinstance(engine, StreamingSherpaEngine)
    return engine


def band(low: float, high: float, seconds: float) -> npt.NDArray[np.float64]:
    """Noise between two frequencies, which raises every mel bin between them."""
    count = round(seconds * RATE)
    spectrum = np.fft.rfft(np.random.default_rng(1).standard_normal(count))
    frequencies = np.fft.rfftfreq(count, 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    sound = np.fft.irfft(spectrum, count)
    loudest: float = np.abs(sound).max()
    return np.asarray(sound / loudest / 2)


def speech(*said: str) -> Samples:
    """Half a second of silence and 0.3 s of sound for every word, and silence after."""
    sounds = {"low": (20.0, 1400.0), "high": (1800.0, 7500.0)}
    pieces = [np.zeros(RATE // 2)]
    for word in said:
        pieces += [band(*sounds[word], 0.3), np.zeros(RATE // 2)]
    return np.concatenate(pieces).astype(np.float32)


def test_planted_words_come_out_with_their_times(engine: StreamingSherpaEngine) -> None:
    found = engine.recognize(speech("low", "high", "high"), RecognizeOptions(word_times=True))
    assert found.text == "low high high"
    (segment,) = found.segments
    assert [word.text for word in segment.words] == ["low", "high", "high"]
    for word, onset in zip(segment.words, (0.5, 1.3, 2.1), strict=True):
        assert word.start == pytest.approx(onset, abs=0.06)
        assert word.start <= word.end <= segment.end
    assert 0 < segment.confidence <= 1


def test_words_only_when_asked(engine: StreamingSherpaEngine) -> None:
    assert engine.recognize(speech("low"), RecognizeOptions()).segments[0].words == ()


def test_silence_and_nothing_say_nothing(engine: StreamingSherpaEngine) -> None:
    for samples in (np.zeros(RATE, np.float32), np.zeros(0, np.float32)):
        assert engine.recognize(samples, RecognizeOptions()).text == ""


@pytest.mark.parametrize("chunk", [160, 777, 4000, 40000])
def test_a_stream_hears_what_the_whole_file_says(engine: StreamingSherpaEngine, chunk: int) -> None:
    samples = speech("high", "low", "high")
    stream = engine.stream()
    texts = []
    for begin in range(0, len(samples), chunk):
        stream.accept(samples[begin : begin + chunk])
        texts.append(stream.results().text)
    assert stream.finish() == engine.recognize(samples, RecognizeOptions(word_times=True))
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))


def test_sound_to_the_last_sample_is_not_lost(engine: StreamingSherpaEngine) -> None:
    whole = speech("low", "high")
    cut = whole[: -RATE // 2]  # ends with the last word
    assert engine.recognize(cut, RecognizeOptions()).text == "low high"


def test_streams_and_threads_do_not_meet(engine: StreamingSherpaEngine) -> None:
    said = [("low",), ("high", "low"), ("low", "low", "high"), ("high",)] * 4
    with ThreadPoolExecutor(4) as pool:
        found = pool.map(lambda s: engine.recognize(speech(*s), RecognizeOptions()).text, said)
    assert list(found) == [" ".join(words) for words in said]


def test_engine_keeps_the_contract(engine: StreamingSherpaEngine) -> None:
    assert isinstance(engine, Engine)
    assert isinstance(engine, StreamingEngine)
    assert (engine.sample_rate, engine.invents_on_silence) == (RATE, False)


def test_metadata_is_read_without_loading(folder: Path) -> None:
    assert read_metadata(folder / "model.onnx") == {k: str(v) for k, v in METADATA.items()}


def test_a_cut_graph_is_an_error_that_names_it(folder: Path, tmp_path: Path) -> None:
    whole = (folder / "model.onnx").read_bytes()
    (tmp_path / "tokens.txt").write_bytes((folder / "tokens.txt").read_bytes())
    for size in (1, len(whole) // 2, len(whole) - 1):
        (tmp_path / "model.onnx").write_bytes(whole[:size])
        with pytest.raises(BundleError, match=r"model\.onnx|does not load"):
            SherpaEngine.open(tmp_path, name="cut", workers=1, threads=1)


@pytest.mark.parametrize("lost", ["vocab_size", "subsampling_factor", "cache_last_time_dim2"])
def test_missing_metadata_is_an_error_and_not_the_end_of_the_process(
    folder: Path, tmp_path: Path, lost: str
) -> None:
    ears(tmp_path / "model.onnx", {k: v for k, v in METADATA.items() if k != lost})
    (tmp_path / "tokens.txt").write_bytes((folder / "tokens.txt").read_bytes())
    with pytest.raises(BundleError, match=lost):
        SherpaEngine.open(tmp_path, name="poor", workers=1, threads=1)


def test_a_folder_without_tokens_or_graphs(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"no tokens\.txt"):
        SherpaEngine.open(tmp_path, name="none", workers=1, threads=1)
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    with pytest.raises(BundleError, match="no known family"):
        SherpaEngine.open(tmp_path, name="none", workers=1, threads=1)


# The files of models in the zoo and the keys of their first graph, from its export scripts.
ZOO = {
    "streaming transducer": (
        ["encoder-epoch-99.onnx", "encoder-epoch-99.int8.onnx", "decoder.onnx", "joiner.onnx"],
        {"model_type": "zipformer2", "decode_chunk_len": "32", "T": "45"},
    ),
    "NeMo transducer": (
        ["encoder.onnx", "decoder.onnx", "joiner.onnx"],
        dict.fromkeys(("vocab_size", "subsampling_factor", "pred_rnn_layers", "pred_hidden"), "1")
        | {"model_type": "EncDecRNNTBPEModel"},
    ),
    "transducer": (
        ["encoder.onnx", "decoder.onnx", "joiner.onnx"],
        {"model_type": "zipformer2"},
    ),
    "Moonshine": (
        ["preprocess.onnx", "encode.onnx", "uncached_decode.onnx", "cached_decode.onnx"],
        {},
    ),
    "Whisper": (["tiny.en-encoder.onnx", "tiny.en-decoder.onnx"], {"model_type": "whisper-tiny"}),
    "SenseVoice": (
        ["model.int8.onnx", "model.onnx"],
        {
            "model_type": "sense_voice_ctc",
            "with_itn": "14",
            "neg_mean": "0",
            "lfr_window_size": "7",
        },
    ),
    "Paraformer": (["model.onnx"], {"model_type": "paraformer", "lfr_window_size": "7"}),
    "streaming WeNet CTC": (
        ["model-streaming.onnx"],
        {"model_type": "wenet_ctc", "head": "4", "cnn_module_kernel": "15"},
    ),
    "WeNet CTC": (["model.onnx"], {"model_type": "wenet_ctc", "vocab_size": "5"}),
    "Zipformer CTC": (["model.onnx"], {"model_type": "zipformer2_ctc"}),
    "NeMo CTC": (
        ["model.onnx"],
        {"model_type": "EncDecCTCModelBPE", "vocab_size": "5", "subsampling_factor": "8"},
    ),
}


@pytest.mark.parametrize("family", ZOO)
def test_families_are_told_by_files_and_metadata(family: str, tmp_path: Path) -> None:
    files, metadata = ZOO[family]
    for file in files:
        ears(tmp_path / file, metadata)
    (tmp_path / "tokens.txt").write_text("<blk> 0\n")
    found, paths, _ = sherpa._recognise_family(tmp_path, "zoo")
    assert found is FAMILIES[family]
    assert set(paths) == {*found.roles.values(), "tokens"}
    assert all("int8" in path for path in paths.values() if path.replace(".onnx", "").endswith("8"))


def test_every_loader_of_the_table_is_one_of_sherpa() -> None:
    import sherpa_onnx

    for family in FAMILIES.values():
        kind = "OnlineRecognizer" if family.streaming else "OfflineRecognizer"
        arguments = getattr(getattr(sherpa_onnx, kind), family.loader).__code__.co_varnames
        assert {*family.roles.values(), *family.options, "tokens", "num_threads"} <= {*arguments}


def test_importing_the_adapter_does_not_import_sherpa() -> None:
    code = "import sys, aimass.runtime.sherpa; sys.exit('sherpa_onnx' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_our_own_exported_model_runs_in_sherpa(tmp_path: Path) -> None:
    import torch

    from aimass.compression.export import export
    from aimass.models.model import SpeechModel
    from aimass.models.spec import ModelSpec

    torch.manual_seed(0)
    export(SpeechModel(ModelSpec(columns=80, outputs=5, channels=16)), tmp_path / "model.onnx")
    symbols = ["▁a", "b", "▁c", "d", "<blk>"]
    lines = (f"{symbol} {index}\n" for index, symbol in enumerate(symbols))
    (tmp_path / "tokens.txt").write_text("".join(lines), encoding="utf-8")
    engine = SherpaEngine.open(tmp_path, name="ours", workers=1, threads=1)
    found = engine.recognize(speech("low", "high"), RecognizeOptions(word_times=True))
    assert set(found.text) <= set("abcd ")
    assert [w.text for s in found.segments for w in s.words] == found.text.split()

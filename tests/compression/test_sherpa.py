"""What is exported for sherpa-onnx is what we run: its own package says so, clip by clip."""

import dataclasses
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import sherpa_onnx
import soundfile
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.audio.decode import load as load_audio
from aimass.base.contract import RecognizeOptions, Samples, Task
from aimass.base.errors import AimassError, BundleError, IntegrityError, RequestError
from aimass.compression.export import cache, export, quantize
from aimass.compression.settle import depends_on_runs, settle
from aimass.compression.sherpa import README, Exported, export_sherpa, settled_bundle, window_rows
from aimass.data.corpus import read
from aimass.decoding.combine import Combination
from aimass.features.spec import FeatureSpec
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.registry.massive import write_massive
from aimass.runtime.bundled import BundleEngine, golden
from aimass.runtime.graph import LogProbs, StreamingGraph
from aimass.runtime.load import shipped
from models.shapes import SPECS, model_of, named

SAMPLES = Path(__file__).parents[2] / "samples"
RATE, BINS = 8000, 40
CTC = [spec for spec in SPECS if spec.head == "ctc" and not spec.bands]
Change = Callable[[dict[str, Any]], object]


def digits() -> Bundle:
    return bundles.load(shipped()["digits"])


def packed(
    folder: Path, change: Change = lambda manifest: None, *, settled: bool = False, said: str = ""
) -> Bundle:
    """The shipped digits model as if it had been trained on the features of sherpa-onnx.

    Args:
        settled: whether its arithmetic is made float before.
        said: the golden text, if not what the model says.
    """
    source = digits()
    folder.mkdir()
    for name in (bundles.GRAPH, bundles.TOKENS, bundles.LICENCE):
        shutil.copy(source.folder / name, folder)
    manifest = tomllib.loads((source.folder / bundles.MANIFEST).read_text())
    manifest = {key: manifest[key] for key in manifest if key not in ("format", "files")}
    manifest["features"]["kind"] = "nemo"
    if settled:
        model = onnx.load(folder / bundles.GRAPH)
        settle(model)
        onnx.save(model, folder / bundles.GRAPH)
        manifest["graph"]["precision"] = "float"
    change(manifest)
    graph = StreamingGraph(
        folder / bundles.GRAPH, source.form, dataclasses.replace(source.features, kind="nemo")
    )
    proof = golden(graph, source.golden().samples, source.symbols())
    return bundles.write(folder, manifest, dataclasses.replace(proof, text=said or proof.text))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return packed(tmp_path_factory.mktemp("bundle") / "digits")


@pytest.fixture(scope="module")
def exported(bundle: Bundle, tmp_path_factory: pytest.TempPathFactory) -> Exported:
    return export_sherpa(bundle.folder, tmp_path_factory.mktemp("exported") / "digits")


@pytest.fixture(scope="module")
def spoken() -> list[Samples]:
    clips = read(SAMPLES / "digits").split("test").clips
    return [load_audio(clip.path, rate=RATE).mono() for clip in clips]


def recognizer(folder: Path) -> Any:
    return sherpa_onnx.OnlineRecognizer.from_nemo_ctc(
        tokens=str(folder / "tokens.txt"),
        model=str(folder / "model.onnx"),
        sample_rate=RATE,
        feature_dim=BINS,
        num_threads=1,
    )


def theirs(loaded: Any, exported: Exported, samples: Samples, pieces: int = 1) -> str:
    stream = loaded.create_stream()
    after = np.zeros(round(exported.silence * RATE), np.float32)
    for piece in [*np.array_split(samples, pieces), after]:
        stream.accept_waveform(RATE, piece)
        while loaded.is_ready(stream):
            loaded.decode_stream(stream)
    return str(loaded.get_result(stream)).strip()


def ours(engine: BundleEngine, samples: Samples) -> str:
    return engine.recognize(samples, RecognizeOptions()).text


@pytest.mark.parametrize("window", [None, 4, 36])
def test_every_clip_has_the_same_transcript(
    bundle: Bundle, spoken: list[Samples], tmp_path: Path, window: int | None
) -> None:
    exported = export_sherpa(bundle.folder, tmp_path / "out", window)
    engine, loaded = BundleEngine(bundle), recognizer(exported.folder)
    said = [ours(engine, samples) for samples in spoken]
    assert [theirs(loaded, exported, samples) for samples in spoken] == said
    assert len(said) == 60
    assert sum(map(bool, said)) > 55


def test_sound_in_pieces_has_the_same_transcript(
    bundle: Bundle, exported: Exported, spoken: list[Samples]
) -> None:
    loaded, engine = recognizer(exported.folder), BundleEngine(bundle)
    joined = np.concatenate(spoken[::6])
    for pieces in (1, 9, 300):
        assert theirs(loaded, exported, joined, pieces) == ours(engine, joined)


def test_on_sound_that_it_never_learned_the_settled_bundle_agrees(
    bundle: Bundle, exported: Exported, tmp_path: Path
) -> None:
    """Where a model is unsure, the rounding of dynamic int8 would show."""
    settled = settled_bundle(bundle.folder, tmp_path / "settled")
    assert settled.graph.read_bytes() != bundle.graph.read_bytes()
    assert settled.form.precision == "stored"
    assert "int8" not in settled.manifest.scores
    assert set(settled.manifest.files) == set(bundle.manifest.files)
    loaded, engine = recognizer(exported.folder), BundleEngine(settled)
    strange = load_audio(SAMPLES / "jfk.wav", rate=RATE).mono()
    said = [ours(engine, part) for part in np.array_split(strange, 20)]
    assert [theirs(loaded, exported, part) for part in np.array_split(strange, 20)] == said
    assert sum(map(bool, said)) > 10
    with pytest.raises(RequestError, match="computes on a server what it computes on phones"):
        settled_bundle(settled.folder, tmp_path / "again")
    with pytest.raises(RequestError, match="is there already"):
        settled_bundle(bundle.folder, tmp_path / "settled")


def test_streams_in_a_batch_do_not_hear_each_other(
    exported: Exported, spoken: list[Samples]
) -> None:
    loaded = recognizer(exported.folder)
    alone = [theirs(loaded, exported, samples) for samples in spoken]
    streams = [loaded.create_stream() for _ in spoken]
    after = np.zeros(round(exported.silence * RATE), np.float32)
    for stream, samples in zip(streams, spoken, strict=True):
        stream.accept_waveform(RATE, np.concatenate([samples, after]))
    while ready := [stream for stream in streams if loaded.is_ready(stream)]:
        loaded.decode_streams(ready)
    assert [loaded.get_result(stream).strip() for stream in streams] == alone


@settings(max_examples=40)
@given(st.integers(1, 12_000), st.sampled_from([4, 20, 32, 64]))
def test_every_row_of_ours_is_computed_there(
    settled_graph: StreamingGraph, joined: Samples, count: int, window: int
) -> None:
    whole = settled_graph.log_probs(joined[:count])
    found = window_rows(settled_graph, joined[:count], window)
    assert len(whole) <= len(found) < len(whole) + 2 * window // 4
    assert np.abs(found[: len(whole)] - whole).max(initial=0) < 5e-3


@pytest.fixture(scope="module")
def joined(spoken: list[Samples]) -> Samples:
    return np.concatenate(spoken[:8])


@pytest.fixture(scope="module")
def settled_graph(exported: Exported, bundle: Bundle) -> StreamingGraph:
    return StreamingGraph(exported.folder / bundles.GRAPH, bundle.form, bundle.features)


def test_without_the_silence_a_last_word_may_stay_inside(
    exported: Exported, bundle: Bundle, spoken: list[Samples]
) -> None:
    loaded, engine = recognizer(exported.folder), BundleEngine(bundle)
    hasty = dataclasses.replace(exported, silence=0.0)
    assert any(theirs(loaded, hasty, s) != ours(engine, s) for s in spoken)


def test_the_files(exported: Exported, bundle: Bundle) -> None:
    names = {path.name for path in exported.folder.iterdir()}
    assert names == {"model.onnx", "tokens.txt", "LICENCE.txt", "README.md"}
    assert (exported.window, exported.silence, exported.settled) == (32, 0.76, True)
    assert exported.size < 360_000
    tokens = (exported.folder / "tokens.txt").read_text()
    assert tokens == (bundle.folder / "tokens.txt").read_text()
    assert tokens.splitlines()[-1] == "<blk> 10"


def test_a_window_is_written_into_the_graph(bundle: Bundle, tmp_path: Path) -> None:
    export_sherpa(bundle.folder, tmp_path / "out", window=8)
    graph = onnx.load(tmp_path / "out/model.onnx")
    found = {entry.key: entry.value for entry in graph.metadata_props}
    assert (found["window_size"], found["chunk_shift"]) == ("8", "8")
    assert found["vocab_size"] == "10"


def test_a_graph_that_fits_is_copied_unchanged(tmp_path: Path) -> None:
    bundle = packed(tmp_path / "digits", settled=True)
    exported = export_sherpa(bundle.folder, tmp_path / "out")
    assert not exported.settled
    assert (tmp_path / "out/model.onnx").read_bytes() == bundle.graph.read_bytes()


def test_the_program_of_the_page_runs(exported: Exported, spoken: list[Samples]) -> None:
    soundfile.write(exported.folder / "speech.wav", spoken[0], RATE, "PCM_16")
    page = (exported.folder / README).read_text()
    (program,) = (part.split("```")[0] for part in page.split("```python\n")[1:])
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=exported.folder,
        capture_output=True,
        text=True,
        check=True,
    )
    (exported.folder / "speech.wav").unlink()
    assert done.stdout.strip() == theirs(recognizer(exported.folder), exported, spoken[0])


def test_the_page_leaves_nothing_open(exported: Exported) -> None:
    page = (exported.folder / README).read_text()
    assert "$" not in page
    for said in ("8000 Hz", "feature dimension | 40", "sherpa-onnx==2.0.1", "CC BY-SA 4.0", "0.76"):
        assert said in page


def test_an_older_release_hears_the_features_of_kaldi(tmp_path: Path) -> None:
    export_sherpa(shipped()["digits"], tmp_path / "out", release="2.0.0")
    assert "releases up to 2.0.0" in (tmp_path / "out" / README).read_text()
    with pytest.raises(BundleError, match=r"features of kind: fbank.*\{kind: nemo\}"):
        export_sherpa(shipped()["digits"], tmp_path / "other")


def test_a_newer_release_is_not_for_the_features_of_kaldi(bundle: Bundle, tmp_path: Path) -> None:
    export_sherpa(bundle.folder, tmp_path / "out", release="2.10.0")
    with pytest.raises(BundleError, match="features of kind: nemo"):
        export_sherpa(bundle.folder, tmp_path / "other", release="1.13.8")


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda m: m.update(task="classify"), "task classify.*tokens: {kind: words}"),
        (lambda m: m.update(task="embed"), "task embed"),
        (lambda m: m["graph"].update(whole=True), "whole utterances.*conv, recurrent"),
        (lambda m: m["features"].update(frame_length_ms=20.0), "frame_length_ms: 20.*nemo"),
        (lambda m: m["features"].update(frame_shift_ms=5.0), "frame_shift_ms: 5"),
        (lambda m: m["features"].update(kind="gammatone"), "kind: gammatone"),
        (
            lambda m: m["features"].update(kind="fbank", compression="pcen"),
            "kind: fbank, compression: pcen",
        ),
    ],
)
def test_what_sherpa_onnx_cannot_run_is_refused(tmp_path: Path, change: Change, words: str) -> None:
    bundle = packed(tmp_path / "digits", change)
    refused(bundle.folder, tmp_path / "out", BundleError, words)


def refused(folder: Path, target: Path, kind: type[AimassError], words: str, **more: Any) -> None:
    with pytest.raises(kind, match=words):
        export_sherpa(folder, target, **more)
    assert [path.name for path in target.parent.iterdir() if "out" in path.name] == []


def test_a_massive_model_is_refused(bundle: Bundle, tmp_path: Path) -> None:
    whole = tmp_path / "whole"
    whole.mkdir()
    about = bundle.manifest
    combination = Combination("vote", (0.5, 0.5), (1.0, 1.0))
    manifest = {
        "name": "many",
        "task": Task.TRANSCRIBE.value,
        "language": "en",
        "metric": "wer",
        "scores": {},
        "lineage": {},
        "licences": dict(about.licences),
    }
    members = {"one": bundle, "other": digits()}
    write_massive(whole, manifest, combination, members, bundle.golden())
    refused(whole, tmp_path / "out", BundleError, "a massive model.*Export its student")


def test_symbols_that_look_like_bytes_are_refused(bundle: Bundle, tmp_path: Path) -> None:
    folder = tmp_path / "digits"
    shutil.copytree(bundle.folder, folder)
    words = (folder / bundles.TOKENS).read_text().replace("▁nine", "▁bư")
    (folder / bundles.TOKENS).write_text(words)
    manifest = tomllib.loads((folder / bundles.MANIFEST).read_text())
    manifest = {key: manifest[key] for key in manifest if key not in ("format", "files")}
    (folder / bundles.MANIFEST).unlink()
    bundles.write(folder, manifest, bundle.golden())
    refused(folder, tmp_path / "out", BundleError, "byte-level subwords")


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"window": 30}, "windows of 30 frames.*multiple of 4"),
        ({"window": 0}, "windows of 0"),
        ({"window": -4}, "windows of -4"),
        ({"window": 4000}, "at most 1000"),
        ({"release": "latest"}, "release 'latest'"),
        ({"release": "2.0"}, "release '2.0'"),
        ({"release": "2.0.١"}, "release"),
    ],
)
def test_settings_that_do_not_fit(
    bundle: Bundle, tmp_path: Path, more: dict[str, Any], words: str
) -> None:
    refused(bundle.folder, tmp_path / "out", RequestError, words, **more)


def test_a_folder_that_is_there_is_kept(bundle: Bundle, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    with pytest.raises(RequestError, match="is there already"):
        export_sherpa(bundle.folder, tmp_path / "mine")
    assert list((tmp_path / "mine").iterdir()) == []


def test_another_golden_text_is_refused(tmp_path: Path) -> None:
    bundle = packed(tmp_path / "digits", said="seven nine")
    refused(bundle.folder, tmp_path / "out", IntegrityError, "golden input.*seven nine")


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the float, the int8 and the settled graph of every small CTC model."""
    folder = tmp_path_factory.mktemp("graphs")
    for number, spec in enumerate(CTC):
        paths = [folder / f"{form}-{number}.onnx" for form in ("float", "int8", "settled")]
        export(model_of(spec), paths[0])
        quantize(paths[0], paths[1])
        model = onnx.load(paths[1])
        settle(model)
        onnx.save(model, paths[2])
    return folder


def streaming(graphs: Path, spec: ModelSpec, form: str) -> StreamingGraph:
    about = bundles.Graph(stack=spec.stack, cache=cache(model_of(spec)), tail=0, precision=form)
    features = FeatureSpec(kind="nemo", sample_rate=RATE, bins=spec.columns)
    return StreamingGraph(graphs / f"{form}-{CTC.index(spec)}.onnx", about, features)


def in_chunks(graph: StreamingGraph, batch: int, frames: int) -> LogProbs:
    """Rows of the first stream of a batch, so many frames at a time."""
    stack, columns = graph.graph.stack, graph.features.columns
    heard = np.random.default_rng(5).normal(0, 1, (8, 48 * stack, columns)).astype(np.float32)
    heard[1:] *= 9  # loud neighbours
    past, rows = np.repeat(graph.first_cache(), batch, axis=0), []
    for first in range(0, heard.shape[1], frames * stack):
        found, past = graph.step(heard[:batch, first : first + frames * stack], past)
        rows.append(found[0])
    return np.concatenate(rows)


@pytest.mark.parametrize("spec", CTC, ids=named)
def test_settled_arithmetic_does_not_depend_on_runs(graphs: Path, spec: ModelSpec) -> None:
    one, int8, exact = (streaming(graphs, spec, form) for form in ("settled", "int8", "float"))
    alone = in_chunks(one, 1, 48)
    assert np.abs(in_chunks(one, 8, 3) - alone).max() < 1e-4
    assert np.abs(in_chunks(int8, 8, 3) - in_chunks(int8, 1, 48)).max() > 1e-4
    # The weights are those of int8, so it is no farther from float.
    away = [
        np.abs(np.exp(in_chunks(g, 1, 48)) - np.exp(in_chunks(exact, 1, 48))) for g in (one, int8)
    ]
    assert 0 < away[0].max() < 0.1
    assert away[0].mean() <= 1.1 * away[1].mean()


@pytest.mark.parametrize("spec", CTC, ids=named)
def test_settled_graphs_are_sound_and_small(graphs: Path, spec: ModelSpec) -> None:
    number = CTC.index(spec)
    model = onnx.load(graphs / f"settled-{number}.onnx")
    onnx.checker.check_model(model, full_check=True)
    assert not depends_on_runs(model)
    assert depends_on_runs(onnx.load(graphs / f"int8-{number}.onnx"))
    assert not depends_on_runs(onnx.load(graphs / f"float-{number}.onnx"))
    sizes = [(graphs / f"{form}-{number}.onnx").stat().st_size for form in ("settled", "int8")]
    assert sizes[0] < sizes[1]


def odd_weights(graph: onnx.GraphProto) -> None:
    (zero,) = (t for t in graph.initializer if t.name == integers(graph)[0].input[3])
    values = onnx.numpy_helper.to_array(zero) + 3
    zero.CopyFrom(onnx.numpy_helper.from_array(values.astype(np.int8), zero.name))


def odd_use(graph: onnx.GraphProto) -> None:
    scale = next(n for n in graph.node if n.op_type == "DynamicQuantizeLinear").output[1]
    graph.node.append(onnx.helper.make_node("Neg", [scale], ["odd"]))


def integers(graph: onnx.GraphProto) -> list[onnx.NodeProto]:
    return [node for node in graph.node if node.op_type == "MatMulInteger"]


@pytest.mark.parametrize(
    ("plant", "words"), [(odd_weights, "another point than 0"), (odd_use, "another use")]
)
def test_quantisation_of_another_kind_is_refused(
    graphs: Path, plant: Callable[[onnx.GraphProto], None], words: str
) -> None:
    model = onnx.load(graphs / "int8-0.onnx")
    plant(model.graph)
    with pytest.raises(BundleError, match=words):
        settle(model)

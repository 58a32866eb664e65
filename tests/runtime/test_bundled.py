"""Our own engine: a stream in any pieces says what the whole says, and only what was packed."""

import tomllib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from aimass.base.contract import Engine, Hypothesis, RecognizeOptions, Samples, StreamingEngine
from aimass.base.errors import BundleError, IntegrityError, RequestError
from aimass.features.spec import Frames
from aimass.registry import bundle as bundles
from aimass.runtime import graph as graphs
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.graph import LogProbs, PosteriorStream, StreamingGraph
from aimass.text.tokens import LabelSet

from . import digits
from .digits import RATE, speech

WORDS = RecognizeOptions(word_times=True)


@pytest.fixture(scope="module")
def babbling(tmp_path_factory: pytest.TempPathFactory) -> BundleEngine:
    return BundleEngine(digits.babbling(tmp_path_factory.mktemp("bundle") / "babbling"))


def streamed(engine: BundleEngine, samples: Samples, cuts: list[int]) -> Hypothesis:
    stream = engine.stream(WORDS)
    for piece in np.split(samples, sorted(cuts)):
        stream.accept(piece)
    return stream.finish()


def assert_same(found: Hypothesis, wanted: Hypothesis) -> None:
    assert found.text == wanted.text
    assert len(found.segments) == len(wanted.segments)
    for one, other in zip(found.segments, wanted.segments, strict=True):
        assert (one.start, one.end, one.tokens) == (other.start, other.end, other.tokens)
        times = [[(w.text, w.start, w.end) for w in s.words] for s in (one, other)]
        assert times[0] == times[1]
        assert one.confidence == pytest.approx(other.confidence, abs=1e-3)


def test_a_stream_in_any_pieces_is_the_whole(babbling: BundleEngine) -> None:
    @settings(max_examples=60)
    @given(st.lists(st.integers(0, 4 * RATE), max_size=15), st.integers(0, 4 * RATE))
    def law(cuts: list[int], count: int) -> None:
        samples = speech()[:count]
        assert_same(streamed(babbling, samples, cuts), babbling.recognize(samples, WORDS))

    law()
    assert len(babbling.recognize(speech(), WORDS).segments[0].words) > 10  # it does say much


@pytest.mark.parametrize("size", [80, 640, 4000])
def test_digits_are_the_same_in_pieces(size: int) -> None:
    engine = digits.engine()
    for clip in digits.clips()[::3]:
        samples = digits.samples(clip.path)
        cuts = list(range(size, len(samples), size))
        assert streamed(engine, samples, cuts).text == engine.recognize(samples, WORDS).text


def test_long_input_runs_in_bounded_steps(
    babbling: BundleEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    samples = np.tile(speech(), 3)
    wanted = babbling.recognize(samples, WORDS)
    sizes: list[int] = []
    step = babbling.graph.step

    def noted(features: Frames, cache: LogProbs) -> tuple[LogProbs, LogProbs]:
        sizes.append(features.shape[1])
        return step(features, cache)

    monkeypatch.setattr(babbling.graph, "step", noted)
    monkeypatch.setattr(graphs, "CHUNK_STEPS", 25)
    assert_same(babbling.recognize(samples, WORDS), wanted)
    assert max(sizes) == 100 and len(sizes) > 10


def test_results_grow_while_sound_comes_in(babbling: BundleEngine) -> None:
    stream, said = babbling.stream(WORDS), ""
    for number, piece in enumerate(np.array_split(speech(), 40), start=1):
        stream.accept(piece)
        found = stream.results()
        assert found.text.startswith(said)
        said = found.text
        for segment in found.segments:
            assert segment.end == pytest.approx(number * len(speech()) / 40 / RATE, abs=0.01)
            assert all(w.end <= segment.end for w in segment.words)
    assert stream.finish().text.startswith(said)


def test_words_are_where_they_were_said() -> None:
    samples, starts = digits.in_a_row(digits.clips()[:40:8], pause=0.7)
    found = digits.engine().recognize(samples, WORDS)
    words = found.segments[0].words
    assert [w.text for w in words] == [clip.text for clip in digits.clips()[:40:8]]
    for word, start in zip(words, starts, strict=True):
        assert start - 0.1 <= word.start <= word.end <= start + 1.3
        assert 0.2 < word.confidence <= 1
    assert (found.language, found.segments[0].start) == ("en", 0.0)


def test_word_times_only_where_asked() -> None:
    samples = digits.samples(digits.clips()[0].path)
    (segment,) = digits.engine().recognize(samples, RecognizeOptions()).segments
    assert segment.words == ()
    assert segment.end == pytest.approx(len(samples) / RATE)
    assert len(segment.tokens) == 1


@pytest.mark.parametrize("count", [0, 1, 39, 40, 80, 319, 320, 1000])
def test_next_to_nothing(babbling: BundleEngine, count: int) -> None:
    for engine in (babbling, digits.engine()):
        quiet = engine.recognize(np.zeros(count, np.float32), WORDS)
        assert all(s.end == count / RATE for s in quiet.segments)
        posteriors = engine.graph.log_probs(speech()[:count])
        tail_steps = 0.4 * RATE / 320
        assert tail_steps <= len(posteriors) <= tail_steps + count / 320 + 2
    assert digits.engine().recognize(np.zeros(count, np.float32), WORDS).text == ""


def test_silence_says_nothing() -> None:
    assert digits.engine().recognize(np.zeros(5 * RATE, np.float32), WORDS).segments == ()


def test_no_frame_waits_for_ever(babbling: BundleEngine) -> None:
    """Also where a bundle has no silent tail that would push the last frames out."""
    bundle = babbling.bundle
    for tail in (0.0, 0.005):
        changed = bundle.form.model_copy(update={"tail": tail})
        graph = StreamingGraph(bundle.graph, changed, bundle.features)
        for count in (400, 1000, 1080, 1160, 1240):
            stream = PosteriorStream(graph)
            rows = [stream.accept(speech()[:count]), stream.finish()]
            frames = (count + round(tail * RATE) + 40) // 80
            assert sum(map(len, rows)) == -(-frames // 4)


def test_posteriors_do_not_depend_on_the_pieces(babbling: BundleEngine) -> None:
    whole = babbling.graph.log_probs(speech())
    stream = PosteriorStream(babbling.graph)
    parts = [stream.accept(piece) for piece in np.array_split(speech(), 23)]
    found = np.concatenate([part for part in [*parts, stream.finish()] if len(part)])
    assert np.abs(found - whole).max() < 1e-3


def test_threads_share_an_engine() -> None:
    engine = digits.engine()
    sounds = [digits.samples(clip.path) for clip in digits.clips()[::3]] * 3
    alone = [engine.recognize(samples, WORDS) for samples in sounds]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda samples: engine.recognize(samples, WORDS), sounds))
    assert together == alone


def test_streams_of_one_engine_do_not_mix(babbling: BundleEngine) -> None:
    sounds = [speech(), speech()[::-1].copy(), speech()[5000:]]
    streams = [babbling.stream(WORDS) for _ in sounds]
    for part in range(10):
        for stream, samples in zip(streams, sounds, strict=True):
            stream.accept(np.array_split(samples, 10)[part])
    for stream, samples in zip(streams, sounds, strict=True):
        assert_same(stream.finish(), babbling.recognize(samples, WORDS))


def test_it_keeps_the_contract(babbling: BundleEngine) -> None:
    assert isinstance(babbling, Engine) and isinstance(babbling, StreamingEngine)
    assert (babbling.name, babbling.sample_rate) == ("babbling", RATE)
    assert not babbling.invents_on_silence
    babbling.close()


def planted(folder: Path, size: float) -> None:
    """Add to the bias of a word in the graph of a bundle."""
    graph = onnx.load(folder / bundles.GRAPH)
    (tensor,) = [t for t in graph.graph.initializer if t.name == "model.head.output.bias"]
    values = onnx.numpy_helper.to_array(tensor).copy()
    values[0] += size
    tensor.CopyFrom(onnx.numpy_helper.from_array(values, tensor.name))
    onnx.save(graph, folder / bundles.GRAPH)


def signed(folder: Path) -> bundles.Bundle:
    """The bundle with a manifest that fits its files."""
    manifest = load_manifest(folder)
    golden = bundles.Bundle(folder, manifest, "").golden()
    content = manifest.model_dump(mode="json", exclude={"format", "files"})
    return bundles.write(folder, content, golden)


def load_manifest(folder: Path) -> bundles.Manifest:
    content = tomllib.loads((folder / bundles.MANIFEST).read_text())
    return bundles.Manifest.model_validate(content)


def test_a_graph_with_another_output_is_refused(babbling: BundleEngine, tmp_path: Path) -> None:
    folder = digits.copy_of(babbling.bundle, tmp_path / "bundle")
    planted(folder, 0.0)
    assert BundleEngine(signed(folder)).graph
    planted(folder, 1.0)
    with pytest.raises(IntegrityError, match="in its golden input") as caught:
        BundleEngine(signed(folder))
    assert "packed log-probabilities" in caught.value.expected


def test_a_graph_that_says_nan_is_refused(babbling: BundleEngine, tmp_path: Path) -> None:
    folder = digits.copy_of(babbling.bundle, tmp_path / "bundle")
    planted(folder, float("nan"))
    with pytest.raises(IntegrityError):
        BundleEngine(signed(folder))


def test_a_graph_that_is_unsigned_is_refused(babbling: BundleEngine, tmp_path: Path) -> None:
    folder = digits.copy_of(babbling.bundle, tmp_path / "bundle")
    planted(folder, 1e-3)
    with pytest.raises(IntegrityError, match="changed after it was packed"):
        BundleEngine.open(folder, name="x", workers=1, threads=1)


def test_a_graph_that_does_not_load(tmp_path: Path, babbling: BundleEngine) -> None:
    (tmp_path / "graph.onnx").write_bytes(b"no graph")
    bundle = babbling.bundle
    with pytest.raises(BundleError, match="no graph that ONNX Runtime loads"):
        StreamingGraph(tmp_path / "graph.onnx", bundle.form, bundle.features)


def test_the_shipped_model_is_what_was_packed() -> None:
    bundle = digits.engine().bundle
    assert bundle.golden().text in {clip.text for clip in digits.clips()}
    assert sorted(digits.engine().symbols.symbols) == sorted(
        f"▁{word}" for word in {clip.text for clip in digits.clips()}
    )
    assert bundle.manifest.parameters <= 300_000


@pytest.fixture(scope="module")
def guessing(tmp_path_factory: pytest.TempPathFactory) -> BundleEngine:
    return BundleEngine(digits.guessing(tmp_path_factory.mktemp("bundle") / "guessing"))


def test_labels_are_the_same_in_any_pieces(guessing: BundleEngine) -> None:
    labels = guessing.symbols.symbols
    said = set()

    @settings(max_examples=40)
    @given(st.lists(st.integers(0, 4 * RATE), max_size=15), st.integers(1, 4 * RATE))
    def law(cuts: list[int], count: int) -> None:
        samples = speech()[:count]
        found = guessing.recognize(samples, WORDS)
        assert_same(streamed(guessing, samples, cuts), found)
        (segment,) = found.segments
        (word,) = segment.words
        assert segment.text == word.text in labels
        assert segment.tokens == (labels.index(segment.text),)
        assert (word.start, word.end) == (0, segment.end) == (0, count / RATE)
        assert 1 / 3 <= segment.confidence <= 1
        said.add(segment.text)

    law()
    assert len(said) > 1  # it does change its mind


def test_a_label_grows_from_nothing(guessing: BundleEngine) -> None:
    stream = guessing.stream()
    assert stream.results().segments == ()
    stream.accept(speech()[:RATE])
    first = stream.results()
    assert first.text in guessing.symbols.symbols and first.segments[0].words == ()
    assert isinstance(guessing.symbols, LabelSet)


def test_voiceprints_are_no_words(tmp_path: Path) -> None:
    engine = BundleEngine(digits.voices(tmp_path / "voices"))
    rows = engine.graph.log_probs(speech())
    assert np.linalg.norm(rows, axis=1) == pytest.approx(np.ones(len(rows)), abs=1e-4)
    assert engine.bundle.golden().text == ""
    for ask in (engine.stream, lambda: engine.recognize(speech(), WORDS)):
        with pytest.raises(RequestError, match="'voices', which gives voiceprints") as caught:
            ask()
        assert caught.value.param == "model"


@pytest.mark.parametrize("language", ["de", "xx", "enx"])
def test_a_language_that_was_not_trained(babbling: BundleEngine, language: str) -> None:
    with pytest.raises(RequestError, match=f"language '{language}'") as caught:
        babbling.recognize(speech(), RecognizeOptions(language=language))
    assert (caught.value.expected, caught.value.param) == ("en", "language")
    assert babbling.recognize(speech(), RecognizeOptions(language="en-GB")).language == "en"

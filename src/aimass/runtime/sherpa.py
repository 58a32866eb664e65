"""Any recogniser of the sherpa-onnx model zoo, its family found from its files."""

import io
import itertools
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Segment, Word
from aimass.base.errors import BundleError, MissingExtra

Metadata = Mapping[str, str]

_UNSPACED = re.compile(r"[\u0e00-\u0eff\u3040-\u30ff\u3400-\u9fff]")
_LAST_WORD = 0.4  # seconds that the last word gets after its last token began
_OFFLINE_SECONDS = 30.0  # attention over a whole file grows with its square
_ONLINE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class Family:
    """How the models of one kind are told from others and loaded.

    Args:
        loader: the factory method of sherpa-onnx's recogniser.
        roles: factory argument by the role of an ONNX file in its name; "" is the only file.
        fits: whether the metadata of the first role's graph is of this family.
        needs: further metadata without which sherpa-onnx would end the process.
        options: further arguments of the factory.
        invents: whether it puts words into silence.
    """

    loader: str
    roles: Mapping[str, str]
    fits: Callable[[Metadata], bool] = lambda meta: True
    streaming: bool = False
    needs: tuple[str, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    invents: bool = False
    sample_rate: int = 16000


def _type(*names: str) -> Callable[[Metadata], bool]:
    return lambda meta: meta.get("model_type", "").startswith(names)


def _has(*keys: str) -> Callable[[Metadata], bool]:
    return lambda meta: all(key in meta for key in keys)


_TRANSDUCER = {"encoder": "encoder", "decoder": "decoder", "joiner": "joiner"}
_PAIR = {"encoder": "encoder", "decoder": "decoder"}
_CACHES = tuple(f"cache_last_{kind}_dim{i}" for kind in ("channel", "time") for i in (1, 2, 3))
_NEMO = ("EncDecCTCModel", "EncDecHybridRNNTCTCBPEModel")

# The first that fits. Read from sherpa-onnx's own loaders and export scripts: `model_type` and
# the keys that only streaming graphs carry.
FAMILIES: Mapping[str, Family] = {
    "streaming transducer": Family(
        "from_transducer", _TRANSDUCER, _has("decode_chunk_len"), streaming=True
    ),
    "streaming NeMo transducer": Family(
        "from_transducer", _TRANSDUCER, _has("window_size", "chunk_shift"), streaming=True
    ),
    "NeMo transducer": Family(
        "from_transducer",
        _TRANSDUCER,
        _type("EncDec"),
        needs=("vocab_size", "subsampling_factor", "pred_rnn_layers", "pred_hidden"),
        options={"model_type": "nemo_transducer"},
    ),
    "transducer": Family("from_transducer", _TRANSDUCER),
    "Moonshine": Family(
        "from_moonshine",
        {
            "preprocess": "preprocessor",
            "encode": "encoder",
            "uncached": "uncached_decoder",
            "cached": "cached_decoder",
        },
        invents=True,
    ),
    "Whisper": Family(
        "from_whisper", _PAIR, _type("whisper"), options={"language": ""}, invents=True
    ),
    "streaming Paraformer": Family(
        "from_paraformer", _PAIR, _has("encoder_output_size", "lfr_window_size"), streaming=True
    ),
    "Canary": Family("from_nemo_canary", _PAIR, _type("EncDecMultiTask"), invents=True),
    "FireRedASR": Family("from_fire_red_asr", _PAIR, _has("cmvn_mean"), invents=True),
    "Moonshine v2": Family("from_moonshine_v2", _PAIR, lambda meta: not meta, invents=True),
    "SenseVoice": Family("from_sense_voice", {"": "model"}, _has("with_itn", "neg_mean")),
    "Paraformer": Family("from_paraformer", {"": "paraformer"}, _has("lfr_window_size")),
    "streaming NeMo CTC": Family(
        "from_nemo_ctc",
        {"": "model"},
        _has("window_size", "chunk_shift"),
        streaming=True,
        needs=("subsampling_factor", "vocab_size", *_CACHES),
    ),
    "streaming Zipformer CTC": Family(
        "from_zipformer2_ctc", {"": "model"}, _has("decode_chunk_len", "T"), streaming=True
    ),
    "streaming WeNet CTC": Family(
        "from_wenet_ctc", {"": "model"}, _has("head", "cnn_module_kernel"), streaming=True
    ),
    "T-one CTC": Family(
        "from_t_one_ctc",
        {"": "model"},
        _type("t-one"),
        streaming=True,
        needs=("frame_length_ms", "state_dim", "sample_rate"),
        sample_rate=8000,
    ),
    "Zipformer CTC": Family("from_zipformer_ctc", {"": "model"}, _type("zipformer2_ctc")),
    "WeNet CTC": Family("from_wenet_ctc", {"": "model"}, _type("wenet_ctc"), needs=("vocab_size",)),
    "TeleSpeech CTC": Family("from_telespeech_ctc", {"": "model"}, _type("telespeech_ctc")),
    "TDNN CTC": Family("from_tdnn_ctc", {"": "model"}, _type("tdnn"), sample_rate=8000),
    "Dolphin CTC": Family("from_dolphin_ctc", {"": "model"}, _has("mean", "invstd", "vocab_size")),
    "Omnilingual CTC": Family("from_omnilingual_asr_ctc", {"": "model"}, _type("omnilingual")),
    "MedASR CTC": Family("from_medasr_ctc", {"": "model"}, _type("medasr")),
    "NeMo CTC": Family(
        "from_nemo_ctc",
        {"": "model"},
        _type(*_NEMO),
        needs=("vocab_size", "subsampling_factor"),
    ),
}


class SherpaEngine:
    """A whole-file recogniser of sherpa-onnx; its native code lets threads work side by side.

    Args:
        recognizer: a ``sherpa_onnx.OfflineRecognizer``, or the online one for the subclass.
        name: what the model is called to users.
        family: how it was loaded.
    """

    max_seconds = _OFFLINE_SECONDS

    def __init__(self, recognizer: Any, name: str, family: Family) -> None:
        self.name = name
        self.sample_rate = family.sample_rate
        self.invents_on_silence = family.invents
        self._recognizer = recognizer

    @classmethod
    def open(cls, folder: Path, *, name: str, workers: int, threads: int) -> "SherpaEngine":
        """Load a model folder; a streaming model gives a `StreamingSherpaEngine`.

        Args:
            workers: calls of `recognize` that run side by side; all share one set of weights.
            threads: cores used by each of them.

        Raises:
            MissingExtra: sherpa-onnx is not installed.
            BundleError: files of no known family, or that do not load.
        """
        try:
            import sherpa_onnx
        except ImportError as error:
            raise MissingExtra(
                f"{name} needs sherpa-onnx, which is not installed ({error})",
                expected="the sherpa extra",
                fix="Type: pip install 'aimass[sherpa]'",
            ) from error
        family, arguments, metadata = _recognise_family(folder, name)
        kind = sherpa_onnx.OnlineRecognizer if family.streaming else sherpa_onnx.OfflineRecognizer
        try:
            recognizer = getattr(kind, family.loader)(
                **arguments, **family.options, num_threads=threads
            )
        except Exception as error:  # its C++ core raises RuntimeError, its checks AssertionError
            raise _unloadable(name, folder, str(error) or type(error).__name__) from error
        if family.streaming:
            return StreamingSherpaEngine(recognizer, name, family, metadata)
        return cls(recognizer, name, family)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch, shape ``(samples,)`` at the engine's rate.

        The language and hot words are fixed in most of these models and not taken from the
        options.
        """
        if not len(samples):
            return Hypothesis()
        stream = self._recognizer.create_stream()
        stream.accept_waveform(self.sample_rate, np.ascontiguousarray(samples, np.float32))
        self._recognizer.decode_stream(stream)
        duration = len(samples) / self.sample_rate
        return _hypothesis(stream.result, duration, options.word_times)

    def close(self) -> None:
        """Let go of the weights."""
        self._recognizer = None


class StreamingSherpaEngine(SherpaEngine):
    """A streaming recogniser of sherpa-onnx; a whole file is a stream with one big chunk.

    Args:
        metadata: of the model's first graph.
    """

    max_seconds = _ONLINE_SECONDS

    def __init__(self, recognizer: Any, name: str, family: Family, metadata: Metadata) -> None:
        super().__init__(recognizer, name, family)
        self._tail = _tail_seconds(metadata)
        self._time_scale = _time_scale(family, metadata)

    def recognize(self, samples: Samples, options: RecognizeOptions) -> Hypothesis:
        """Recognise one stretch, shape ``(samples,)`` at the engine's rate."""
        stream = self.stream(word_times=options.word_times)
        stream.accept(samples)
        return stream.finish()

    def stream(self, word_times: bool = True) -> "SherpaStream":
        """A new stream, independent of all others."""
        return SherpaStream(
            self._recognizer, self.sample_rate, self._tail, self._time_scale, word_times
        )


class SherpaStream:
    """One speaker's state in a streaming recogniser of sherpa-onnx.

    Args:
        recognizer: the shared ``sherpa_onnx.OnlineRecognizer``.
        rate: samples a second.
        tail: seconds of silence that bring the last words out of the model.
        time_scale: true seconds for one second of the recogniser's times.
        word_times: also give the time of each word.
    """

    def __init__(
        self, recognizer: Any, rate: int, tail: float, time_scale: float, word_times: bool
    ) -> None:
        self._recognizer = recognizer
        self._stream = recognizer.create_stream()
        self._rate = rate
        self._tail = tail
        self._time_scale = time_scale
        self._word_times = word_times
        self._heard = 0

    def accept(self, samples: Samples) -> None:
        """Take the next samples, shape ``(samples,)`` at the engine's rate."""
        self._heard += len(samples)
        self._feed(samples)

    def results(self) -> Hypothesis:
        """What is believed so far."""
        result = self._recognizer.get_result_all(self._stream)
        heard = self._heard / self._rate
        return _hypothesis(result, heard, self._word_times, self._time_scale)

    def finish(self) -> Hypothesis:
        """No more audio will come: the final belief."""
        self._feed(np.zeros(round(self._tail * self._rate), np.float32))
        self._stream.input_finished()
        self._decode()
        return self.results()

    def _feed(self, samples: Samples) -> None:
        if len(samples):
            self._stream.accept_waveform(self._rate, np.ascontiguousarray(samples, np.float32))
            self._decode()

    def _decode(self) -> None:
        while self._recognizer.is_ready(self._stream):
            self._recognizer.decode_stream(self._stream)


def _recognise_family(folder: Path, name: str) -> tuple[Family, dict[str, str], Metadata]:
    """The family of a folder, the paths for its factory and the metadata of its first graph."""
    tokens = sorted(folder.glob("*tokens.txt"))
    if not tokens:
        raise _unloadable(name, folder, "there is no tokens.txt")
    graphs = sorted(itertools.chain(folder.glob("*.onnx"), folder.glob("*.ort")))
    for family in FAMILIES.values():
        chosen = _chosen(graphs, family.roles)
        if chosen is None:
            continue
        first = next(iter(chosen.values()))
        metadata = read_metadata(first)
        if not family.fits(metadata):
            continue
        if missing := [key for key in family.needs if key not in metadata]:
            raise _unloadable(name, folder, f"{first.name} lacks metadata: {', '.join(missing)}")
        paths = {family.roles[role]: str(path) for role, path in chosen.items()}
        return family, paths | {"tokens": str(tokens[0])}, metadata
    raise _unloadable(
        name,
        folder,
        f"{', '.join(g.name for g in graphs) or 'no .onnx file'} is of no known family",
    )


def _chosen(graphs: Sequence[Path], roles: Mapping[str, str]) -> dict[str, Path] | None:
    """One graph for every role, the int8 one where there is a choice; None if any lacks."""
    chosen = {}
    for role in roles:
        fitting = [graph for graph in graphs if _plays(graph.name, role)]
        if not fitting:
            return None
        chosen[role] = min(fitting, key=lambda path: ("int8" not in path.name, path.name))
    return chosen


def _plays(file: str, role: str) -> bool:
    if role == "":
        return re.search(r"encoder|decoder|joiner|preprocess|encode\b", file) is None
    if role in ("cached", "uncached"):
        return file.startswith(role)
    return role in file


def read_metadata(path: Path) -> dict[str, str]:
    """The metadata of an ONNX file without reading its weights; empty for other files.

    sherpa-onnx ends the whole process when a key is absent, so we look before we load. Walks
    the outermost protobuf message: field 14 of ModelProto (onnx.proto3) repeats key and value.

    Raises:
        BundleError: a file that ends early or is no protobuf.
    """
    if path.suffix != ".onnx":
        return {}
    found = {}
    size = path.stat().st_size
    try:
        with path.open("rb") as file:
            while file.tell() < size:
                number, length = _field(file)
                if file.tell() + length > size:
                    raise ValueError("it ends early")
                if number == 14:
                    pair = dict(_texts(file.read(length)))
                    found[pair.get(1, "")] = pair.get(2, "")
                else:
                    file.seek(length, 1)
    except ValueError as error:
        raise _unloadable(path.parent.name, path.parent, f"{path.name}: {error}") from error
    return found


def _field(file: BinaryIO) -> tuple[int, int]:
    """The number of the next protobuf field and the bytes that its content takes."""
    key = _varint(file)
    kind = key & 7
    if kind == 2:
        return key >> 3, _varint(file)
    if kind == 0:
        _varint(file)
        return key >> 3, 0
    if kind in (1, 5):
        return key >> 3, 8 if kind == 1 else 4
    raise ValueError("it is no ONNX file")


def _varint(file: BinaryIO) -> int:
    value = 0
    for shift in range(0, 64, 7):
        byte = file.read(1)
        if not byte:
            raise ValueError("it ends early")
        value |= (byte[0] & 0x7F) << shift
        if byte[0] < 0x80:
            return value
    raise ValueError("it is no ONNX file")


def _texts(message: bytes) -> Iterator[tuple[int, str]]:
    """The strings of a small protobuf message by field number."""
    file = io.BytesIO(message)
    while file.tell() < len(message):
        number, length = _field(file)
        yield number, file.read(length).decode("utf-8", "replace")


def _tail_seconds(metadata: Metadata) -> float:
    """One full window, which a model takes at a time, and its look-ahead."""
    frames = int(metadata.get("window_size") or metadata.get("T") or 0)  # of 10 ms
    return 0.5 + frames / 100 + int(metadata.get("frame_length_ms", 0)) / 1000


def _time_scale(family: Family, metadata: Metadata) -> float:
    """What sherpa-onnx's times are to be multiplied by.

    For streaming CTC it takes every model to give one output for four frames (2.0.1,
    online-recognizer-ctc-impl.h), whatever the model's own metadata says.
    """
    streaming_ctc = family.streaming and "" in family.roles
    return int(metadata.get("subsampling_factor", 4)) / 4 if streaming_ctc else 1.0


def _hypothesis(
    result: Any, duration: float, word_times: bool, time_scale: float = 1.0
) -> Hypothesis:
    """Our form of a result: one segment, or none when nothing was said."""
    text = str(result.text).strip()
    language = getattr(result, "lang", "").strip("<|>") or None
    if not text:
        return Hypothesis(language=language)
    # Neither tokens nor times nor probabilities are given by every family.
    times = [min(float(time) * time_scale, duration) for time in result.timestamps]
    probabilities = getattr(result, "ys_log_probs", None) or getattr(result, "ys_probs", None)
    confidence = _mean_probability(probabilities or ())
    words: tuple[Word, ...] = ()
    if word_times and len(times) == len(result.tokens):
        words = tuple(_words(result.tokens, times, probabilities or (), duration))
    start = times[0] if times else 0.0
    return Hypothesis((Segment(start, duration, text, words, confidence),), language)


def _words(
    tokens: Sequence[str], times: Sequence[float], log_probs: Sequence[float], duration: float
) -> Iterator[Word]:
    """Join tokens to words: a space, or a letter of a script without spaces, begins one."""
    groups: list[list[int]] = []
    begins = True
    for index, token in enumerate(tokens):
        piece = token.replace("\u2581", " ")
        if begins or piece[:1].isspace() or _UNSPACED.match(piece):
            groups.append([])
        begins = not piece.strip() or piece[-1:].isspace()
        if piece.strip():
            groups[-1].append(index)
    groups = [group for group in groups if group]
    for group, following in itertools.zip_longest(groups, groups[1:]):
        latest = times[group[-1]] + _LAST_WORD
        end = min(latest, times[following[0]] if following else duration, duration)
        text = "".join(tokens[i].replace("\u2581", " ") for i in group).strip()
        own = [log_probs[i] for i in group] if len(log_probs) == len(tokens) else []
        yield Word(text, times[group[0]], max(end, times[group[0]]), _mean_probability(own))


def _mean_probability(log_probs: Sequence[float]) -> float:
    """The geometric mean; 1 where the family tells none."""
    return min(1.0, math.exp(math.fsum(log_probs) / len(log_probs))) if log_probs else 1.0


def _unloadable(name: str, folder: Path, why: str) -> BundleError:
    return BundleError(
        f"{name} does not load from {folder}: {why}",
        expected="the ONNX files and tokens.txt of a model of the sherpa-onnx zoo",
        fix="Import it again with: aimass models pull NAME --from PATH",
    )

"""A bundle in the form that sherpa-onnx loads unchanged, for phones and whatever else it runs on.

::

    model.onnx    the streaming graph, with the metadata by which sherpa-onnx feeds it
    tokens.txt    what its outputs stand for, the blank last
    LICENCE.txt   the licence of the training data
    README.md     the settings, and programs for Python, Android, iOS, C++ and browsers

sherpa-onnx hears frames of the kind ``nemo`` since 2.0.1, of the kind ``fbank`` before. It takes
windows of a fixed number of them, and runs one once a frame behind it is there too. What is left
when the sound ends is never run. So the last word comes out only behind silence, and `silence` says
how much makes sure that every row that our runtime reads is computed there. Rows after these see
silence alone.
"""

import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx

from aimass.base.contract import Samples, Task
from aimass.base.errors import BundleError, IntegrityError, RequestError
from aimass.base.files import new_folder
from aimass.compression.export import WINDOW
from aimass.compression.readme import readme
from aimass.compression.settle import depends_on_runs, settle
from aimass.decoding.greedy import GreedyDecoder
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import golden
from aimass.runtime.graph import FrontStream, LogProbs, StreamingGraph
from aimass.text.tokens import TokenSet

README = "README.md"
RELEASE = "2.0.1"
"""The sherpa-onnx that models are exported for, and held against in the tests."""

NEMO_SINCE = (2, 0, 1)
HEARD = {"compression": "log", "frame_length_ms": 25.0, "frame_shift_ms": 10.0}
"""What is fixed in sherpa-onnx beside the kind; sample rate and bins are its settings."""

FRAME = 0.01  # seconds between two frames
_BYTES = 0xC6  # the greatest byte in the symbols of byte-level subwords


@dataclass(frozen=True, slots=True)
class Exported:
    """What was written.

    Args:
        window: frames that sherpa-onnx gives the graph at once.
        silence: seconds to feed after the last sample.
        settled: whether the arithmetic was made float, its weights staying int8, because the
            bundle's graph quantises by what is run together.
        size: bytes of model and tokens.
    """

    folder: Path
    window: int
    silence: float
    settled: bool
    size: int


def export_sherpa(
    folder: Path, target: Path, window: int | None = None, release: str = RELEASE
) -> Exported:
    """Write the model of a bundle for sherpa-onnx, and prove it on the bundle's golden input.

    Args:
        folder: of a bundle.
        target: a new folder.
        window: frames a step, a multiple of the model's ``stack``; the greatest up to 32 where
            none is given. A small one answers earlier and costs more.
        release: of the sherpa-onnx that is to run it.

    Raises:
        BundleError: a model that sherpa-onnx cannot run.
        RequestError: a target that exists, a window that does not fit, or no release.
        IntegrityError: the exported model does not give the golden text.
    """
    bundle = bundles.load(folder)
    _check(bundle, release)
    window = _window(bundle.form.stack, window)
    _refuse_there(target)
    with new_folder(target) as fresh:
        settled = _write_graph(bundle, fresh / bundles.GRAPH, window)
        shutil.copy(bundle.folder / bundles.TOKENS, fresh)
        shutil.copy(bundle.folder / bundles.LICENCE, fresh)
        _prove(bundle, fresh / bundles.GRAPH, window)
        size = sum((fresh / name).stat().st_size for name in (bundles.GRAPH, bundles.TOKENS))
        found = Exported(target, window, silence(bundle.form, window), settled, size)
        text = readme(bundle, window, found.silence, settled, release)
        (fresh / README).write_text(text, encoding="utf-8")
    return found


def settled_bundle(folder: Path, target: Path) -> Bundle:
    """Write the bundle whose graph is the exported one, for a server that must agree with phones.

    Its golden output is made anew. Error rates are left out: those of the original were measured
    with another arithmetic.

    Args:
        folder: of a bundle whose graph quantises by what is run together.
        target: a new folder.

    Raises:
        BundleError: dynamic quantisation of a kind that is not known, or no graph.
        RequestError: a target that exists, or a bundle whose graph is exported unchanged.
    """
    bundle = bundles.load(folder)
    form = bundle.form  # a massive model, which has no graph, ends here
    model = onnx.load(bundle.graph)
    if not depends_on_runs(model):
        raise RequestError(
            f"'{bundle.manifest.name}' computes on a server what it computes on phones",
            expected="a bundle in dynamic int8",
            fix="Serve it as it is",
            param="folder",
        )
    _refuse_there(target)
    settle(model)
    about = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
    about["graph"]["precision"] = "stored"
    about["scores"] = {k: v for k, v in about["scores"].items() if not isinstance(v, dict)}
    about["lineage"]["settled"] = bundle.digest
    with new_folder(target) as fresh:
        for name in set(bundle.manifest.files) - {bundles.GOLDEN}:
            shutil.copy(bundle.folder / name, fresh)
        onnx.save(model, fresh / bundles.GRAPH)
        graph = StreamingGraph(fresh / bundles.GRAPH, form, bundle.features)
        bundles.write(fresh, about, golden(graph, bundle.golden().samples, bundle.symbols()))
    return bundles.load(target)


def silence(form: bundles.Graph, window: int) -> float:
    """Seconds after the last sample, behind which sherpa-onnx has computed every row of ours.

    Our own silent tail, filled up to whole rows, then to a whole window, and the frame behind it.
    """
    return round(form.tail + (window + form.stack) * FRAME, 3)


def window_rows(graph: StreamingGraph, samples: Samples, window: int) -> LogProbs:
    """The rows that sherpa-onnx computes for a recording: full windows, one frame behind them."""
    front = FrontStream(graph.features)
    after = silence(graph.graph, window)
    frames = np.concatenate([front.accept(samples), front.finish(after)])
    cache, rows = graph.first_cache(), []
    for first in range(0, len(frames) - window, window):
        found, cache = graph.step(frames[None, first : first + window], cache)
        rows.append(found[0])
    return np.concatenate(rows)


def _check(bundle: Bundle, release: str) -> None:
    """Refuse what sherpa-onnx has no loader for."""
    manifest = bundle.manifest
    if manifest.massive is not None:
        raise _unfit(bundle, "a massive model", "a model of one graph", "Export its student")
    if manifest.task is not Task.TRANSCRIBE:
        raise _unfit(
            bundle,
            f"a model of the task {manifest.task.value}",
            "a model that transcribes: sherpa-onnx searches for words in time, by CTC",
            "Build it with task: transcribe and tokens: {kind: words}, a word for each label",
        )
    if bundle.form.whole:
        raise _unfit(
            bundle,
            "a model that takes whole utterances",
            "a streaming model, of the family conv, recurrent or attention",
            "Export a student of such a family",
        )
    _check_features(bundle, _kind(release))
    _check_symbols(bundle)


def _kind(release: str) -> str:
    """The features that a release computes for such models."""
    parts = release.split(".")
    if len(parts) != 3 or not all(part.isascii() and part.isdigit() for part in parts):
        raise RequestError(
            f"found the release '{release[:20]}' of sherpa-onnx",
            expected=f"three numbers, such as {RELEASE}",
            fix="Type: pip show sherpa-onnx",
            param="release",
        )
    return "nemo" if tuple(map(int, parts)) >= NEMO_SINCE else "fbank"


def _check_features(bundle: Bundle, kind: str) -> None:
    found, wanted = bundle.features.to_dict(), {"kind": kind, **HEARD}
    other = [f"{key}: {found[key]}" for key, value in wanted.items() if found[key] != value]
    if other:
        raise _unfit(
            bundle,
            f"a model that hears features of {', '.join(other)}",
            ", ".join(f"{key}: {value}" for key, value in wanted.items()),
            f"Put 'features: {{kind: {kind}}}' into the scenario and build it again; sherpa-onnx "
            "hears fbank up to 2.0.0, and nemo from 2.0.1 on",
        )


def _check_symbols(bundle: Bundle) -> None:
    """Refuse symbols that sherpa-onnx would take for those of byte-level subwords."""
    symbols = bundle.symbols().symbols
    if max(byte for symbol in symbols for byte in symbol.replace("▁", "").encode()) == _BYTES:
        raise _unfit(
            bundle,
            "a token table that sherpa-onnx takes for one of byte-level subwords",
            "a character beyond U+01BF among the symbols, or none beyond U+017F",
            "Spell the words otherwise, such as tokens: {kind: words}",
        )


def _refuse_there(target: Path) -> None:
    if target.exists():
        raise RequestError(
            f"{target} is there already",
            expected="a new folder",
            fix="Choose another name, or remove it",
            param="target",
        )


def _unfit(bundle: Bundle, found: str, expected: str, fix: str) -> BundleError:
    return BundleError(
        f"'{bundle.manifest.name}' is {found}, which sherpa-onnx cannot run",
        expected=expected,
        fix=fix,
    )


def _window(stack: int, asked: int | None) -> int:
    if asked is None:
        return WINDOW - WINDOW % stack
    if not 0 < asked <= 1000 or asked % stack:
        raise RequestError(
            f"windows of {asked} frames for a model that makes one row of {stack}",
            expected=f"a multiple of {stack}, at most 1000",
            fix=f"Take {WINDOW - WINDOW % stack}, or leave it out",
            param="window",
        )
    return asked


def _write_graph(bundle: Bundle, target: Path, window: int) -> bool:
    """The graph with its windows written into it; whether it had to be settled."""
    model = onnx.load(bundle.graph)
    settled = depends_on_runs(model)
    if settled:
        settle(model)
    found = {entry.key: entry.value for entry in model.metadata_props}
    if not settled and found.get("window_size") == found.get("chunk_shift") == str(window):
        shutil.copy(bundle.graph, target)
        return False
    found |= {"window_size": str(window), "chunk_shift": str(window)}
    del model.metadata_props[:]
    onnx.helper.set_model_props(model, dict(sorted(found.items())))
    onnx.save(model, target)
    return settled


def _prove(bundle: Bundle, graph: Path, window: int) -> None:
    """Hold what comes out, window by window, to the bundle's golden text."""
    tokens, packed = bundle.symbols(), bundle.golden()
    assert isinstance(tokens, TokenSet)
    runs = StreamingGraph(graph, bundle.form, bundle.features)
    search = GreedyDecoder(tokens, runs.frame_seconds)
    search.accept(window_rows(runs, packed.samples, window))
    if search.text != packed.text:
        raise IntegrityError(
            f"the exported model hears '{search.text}' in the golden input",
            expected=f"'{packed.text}', as the bundle does",
            fix="Pack the model in float, or with its weights stored in int8, and export that",
        )

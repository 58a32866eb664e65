"""What a massive model costs against one of its members, with one and with two threads.

    python benchmarks/bench_massive.py --members 6

Members are copies of the shipped digits model, and of a wider one of random weights where the
arithmetic of the graphs, not Python, takes the time. Told are real-time factors, of the quickest
of several rounds over the same sound, because other work on the machine only ever adds time; and
the processor time of the calling thread, the part that others did not take over, as a factor too.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from aimass.audio.decode import load as load_audio
from aimass.base.contract import Engine, RecognizeOptions, Samples
from aimass.compression.export import cache, export
from aimass.decoding.combine import Combination, Method
from aimass.features.spec import FeatureSpec
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine, golden
from aimass.runtime.graph import StreamingGraph
from aimass.runtime.load import shipped
from aimass.runtime.massive import massive_engine, pack
from aimass.text.tokens import TokenSet

RATE = 8000
SPEECH = Path(__file__).parents[1] / "samples/jfk.wav"
METHODS: tuple[Method, ...] = ("geometric", "vote")


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--members", type=int, default=6)
    arguments.add_argument("--rounds", type=int, default=15)
    given = arguments.parse_args()
    samples = load_audio(SPEECH, rate=RATE).mono()
    with tempfile.TemporaryDirectory() as folder:
        models = {
            "digits, 0.28 M": bundles.load(shipped()["digits"]),
            "random, 4 M": wide(Path(folder) / "wide", samples),
        }
        for title, member in models.items():
            print(f"{title}: one member {factor(BundleEngine(member), samples, given.rounds)}")
            for method in METHODS:
                bundle = packed(Path(folder) / method / member.digest, method, member, given)
                for threads in (1, 2):
                    engine = massive_engine(bundle, threads=threads)
                    told = factor(engine, samples, given.rounds)
                    print(f"{title}: {given.members} by {method}, {threads} threads {told}")
                    engine.close()


def factor(engine: Engine, samples: Samples, rounds: int) -> str:
    """The real-time factor, whole and in pieces of 320 ms."""
    options, seconds = RecognizeOptions(), len(samples) / RATE
    pieces = np.split(samples, range(2560, len(samples), 2560))

    def streamed() -> None:
        stream = engine.stream(options)  # type: ignore[attr-defined]  # all here do
        for piece in pieces:
            stream.accept(piece)
        stream.finish()

    found = {}
    for name, work in (("whole", lambda: engine.recognize(samples, options)), ("pieces", streamed)):
        wall, own = quickest(work, rounds)
        found[name] = round(wall / seconds, 4)
        found[f"{name}, caller"] = round(own / seconds, 4)
    return json.dumps(found)


def quickest(work: Callable[[], object], rounds: int) -> tuple[float, float]:
    """Seconds of the quickest round, on the clock and of this thread's processor."""
    wall, own = [], []
    for _ in range(rounds):
        started, begun = time.perf_counter(), time.thread_time()
        work()
        wall.append(time.perf_counter() - started)
        own.append(time.thread_time() - begun)
    return min(wall), min(own)


def packed(folder: Path, method: Method, member: Bundle, given: argparse.Namespace) -> Bundle:
    """Copies of a member as one."""
    folder.mkdir(parents=True)
    about = member.manifest.model_dump(
        mode="json", exclude={"format", "files", "features", "graph", "parameters"}
    )
    members = {f"member{number}": member for number in range(given.members)}
    combination = Combination.equal(method, given.members)
    return pack(folder, about | {"name": "many"}, combination, members, member.golden().samples)


def wide(folder: Path, samples: Samples) -> Bundle:
    """A larger convolutional model of random weights."""
    digits = bundles.load(shipped()["digits"])
    features, tokens = FeatureSpec(sample_rate=RATE, bins=40), TokenSet(("▁a", "▁b"))
    shape = ModelSpec("conv", "ctc", 40, tokens.size, channels=512, blocks=8, kernel=9)
    torch.manual_seed(0)
    model = SpeechModel(shape).eval()
    folder.mkdir()
    export(model, folder / bundles.GRAPH)
    tokens.save(folder / bundles.TOKENS)
    (folder / bundles.LICENCE).write_text("none\n")
    graph = {
        "stack": shape.stack,
        "cache": list(cache(model)),
        "tail": 0.4,
        "precision": "float",
    }
    runs = StreamingGraph(folder / bundles.GRAPH, bundles.Graph.model_validate(graph), features)
    about = digits.manifest.model_dump(mode="json", exclude={"format", "files"})
    about |= {"name": "wide", "features": features.to_dict(), "graph": graph}
    return bundles.write(folder, about, golden(runs, samples[:RATE], tokens))


if __name__ == "__main__":
    main()

"""How many seconds of sound become features in a second of one core.

::

    OMP_NUM_THREADS=1 python benchmarks/bench_features.py --out features.json

kaldi     a whole recording through kaldi-native-fbank, its frames fetched one by one: how all
          features were made before
whole     `extract`: 11 s in one piece
clips     `extract`: one second after the other
batch     `extract_batch`: eleven seconds at once
stream    `FeatureStream`: blocks of 100 ms
stream10  `FeatureStream`: blocks of 10 ms
file      `load` and `extract`: a WAV file of one second after the other
cached    `Cache.get_batch`: the same seconds, read from disk
beside    `extract_batch` in a thread while the first one multiplies matrices: the pace of each as a
          share of its pace alone, on a machine with two idle cores

Times are processor seconds of the process, the best of ``--rounds``, in which everything is
measured in turn; they hold for one core when BLAS has one thread. ``beside`` alone is by the clock.
"""

import argparse
import json
import platform
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import soundfile

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.features.cache import Cache
from aimass.features.kaldi import KaldiStream
from aimass.features.spec import FeatureSpec
from aimass.features.stream import FeatureStream, extract, extract_batch

JFK = Path(__file__).parents[1] / "samples/jfk.wav"
RATE = 16000
SPECS = {
    "fbank": FeatureSpec(),
    "nemo": FeatureSpec(kind="nemo"),
    "fbank pcen": FeatureSpec(compression="pcen"),
    "mfcc": FeatureSpec(kind="mfcc", bins=40),
    "gammatone": FeatureSpec(kind="gammatone"),
    "gammatone pcen": FeatureSpec(kind="gammatone", compression="pcen"),
    "waveform": FeatureSpec(kind="waveform"),
}
Work = Callable[[], object]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    samples = load(JFK, rate=RATE).mono()
    with tempfile.TemporaryDirectory() as scratch:
        found = {
            name: measured(works(samples, spec, Path(scratch)), arguments.rounds)
            for name, spec in SPECS.items()
        }
    report = {
        "machine": platform.processor() or platform.machine(),
        "numpy": np.__version__,
        "times_real_time": found,
        "beside": beside(samples, SPECS["fbank"]),
    }
    print(json.dumps(report, indent=2))
    if arguments.out:
        arguments.out.write_text(json.dumps(report, indent=2) + "\n")


def works(samples: Samples, spec: FeatureSpec, scratch: Path) -> dict[str, Work]:
    """What is measured, each over the same seconds of sound."""
    clips = [samples[i * RATE : (i + 1) * RATE] for i in range(len(samples) // RATE)]
    whole = np.concatenate(clips)
    files = [scratch / f"{index}.wav" for index in range(len(clips))]
    for path, clip in zip(files, clips, strict=True):
        soundfile.write(path, clip, RATE)
    cache, names = Cache(scratch / "cache"), [path.name for path in files]

    def make(missing: list[int]) -> list[Samples]:
        return extract_batch([clips[index] for index in missing], spec)

    found: dict[str, Work] = {
        "whole": lambda: extract(whole, spec),
        "clips": lambda: [extract(clip, spec) for clip in clips],
        "batch": lambda: extract_batch(clips, spec),
        "stream": lambda: stream(FeatureStream(spec), whole, RATE // 10),
        "stream10": lambda: stream(FeatureStream(spec), whole, RATE // 100),
        "file": lambda: [extract(load(path, rate=RATE).mono(), spec) for path in files],
        "cached": lambda: cache.get_batch(names, spec, make),
    }
    if spec.kind in ("fbank", "nemo", "mfcc") and spec.compression == "log":
        found["kaldi"] = lambda: stream(KaldiStream(spec), whole, len(whole))
    return found


def stream(to: FeatureStream | KaldiStream, samples: Samples, block: int) -> None:
    for start in range(0, len(samples), block):
        to.accept(samples[start : start + block])
    to.finish()


def measured(found: dict[str, Work], rounds: int) -> dict[str, float]:
    seconds = dict.fromkeys(found, float("inf"))
    for _ in range(rounds):
        for name, work in found.items():
            start = time.process_time()
            work()
            seconds[name] = min(seconds[name], time.process_time() - start)
    length = soundfile.info(JFK).frames // soundfile.info(JFK).samplerate
    return {name: round(length / taken) for name, taken in seconds.items()}


def beside(samples: Samples, spec: FeatureSpec) -> dict[str, float]:
    """How little two threads take from each other: 1 is nothing."""
    matrix = np.ones((400, 400), np.float32)
    clips = [samples[:RATE]] * 32

    def pace(work: Work, seconds: float = 1.0) -> float:
        start, count = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            work()
            count += 1
        return count / (time.perf_counter() - start)

    def step() -> object:
        return matrix @ matrix

    def features() -> object:
        return extract_batch(clips, spec)

    alone = pace(step), pace(features)
    paces = [0.0]
    thread = threading.Thread(target=lambda: paces.__setitem__(0, pace(features)))
    thread.start()
    together = pace(step)
    thread.join()
    return {"matrices": round(together / alone[0], 2), "features": round(paces[0] / alone[1], 2)}


if __name__ == "__main__":
    main()

"""How much sound one core augments in a second, by policy and by step.

::

    OMP_NUM_THREADS=1 python benchmarks/bench_augment.py
    OMP_NUM_THREADS=1 python benchmarks/bench_augment.py --noises FOLDER --rooms FOLDER

Batches of 32 utterances of two seconds of speech at 16 kHz, drawn anew for every batch; the
drawing counts. Times are of the processor, so that a shared machine matters less. Masks are
measured on features of (32, 200, 80).
"""

import argparse
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from aimass.audio.decode import load
from aimass.augment.policy import POLICIES, STEPS, Policy, apply, draw
from aimass.augment.sounds import Sounds, shelf
from aimass.augment.spectrogram import Masks, hide
from aimass.base.contract import Samples
from aimass.base.randomness import generator

RATE, SIZE, SECONDS, ROUNDS = 16_000, 32, 2.0, 10
JFK = Path(__file__).parents[1] / "samples/jfk.wav"


def batch() -> list[Samples]:
    speech, length = load(JFK, rate=RATE).mono(), round(SECONDS * RATE)
    return [speech[n * 4000 : n * 4000 + length].copy() for n in range(SIZE)]


def milliseconds(policy: Policy, sounds: Sounds) -> float:
    """Processor time of one batch, drawn and applied: the median of all rounds but the first."""
    waves, spent = batch(), []
    for number in range(ROUNDS + 1):
        start = time.process_time()
        records = [
            draw(policy, generator(number, "bench", n), SECONDS, sounds) for n in range(SIZE)
        ]
        apply(waves, records, RATE, sounds)
        spent.append(time.process_time() - start)
    return 1000 * float(np.median(spent[1:]))


def of_masks(rounds: int = 200) -> float:
    """Processor time of the masks of one batch of features, milliseconds."""
    rng = generator(0, "bench")
    features = rng.standard_normal((SIZE, 200, 80)).astype(np.float32)
    fill = np.zeros(80, np.float32)

    def once() -> None:
        hide(features, rng, Masks(), fill=fill)

    return 1000 * _seconds(once, rounds) / rounds


def _seconds(work: Callable[[], None], rounds: int) -> float:
    work()
    start = time.process_time()
    for _ in range(rounds):
        work()
    return time.process_time() - start


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--noises", type=Path)
    parser.add_argument("--rooms", type=Path)
    chosen = parser.parse_args()
    read = Sounds.read(chosen.noises, chosen.rooms, RATE)
    voices = {str(n): samples for n, samples in enumerate(batch())}
    sounds = replace(read, talkers=shelf(voices))
    print(f"{len(sounds.noises)} noises, {len(sounds.rooms)} rooms, else simulated\n")
    print(f"{'policy':12}{'ms a batch':>12}{'x real time':>14}")
    for policy in POLICIES.values():
        _print(policy.name, milliseconds(policy, sounds))
    print(f"\n{'step':12}{'ms a batch':>12}{'x real time':>14}   (done to every utterance)")
    for name, kind in STEPS.items():
        _print(name, milliseconds(Policy(name, (kind(),)), sounds))
    print(f"\nmasks for ({SIZE}, 200, 80): {of_masks():.2f} ms")


def _print(name: str, spent: float) -> None:
    print(f"{name:12}{spent:12.1f}{1000 * SIZE * SECONDS / spent:14.0f}")


if __name__ == "__main__":
    main()

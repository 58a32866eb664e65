"""A training run of a second: a few real clips, a model of a few thousand weights.

Also a program, so that it can be killed: ``tiny.py FOLDER`` trains there and prints its steps.
"""

import csv
import sys
from functools import cache
from pathlib import Path

import torch
from torch import Tensor

from aimass.audio.decode import load
from aimass.base.contract import Progress, no_progress
from aimass.features.fbank import FeatureSpec
from aimass.models.causal_conv import CausalConv, CausalConvSpec
from aimass.training.examples import AugmentSpec, Example, TrainingSet
from aimass.training.loop import TrainSpec, train

DIGITS = Path(__file__).parents[2] / "samples/digits"
WORDS = ("zero", "one", "six")
FEATURES = FeatureSpec(sample_rate=8000, bins=40)
SHAPE = CausalConvSpec(40, len(WORDS) + 1, channels=12, blocks=2, kernel=5)
SPEC = TrainSpec(epochs=12, batch_size=4, seed=5)
AUGMENT = AugmentSpec(ramp_epochs=4)


@cache
def examples() -> tuple[Example, ...]:
    """Twelve clips: two speakers, three words, two takes."""
    with (DIGITS / "metadata.tsv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file, delimiter="\t") if row["split"] == "train"]
    return tuple(
        Example(
            load(DIGITS / row["file"], rate=FEATURES.sample_rate).mono(),
            (WORDS.index(row["text"]),),
            row["speaker"],
        )
        for row in rows
        if row["text"] in WORDS
        and row["speaker"] in ("jackson", "theo")
        and row["file"].endswith(("5.flac", "6.flac"))
    )


def data(seed: int = 5) -> TrainingSet:
    """The clips as batches."""
    return TrainingSet(
        examples(), FEATURES, AUGMENT, batch_size=4, stack=SHAPE.stack, tail=0.4, seed=seed
    )


def fresh_model(shape: CausalConvSpec = SHAPE) -> CausalConv:
    """The same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(1)
        return CausalConv(shape)


def steps() -> int:
    """How many steps the run has."""
    return sum(len(data().plan(epoch)) for epoch in range(SPEC.epochs))


def weights(folder: Path, progress: Progress = no_progress) -> dict[str, Tensor]:
    """Train in a folder, from its checkpoint where it has one, and give the averaged weights."""
    folder.mkdir(parents=True, exist_ok=True)
    return train(fresh_model(), data(), SPEC, folder, progress).state_dict()


def tell(what: str, done: int, total: int | None) -> None:
    """Say each step to whoever started the program."""
    sys.stdout.write(f"{what} {done} {total}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    torch.set_num_threads(1)
    weights(Path(sys.argv[1]), tell)

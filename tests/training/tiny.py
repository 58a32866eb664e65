"""A training run of a second: a few real clips, a model of a few thousand weights."""

import csv
from collections.abc import Callable
from dataclasses import replace
from functools import cache, partial
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

import torch
from torch import Tensor

from aimass.audio.decode import load
from aimass.augment.level import Gain
from aimass.augment.noise import Noise
from aimass.augment.policy import Policy
from aimass.augment.spectrogram import Masks
from aimass.augment.timing import Speed
from aimass.base.contract import Samples
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.models.model import SpeechModel
from aimass.models.spec import ModelSpec
from aimass.training import loop
from aimass.training.dev import DevSet
from aimass.training.examples import TrainingSet
from aimass.training.loop import TrainSpec, train
from aimass.training.objective import objective
from aimass.training.passes import AugmentSpec, Example, Passes

DIGITS = Path(__file__).parents[2] / "samples/digits"
WORDS = ("zero", "one", "six")
SPEAKERS = ("jackson", "theo")
FEATURES = FeatureSpec(sample_rate=8000, bins=40)
SHAPE = ModelSpec("conv", "ctc", 40, len(WORDS) + 1, channels=12, blocks=2, kernel=5)
SPEC = TrainSpec(epochs=8, batch_size=4, seed=5)
POLICY = Policy("tiny", (Speed(share=0.7), Noise(share=0.6), Gain(share=0.8)), Masks())
AUGMENT = AugmentSpec(POLICY, most_joined=2, ramp_epochs=2, passes=2)


@cache
def _rows() -> tuple[dict[str, str], ...]:
    with (DIGITS / "metadata.tsv").open(encoding="utf-8") as file:
        rows = tuple(csv.DictReader(file, delimiter="\t"))
    return tuple(row for row in rows if row["text"] in WORDS and row["speaker"] in SPEAKERS)


@cache
def samples(file: str) -> Samples:
    """A clip at the rate of the features."""
    return load(DIGITS / file, rate=FEATURES.sample_rate).mono()


@cache
def examples(takes: tuple[str, ...] = ("5", "6")) -> tuple[Example, ...]:
    """Twelve clips: two speakers, three words, two takes."""
    return tuple(
        Example(
            row["file"],
            (WORDS.index(row["text"]),),
            row["speaker"],
            partial(samples, row["file"]),
        )
        for row in _rows()
        if row["split"] == "train" and row["file"].removesuffix(".flac").endswith(takes)
    )


@cache
def held_out(
    features: FeatureSpec = FEATURES,
) -> tuple[tuple[Frames, ...], tuple[tuple[int, ...], ...]]:
    """Frames and targets of six other clips."""
    rows = [row for row in _rows() if row["split"] == "test"]
    frames = tuple(extract(samples(row["file"]), features) for row in rows)
    return frames, tuple((WORDS.index(row["text"]),) for row in rows)


def dev() -> DevSet:
    """The held-out clips."""
    return DevSet(*held_out())


def passes(folder: Path, augment: AugmentSpec = AUGMENT, seed: int = 5) -> Passes:
    """Passes over the clips."""
    return Passes(examples(), FEATURES, augment, folder, tail=0.4, seed=seed)


def data(
    folder: Path,
    seed: int = 5,
    batch_size: int = SPEC.batch_size,
    augment: AugmentSpec = AUGMENT,
) -> TrainingSet:
    """The clips as batches."""
    made = passes(folder / "passes", augment)
    return TrainingSet(made, batch_size=batch_size, stack=SHAPE.stack, seed=seed)


def fresh_model(shape: ModelSpec = SHAPE, seed: int = 1) -> SpeechModel:
    """The same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return SpeechModel(shape)


def fresh_aim(shape: ModelSpec = SHAPE) -> torch.nn.Module:
    """The objective, with the same weights at every call."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(2)
        return objective(shape, len(WORDS))


def nobody(step: int) -> None:
    """Who is told each step, where nobody is."""


def weights(
    folder: Path,
    told: Callable[[int], object] = nobody,
    *,
    spec: TrainSpec = SPEC,
    shape: ModelSpec = SHAPE,
) -> dict[str, Tensor]:
    """Train in a folder, from its checkpoint where it has one, and give the final weights."""
    folder.mkdir(parents=True, exist_ok=True)

    def progress(what: str, done: int, total: int | None) -> None:
        told(done)

    # One label for each utterance, where it is not words that are learned.
    augment = replace(AUGMENT, most_joined=2 if shape.head == "ctc" else 1)
    best = train(
        fresh_model(shape),
        fresh_aim(shape),
        data(folder, augment=augment),
        dev(),
        spec,
        folder,
        progress=progress,
    )
    return best.state_dict()


def make_passes(folder: Path, numbers: tuple[int, ...]) -> None:
    """What a child does that makes passes."""
    made = passes(folder)
    for number in numbers:
        made.get(number)


def train_and_tell(folder: Path, spec: TrainSpec, save_seconds: float, told: Connection) -> None:
    """What a child does until it is killed."""
    loop.SAVE_SECONDS = save_seconds
    told.send(0)
    weights(folder, told.send, spec=spec)


def context() -> ForkServerContext:
    """Where children come from: each is a copy of one process that has loaded torch already."""
    made = get_context("forkserver")
    # The last is what the first optimizer imports, and takes longer than a run.
    made.set_forkserver_preload(["__main__", "aimass.training.loop", "soundfile", "torch._dynamo"])
    return made


def child(target: Callable[..., None], *arguments: object) -> ForkServerProcess:
    """A process at work."""
    process = context().Process(target=target, args=arguments)
    process.start()
    return process

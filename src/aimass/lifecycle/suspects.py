"""Labels that may be wrong: what a classifier, or an engine that we have, hears instead.

`cross_validated` is for closed sets of labels: every clip is judged by a small network that was
trained without it, and counts as suspect by the rule of confident learning, Northcutt, Jiang and
Chuang (2021), "Confident Learning: Estimating Uncertainty in Dataset Labels", section 3.1.
`disagreements` is for any text that an engine can recognise.
"""

from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from aimass.audio.types import Audio
from aimass.base.contract import Engine, Progress, RecognizeOptions, no_progress
from aimass.base.randomness import generator, torch_seed
from aimass.data.checks import Code, Finding
from aimass.data.corpus import Clip
from aimass.data.measure import cores
from aimass.data.sound import sound_of
from aimass.evaluation.errors import count_errors
from aimass.evaluation.units import units
from aimass.features.spec import FeatureSpec
from aimass.features.stream import extract_batch
from aimass.runtime.transcribe import hear_blocks, put_together
from aimass.training.loop import one_thread

Floats = npt.NDArray[np.float32]
Counts = npt.NDArray[np.int64]

MAX_LABELS = 200
_BINS, _POOL, _MOST_FRAMES, _FLOOR = 40, 4, 100, 10.0


@dataclass(frozen=True, slots=True)
class SuspectSpec:
    """How labels are cross-validated.

    Args:
        sample_rate: hertz at which clips are heard.
        folds: parts of the data, each judged by a network trained on the others.
        by_speaker: judge speakers by networks that never heard them. That also finds a label
            which one speaker got wrong in every take, and finds less besides: of the labels that
            benchmarks/bench_checks.py spoils in commands20 it names 77 %, and is wrong in two of
            five that it names; with parts drawn by clip, 85 %, and wrong in one of eight.
        epochs, steps: passes over the data, and the least number of batches.
        margin: by how much the label heard must be likelier than the label given.
        few: labels with fewer clips are not judged.
    """

    sample_rate: int = 16000
    folds: int = 4
    by_speaker: bool = False
    epochs: int = 10
    steps: int = 300
    margin: float = 0.8
    few: int = 8
    channels: int = 48
    batch_size: int = 64
    learning_rate: float = 4e-3
    seed: int = 0


def closed(clips: Sequence[Clip], few: int = 8) -> list[Clip]:
    """The clips whose texts come from a small set and are heard often; none where most are not."""
    often = {text for text, count in Counter(clip.text for clip in clips).items() if count >= few}
    kept = [clip for clip in clips if clip.text in often]
    return kept if 2 <= len(often) <= MAX_LABELS and 2 * len(kept) >= len(clips) else []


@one_thread()
def cross_validated(
    clips: Sequence[Clip], spec: SuspectSpec = SuspectSpec(), *, progress: Progress = no_progress
) -> list[Finding]:
    """Clips that sound like another label of the set; none where the texts are no closed set.

    Raises:
        AudioError: a clip that cannot be read.
    """
    clips = closed(clips, spec.few)
    if not clips:
        return []
    names = sorted({clip.text for clip in clips})
    given = np.array([names.index(clip.text) for clip in clips])
    features = _features(clips, spec, progress)
    believed = np.empty((len(clips), len(names)), np.float32)
    parts = _parts(clips, spec)
    for fold in range(spec.folds):
        inside, outside = np.flatnonzero(parts == fold), np.flatnonzero(parts != fold)
        if len(inside) and len(outside):
            model = _trained(features[outside], given[outside], len(names), spec, fold)
            believed[inside] = _judged(model, features[inside])
        progress("cross-validate", fold + 1, spec.folds)
    return [
        Finding(
            Code.LABEL_SUSPECT,
            clips[index].id,
            f"labelled '{names[given[index]]}', and sounds like '{names[heard]}'",
            round(margin, 3),
        )
        for index, heard, margin in confident(believed, given)
        if margin >= spec.margin
    ]


def confident(believed: Floats, given: Counts) -> list[tuple[int, int, float]]:
    """Rows off the diagonal of the confident joint: ``(row, class believed, margin)``.

    A row is believed to be of the likeliest class among those at least as likely as that class
    is on average where it is given. The margin is that probability less that of the class given.

    Args:
        believed: probabilities of rows that the judge was not trained on, ``(rows, classes)``.
        given: the classes they are labelled with, ``(rows,)``.
    """
    classes = range(believed.shape[1])
    usual = np.array([believed[given == one, one].mean() if one in given else 2 for one in classes])
    sure = np.where(believed >= usual, believed, -1)
    rows = np.arange(len(given))
    heard = sure.argmax(axis=1)
    margins = believed[rows, heard] - believed[rows, given]
    found = np.flatnonzero((sure[rows, heard] >= 0) & (heard != given))
    return [(int(row), int(heard[row]), float(margins[row])) for row in found]


def disagreements(
    clips: Sequence[Clip],
    engine: Engine,
    *,
    error_rate: float = 0.5,
    confidence: float = 0.8,
    progress: Progress = no_progress,
) -> list[Finding]:
    """Clips in which an engine is sure to hear something else than their text.

    Args:
        error_rate: of the text against what was heard, in words (characters in scripts without
            spaces), from which a text is suspect.
        confidence: that the engine must have in what it heard, in [0, 1].

    Raises:
        AudioError: a clip that cannot be read.
    """
    findings = []
    for number, clip in enumerate(clips, start=1):
        options = RecognizeOptions(language=clip.language)
        block = Audio(sound_of(clip, engine.sample_rate)[None], engine.sample_rate)
        heard = put_together(list(hear_blocks([block], engine, options)), engine.name)
        lengths = [max(one.end - one.start, 0.01) for one in heard.segments]
        sure = np.average([s.confidence for s in heard.segments], weights=lengths) if lengths else 0
        reference, hypothesis = (units(t, "mer", clip.language) for t in (clip.text, heard.text))
        rate = count_errors(reference, hypothesis).rate
        if rate >= error_rate and sure >= confidence and hypothesis:
            detail = f"labelled '{clip.text}', and {engine.name} hears '{heard.text}'"
            findings.append(Finding(Code.LABEL_SUSPECT, clip.id, detail, round(rate, 3)))
        progress("listen", number, len(clips))
    return findings


def _parts(clips: Sequence[Clip], spec: SuspectSpec) -> Counts:
    """The fold of each clip: dealt out within each label, or by speaker, at random."""
    rng = generator(spec.seed, "suspects", "folds")
    speakers = sorted({clip.speaker or clip.id for clip in clips})
    if spec.by_speaker:
        part = dict(zip(speakers, rng.permutation(len(speakers)) % spec.folds, strict=True))
        return np.array([part[clip.speaker or clip.id] for clip in clips])
    order = sorted(rng.permutation(len(clips)), key=lambda index: clips[index].text)
    parts = np.empty(len(clips), np.int64)
    parts[order] = np.arange(len(clips)) % spec.folds
    return parts


def _features(clips: Sequence[Clip], spec: SuspectSpec, progress: Progress) -> Floats:
    """Log-mel frames of 40 ms, each speaker's mean taken off, ``(clips, frames, bins)``."""
    fbank = FeatureSpec(sample_rate=spec.sample_rate, bins=_BINS)
    pooled: list[Floats] = []
    with ThreadPoolExecutor(cores()) as threads:
        for first in range(0, len(clips), 256):
            batch = clips[first : first + 256]
            sounds = list(threads.map(lambda clip: sound_of(clip, spec.sample_rate), batch))
            pooled += [_pool(frames) for frames in extract_batch(sounds, fbank)]
            progress("features", len(pooled), len(clips))
    features = np.empty((len(clips), max(map(len, pooled)), _BINS), np.float32)
    for row, frames in zip(features, pooled, strict=True):
        row[: len(frames)] = frames
        row[len(frames) :] = frames.min()
    speakers = np.array([clip.speaker or "" for clip in clips])
    for speaker in set(speakers):
        own = speakers == speaker
        features[own] -= features[own].mean(axis=(0, 1))
    scaled: Floats = features / np.float32(max(float(features.std()), 1e-6))
    return scaled


def _pool(frames: Floats) -> Floats:
    """Means of four frames, no lower than a floor below the loudest: silence says nothing."""
    frames = frames[: _MOST_FRAMES * _POOL]
    if len(frames) < _POOL:
        return np.zeros((1, _BINS), np.float32)
    whole = frames[: len(frames) // _POOL * _POOL].reshape(-1, _POOL, _BINS).mean(axis=1)
    floored: Floats = np.maximum(whole, whole.max() - _FLOOR)
    return floored


def _network(labels: int, width: int) -> nn.Module:
    """Four convolutions over time and a maximum over each quarter of the clip."""
    layers: list[nn.Module] = []
    for inputs, stride, dilation in ((_BINS, 1, 1), (width, 2, 1), (width, 1, 2), (width, 1, 2)):
        layers += [
            nn.Conv1d(inputs, width, 5, stride, padding=2 * dilation, dilation=dilation),
            nn.BatchNorm1d(width),
            nn.ReLU(),
        ]
    head = [nn.AdaptiveMaxPool1d(4), nn.Flatten(), nn.Dropout(0.3), nn.Linear(4 * width, labels)]
    return nn.Sequential(*layers, *head)


def _trained(
    features: Floats, given: Counts, labels: int, spec: SuspectSpec, fold: int
) -> nn.Module:
    """A network that tells the labels apart, trained with AdamW on one cycle of rates."""
    inputs, targets = torch.from_numpy(features).transpose(1, 2), torch.from_numpy(given)
    rng = generator(spec.seed, "suspects", fold)
    batches = max(1, len(given) // spec.batch_size)
    epochs = max(spec.epochs, -(-spec.steps // batches))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(spec.seed, "suspects", fold))
        model = _network(labels, spec.channels)
        optimizer = torch.optim.AdamW(model.parameters(), spec.learning_rate, weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimizer, spec.learning_rate, total_steps=epochs * batches + 1
        )
        for _ in range(epochs):
            for rows in np.array_split(rng.permutation(len(given)), batches):
                shifted = torch.roll(inputs[rows], int(rng.integers(-6, 7)), 2)
                loss = nn.functional.cross_entropy(model(shifted), targets[rows])
                optimizer.zero_grad()
                loss.backward()  # type: ignore[no-untyped-call]
                optimizer.step()
                schedule.step()
    return model.eval()


@torch.inference_mode()
def _judged(model: nn.Module, features: Floats) -> Floats:
    inputs = torch.from_numpy(features).transpose(1, 2)
    parts = [inputs[first : first + 512] for first in range(0, len(inputs), 512)]
    found: Floats = torch.cat([model(part).softmax(1) for part in parts]).numpy()
    return found

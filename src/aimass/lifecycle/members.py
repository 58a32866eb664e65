"""Stage train: one member of a scenario.

A member is trained from files alone (prepared manifests, a job of plain values), so that it may
run in a process of its own (`aimass.lifecycle.workers`).
"""

import json
import logging
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from aimass.augment.noise import Babble
from aimass.augment.sounds import Sounds, shelf
from aimass.base.contract import Progress, Samples, Task, no_progress
from aimass.base.digests import of_file
from aimass.base.errors import DataError, TrainingError
from aimass.base.files import new_folder, write_json
from aimass.base.randomness import torch_seed
from aimass.data import corpus as corpora
from aimass.data.corpus import Clip
from aimass.data.sound import sound_of
from aimass.decoding.forced import needed
from aimass.features.cache import Cache
from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract
from aimass.lifecycle.lesson import Lesson, encoded
from aimass.lifecycle.prepare import CONTENT, RATE
from aimass.lifecycle.scenario import Features, Member, Scenario, Tokens
from aimass.lifecycle.tracking import RUN, Tracking, tracked
from aimass.models.model import SpeechModel, sized
from aimass.models.spec import Head, ModelSpec, Subsampling, WhisperSpec
from aimass.registry.bundle import TOKENS
from aimass.text.normalise import normalise
from aimass.text.spacing import mixed_tokens
from aimass.text.tokens import LabelSet, TokenSet
from aimass.training.checkpoint import Weights
from aimass.training.dev import DevSet
from aimass.training.distil import Distilled, TaughtSet
from aimass.training.examples import TrainingSet
from aimass.training.frozen import FrozenFront, behind, joined
from aimass.training.loop import LOG, Report, TrainSpec, snapshot_path, train
from aimass.training.objective import objective
from aimass.training.passes import AugmentSpec, Example, Passes
from aimass.training.processes import ALONE, Group, launch
from aimass.training.sampling import EVERYTHING, Bag, Sampler
from aimass.training.start import start_from, whisper_of

TAIL = 0.4  # seconds of silence in which the last word may still be decided
WEIGHTS, MODEL, FEATURES = "weights.safetensors", "model.json", "features.json"
EMBEDDING = 128
FLOORS = {"fbank": -6.5, "gammatone": -6.5, "nemo": -10.5}
"""Of log energies: fbank's chosen on dev (LOG.md), nemo's lower as its bands hold e^-4 of them."""
HEADS: dict[Task, Head] = {
    Task.TRANSCRIBE: "ctc",
    Task.CLASSIFY: "classify",
    Task.EMBED: "embed",
}
BINS = {8000: 40, 16000: 80}
"""Mel bands by sample rate, where the scenario names none."""
MOST_IMPOSSIBLE = 0.1
"""Share of the training texts that may need more frames than their sound has."""

_LOGGER = logging.getLogger("aimass.build")


@dataclass(frozen=True, slots=True)
class Together:
    """Members that are trained jointly: how strongly they pull each other, and who they are."""

    weight: float
    digest: str


@dataclass(frozen=True, slots=True)
class Job:
    """All that one member is made of; plain values, so that another process can take it.

    Args:
        prepared: folder of the stage before.
        scratch: where the checkpoint stands while it trains.
        passes: where augmented passes stand, shared with the other members.
        cache: of features.
        start: bundle, or Whisper model, to start from; None for fresh weights.
        terms: the licence of what it starts from.
        tracking: where the record of its training goes, None for nowhere.
        together: with whom it is trained; None for alone.
        lesson: what it learns from a teacher; None for labels alone.
    """

    plan: Scenario
    member: Member
    prepared: Path
    scratch: Path
    passes: Path
    cache: Path
    start: Path | None = None
    terms: str | None = None
    tracking: Tracking | None = None
    together: Together | None = None
    lesson: Lesson | None = None

    def at(self, scratch: Path) -> "Job":
        """The same job with its scratch folder."""
        return replace(self, scratch=scratch)

    @property
    def name(self) -> str:
        """The member's own name."""
        return str(self.member.name)


def features_of(job: Job) -> FeatureSpec:
    """The front end of a member: what its section leaves open follows from the recordings."""
    given = job.member.features or Features()
    rate = given.sample_rate or json.loads((job.prepared / RATE).read_text())
    if given.kind == "whisper" and given.sample_rate is None:
        rate = 16000  # whatever the recordings have, Whisper hears this
    return FeatureSpec(
        sample_rate=rate,
        bins=given.bins or (13 if given.kind == "mfcc" else BINS.get(rate, 80)),
        kind=given.kind,
        compression=given.compression,
        frame_length_ms=given.frame_length_ms,
    )


def augment_of(job: Job) -> AugmentSpec:
    """The augmentation of a member."""
    assert job.member.augment is not None
    given, spelled = job.member.augment, job.plan.task is Task.TRANSCRIBE
    return AugmentSpec(
        policy=given.found(),
        most_joined=given.joined or (3 if spelled else 1),
        pause=given.pause,
        ramp_epochs=(4 if spelled else 0) if given.ramp is None else given.ramp,
        passes=given.passes,
    )


def training_of(job: Job) -> TrainSpec:
    """The training of a member."""
    assert job.member.training is not None
    given = job.member.training.model_dump(exclude={"processes"})
    return TrainSpec(**given | {"seed": job.member.seed})


def sampler_of(job: Job) -> Sampler:
    """Which of the training data the member hears, and how often.

    A bag by speaker is one by utterance where the data does not say who speaks.
    """
    given, bag = job.member.bag, None
    if given is not None:
        by = given.by if _speakers_known(job.prepared) else "utterance"
        seed = job.member.seed if given.seed is None else given.seed
        bag = Bag(given.share, by, given.replace, seed or 0)
    mixed = job.plan.task is Task.TRANSCRIBE and len(job.plan.languages) > 1
    return Sampler(bag, job.member.sampling_temperature, "language" if mixed else "label")


@lru_cache(maxsize=64)
def _speakers_known(prepared: Path) -> bool:
    return all(clip.speaker for clip in corpora.read(prepared / "train.jsonl.gz").clips)


def symbols_of(job: Job) -> TokenSet | LabelSet:
    """What the member's outputs stand for; for voiceprints, the speakers of the training data."""
    spelled = _symbols_of(job)
    return spelled if job.lesson is None else job.lesson.symbols(spelled)


def _symbols_of(job: Job) -> TokenSet | LabelSet:
    if job.plan.task is Task.EMBED:
        clips = corpora.read(job.prepared / "train.jsonl.gz").clips
        return LabelSet.from_texts(clip.speaker or "" for clip in clips)
    if job.plan.task is Task.CLASSIFY:
        return LabelSet.load(job.prepared / TOKENS)
    if own_tokens(job) is None:
        return TokenSet.load(job.prepared / TOKENS)
    return _spelled(job.prepared, job.member.tokens or Tokens(), job.plan.languages[0])


def own_tokens(job: Job) -> Tokens | None:
    """How a member spells, where that is not how the scenario does."""
    own = job.plan.task is Task.TRANSCRIBE and job.member.tokens != job.plan.tokens
    return job.member.tokens if own else None


@lru_cache(maxsize=64)
def _spelled(prepared: Path, tokens: Tokens, language: str) -> TokenSet:
    """The token set of one kind for the training texts."""
    clips = corpora.read(prepared / "train.jsonl.gz").clips
    texts = [normalise(clip.text, clip.language or language) for clip in clips]
    return TokenSet.from_texts(texts, tokens.kind, tokens.size)


def inputs_of(job: Job) -> list[Any]:
    """What decides a member's weights."""
    features, tokens, sampler = features_of(job), own_tokens(job), sampler_of(job)
    # What most members do without is not named, so that they are what they were before it was.
    more = {
        "tokens": tokens and tokens.model_dump(),
        "sampler": None if sampler == EVERYTHING else sampler.to_dict(),
        "together": job.together and asdict(job.together),
        "lesson": job.lesson and job.lesson.inputs,
    }
    return [
        job.prepared.name,
        _shape(job, features, symbols_of(job)).to_dict(),
        features.to_dict(),
        augment_of(job).to_dict(),
        training_of(job).to_dict(),
        [None if job.start is None else job.start.name, job.member.frozen],
        [_files(getattr(job.member.augment, name)) for name in ("noise", "rooms")],
        job.plan.training.seed,
        TAIL,
        torch.__version__,
        *({key: value} for key, value in more.items() if value is not None),
    ]


def _files(folder: Path | None) -> list[Any]:
    """The recordings of a folder as they are now."""
    if folder is None:
        return []
    found = sorted(path for path in folder.rglob("*") if path.is_file())
    states = [(path, path.stat()) for path in found]
    return [[str(path), state.st_size, state.st_mtime_ns] for path, state in states]


@dataclass(frozen=True, slots=True)
class Ready:
    """A member before its first step.

    Args:
        model: the whole of it.
        trained: the part that is trained; all, but for what stands behind a frozen front.
    """

    job: Job
    features: FeatureSpec
    shape: ModelSpec
    spec: TrainSpec
    model: SpeechModel
    trained: SpeechModel
    aim: nn.Module
    data: TrainingSet
    dev: DevSet

    @property
    def told(self) -> dict[str, Any]:
        """What the record of its training says about it."""
        return _told_of(self.job, self.shape)


def ready(job: Job, progress: Progress) -> Ready:
    """Read the data of a member and draw its weights."""
    features, spec = features_of(job), training_of(job)
    symbols = symbols_of(job)
    clips = {
        name: corpora.read(job.prepared / f"{name}.jsonl.gz").clips for name in ("train", "dev")
    }
    shape = _shape(job, features, symbols)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(torch_seed(spec.seed, "weights"))
        model = SpeechModel(shape)
        aim = objective(shape, symbols.size)
    if job.start is not None:
        start_from(model, job.start, frozen=job.member.frozen)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    front = FrozenFront(model, device) if shape.whisper and job.member.frozen else None
    trained = model if front is None else behind(model)
    examples = [_example(clip, job, features.sample_rate, symbols) for clip in clips["train"]]
    if shape.head == "ctc":
        _refuse_impossible(job, features, clips["train"], examples)
    examples += _unlabelled(job, features.sample_rate, symbols)
    sounds = _sounds(job, features.sample_rate)
    if any(step.kind == Babble.kind for step in augment_of(job).policy.steps):
        sounds = replace(sounds, talkers=shelf({one.name: one.samples for one in examples}))
    passes = Passes(
        examples,
        features,
        augment_of(job),
        job.passes,
        sounds=sounds,
        tail=TAIL,
        seed=job.plan.training.seed,
        progress=progress,
        front=front,
    )
    data = _batches(job, passes, trained.spec, symbols, progress)
    if job.lesson is not None:
        aim = Distilled(aim, shape.head, job.lesson.spec)
    dev = _dev(clips["dev"], job, features, symbols, front)
    trained, aim = trained.to(device), aim.to(device)
    return Ready(job, features, shape, spec, model, trained, aim, data, dev)


def _batches(
    job: Job,
    passes: Passes,
    shape: ModelSpec,
    symbols: TokenSet | LabelSet,
    progress: Progress,
) -> TrainingSet:
    """The batches of a member; those of a student hold what its teacher says."""
    spec, sampler = training_of(job), sampler_of(job)
    if job.lesson is None:
        return TrainingSet(
            passes,
            batch_size=spec.batch_size,
            stack=shape.stack,
            seed=spec.seed,
            sampler=sampler,
        )
    return TaughtSet(
        passes,
        batch_size=spec.batch_size,
        stack=shape.stack,
        seed=spec.seed,
        sampler=sampler,
        lessons=job.lesson.lessons(passes, symbols, progress),
        answers=job.lesson.answers(symbols),
        frame_seconds=features_of(job).frame_shift * job.member.stack,
    )


def train_member(
    job: Job,
    folder: Path,
    progress: Progress,
    report: Report = lambda row: None,
    group: Group = ALONE,
) -> None:
    """Train one member and leave weights, shape, front end and log in `folder`.

    Args:
        report: told the row of each epoch; what it raises ends the training.
        group: the processes that train it together; where the scenario asks for several, they
            are started, and their progress is in the log alone.
    """
    assert job.member.training is not None
    if job.member.training.processes > group.size:
        launch(job.member.training.processes, _train_share, job, folder)
        return
    member = ready(job, progress)
    job.scratch.mkdir(parents=True, exist_ok=True)
    noted = Noted(progress)
    log = job.scratch / LOG
    where = job.tracking if group.first else None
    with tracked(where, job.scratch, log, job.name, member.told) as copy_log:

        def told(row: dict[str, float]) -> None:
            noted.epoch(row)
            copy_log()
            report(row)

        best = train(
            member.trained,
            member.aim,
            member.data,
            member.dev,
            member.spec,
            job.scratch,
            progress=noted,
            report=told,
            group=group,
        )
    if group.first:
        keep(member, best.cpu(), job.scratch, folder)


def keep(member: Ready, best: SpeechModel, scratch: Path, folder: Path) -> None:
    """Leave a trained member in its folder, and the snapshots of earlier cycles beside it.

    Args:
        scratch: where its log and snapshots are.
    """
    for number in range(1, member.spec.cycles):
        weights = load_file(snapshot_path(scratch, number))
        with new_folder(snapshot_of(folder, number)) as fresh:
            _write(member, weights, scratch, fresh)
    with new_folder(folder) as fresh:
        if (scratch / RUN).is_file():
            (fresh / RUN).write_bytes((scratch / RUN).read_bytes())
        _write(member, best.state_dict(), scratch, fresh)


def snapshot_of(folder: Path, number: int) -> Path:
    """Where a trained member's weights at the end of an earlier cycle stand, from 1."""
    return folder.with_name(f"{folder.name}-{number}")


def _write(member: Ready, weights: Weights, scratch: Path, fresh: Path) -> None:
    if member.trained is not member.model:  # a front that was frozen
        member.trained.load_state_dict(weights)
        weights = joined(member.model.cpu(), member.trained.cpu()).state_dict()
    shape = member.shape.to_dict()
    save_file(weights, fresh / WEIGHTS, {"spec": json.dumps(shape)})
    write_json(fresh / MODEL, shape)
    write_json(fresh / FEATURES, member.features.to_dict())
    (fresh / LOG).write_bytes((scratch / LOG).read_bytes())
    write_json(fresh / "inputs.json", inputs_of(member.job))


def _train_share(group: Group, job: Job, folder: Path) -> None:
    """One of several processes that train a member."""
    train_member(job, folder, no_progress, group=group)


class Noted:
    """Progress that also says how the last epoch went."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress
        self._note = ""

    def __call__(self, what: str, done: int, total: int | None) -> None:
        """Report with the note."""
        self._progress(what + self._note, done, total)

    def epoch(self, row: dict[str, float]) -> None:
        """Note the row of an epoch."""
        self._note = f", loss {row['loss']:.3g}, dev {row['dev']:.1%}"


def _told_of(job: Job, shape: ModelSpec) -> dict[str, Any]:
    """What the record of a training says about it."""
    sections = {"name", "augment", "training", "features"}
    return {
        "task": job.plan.task.value,
        "language": job.plan.language,
        "data": json.loads((job.prepared / CONTENT).read_text()),
        "member": job.member.model_dump(mode="json", exclude=sections) | {"name": job.name},
        "model": shape.to_dict(),
        "features": features_of(job).to_dict(),
        "augment": augment_of(job).to_dict(),
        "training": training_of(job).to_dict(),
    }


def _shape(job: Job, features: FeatureSpec, symbols: TokenSet | LabelSet) -> ModelSpec:
    member = job.member
    head = HEADS[job.plan.task]
    spec = ModelSpec(
        family=member.family,
        head=head,
        columns=features.columns,
        outputs=EMBEDDING if head == "embed" else symbols.size,
        kernel=member.kernel,
        stack=member.stack,
        subsampling=member.subsampling or _subsampling(member, features),
        dilations=member.dilations,
        dropout=member.dropout,
        floor=FLOORS.get(features.kind) if features.compression == "log" else None,
        bands=features.bins if features.kind == "waveform" else 0,
        whisper=_whisper(job, features) if member.family == "whisper" else None,
    )
    return sized(spec, member.parameters)


def _subsampling(member: Member, features: FeatureSpec) -> Subsampling:
    """2-D convolutions where neighbouring columns are neighbouring frequencies."""
    halving = member.stack > 1 and member.stack.bit_count() == 1
    return "conv" if features.kind in (*FLOORS, "waveform") and halving else "stack"


def _whisper(job: Job, features: FeatureSpec) -> WhisperSpec:
    assert job.start is not None  # the scenario is refused without it
    found = whisper_of(job.start, job.member.layers)
    if features.kind != "whisper" or features.bins != found.bins:
        raise TrainingError(
            f"features of kind {features.kind} with {features.bins} bins for '{job.start.name}'",
            expected=f"kind whisper with {found.bins} bins",
            fix="Correct the member's features",
        )
    return found


def _example(clip: Clip, job: Job, rate: int, symbols: TokenSet | LabelSet) -> Example:
    return Example(
        clip.id,
        _targets(clip, job.plan.task, job.plan.languages[0], symbols),
        clip.speaker,
        partial(sound_of, clip, rate),
        clip.language,
    )


def _refuse_impossible(
    job: Job, features: FeatureSpec, clips: Sequence[Clip], examples: Sequence[Example]
) -> None:
    """Tell of texts that need more frames than their sound has, of which CTC learns nothing.

    The sound is taken as it was recorded, with the silence behind it.

    Raises:
        TrainingError: more than `MOST_IMPOSSIBLE` of all texts are such.
    """
    names, stack = [], job.member.stack
    for clip, example in zip(clips, examples, strict=True):
        assert clip.duration is not None  # a manifest says how long each clip is
        frames = features.frames(round((clip.duration + TAIL) * features.sample_rate))
        if needed(example.targets) > -(-frames // stack):
            names.append(example.name)
    if not names:
        return
    found = (
        f"with 'stack: {stack}' the texts of {len(names)} of {len(examples)} training clips need "
        f"more frames than their sound has, such as {names[0]}"
    )
    fix = "Lower its 'stack', or give it 'tokens' of which a text needs fewer: bpe, or words"
    if len(names) > MOST_IMPOSSIBLE * len(examples):
        raise TrainingError(
            f"{found}; CTC learns nothing from them",
            expected=f"at most {MOST_IMPOSSIBLE:.0%} of the clips like that",
            fix=fix,
        )
    _LOGGER.warning("member '%s': %s; it learns nothing from them. %s", job.name, found, fix)


def _unlabelled(job: Job, rate: int, symbols: TokenSet | LabelSet) -> list[Example]:
    """What a student hears that nobody labelled; without targets where posteriors teach.

    An answer of the teacher that the student cannot write is left out.
    """
    if job.lesson is None:
        return []
    found = []
    for told in job.lesson.unlabelled:
        targets = encoded(symbols, told.text) if told.text else ()
        if targets or not told.text:
            load = partial(sound_of, told.clip, rate)
            found.append(
                Example(told.clip.id, targets, told.clip.speaker, load, told.clip.language)
            )
    return found


def judged(clip: Clip, task: Task, language: str, symbols: TokenSet | LabelSet) -> tuple[int, ...]:
    """Targets of a clip of dev; what a model cannot write is -1, which no output is."""
    try:
        return _targets(clip, task, language, symbols)
    except DataError:
        if task is not Task.TRANSCRIBE:
            return (-1,)
    found: list[int] = []
    for word in mixed_tokens(normalise(clip.text, clip.language or language)):
        try:
            found += symbols.encode(word)
        except DataError:
            found.append(-1)
    return tuple(found)


def _targets(
    clip: Clip, task: Task, language: str, symbols: TokenSet | LabelSet
) -> tuple[int, ...]:
    if task is Task.TRANSCRIBE:
        text = normalise(clip.text, clip.language or language)
    else:
        text = clip.text if task is Task.CLASSIFY else clip.speaker or ""
    return tuple(symbols.encode(text))


def _dev(
    clips: Sequence[Clip],
    job: Job,
    features: FeatureSpec,
    symbols: TokenSet | LabelSet,
    front: FrozenFront | None,
) -> DevSet:
    def make(clip: Clip) -> Frames:
        samples = sound_of(clip, features.sample_rate)
        return extract(padded(samples, features.sample_rate), features)

    cache = Cache(job.cache)
    frames = [
        cache.get(f"{name} {TAIL}", features, partial(make, clip))
        for clip, name in zip(clips, _names(clips), strict=True)
    ]
    frames = frames if front is None else front(frames)
    if job.plan.task is Task.EMBED:
        speakers = sorted({clip.speaker or "" for clip in clips})
        return DevSet(frames, [(speakers.index(clip.speaker or ""),) for clip in clips])
    task, language = job.plan.task, job.plan.languages[0]
    return DevSet(frames, [judged(clip, task, language, symbols) for clip in clips])


def padded(samples: Samples, rate: int) -> Samples:
    """Samples with the silence that a stream hears before it ends."""
    return np.concatenate([samples, np.zeros(round(TAIL * rate), np.float32)])


def _names(clips: Sequence[Clip]) -> list[str]:
    """What names the sound of each clip, wherever it stands: its recording, and the stretch."""
    digests = {path: of_file(path) for path in {clip.path for clip in clips}}
    return [f"{digests[clip.path]} {(clip.start, clip.duration)}" for clip in clips]


def _sounds(job: Job, rate: int) -> Sounds:
    assert job.member.augment is not None
    augment = job.member.augment
    return Sounds.read(augment.noise, augment.rooms, rate)

"""Stage prepare: recordings and labels to checked manifests, token set, front end and report."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np

from aimass.base.contract import Progress, Task
from aimass.base.digests import of_value
from aimass.base.errors import DataError
from aimass.base.files import write_json
from aimass.base.settings import Settings
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.checks import STOPS, Code, Finding, apply_policy, check, ordered, unwritable
from aimass.data.corpus import Clip, Corpus
from aimass.data.measure import Measurement, measure
from aimass.data.report import Report
from aimass.data.split import Splits, hold_out, refuse_leaks
from aimass.data.synthesis import SpeechPlan, synthesise, utterances
from aimass.data.voices.contract import open_engine
from aimass.lifecycle.scenario import Scenario
from aimass.lifecycle.stages import Stages, fingerprint
from aimass.lifecycle.suspects import SuspectSpec, closed, cross_validated
from aimass.registry import pretrained
from aimass.registry.bundle import LICENCE, TOKENS
from aimass.text.normalise import normalise
from aimass.text.tokens import LabelSet, TokenSet

SPLITS = ("train", "dev", "test")
CONTENT, RATE, REPORT = "content.json", "rate.json", "report"
TELEPHONE = 8000
LANGUAGE = re.compile(r"[a-z]{2,3}")
UNASKED = {
    Task.CLASSIFY: (Code.TOO_SHORT_FOR_TEXT,),
    Task.EMBED: (Code.TOO_SHORT_FOR_TEXT, Code.EMPTY_TEXT),
}
"""What is no fault of a clip that is never spelled: a label may be longer than its sound."""


def prepare(plan: Scenario, config: Settings, stages: Stages, progress: Progress) -> Path:
    """The folder of the stage.

    Raises:
        DataError: data that cannot be used, or that the scenario's policy does not leave out.
    """
    given = read(plan)
    if plan.synthesis is not None:
        given = _together([*_by_split(given), ("train", _spoken(plan, config, given, progress))])

    def work(folder: Path) -> None:
        measured = measure(given.clips, config.home / "cache/measurements", progress=progress).of
        findings = _findings(plan, given, measured, progress)
        kept, _ = apply_policy(given, findings, plan.data.exclude)
        splits = _splits(plan, kept)
        if plan.task is Task.EMBED:  # speakers' names stay here
            (folder / TOKENS).touch()
        else:
            symbols = _symbols(plan, splits.train)
            symbols.save(folder / TOKENS)
            judges = (*splits.dev, *splits.test)
            told = {(one.code, one.clip) for one in findings}
            strange = unwritable(judges, symbols, partial(words, plan=plan))
            more = [one for one in strange if (one.code, one.clip) not in told]
            findings = ordered(given, [*findings, *more])
            kept, _ = apply_policy(given, findings, plan.data.exclude)
            splits = _splits(plan, kept)
        Report(given, measured, findings, plan.data.exclude).write(folder / REPORT)
        refuse_leaks(splits, _digests(kept.clips, measured))
        for name, clips in _heard(plan, splits, measured).items():
            manifest.write(
                clips,
                folder / f"{name}.jsonl.gz",
                licence=kept.licence,
                progress=progress,
            )
        (folder / LICENCE).write_text(kept.licence + "\n", encoding="utf-8")
        write_json(folder / RATE, _rate(splits.train, measured))
        write_json(folder / CONTENT, _content(kept.clips, measured))

    inputs = [
        plan.task,
        plan.language,
        plan.tokens.model_dump(),
        sorted(plan.data.exclude),
        plan.data.margin,
        fingerprint(given),
        given.layout.notes,
    ]
    return stages.run("prepare", inputs, work)


def read(plan: Scenario) -> Corpus:
    """All of a scenario's clips as one corpus, each in its split, with the licences they carry.

    Its notes also say which clips of the sources are in no set.
    """
    source = corpora.read(plan.data.train, columns=plan.data.columns)
    sources, given = {"train": source}, {"train": source.split("train")}
    for name in ("dev", "test"):
        path = getattr(plan.data, name)
        if path is not None:
            sources[name] = corpora.read(path, columns=plan.data.columns)
            given[name] = sources[name].split(name)
        elif any(clip.split == name for clip in source.clips):
            given[name] = source.split(name)
    kept: Sequence[Clip] = given["train"].clips
    least = 2 if plan.task is Task.EMBED else 1  # voices are told apart from one another
    labels = _labels(plan, kept)
    for name in ("test", "dev"):
        if name not in given:
            salt = "" if name == "dev" else name
            kept, held = hold_out(kept, salt=salt, least=least, labels=labels)
            given[name] = replace(source, clips=tuple(held), missing=())
    given["train"] = replace(given["train"], clips=tuple(kept))
    splits = [(name, given[name]) for name in SPLITS]
    if plan.data.synthetic is not None:
        splits.append(("train", _all_synthetic(corpora.read(plan.data.synthetic))))
    found = _together(splits)
    notes = [*found.layout.notes, *_unused(sources, found.clips)]
    if labels and closed(given["train"].clips) and Code.LABEL_SUSPECT not in plan.data.exclude:
        notes.append(
            "labels were not cross-validated: to see suspects type aimass data check DIR; "
            "to leave them out write exclude: [label_suspect]"
        )
    return replace(found, layout=replace(found.layout, notes=tuple(notes)))


def spoken(plan: Scenario) -> Scenario:
    """The plan with the languages of its data, where the file does not say which they are."""
    if "language" in plan.model_fields_set:
        return plan
    clips = corpora.read(plan.data.train, columns=plan.data.columns).clips
    counts = Counter(clip.language for clip in clips if clip.language)
    known = [name for name, _ in counts.most_common() if LANGUAGE.fullmatch(name)]
    return plan.model_copy(update={"language": "+".join(known)}) if known else plan


def _labels(plan: Scenario, clips: Sequence[Clip]) -> set[str]:
    """The texts of training clips that are labels, from a small set, for the task."""
    if plan.task is Task.EMBED:
        return set()
    return {clip.text for clip in (clips if plan.task is Task.CLASSIFY else closed(clips))}


def _unused(sources: Mapping[str, Corpus], clips: Iterable[Clip]) -> list[str]:
    """A sentence on every split of a source that is in none of the three sets.

    Args:
        sources: by the key under data that names them.
        clips: of all sets.
    """

    def place(clip: Clip) -> tuple[Path, float, float | None]:
        return clip.path.resolve(), clip.start, clip.duration

    used = {place(clip) for clip in clips}
    notes = []
    for name, source in sources.items():
        left = [clip for clip in source.clips if place(clip) not in used]
        used |= {place(clip) for clip in left}  # two keys may name one folder
        for split, count in Counter(clip.split or "train" for clip in left).items():
            why = f"data.{split} names another folder"
            if name != "train":
                why = f"data.{name} takes split '{name}' alone"
            folder = Path(source.source).name  # its place decides nothing
            where = f"{count} clips of {folder} are in split '{split}'"
            notes.append(f"{where}, and {why}: not used")
    return notes


def faults(task: Task, given: Corpus, measured: Mapping[str, Measurement]) -> list[Finding]:
    """What `check` finds, but for what the task does not mind."""
    unasked = UNASKED.get(task, ())
    return [one for one in check(given, measured) if one.code not in unasked]


def _findings(
    plan: Scenario, given: Corpus, measured: dict[str, Measurement], progress: Progress
) -> list[Finding]:
    """What is wrong with the recordings, of what the task minds."""
    found = faults(plan.task, given, measured)
    if Code.LABEL_SUSPECT in plan.data.exclude:
        stopped = {one.clip for one in found if one.code in STOPS}
        sound = [c for c in given.split("train").clips if c.id not in stopped]
        heard = SuspectSpec(sample_rate=_rate(sound, measured)) if sound else SuspectSpec()
        found += cross_validated(sound, heard, progress=progress)
    return ordered(given, found)


def _by_split(corpus: Corpus) -> list[tuple[str, Corpus]]:
    """A corpus of three splits as three, training first."""
    return [(name, corpus.split(name)) for name in SPLITS]


def _spoken(plan: Scenario, config: Settings, given: Corpus, progress: Progress) -> Corpus:
    """Every text of the training data, spoken by the scenario's voices; what is there is kept."""
    assert plan.synthesis is not None
    about = plan.synthesis
    folder = config.home / "spoken" / plan.name
    found = pretrained.find(config.home, about.engine)
    engine = open_engine(about.engine, found.folder if found else None)
    texts: dict[str, dict[str, None]] = defaultdict(dict)
    for clip in given.split("train").clips:
        if not clip.synthetic:
            texts[clip.language or plan.languages[0]][clip.text] = None
    wanted: set[str] = set()
    for language, named in texts.items():
        own = list(named)
        speech = SpeechPlan(language, about.count, about.voices, about.blend, seed=about.seed)
        synthesise(own, engine, speech, folder, progress)
        wanted |= {one.file(engine.name, speech.rate) for one in utterances(own, engine, speech)}
    spoken = corpora.read(folder)
    # What was spoken for other texts or settings stays in the folder and trains nothing.
    return replace(spoken, clips=tuple(clip for clip in spoken.clips if clip.id in wanted))


def _all_synthetic(corpus: Corpus) -> Corpus:
    real = [clip for clip in corpus.clips if not clip.synthetic]
    if real:
        raise DataError(
            f"{corpus.source} holds {len(real)} clips that are not marked as synthetic, the first "
            f"is {real[0].id}",
            expected="speech made by aimass data speak under 'synthetic'",
            fix="Give real recordings under 'train'",
        )
    return corpus


def _together(splits: Iterable[tuple[str, Corpus]]) -> Corpus:
    """One corpus; a clip whose name is taken by a clip of another source gets its split's."""
    clips: list[Clip] = []
    missing = []
    taken: set[str] = set()
    licences: dict[str, None] = {}
    first: Corpus | None = None
    for name, corpus in splits:
        first = first or corpus
        licences[corpus.licence] = None
        missing += list(corpus.missing)
        for clip in corpus.clips:
            own = clip.id
            while own in taken:
                own = f"{name}/{own}"
            taken.add(own)
            clips.append(replace(clip, id=own, split=name))
    assert first is not None
    return replace(first, clips=tuple(clips), licence="\n\n".join(licences), missing=tuple(missing))


def _splits(plan: Scenario, corpus: Corpus) -> Splits:
    sets = {name: tuple(c for c in corpus.clips if c.split == name) for name in SPLITS}
    for name, clips in sets.items():
        if not clips:
            raise DataError(
                f"no clip of {corpus.source} is left for {name}",
                expected="at least one",
                fix="Add recordings, or leave out fewer codes under 'exclude'",
            )
        nobody = [clip.id for clip in clips if not clip.speaker]
        if plan.task is Task.EMBED and nobody:
            raise DataError(
                f"{len(nobody)} clips of {name} have no speaker, the first is {nobody[0]}",
                expected="a speaker for every clip of the task embed",
                fix="Fill the speaker column, or remove these rows",
            )
        if plan.task is Task.EMBED and len({clip.speaker for clip in clips} - {None}) < 2:
            raise DataError(
                f"fewer than two speakers are left for {name}",
                expected="at least two, whose voices can be told apart",
                fix="Add speakers, or name them in the data",
            )
    return Splits(**sets)


def _heard(
    plan: Scenario, splits: Splits, measured: dict[str, Measurement]
) -> dict[str, Sequence[Clip]]:
    """The clips of each split, those of training without the silence around their speech."""
    train = splits.train
    if plan.data.margin is not None:
        train = tuple(_trimmed(clip, measured[clip.id], plan.data.margin) for clip in train)
    return {"train": train, "dev": splits.dev, "test": splits.test}


def _trimmed(clip: Clip, found: Measurement, margin: float) -> Clip:
    first, last = max(0.0, found.begin - margin), min(found.seconds, found.end + margin)
    return replace(clip, start=clip.start + first, duration=last - first)


def _digests(clips: Iterable[Clip], measured: dict[str, Measurement]) -> Callable[[Path], str]:
    """The digest of a recording that was measured."""
    found = {clip.path.resolve(): measured[clip.id].file for clip in clips}
    return found.__getitem__


def _symbols(plan: Scenario, clips: Sequence[Clip]) -> TokenSet | LabelSet:
    """What the outputs of the scenario's models stand for."""
    texts = [words(clip, plan) for clip in clips]
    if plan.task is Task.CLASSIFY:
        return LabelSet.from_texts(texts)
    return TokenSet.from_texts(texts, plan.tokens.kind, plan.tokens.size)


def words(clip: Clip, plan: Scenario) -> str:
    """The text of a clip as models write it; a label stays as it is."""
    if plan.task is Task.CLASSIFY:
        return clip.text
    return normalise(clip.text, clip.language or plan.languages[0])


def _rate(clips: Sequence[Clip], measured: dict[str, Measurement]) -> int:
    """The rate that most recordings have: 8 kHz telephone, else 16 kHz."""
    rates = [measured[clip.id].rate for clip in clips]
    return TELEPHONE if np.median(rates) <= TELEPHONE else 16000


def _content(clips: Iterable[Clip], measured: dict[str, Measurement]) -> str:
    """The digest of all sound and labels, wherever they stand."""
    rows = [
        [measured[c.id].file, c.split, c.text, c.speaker, c.language, c.start, c.duration]
        for c in clips
    ]
    return of_value(rows)

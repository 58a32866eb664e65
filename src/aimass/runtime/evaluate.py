"""Measuring a model on labelled recordings: errors, confidence, time and memory."""

import logging
import math
import resource
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from aimass.audio.decode import probe
from aimass.audio.types import Audio
from aimass.base.contract import (
    Engine,
    Progress,
    RecognizeOptions,
    Segment,
    Task,
    Transcript,
    no_progress,
)
from aimass.base.errors import DataError, RequestError, SilentAudio
from aimass.data.corpus import SPLITS, Clip, Corpus, naming, read
from aimass.data.sound import sound_of
from aimass.evaluation.cost import measured
from aimass.evaluation.scorecard import Scorecard, Scored, score
from aimass.evaluation.units import METRICS, UNSPACED, Metric, unspaced
from aimass.evaluation.verification import Trial, score_trials
from aimass.registry.bundle import Bundle
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.load import load
from aimass.runtime.massive import MassiveEngine
from aimass.runtime.transcribe import hear_blocks, put_together, transcribe

__all__ = [
    "UNSPACED",
    "dead_members",
    "evaluate",
    "evaluate_members",
    "members_of",
    "metric_of",
    "peak_memory_mb",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class _Heard:
    """The answer to one clip, with the seconds of work, and whether there was nothing to hear."""

    transcript: Transcript
    work: float
    silent: bool = False


def evaluate(
    model: str | Engine,
    data: str | Path | Corpus,
    *,
    split: str | None = None,
    metric: Metric | None = None,
    progress: Progress = no_progress,
) -> Scorecard:
    """Recognise labelled recordings one after the other and count the errors.

    A recording that is digital silence counts as an answer without words; the log tells of it.
    Of a model that gives voiceprints all pairs of recordings are trials, and silence is left out.

    Args:
        data: a folder with ``metadata.tsv`` or a Lhotse manifest.
        split: the official split to use, ``test`` when None; data without splits is used whole.
        metric: the model's own when None.

    Raises:
        DataError: data that cannot be used.
        AudioError: a recording that cannot be read.
        RequestError: an unknown metric, or one that the answers of the model do not have.
    """
    engine = load(model) if isinstance(model, str) else model
    corpus = data if isinstance(data, Corpus) else _part(read(Path(data)), split).whole()
    if _task(engine) is Task.EMBED:
        return _of_voiceprints(engine, corpus, metric, progress)
    metric = _checked(metric or metric_of(engine, corpus))
    options = RecognizeOptions(word_times=_tells_words(engine))
    results, audio, work, silent = [], [], [], []
    for number, clip in enumerate(corpus.clips, start=1):
        with naming(clip):
            heard = _recognised(engine, clip, options)
        audio.append(heard.transcript.duration)
        work.append(heard.work)
        results.append(_scored(clip, heard.transcript, _task(engine)))
        if heard.silent:
            silent.append(clip)
        progress("evaluate", number, len(corpus.clips))
    _tell(silent, corpus, "counted as answers without words")
    cost = measured(audio, work, peak_memory_mb(), _multiply_adds(engine))
    return score(results, metric, _language(engine, corpus), cost)


def evaluate_members(
    model: str | Engine,
    data: str | Path | Corpus,
    *,
    split: str | None = None,
    metric: Metric | None = None,
    progress: Progress = no_progress,
) -> dict[str, Scorecard]:
    """Measure each member of a model alone, on the same recordings.

    Args:
        data, split: as `evaluate`.
        metric: that of the whole when None.

    Returns:
        A scorecard by member, in the order of the model; none of members that are dead.

    Raises:
        DataError, AudioError: as `evaluate`.
    """
    engine = load(model) if isinstance(model, str) else model
    corpus = data if isinstance(data, Corpus) else _part(read(Path(data)), split).whole()
    metric = metric or metric_of(engine, corpus)
    return {
        name: evaluate(member, corpus, metric=metric, progress=progress)
        for name, member in members_of(engine).items()
    }


def members_of(engine: Engine) -> Mapping[str, Engine]:
    """The engines of a massive model's members, by name; a single model is its own only member."""
    return engine.members if isinstance(engine, MassiveEngine) else {engine.name: engine}


def dead_members(engine: Engine) -> dict[str, str]:
    """The members of a massive model that do not answer, by name, and why."""
    return engine.dead if isinstance(engine, MassiveEngine) else {}


def _recognised(engine: Engine, clip: Clip, base: RecognizeOptions) -> _Heard:
    """The answer to one clip; a whole file, or the stretch that its manifest names."""
    options = RecognizeOptions(language=clip.language, word_times=base.word_times)
    started, silent = time.perf_counter(), False
    try:
        if clip.start == 0 and clip.duration is None:
            transcript = transcribe(clip.path, engine, options)
        else:
            block = Audio(sound_of(clip, engine.sample_rate)[None], engine.sample_rate)
            transcript = put_together(list(hear_blocks([block], engine, options)), engine.name)
    except SilentAudio:
        transcript, silent = Transcript((), _seconds(clip), engine.name), True
    return _Heard(transcript, time.perf_counter() - started, silent)


def _seconds(clip: Clip) -> float:
    """The length of a clip; 0 where its file does not tell."""
    if clip.duration is not None:
        return clip.duration
    return max(0.0, (probe(clip.path).duration or 0.0) - clip.start)


def _tell(silent: Sequence[Clip], corpus: Corpus, what: str) -> None:
    """Log how many recordings are silent, and what became of them."""
    if silent:
        log.warning(
            "%d of %d recordings are digital silence, the first is %s: they are %s",
            len(silent), len(corpus.clips), silent[0].path, what,
        )  # fmt: skip


def _of_voiceprints(
    engine: Engine, corpus: Corpus, metric: Metric | None, progress: Progress
) -> Scorecard:
    """The equal error rate over all pairs of recordings."""
    if metric not in (None, "eer"):
        raise RequestError(
            f"metric '{metric}' of {engine.name}, a model that gives voiceprints",
            expected="eer",
            fix="Leave --metric out",
            param="metric",
        )
    nobody = [clip.id for clip in corpus.clips if not clip.speaker]
    if nobody:
        raise DataError(
            f"{len(nobody)} clips of {corpus.source} have no speaker, the first is {nobody[0]}",
            expected="a speaker for every clip, whose voices are told apart",
            fix="Fill the speaker column, or remove these rows",
        )
    assert isinstance(engine, BundleEngine)  # nothing else gives voiceprints
    voices, prints, audio, work, silent = [], [], [], [], []
    for number, clip in enumerate(corpus.clips, start=1):
        started = time.perf_counter()
        try:
            samples = sound_of(clip, engine.sample_rate)
        except SilentAudio:
            silent.append(clip)
            progress("evaluate", number, len(corpus.clips))
            continue
        prints.append(engine.graph.log_probs(samples)[-1])
        voices.append(clip.speaker or "")
        audio.append(len(samples) / engine.sample_rate)
        work.append(time.perf_counter() - started)
        progress("evaluate", number, len(corpus.clips))
    _tell(silent, corpus, "left out")
    trials = [
        Trial(float(prints[i] @ prints[j]), voices[i], voices[j])
        for i in range(len(prints))
        for j in range(i)
    ]
    return score_trials(trials, measured(audio, work, peak_memory_mb(), _multiply_adds(engine)))


def _scored(clip: Clip, heard: Transcript, task: Task) -> Scored:
    segments = [segment for segment in heard.segments if segment.text]
    if task is Task.CLASSIFY and segments:  # a long clip gives several; the surest is the answer
        segments = [max(segments, key=lambda segment: segment.confidence)]
    return Scored(
        clip.id,
        clip.speaker,
        clip.text,
        " ".join(segment.text for segment in segments),
        language=clip.language,
        confidence=_confidence(segments),
        audio=str(clip.path),
        seconds=heard.duration,
        start=clip.start,
        words=tuple(word for segment in segments for word in segment.words),
    )


def _confidence(segments: list[Segment]) -> float | None:
    """The geometric mean over the segments, each counted by its words; None without any."""
    if not segments or not all(math.isfinite(segment.confidence) for segment in segments):
        return None
    counts = [max(1, len(segment.text.split())) for segment in segments]
    logs = [math.log(min(1.0, max(segment.confidence, 1e-9))) for segment in segments]
    return math.exp(sum(n * log for n, log in zip(counts, logs, strict=True)) / sum(counts))


def _part(corpus: Corpus, split: str | None) -> Corpus:
    """The clips to measure on: the test split or, where there are no splits, all."""
    if split is None:
        return corpus.split("test")
    if split not in SPLITS:
        raise RequestError(
            f"split '{split}'",
            expected="train, dev or test",
            fix="Correct --split",
            param="split",
        )
    if all(clip.split is None for clip in corpus.clips):
        raise DataError(
            f"{corpus.source} has no splits, so no '{split}'",
            expected="a split column",
            fix="Leave --split out to use all clips",
        )
    return corpus.split(SPLITS[split])


def metric_of(engine: Engine, corpus: Corpus) -> Metric:
    """The metric a bundle was built for; else by the language of the data.

    Characters where all of it is written without spaces, words where nothing is, and where
    both come the mixed error rate, which counts each script in its own unit.
    """
    bundle = _bundle(engine)
    if bundle is not None:
        return _checked(bundle.manifest.metric)
    kinds = {unspaced(clip.language, clip.text) for clip in corpus.clips}
    if kinds == {True, False}:
        return "mer"
    return "cer" if kinds == {True} else "wer"


def _checked(metric: str) -> Metric:
    for known in METRICS:
        if metric == known != "eer":
            return known
    raise RequestError(
        f"metric '{metric}'",
        expected=f"one of {', '.join(METRICS[:-1])}",
        fix="Correct --metric",
        param="metric",
    )


def _bundle(engine: Engine) -> Bundle | None:
    return getattr(engine, "bundle", None)


def _task(engine: Engine) -> Task:
    bundle = _bundle(engine)
    return Task.TRANSCRIBE if bundle is None else bundle.manifest.task


def _tells_words(engine: Engine) -> bool:
    """Whether words cost nothing; other engines than our own may hear worse when asked."""
    bundle = _bundle(engine)
    if bundle is None or bundle.massive is None:
        return bundle is not None
    return bundle.massive.word_times or bundle.manifest.on_rows


def _multiply_adds(engine: Engine) -> int | None:
    """What was counted when the bundle was packed."""
    bundle = _bundle(engine)
    found = None if bundle is None else bundle.manifest.scores.get("multiply_adds")
    return found if isinstance(found, int) else None


def _language(engine: Engine, corpus: Corpus) -> str | None:
    """The language of clips that do not name theirs."""
    bundle = _bundle(engine)
    if bundle is not None:
        known = bundle.manifest.languages
        return known[0] if len(known) == 1 else None
    # Data without a language column is taken for English, which most unlabelled sets are; the
    # language only decides how numbers and abbreviations are spelled before counting.
    return None if any(clip.language for clip in corpus.clips) else "en"


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2

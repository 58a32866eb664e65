"""Measuring a model on labelled recordings: errors, time and memory."""

import resource
import sys
import time
from pathlib import Path
from typing import get_args

from aimass.audio.decode import load as load_audio
from aimass.audio.types import Audio
from aimass.base.contract import Engine, Progress, RecognizeOptions, no_progress
from aimass.base.errors import DataError, RequestError
from aimass.data.corpus import SPLITS, Clip, Corpus, naming, read
from aimass.evaluation.scorecard import Cost, Metric, Scorecard, Scored, score
from aimass.runtime.load import load
from aimass.runtime.transcribe import hear_blocks, put_together, transcribe

UNSPACED = {"zh", "ja", "th", "lo", "my", "km", "yue"}
"""Languages that are written without spaces, where characters are counted instead of words."""


def evaluate(
    model: str | Engine,
    data: str | Path | Corpus,
    *,
    split: str | None = None,
    metric: Metric | None = None,
    progress: Progress = no_progress,
) -> Scorecard:
    """Recognise labelled recordings one after the other and count the errors.

    Args:
        data: a folder with ``metadata.tsv`` or a Lhotse manifest.
        split: the official split to use, ``test`` when None; data without splits is used whole.
        metric: the model's own when None.

    Raises:
        DataError: data that cannot be used.
        AudioError: a recording that cannot be read.
        RequestError: an unknown metric.
    """
    engine = load(model) if isinstance(model, str) else model
    corpus = data if isinstance(data, Corpus) else _part(read(Path(data)), split)
    metric = metric or metric_of(engine, corpus)
    if metric not in get_args(Metric):
        raise RequestError(
            f"metric '{metric}'",
            expected=f"one of {', '.join(get_args(Metric))}",
            fix="Correct --metric",
            param="metric",
        )
    results = []
    audio_seconds = 0.0
    started = time.perf_counter()
    for number, clip in enumerate(corpus.clips, start=1):
        with naming(clip):
            text, seconds = _recognised(engine, clip)
        audio_seconds += seconds
        results.append(Scored(clip.id, clip.speaker, clip.text, text))
        progress("evaluate", number, len(corpus.clips))
    cost = Cost(audio_seconds, time.perf_counter() - started, peak_memory_mb())
    return score(results, metric, _language(engine, corpus), cost)


def _recognised(engine: Engine, clip: Clip) -> tuple[str, float]:
    """The text and length of one clip; a whole file, or the stretch that its manifest names."""
    options = RecognizeOptions(language=clip.language)
    if clip.start == 0 and clip.duration is None:
        transcript = transcribe(clip.path, engine, options)
        return transcript.text, transcript.duration
    sound = load_audio(clip.path, rate=engine.sample_rate).mono()
    first = round(clip.start * engine.sample_rate)
    last = None if clip.duration is None else first + round(clip.duration * engine.sample_rate)
    block = Audio(sound[None, first:last], engine.sample_rate)
    heard = list(hear_blocks([block], engine, options))
    return put_together(heard, engine.name).text, block.duration


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
    """The metric a bundle was built for; else by the language of the data."""
    bundle = getattr(engine, "bundle", None)
    if bundle is not None:
        own: Metric = bundle.manifest.metric
        return own
    # Of mixed languages all are counted in characters, the only unit that they share.
    return "cer" if any(clip.language in UNSPACED for clip in corpus.clips) else "wer"


def _language(engine: Engine, corpus: Corpus) -> str | None:
    bundle = getattr(engine, "bundle", None)
    if bundle is not None:
        return str(bundle.manifest.language)
    languages = {clip.language for clip in corpus.clips}
    # Data without a language column is taken for English, which most unlabelled sets are; the
    # language only decides how numbers and abbreviations are spelled before counting.
    return languages.pop() or "en" if len(languages) == 1 else None


def peak_memory_mb() -> float:
    """The largest resident size of this process so far, megabytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / 1024 if sys.platform != "darwin" else peak / 1024**2

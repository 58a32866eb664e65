"""Stage said: the recordings that nobody labelled, and what a teacher answers to recordings.

A teacher that answers hears clips as they are, not augmented: what is said does not depend on the
noise over it, and a student that hears noise learns to say it all the same (Park et al. 2020,
"Improved noisy student training for automatic speech recognition", sections 3 and 4, where answers
of low confidence are left out too).
"""

import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from aimass.audio.decode import probe
from aimass.audio.types import Audio
from aimass.base.contract import Engine, Hypothesis, Progress, RecognizeOptions, Segment, Task
from aimass.base.errors import DataError
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.checks import STOPS, Code, check
from aimass.data.corpus import Clip, Corpus
from aimass.data.measure import Measurement, measure
from aimass.data.sound import sound_of
from aimass.data.sources.files import licence_of, recordings
from aimass.decoding.mbr import candidates, posteriors
from aimass.runtime.answers import stated
from aimass.runtime.transcribe import hear_blocks
from aimass.text.normalise import normalise

FILE = "said.jsonl"
PREFIX = "unlabelled/"
HARMLESS = {Code.EMPTY_TEXT, Code.TOO_SHORT_FOR_TEXT}
"""What is no fault of a clip that nobody wrote a text for."""


@dataclass(frozen=True, slots=True)
class Told:
    """One clip and what is known of it.

    Args:
        clip: its text is empty where nobody labelled it.
        answers: of the teacher, as the student writes them, each with its share of 1.
        confidence: of the first answer; None where the teacher was not asked.
    """

    clip: Clip
    answers: tuple[tuple[str, float], ...] = ()
    confidence: float | None = None

    @property
    def text(self) -> str:
        """The label, or the teacher's first answer; empty where there is neither."""
        return self.clip.text or (self.answers[0][0] if self.answers else "")

    def to_dict(self) -> dict[str, Any]:
        """Plain values for a line of a file."""
        return asdict(self) | {"clip": asdict(self.clip) | {"path": str(self.clip.path)}}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> "Told":
        """The inverse of `to_dict`, also after JSON."""
        clip = Clip(**values["clip"] | {"path": Path(values["clip"]["path"])})
        answers = tuple((str(text), float(share)) for text, share in values["answers"])
        return cls(clip, answers, values["confidence"])


def unlabelled(source: Path, columns: Mapping[str, str] | None = None) -> Corpus:
    """Recordings whose texts, where there are any, nobody looks at.

    Args:
        source: a folder, of which every recording counts; or a table or Lhotse manifest, of which
            the training split does, with its speakers, languages and stretches.

    Raises:
        DataError: nothing there.
    """
    if source.is_dir():
        clips = [Clip(str(p.relative_to(source)), p, "") for p in recordings(source)]
        if not clips:
            raise DataError(
                f"{source} holds no recordings",
                expected="at least one, anywhere below the folder",
                fix="Correct 'unlabelled', or leave it out",
            )
        found = Corpus(tuple(clips), licence_of(source), source)
    else:
        found = corpora.read(source, columns=columns).split("train")
    return replace(
        found,
        clips=tuple(replace(c, id=PREFIX + c.id, text="", split="train") for c in found.clips),
    )


def audible(
    corpus: Corpus, cache: Path, margin: float | None, progress: Progress
) -> tuple[list[Clip], dict[str, Measurement]]:
    """The clips that can be heard, without the silence around them, and what was measured."""
    of_each = measure(corpus.clips, cache, progress=progress).of
    stops = STOPS - HARMLESS
    bad = {one.clip for one in check(corpus, of_each) if one.code in stops}
    kept = [clip for clip in corpus.clips if clip.id not in bad]
    if margin is None:
        return kept, of_each
    return [_cut(clip, of_each[clip.id], margin) for clip in kept], of_each


def ask(
    engine: Engine,
    clips: Sequence[Clip],
    task: Task,
    language: str,
    scratch: Path,
    *,
    most: int = 1,
    progress: Progress,
) -> list[Told]:
    """What an engine answers to clips, going on where it was stopped.

    Args:
        language: of clips that do not name theirs; ``zh+en`` stands for two.
        scratch: where answers are kept until all are there.
        most: answers to each, where the engine gives several.
    """
    path = scratch / FILE
    done = {one.clip.id: one for one in _complete_lines(path)}
    with path.open("a", encoding="utf-8") as file:
        for number, clip in enumerate(clips):
            progress(f"{engine.name} answers", number, len(clips))
            if clip.id not in done:
                done[clip.id] = answered(engine, clip, task, language, most)
                file.write(json.dumps(done[clip.id].to_dict()) + "\n")
                file.flush()
    return [done[clip.id] for clip in clips]


def answered(engine: Engine, clip: Clip, task: Task, language: str, most: int = 1) -> Told:
    """What an engine answers to one clip; nothing where it hears nothing.

    It is told the language of words where there is but one.
    """
    samples = sound_of(clip, engine.sample_rate)
    own = clip.language or language
    known = task is Task.TRANSCRIBE and "+" not in own
    options = RecognizeOptions(language=own if known else None)

    def written(found: Hypothesis) -> str:
        return found.text if task is Task.CLASSIFY else normalise(found.text, own.partition("+")[0])

    if most > 1 and hasattr(engine, "n_best"):
        listed = engine.n_best(samples, options, most)
    else:
        block = Audio(samples[None], engine.sample_rate)
        segments: tuple[Segment, ...] = tuple(
            segment
            for one in hear_blocks([block], engine, options)
            for segment in one.hypothesis.segments
        )
        listed = (Hypothesis(segments),)
    listed = [one for one in listed if written(one)]
    if not listed:
        return Told(clip, (), 0.0)
    shares: dict[str, float] = {}
    for one, share in zip(listed, posteriors(candidates(listed)), strict=True):
        shares[written(one)] = shares.get(written(one), 0.0) + share
    ranked = sorted(shares.items(), key=lambda item: -item[1])
    return Told(clip, tuple(ranked), min(1.0, stated(listed[0])))


def sure(told: Iterable[Told], confidence: float) -> list[Told]:
    """Those to whose clips the teacher gave an answer that it is sure of."""
    return [
        one for one in told if one.answers and one.confidence is not None
        and math.isfinite(one.confidence) and one.confidence >= confidence
    ]  # fmt: skip


def write(told: Iterable[Told], path: Path) -> None:
    """Write what is known of clips, one in a line."""
    lines = [json.dumps(one.to_dict()) + "\n" for one in told]
    path.write_text("".join(lines), encoding="utf-8")


def read(path: Path) -> list[Told]:
    """Read what `write` wrote."""
    return [Told.from_dict(json.loads(line)) for line in path.read_text("utf-8").splitlines()]


def labelled(told: Sequence[Told], target: Path, licence: str) -> None:
    """Write clips with the teacher's first answers as a Lhotse manifest, to train on."""
    clips = [replace(one.clip, id=one.clip.id.removeprefix(PREFIX), text=one.text) for one in told]
    target.parent.mkdir(parents=True, exist_ok=True)
    manifest.write(clips, target, licence=licence)


def seconds_of(told: Iterable[Told]) -> float:
    """How long clips are together."""
    return sum(
        probe(one.clip.path).duration or 0.0 if one.clip.duration is None else one.clip.duration
        for one in told
    )


def _cut(clip: Clip, found: Measurement, margin: float) -> Clip:
    """A clip without the silence around its speech, as prepared clips are."""
    first, last = max(0.0, found.begin - margin), min(found.seconds, found.end + margin)
    return replace(clip, start=clip.start + first, duration=last - first)


def _complete_lines(path: Path) -> list[Told]:
    """What an earlier run has left; a line that it was stopped in is cut off."""
    if not path.is_file():
        return []
    whole, _, rest = path.read_bytes().rpartition(b"\n")
    if rest:
        os.truncate(path, len(whole) + 1 if whole else 0)
    return [Told.from_dict(json.loads(line)) for line in whole.decode().splitlines()]

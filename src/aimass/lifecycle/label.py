"""`aimass compress label`: recordings with a teacher's words for labels, to train on."""

import shutil
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.errors import DataError, RequestError
from aimass.base.settings import Settings, settings
from aimass.lifecycle import said
from aimass.lifecycle.lesson import opened, pinned
from aimass.lifecycle.stages import Stages, fingerprint
from aimass.registry import bundle as bundles
from aimass.runtime.load import Model, resolve


@dataclass(frozen=True, slots=True)
class Labelled:
    """Recordings with a teacher's words for labels: how many there were, and how many it knew."""

    path: Path
    heard: int
    kept: int
    seconds: float

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {"manifest": str(self.path)} | {
            name: getattr(self, name) for name in ("heard", "kept", "seconds")
        }


def label(
    source: Path,
    teacher: str,
    output: Path,
    *,
    language: str = "en",
    confidence: float = 0.7,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Labelled:
    """Write a manifest of recordings with what a teacher is sure it hears, to train on.

    Args:
        source: as `aimass.lifecycle.said.unlabelled` takes it.
        output: a Lhotse manifest, ending in ``.jsonl.gz``.

    Raises:
        RequestError: another ending, or a teacher that gives voiceprints.
        DataError: no recordings, or no answer that the teacher is sure of.
        UnknownModel: no such teacher.
    """
    config = config or settings()
    if not output.name.endswith(".jsonl.gz"):
        raise RequestError(
            f"the manifest {output}",
            expected="a name that ends in .jsonl.gz",
            fix=f"Write {output.name.partition('.')[0]}.jsonl.gz",
            param="output",
        )
    given, model = said.unlabelled(source), resolve(teacher, config)
    stages = Stages(config.home / "labelled")
    with stages.lock():
        clips, _ = said.audible(given, config.home / "cache/measurements", None, progress)
        clips = [replace(clip, language=clip.language or language) for clip in clips]
        engine = opened(model, config.home)
        task = _task(model)
        scratch = stages.scratch("label", [pinned(model), fingerprint(given), language])
        told = said.ask(engine, clips, task, language, scratch, progress=progress)
        kept = said.sure(told, confidence)
        engine.close()
        if not kept:
            raise DataError(
                f"'{teacher}' is sure of none of {len(clips)} recordings of {source}",
                expected=f"answers with a confidence of {confidence:g} or more",
                fix="Lower --confidence, or choose another teacher",
            )
        said.labelled(kept, output, f"{given.licence}\n\nLabels by {teacher}")
        shutil.rmtree(scratch)
    return Labelled(output, len(given.clips), len(kept), said.seconds_of(kept))


def _task(teacher: Model) -> Task:
    """What a teacher answers with. Raises: RequestError for voiceprints."""
    own = bundles.load_outside(teacher.folder).manifest.task if teacher.kind == "bundle" else None
    if own is Task.EMBED:
        raise RequestError(
            f"words are asked of '{teacher.name}', which gives voiceprints",
            expected="a model that transcribes or classifies",
            fix="Choose another model: aimass models list",
            param="teacher",
        )
    return own or Task.TRANSCRIBE

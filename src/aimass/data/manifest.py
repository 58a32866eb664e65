"""Writing clips as Lhotse cut manifests, the field's standard."""

from collections.abc import Iterable
from pathlib import Path

from lhotse import CutSet, MonoCut, Recording, SupervisionSegment
from lhotse.audio import AudioSource

from aimass.audio.decode import probe
from aimass.base.contract import Progress, no_progress
from aimass.base.errors import DataError
from aimass.data.corpus import Clip, naming


def write(
    clips: Iterable[Clip], path: Path, *, licence: str = "", progress: Progress = no_progress
) -> None:
    """Write clips as a Lhotse manifest that `aimass.data.corpus.read` reads back.

    Raises:
        AudioError: a recording that cannot be read.
        DataError: a recording that does not say how long it is.
    """
    clips = list(clips)
    with CutSet.open_writer(path, overwrite=True) as writer:
        for number, clip in enumerate(clips, start=1):
            with naming(clip):
                writer.write(_cut(clip, licence))
            progress("manifest", number, len(clips))


def _cut(clip: Clip, licence: str) -> MonoCut:
    info = probe(clip.path)
    if info.duration is None:
        raise DataError(
            f"{clip.path} does not say how long it is",
            expected="a recording with a length in its header",
            fix="Convert it to wav or flac",
        )
    duration = info.duration - clip.start if clip.duration is None else clip.duration
    recording = Recording(
        id=clip.id,
        sources=[
            AudioSource(
                type="file", channels=list(range(info.channels)), source=str(clip.path.resolve())
            )
        ],
        sampling_rate=info.rate,
        num_samples=round(info.duration * info.rate),
        duration=info.duration,
    )
    supervision = SupervisionSegment(
        id=clip.id,
        recording_id=clip.id,
        start=0.0,
        duration=duration,
        text=clip.text,
        speaker=clip.speaker,
        language=clip.language,
    )
    return MonoCut(
        id=clip.id,
        start=clip.start,
        duration=duration,
        channel=0,
        supervisions=[supervision],
        recording=recording,
        custom={"split": clip.split, "licence": licence, "synthetic": clip.synthetic},
    )

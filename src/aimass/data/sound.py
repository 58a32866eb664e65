"""The sound of a clip: its stretch of the recording."""

from aimass.audio.decode import load
from aimass.base.contract import Samples
from aimass.data.types import Clip, naming


def sound_of(clip: Clip, rate: int) -> Samples:
    """The mono samples of a clip at a rate, shape ``(samples,)``.

    Raises:
        AudioError: a recording that cannot be read, with its name.
    """
    with naming(clip):
        samples = load(clip.path, rate=rate).mono()
    first = round(clip.start * rate)
    return samples[first : None if clip.duration is None else first + round(clip.duration * rate)]

"""Cut long recordings at pauses into stretches that an engine takes in one piece."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from aimass.audio.resample import Resampler
from aimass.audio.types import Audio
from aimass.audio.voice import LoudnessActivity, Probabilities, VoiceActivity
from aimass.base.contract import Samples

_SEARCHED = 0.5  # the share of a window, at its end, in which a pause is looked for
_PAUSE = 0.5  # speech probability below which a window belongs to a pause
_PADDING = 8  # windows of silence around the recording, so that short words have a context
_SMOOTH = np.ones(3, np.float32) / 3
_WIDTH = np.hanning(13)[1:-1] / np.hanning(13).sum()  # about 0.35 s: long pauses win over short


@dataclass(frozen=True, slots=True, eq=False)
class Stretch:
    """A piece of a recording.

    Args:
        start: seconds from the start of the recording.
        samples: mono, shape ``(samples,)``, at the rate of the blocks.
        speech: the highest speech probability in it, smoothed over three windows; for long
            silence it stays near 0.
    """

    start: float
    samples: Samples
    speech: float


def segments(
    blocks: Iterable[Audio], *, max_seconds: float, voice: VoiceActivity | None
) -> Iterator[Stretch]:
    """Cut at pauses: every sample is in exactly one stretch, in order.

    A recording of at most ``max_seconds`` is one stretch. A longer one is cut in the middle of
    the longest and deepest pause in the second half of each ``max_seconds``, and just there
    where it has none. At most ``max_seconds`` and a quarter are held, beside the block.

    Args:
        blocks: consecutive audio of one rate, mixed to mono where it is not.
        max_seconds: longest stretch.
        voice: what hears pauses; loudness when None, and ``speech`` is then loudness too.
    """
    cutter: _Cutter | None = None
    for block in blocks:
        cutter = cutter or _Cutter(block.rate, max_seconds, voice or LoudnessActivity())
        samples = block.mono()
        step = max(1, cutter.longest // 4)
        for start in range(0, len(samples), step):
            cutter.add(samples[start : start + step])
            yield from cutter.ready()
    if cutter is not None:
        yield from cutter.rest()


class _Cutter:
    """Holds the samples that are not cut yet, and the speech probability of their windows."""

    def __init__(self, rate: int, max_seconds: float, voice: VoiceActivity) -> None:
        self.longest = max(1, int(max_seconds * rate))
        self._rate = rate
        self._window = voice.window * rate / voice.rate  # samples of ours for a window of theirs
        self._resampler = Resampler(rate, voice.rate) if rate != voice.rate else None
        self._silence = np.zeros(_PADDING * voice.window, np.float32)
        self._hears = voice.stream()
        self._hears.accept(self._silence)
        self._held: list[Samples] = []
        self._count = 0  # samples held
        self._given = 0  # samples given away
        self._first = 0  # the window that the first known probability is of
        self._known: Probabilities = np.zeros(0, np.float32)

    def add(self, samples: Samples) -> None:
        """Hold more samples and hear them."""
        self._held.append(samples)
        self._count += len(samples)
        self._hear(self._resampler.accept(samples) if self._resampler else samples)

    def ready(self) -> Iterator[Stretch]:
        """The stretches whose end is heard, with enough after it to judge a pause there."""
        beyond = self.longest + _PADDING * self._window
        while self._count > self.longest and self._heard() >= self._given + beyond:
            yield self._take(self._cut())

    def rest(self) -> Iterator[Stretch]:
        """All that is held; nothing more comes."""
        if self._resampler:
            self._hear(self._resampler.finish()[0])
        self._hear(self._silence)
        while self._count > self.longest:
            yield self._take(self._cut())
        if self._count:
            yield self._take(self._count)

    def _hear(self, samples: Samples) -> None:
        self._known = np.concatenate([self._known, self._hears.accept(samples)])

    def _heard(self) -> float:
        return (self._first + len(self._known)) * self._window

    def _cut(self) -> int:
        """How many of the samples held come before the next cut."""
        speech = np.convolve(self._known, _SMOOTH, "same")
        start = self._given + self.longest * (1 - _SEARCHED)
        low = int(np.ceil(start / self._window)) - self._first
        high = int((self._given + self.longest) / self._window) - self._first
        if high <= low or speech[low:high].min() >= _PAUSE:
            return self.longest
        # Nothing outside the pauses may win, however quiet its surroundings are.
        depth = np.convolve(self._known, _WIDTH, "same")[low:high]
        best = low + int(np.where(speech[low:high] < _PAUSE, depth, np.inf).argmin())
        middle = int((self._first + best + 0.5) * self._window) - self._given
        return min(max(1, self._quietest(middle)), self.longest)

    def _quietest(self, middle: int) -> int:
        """The middle of the quietest 10 ms within one window around the middle of a pause."""
        self._held = [np.concatenate(self._held)]
        part, reach = max(1, self._rate // 100), int(self._window)
        start = max(0, middle - reach)
        near = self._held[0][start : middle + reach]
        power = np.square(near[: len(near) // part * part]).reshape(-1, part).sum(axis=1)
        return start + int(power.argmin()) * part + part // 2 if len(power) else middle

    def _take(self, count: int) -> Stretch:
        joined = np.concatenate(self._held)
        start, end = self._given, self._given + count
        first = int(start / self._window) - self._first
        last = len(self._known) if count == self._count else int(end / self._window) - self._first
        speech = np.convolve(self._known, _SMOOTH, "same")[first : last + 1]
        self._held, self._count, self._given = [joined[count:]], self._count - count, end
        # Some windows before the cut stay known: smoothing looks back.
        keep = max(0, int(end / self._window) - self._first - _PADDING)
        self._known, self._first = self._known[keep:], self._first + keep
        return Stretch(start / self._rate, joined[:count].copy(), float(speech.max(initial=0.0)))

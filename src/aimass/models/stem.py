"""From feature frames to model frames: normalisation, a learned filter bank, fewer frames."""

import math

import torch
from torch import Tensor, nn

from aimass.models.spec import ModelSpec
from aimass.models.streaming import Chain, StreamingLayer

_OVERLAP = 1.5  # of a learned filter's past over one shift: 25 ms windows at shifts of 10 ms
_FLOOR = 1e-6
_LEAST = 1e-3  # deviation of a column that never changes
_CHANNELS = 16  # of the first 2-D convolution; each one doubles them


class Normalise(StreamingLayer):
    """Subtract the mean of the training data and divide by its deviation.

    It lives in the model, so that every front end may give plain features.

    Args:
        floor: log energies are lifted to the sum of themselves and this one, so that the digital
            silence of a noise gate, which few training speakers have, looks like a quiet room.
    """

    mean: Tensor
    scale: Tensor
    state_size = 0

    def __init__(self, columns: int, floor: float | None = None) -> None:
        super().__init__()
        self.columns = columns
        self.floor = floor
        self.register_buffer("mean", torch.zeros(columns))
        self.register_buffer("scale", torch.ones(columns))

    @property
    def fresh(self) -> bool:
        """Whether nothing was measured yet."""
        return bool((self.scale == 1).all())

    @torch.no_grad()
    def measure(self, rows: Tensor) -> None:
        """Take mean and deviation of feature frames ``(frames, columns)``."""
        rows = self._lifted(rows)
        self.mean.copy_(rows.mean(dim=0))
        self.scale.copy_(1 / (rows.std(dim=0) + _LEAST))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, columns)``."""
        return (self._lifted(x) - self.mean) * self.scale, state

    def _lifted(self, x: Tensor) -> Tensor:
        if self.floor is None:
            return x
        return self.floor + nn.functional.softplus(x - self.floor)


class Plain(StreamingLayer):
    """Nothing: the frames are a model's front already."""

    state_size = 0

    def __init__(self, columns: int) -> None:
        super().__init__()
        self.columns = columns

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Give ``x (batch, frames, columns)``."""
        return x, state


class LearnedFilters(StreamingLayer):
    """A learned filter bank over raw samples, followed by energy and logarithm.

    Pairs of filters start as windowed cosines and sines at mel-spaced frequencies and are trained
    with the rest: Zeghidour et al. 2018, "Learning filterbanks from raw speech", and 2021, "LEAF".
    The input comes as ``(batch, frames, samples of one shift)``.
    """

    def __init__(self, shift: int, bands: int) -> None:
        super().__init__()
        self.columns = bands
        self.shift = shift
        self.state_size = round(_OVERLAP * shift)
        window = shift + self.state_size
        self.filters = nn.Conv1d(1, 2 * bands, window, stride=shift, bias=False)
        with torch.no_grad():
            self.filters.weight.copy_(_gabor(bands, window))
        self.norm = nn.LayerNorm(bands)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, shift)`` to ``(batch, frames, bands)``."""
        samples = torch.cat([state, x.flatten(1)], dim=1)
        filtered = self.filters(samples.unsqueeze(1))
        real, imaginary = filtered[:, : self.columns], filtered[:, self.columns :]
        energy = (real * real + imaginary * imaginary).transpose(1, 2)
        latest = samples[:, -self.state_size :]
        return self.norm(torch.log(energy + _FLOOR)), latest


def _gabor(bands: int, window: int) -> Tensor:
    """Cosines, then sines, under a Hann window, ``(2 * bands, 1, window)``; 40 Hz to 0.45 rate.

    Frequencies count from 16 kHz; at other rates the bands scale with the rate.
    """
    mels = torch.linspace(_mel(40), _mel(7200), bands)
    frequencies = 700 * (10 ** (mels / 2595) - 1) / 16000
    phase = 2 * math.pi * frequencies[:, None] * torch.arange(window)
    shape = torch.hann_window(window) / math.sqrt(window)
    return torch.cat([torch.cos(phase) * shape, torch.sin(phase) * shape]).unsqueeze(1)


def _mel(frequency: float) -> float:
    return 2595 * math.log10(1 + frequency / 700)


class Stack(StreamingLayer):
    """Every `stack` frames become one, mapped to the width of the encoder."""

    state_size = 0

    def __init__(self, spec: ModelSpec, columns: int) -> None:
        super().__init__()
        self.width = spec.stack * columns
        self.project = nn.Linear(self.width, spec.channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, columns)`` to ``(batch, frames / stack, channels)``."""
        return self.project(x.reshape(x.shape[0], -1, self.width)), state


class Halved(StreamingLayer):
    """A 2-D convolution that halves time and frequency; its state is the last row it was given.

    Rows are ``bands * channels`` wide, the channels of a band side by side: in this order the
    convolution runs twice as fast.
    """

    def __init__(self, channels: int, bands: int, outputs: int) -> None:
        super().__init__()
        self.shape = (bands, channels)
        self.state_size = channels * bands
        self.width = outputs * -(-bands // 2)
        self.convolution = nn.Conv2d(channels, outputs, 3, stride=2, padding=(0, 1))

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, bands * channels)`` to ``(batch, frames / 2, width)``."""
        seen = torch.cat([state.unsqueeze(1), x], dim=1)
        image = seen.reshape(x.shape[0], -1, *self.shape).permute(0, 3, 1, 2)
        y = nn.functional.silu(self.convolution(image))
        return y.permute(0, 2, 3, 1).reshape(x.shape[0], -1, self.width), x[:, -1]


class Subsample(StreamingLayer):
    """2-D convolutions that make one frame of `stack`, mapped to the width of the encoder.

    A filter slides over frequency too, so that it finds the shape of a sound a little higher or
    lower in another voice: a fifth fewer errors on strangers' words than `Stack` (LOG.md). The
    form of Dong et al. 2018, "Speech-Transformer", and of the Conformers since.
    """

    def __init__(self, spec: ModelSpec, columns: int) -> None:
        super().__init__()
        layers: list[Halved] = []
        channels, bands = 1, columns
        for index in range(spec.stack.bit_length() - 1):
            layers.append(Halved(channels, bands, _CHANNELS << index))
            channels, bands = _CHANNELS << index, -(-bands // 2)
        self.halved = Chain(layers)
        self.state_size = self.halved.state_size
        self.project = nn.Linear(layers[-1].width, spec.channels)

    def forward(self, x: Tensor, state: Tensor) -> tuple[Tensor, Tensor]:
        """Map ``x (batch, frames, columns)`` to ``(batch, frames / stack, channels)``."""
        y, latest = self.halved(x, state)
        return self.project(y), latest

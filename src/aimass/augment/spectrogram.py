"""Spectrogram masks over a whole batch at once."""

import numpy as np
import numpy.typing as npt


def masked(
    batch: npt.NDArray[np.float32],
    rng: np.random.Generator,
    *,
    fill: npt.NDArray[np.float32],
    times: int = 2,
    max_frames: int = 6,
    bands: int = 2,
    max_bins: int = 5,
) -> npt.NDArray[np.float32]:
    """SpecAugment time and frequency masks (Park et al. 2019), drawn for each utterance.

    Args:
        batch: features, shape ``(batch, frames, bins)``; not changed.
        fill: what stands under a mask, shape ``(bins,)``, such as the mean feature.
        times: masks along time, each up to ``max_frames`` wide.
        bands: masks along frequency, each up to ``max_bins`` wide.
    """
    size, frames, bins = batch.shape
    hidden = _stripes(rng, size, frames, times, max_frames)[:, :, None]
    hidden = hidden | _stripes(rng, size, bins, bands, max_bins)[:, None, :]
    return np.where(hidden, fill, batch)


def _stripes(
    rng: np.random.Generator, size: int, length: int, count: int, widest: int
) -> npt.NDArray[np.bool_]:
    """Boolean ``(size, length)``, true under `count` stripes drawn for each row."""
    width = rng.integers(0, widest + 1, (size, count, 1))
    start = rng.integers(0, max(1, length), (size, count, 1))
    position = np.arange(length)
    covered = (position >= start) & (position < start + width)
    return np.asarray(covered.any(axis=1))

"""Spectrogram masks over a whole batch at once."""

from dataclasses import asdict, dataclass, fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from aimass.base.errors import ScenarioError

Batch = npt.NDArray[np.float32]
"""Features, shape ``(batch, frames, bins)``."""


@dataclass(frozen=True, slots=True)
class Masks:
    """SpecAugment masks (Park et al. 2019), in proportion to what they are laid over.

    Args:
        times: masks along time for each utterance.
        time_share: widest of them, as a share of the utterance's frames (Park et al. 2020).
        max_frames: widest of them in frames, however long the utterance is.
        bands: masks along frequency for each utterance.
        band_share: widest of them, as a share of the bins.

    Raises:
        ScenarioError: a number out of its bounds.
    """

    times: int = 2
    time_share: float = 0.1
    max_frames: int = 40
    bands: int = 2
    band_share: float = 0.15

    def __post_init__(self) -> None:
        tops = {"time_share": 1.0, "band_share": 1.0, "max_frames": 10_000}
        for name, value in asdict(self).items():
            top = tops.get(name, 100)
            if not isinstance(value, int | float) or not 0 <= value <= top:
                raise ScenarioError(
                    f"masks with {name}: {value!r}",
                    expected=f"a number from 0 to {top:g}",
                    fix=f"Correct {name}, or leave it out",
                    param=name,
                )

    def at(self, strength: float) -> "Masks":
        """Fewer masks of the same widths; none at 0."""
        return replace(self, times=round(self.times * strength), bands=round(self.bands * strength))

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> "Masks":
        """The inverse of `to_dict`. Raises: ScenarioError for an unknown field."""
        known = [one.name for one in fields(cls)]
        for name in values.keys() - set(known):
            raise ScenarioError(
                f"masks with a field '{name}'",
                expected=f"fields among {', '.join(known)}",
                fix="Correct the name, or remove the line",
                param=name,
            )
        return cls(**values)


NO_MASKS = Masks(times=0, bands=0)
"""Nothing is hidden."""


def hide(
    batch: Batch,
    rng: np.random.Generator,
    masks: Masks,
    *,
    lengths: npt.NDArray[np.int64] | None = None,
    fill: npt.NDArray[np.float32] | None = None,
) -> Batch:
    """Masks drawn for each utterance, on a copy of the batch.

    Args:
        batch: features, shape ``(batch, frames, bins)``; not changed.
        lengths: frames that each utterance has within its padding, ``(batch,)``; all when None.
        fill: what stands under a mask, ``(bins,)``; the batch's mean when None, which is zero
            for normalised features.
    """
    size, frames, bins = batch.shape
    own = np.full(size, frames) if lengths is None else np.minimum(lengths, frames)
    widest = np.minimum(own * masks.time_share, masks.max_frames).astype(np.int64)
    rows = _stripes(rng, frames, own, widest, masks.times)
    all_bins = np.full(size, bins)
    columns = _stripes(rng, bins, all_bins, (all_bins * masks.band_share).astype(int), masks.bands)
    if fill is None:
        fill = batch.mean(axis=(0, 1))
    return _filled(batch, rows, columns, fill)


def _stripes(
    rng: np.random.Generator,
    length: int,
    own: npt.NDArray[np.int64],
    widest: npt.NDArray[np.int64],
    count: int,
) -> npt.NDArray[np.bool_]:
    """Boolean ``(size, length)``, true under `count` stripes that begin within ``own[row]``."""
    shape = (len(own), count, 1)
    width = rng.integers(0, np.broadcast_to(widest[:, None, None] + 1, shape))
    start = rng.integers(0, np.broadcast_to(np.maximum(1, own)[:, None, None], shape))
    position = np.arange(length)
    covered = (position >= start) & (position < start + width)
    return np.asarray(covered.any(axis=1))


def _filled(
    batch: Batch,
    rows: npt.NDArray[np.bool_],
    columns: npt.NDArray[np.bool_],
    fill: npt.NDArray[np.float32],
) -> Batch:
    """Only what is hidden is written: four times as fast as choosing for every value."""
    out = batch.copy()
    out[rows] = fill
    utterance, bins = np.nonzero(columns)
    out[utterance, :, bins] = fill[bins, None]
    return out

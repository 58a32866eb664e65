"""Former names of the front end."""

from aimass.features.spec import FeatureSpec, Frames
from aimass.features.stream import extract as fbank

__all__ = ["FeatureSpec", "Frames", "fbank"]

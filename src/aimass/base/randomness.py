"""Named random streams: the same name gives the same draws, whatever ran before."""

import hashlib

import numpy as np


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """A generator that depends on `seed` and `names` alone.

    A training step asks for ``generator(seed, "augment", epoch, batch)``, so a resumed run
    draws what the undisturbed run would have drawn, without saving any generator's state.
    """
    return np.random.default_rng(_entropy(seed, *names))


def torch_seed(seed: int, *names: str | int) -> int:
    """A 63-bit seed of the same kind, for libraries that take an integer."""
    return _entropy(seed, *names) >> 193


def _entropy(seed: int, *names: str | int) -> int:
    text = "\0".join([str(seed), *map(str, names)])
    return int.from_bytes(hashlib.sha256(text.encode()).digest(), "big")

"""Small models of every family and head, as if they were trained: nothing at its first value."""

from functools import cache
from itertools import product

import torch
from torch import Tensor

from aimass.models.model import SpeechModel
from aimass.models.spec import Family, Head, ModelSpec
from aimass.models.stem import Normalise

FAMILIES: tuple[Family, ...] = ("conv", "recurrent", "attention")
HEADS: tuple[Head, ...] = ("ctc", "classify", "embed")
FRAMES = 96  # a multiple of every stack

SPECS = [
    *(
        ModelSpec(family, head, 20, 7, channels=16, blocks=2, kernel=5, context=6)
        for family, head in product(FAMILIES, HEADS)
    ),
    ModelSpec("conv", "ctc", 8, 4, channels=6, blocks=3, kernel=2, stack=1, dilations=(1, 2, 4)),
    ModelSpec("attention", "ctc", 8, 4, channels=8, blocks=1, kernel=9, stack=8, context=1),
    ModelSpec("recurrent", "classify", 8, 4, channels=8, blocks=3, stack=2, heads=2),
    ModelSpec("conv", "ctc", 13, 4, channels=8, blocks=1, subsampling="conv"),
    ModelSpec("attention", "embed", 20, 4, channels=8, blocks=1, stack=2, subsampling="conv"),
    ModelSpec("recurrent", "classify", 20, 7, channels=8, blocks=1, stack=8, subsampling="conv"),
    ModelSpec("conv", "ctc", 40, 5, channels=8, blocks=1, bands=12, subsampling="conv"),
    *(
        ModelSpec(family, "ctc", 40, 5, channels=8, blocks=1, stack=2, bands=12)
        for family in FAMILIES
    ),
]


def named(spec: ModelSpec) -> str:
    """What a test says of a spec."""
    learned = "-learned" if spec.bands else ""
    return f"{spec.family}-{spec.head}{learned}-{spec.subsampling}-{spec.stack}"


@cache
def model_of(spec: ModelSpec) -> SpeechModel:
    """The same weights at every call, ready to run."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(3)
        model = SpeechModel(spec).eval()
        for weights in model.parameters():
            weights.data += 0.05 * torch.randn_like(weights)
        if isinstance(model.front, Normalise):
            model.front.mean.normal_()
            model.front.scale.uniform_(0.5, 2)
    return model


def sound(spec: ModelSpec, batch: int = 2, seed: int = 0, frames: int = FRAMES) -> Tensor:
    """Random features ``(batch, frames, columns)``."""
    random = torch.Generator().manual_seed(seed)
    return torch.randn(batch, frames, spec.columns, generator=random)


@torch.no_grad()
def run(model: SpeechModel, features: Tensor, *sizes: int) -> tuple[Tensor, Tensor]:
    """Outputs and last state of chunks with so many model frames each, then all that is left."""
    stack, state, found, start = model.spec.stack, model.start(len(features)), [], 0
    for size in (*sizes, features.shape[1]):
        chunk = features[:, start : start + size * stack]
        start += chunk.shape[1]
        if chunk.shape[1]:
            outputs, state = model(chunk, state)
            found.append(outputs)
    return torch.cat(found, dim=1), state

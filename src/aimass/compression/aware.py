"""Quantisation-aware training: a model that hears what int8 will make of it while it learns.

Jacob et al. 2018, "Quantization and training of neural networks for efficient
integer-arithmetic-only inference": values are rounded on the way forward, and the gradient goes
past the rounding as if it were not there (the straight-through estimator). The span of what goes
into a layer is learned with the weights, as in Esser et al. 2020, "Learned step size
quantization", and Bhalgat et al. 2020, "LSQ+", from the one that calibration found.

What `aware` gives is a model like any other to the training loop, and `plain` gives back the
ordinary one; `spans` says what `aimass.compression.quantise.static` shall scale by.
"""

import copy
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn

from aimass.compression.quantise import Ranges, windows_of
from aimass.features.spec import Frames
from aimass.models.model import SpeechModel

OUTERMOST = 1e-5  # share of values at each end that a span leaves out


class RoundedLinear(nn.Linear):
    """A pointwise layer whose weights and inputs are rounded to 8 bits."""

    def __init__(self, layer: nn.Linear, span: tuple[float, float]) -> None:
        super().__init__(layer.in_features, layer.out_features, bias=layer.bias is not None)
        self.weight = layer.weight
        self.bias = layer.bias
        self.low = nn.Parameter(torch.tensor(span[0]))
        self.high = nn.Parameter(torch.tensor(span[1]))

    def forward(self, input: Tensor) -> Tensor:
        """Map ``x (batch, frames, inputs)``."""
        x = rounded(input, self.low, self.high)
        return nn.functional.linear(x, rounded_weight(self.weight), self.bias)


def rounded(x: Tensor, low: Tensor, high: Tensor) -> Tensor:
    """Values as 8 bits without sign hold them, zero among what is exact."""
    low, high = torch.clamp(low, max=0), torch.clamp(high, min=0)
    scale = torch.clamp(high - low, min=1e-6) / 255
    zero = _whole(-low / scale)
    return (torch.clamp(_whole(x / scale) + zero, 0, 255) - zero) * scale


def rounded_weight(weight: Tensor) -> Tensor:
    """Weights ``(outputs, inputs)`` as 8 bits with sign hold them, each output with its scale."""
    scale = torch.clamp(weight.detach().abs().amax(dim=1, keepdim=True), min=1e-12) / 127
    return _whole(weight / scale) * scale


def _whole(x: Tensor) -> Tensor:
    """The nearest whole numbers, with the gradient of `x` itself."""
    return x + (torch.round(x) - x).detach()


def aware(model: SpeechModel, clips: Sequence[Frames]) -> SpeechModel:
    """A copy that rounds what goes into its pointwise layers, with spans seen on `clips`.

    Args:
        clips: features of real sound, each ``(frames, columns)``.
    """
    found = copy.deepcopy(model)
    for name, span in observed(model, clips).items():
        place, _, last = name.rpartition(".")
        setattr(found.get_submodule(place), last, RoundedLinear(_layer(found, name), span))
    return found


def plain(model: SpeechModel) -> SpeechModel:
    """The ordinary model of the same weights."""
    ordinary = SpeechModel(model.spec)
    mine = set(ordinary.state_dict())
    ordinary.load_state_dict({k: v for k, v in model.state_dict().items() if k in mine})
    return ordinary.eval()


def spans(model: SpeechModel) -> Ranges:
    """What the rounded layers of a model learned to expect, by the layer's name."""
    return {
        name: (min(0.0, layer.low.item()), max(0.0, layer.high.item()))
        for name, layer in model.named_modules()
        if isinstance(layer, RoundedLinear)
    }


@torch.no_grad()
def observed(model: SpeechModel, clips: Sequence[Frames]) -> dict[str, tuple[float, float]]:
    """What goes into each pointwise layer, all but the outermost values."""
    seen: dict[str, list[Tensor]] = {}
    hooks = [
        layer.register_forward_pre_hook(_noting(seen.setdefault(name, [])))
        for name, layer in model.named_modules()
        if isinstance(layer, nn.Linear)
    ]
    was_training = model.training
    model.eval()
    device = model.start(1).device
    for window in windows_of(clips):
        model(torch.from_numpy(window).unsqueeze(0).to(device), model.start(1))
    model.train(was_training)
    for hook in hooks:
        hook.remove()
    return {name: _span(torch.cat(parts)) for name, parts in seen.items() if parts}


def _noting(into: list[Tensor]) -> Callable[[nn.Module, tuple[Tensor, ...]], None]:
    def note(layer: nn.Module, given: tuple[Tensor, ...]) -> None:
        into.append(given[0].detach().flatten().float().cpu())

    return note


def _span(values: Tensor) -> tuple[float, float]:
    order = values.sort().values
    left = round(OUTERMOST * len(order))
    return min(0.0, order[left].item()), max(0.0, order[-1 - left].item())


def _layer(model: SpeechModel, name: str) -> nn.Linear:
    layer = model.get_submodule(name)
    assert isinstance(layer, nn.Linear)
    return layer

"""Structured pruning: the least important channels of a trained model leave it.

What remains is an ordinary, narrower model. Each width of a model is cut in the same proportion:
that of the residual stream, those inside feed-forward layers and convolution modules, and the
heads of attention from within. Which channels stay is said by their importance: the squares of
all weights that write or read them, or of weight times gradient (Molchanov et al. 2019,
"Importance estimation for neural network pruning", equation 8, the first-order Taylor term), which
asks what the loss would lose. Training goes on from there (`aimass.lifecycle.compress`).
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from aimass.base.errors import TrainingError
from aimass.models.attention import ConformerBlock
from aimass.models.conv import ConvBlock
from aimass.models.heads import CtcHead
from aimass.models.model import SpeechModel, parameters
from aimass.models.recurrent import GruBlock
from aimass.models.spec import ModelSpec

Scores = Mapping[str, Tensor]
"""How much each number of each weight counts, by name and of its shape."""
NARROWEST, STEP = 8, 8  # channels; a multiple of the heads of attention


@dataclass(frozen=True, slots=True)
class Use:
    """Where channels appear in a weight.

    Args:
        axis: of the weight.
        copies: how often all of them stand in a row on that axis, as for the gates of a GRU.
    """

    name: str
    axis: int = 0
    copies: int = 1


@dataclass(frozen=True, slots=True)
class Group:
    """Channels that stay or leave together wherever they are used.

    Args:
        size: how many there are.
        parts: runs of neighbours that must keep equally many, as the heads of attention.
    """

    size: int
    uses: tuple[Use, ...]
    parts: int = 1


def magnitudes(model: nn.Module) -> Scores:
    """The square of each weight."""
    return {name: weight.detach().square() for name, weight in model.named_parameters()}


def taylor(model: nn.Module, losses: Iterable[Tensor]) -> Scores:
    """The square of each weight times its gradient, summed over batches.

    Args:
        losses: of batches, each a number that still knows how it came about.
    """
    names = dict(model.named_parameters())
    sums = {name: torch.zeros_like(weight) for name, weight in names.items()}
    for loss in losses:
        gradients = torch.autograd.grad(loss, list(names.values()), allow_unused=True)
        for (name, weight), gradient in zip(names.items(), gradients, strict=True):
            if gradient is not None:
                sums[name] += (weight.detach() * gradient).square()
    return sums


def narrowed(spec: ModelSpec, wanted: int) -> ModelSpec:
    """The same depth at the greatest width of at most `wanted` parameters.

    Raises:
        TrainingError: no such width below that of `spec`.
    """
    for channels in range(spec.channels - STEP, NARROWEST - 1, -STEP):
        narrow = spec.wide(channels - channels % STEP)
        with torch.device("meta"):
            size = parameters(SpeechModel(narrow))
        if size <= wanted:
            return narrow
    raise TrainingError(
        f"{wanted} parameters for a model of {spec.channels} channels in {spec.blocks} blocks",
        expected=f"fewer than it has, and no fewer than {NARROWEST} channels have",
        fix="Ask for another number, or train a model of fewer blocks",
    )


def pruned(model: SpeechModel, wanted: int, scores: Scores | None = None) -> SpeechModel:
    """A narrower copy with the channels that count most.

    Args:
        wanted: parameters at most.
        scores: `magnitudes` or `taylor`; magnitudes when None.

    Raises:
        TrainingError: no such width, or the family ``whisper``, whose encoder is given.
    """
    spec = model.spec
    if spec.whisper is not None:
        raise TrainingError(
            "pruning of a model with Whisper's encoder",
            expected="one of the families conv, recurrent and attention",
            fix="Give its member fewer 'layers' instead",
        )
    small = SpeechModel(narrowed(spec, wanted))
    scores = magnitudes(model) if scores is None else scores
    weights = dict(model.state_dict())
    for group in groups(model):
        size = group.size * small.spec.channels // spec.channels
        kept = _kept(_importance(group, scores), size, group.parts)
        for use in group.uses:
            rows = [kept + copy * group.size for copy in range(use.copies)]
            weights[use.name] = weights[use.name].index_select(use.axis, torch.cat(rows))
    small.load_state_dict(weights)
    return small.eval()


def groups(model: SpeechModel) -> list[Group]:
    """All channels of a model and where they are used."""
    width, found = model.spec.channels, list[Group]()
    stream = [*_layer("stack.project")]
    for number, block in enumerate(model.encoder.layers):
        inner, uses = _BLOCKS[type(block)](f"encoder.layers.{number}", model.spec)
        found += inner
        stream += uses
    stream += _norm("head.norm")
    if isinstance(model.head, CtcHead):
        stream.append(Use("head.output.weight", 1))
    else:
        stream += [Use("head.pool.score.weight", 1), Use("head.output.weight", 1, copies=2)]
    return [Group(width, tuple(stream)), *found]


def _layer(name: str, copies: int = 1) -> list[Use]:
    """The outputs of a layer."""
    return [Use(f"{name}.weight", 0, copies), Use(f"{name}.bias", 0, copies)]


_norm = _layer  # a norm has a weight and a bias for each channel too


def _between(first: str, second: str, width: int) -> Group:
    """What one layer gives to the next and nobody else sees."""
    return Group(width, (*_layer(first), Use(f"{second}.weight", 1)))


_Found = tuple[list[Group], list[Use]]


def _conv(name: str, spec: ModelSpec) -> _Found:
    stream = [*_layer(f"{name}.depthwise.convolution"), *_feed_forward(name)]
    return [_between(f"{name}.expand", f"{name}.contract", 2 * spec.channels)], stream


def _feed_forward(name: str) -> list[Use]:
    return [*_norm(f"{name}.norm"), Use(f"{name}.expand.weight", 1), *_layer(f"{name}.contract")]


def _gru(name: str, spec: ModelSpec) -> _Found:
    """Its units are added to the residual stream, so they are channels of that."""
    gates = [Use(f"{name}.gru.{kind}_l0", 0, copies=3)
             for kind in ("weight_ih", "weight_hh", "bias_ih", "bias_hh")]  # fmt: skip
    reads = [Use(f"{name}.gru.{kind}_l0", 1) for kind in ("weight_ih", "weight_hh")]
    return [], [*_norm(f"{name}.norm"), *gates, *reads]


def _conformer(name: str, spec: ModelSpec) -> _Found:
    width, attention, module = spec.channels, f"{name}.attention", f"{name}.convolution"
    heads = Group(
        width, (*_layer(f"{attention}.project", 3), Use(f"{attention}.output.weight", 1)),
        parts=spec.heads,
    )  # fmt: skip
    inside = (
        *_layer(f"{module}.gate", 2),
        *_layer(f"{module}.depthwise.convolution"),
        *_norm(f"{module}.inner_norm"),
        Use(f"{module}.output.weight", 1),
    )
    halves = (f"{name}.before", f"{name}.after")
    inner = [_between(f"{half}.expand", f"{half}.contract", 2 * width) for half in halves]
    stream = [use for half in halves for use in _feed_forward(half)]
    for norm in (f"{name}.norm", f"{module}.norm", f"{name}.last_norm"):
        stream += _norm(norm)
    stream += [Use(f"{attention}.project.weight", 1), *_layer(f"{attention}.output")]
    stream += [Use(f"{module}.gate.weight", 1), *_layer(f"{module}.output")]
    return [*inner, heads, Group(width, inside)], stream


_BLOCKS: dict[type[nn.Module], Callable[[str, ModelSpec], _Found]] = {
    ConvBlock: _conv,
    GruBlock: _gru,
    ConformerBlock: _conformer,
}


def _importance(group: Group, scores: Scores) -> Tensor:
    """What each channel of a group counts, ``(size,)``."""
    total = torch.zeros(group.size)
    for use in group.uses:
        values = scores[use.name].float().cpu().movedim(use.axis, 0)
        values = values.reshape(use.copies * group.size, -1).sum(dim=1)
        total += values.reshape(use.copies, group.size).sum(dim=0)
    return total


def _kept(importance: Tensor, size: int, parts: int) -> Tensor:
    """The most important channels in their order, equally many of each part."""
    length = len(importance) // parts
    best = importance.reshape(parts, length).topk(size // parts, dim=1).indices
    return (best + torch.arange(parts).unsqueeze(1) * length).flatten().sort().values

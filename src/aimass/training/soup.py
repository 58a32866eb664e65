"""One model out of several that were fine-tuned from the same start: the mean of their weights.

Wortsman et al. 2022, "Model soups: averaging weights of multiple fine-tuned models improves
accuracy without increasing inference time". Runs that share a start stay in one basin of the loss,
so that between two good ones lies a better one; runs from fresh weights do not, and their mean is
no model at all: of these the recipe keeps the best one alone.
"""

from collections.abc import Sequence

from aimass.base.errors import TrainingError
from aimass.models.model import SpeechModel
from aimass.training.checkpoint import Weights, mean_of
from aimass.training.dev import DevSet


def greedy(models: Sequence[SpeechModel], dev: DevSet) -> Weights:
    """The weights of the greedy soup, never worse on dev than the best of `models`.

    Raises:
        TrainingError: no models, or models of different shapes.
    """
    taken = ingredients(models, dev)
    return mean_of([models[number].state_dict() for number in taken])


def ingredients(models: Sequence[SpeechModel], dev: DevSet) -> list[int]:
    """Which models the greedy soup is made of, in the order in which they joined it.

    From the best to the worst each is tried, and stays where the mean makes no more errors.

    Raises:
        TrainingError: no models, or models of different shapes.
    """
    _refuse_others(models)
    errors = [dev.error(model) for model in models]
    order = sorted(range(len(models)), key=errors.__getitem__)
    trial = SpeechModel(models[0].spec).to(models[0].start(1).device)
    taken, lowest = order[:1], errors[order[0]]
    for number in order[1:]:
        tried = [*taken, number]
        trial.load_state_dict(mean_of([models[one].state_dict() for one in tried]))
        if (error := dev.error(trial)) <= lowest:
            taken, lowest = tried, error
    return taken


def _refuse_others(models: Sequence[SpeechModel]) -> None:
    if not models:
        raise TrainingError(
            "no models for a soup", expected="at least one", fix="Name the members to average"
        )
    for number, model in enumerate(models[1:], 2):
        other, own = model.spec.to_dict(), models[0].spec.to_dict()
        unlike = [
            f"{name} {other.get(name)} and not {own.get(name)}"
            for name in sorted(other.keys() | own.keys())
            if other.get(name) != own.get(name)
        ]
        if unlike:
            raise TrainingError(
                f"model {number} of a soup has {', '.join(unlike)}",
                expected="models of one shape, whose weights have a mean",
                fix="Average members of one family and size that start from the same bundle",
            )

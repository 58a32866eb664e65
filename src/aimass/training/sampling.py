"""Which utterances an epoch hears: all of them, those of a bag, those of rare labels more often.

Members that hear different things make different mistakes. They share their augmented passes all
the same: a sampler changes the order of an epoch, never the pass that the epoch reads.
"""

import math
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from aimass.base.errors import TrainingError
from aimass.base.randomness import generator
from aimass.training.passes import Example

By = Literal["utterance", "speaker"]
Balance = Literal["label", "language"]
Weights = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Bag:
    """What one member hears of the training data (Breiman 1996, "Bagging predictors").

    Without replacement it is a subset; with replacement and a share of 1 it is the bootstrap,
    which leaves out about a third. By speaker it draws all that a speaker said together: speakers
    are what new speech differs by.

    Args:
        share: of the utterances or speakers that is drawn, above 0 and at most 1.
        replace: whether the same one may be drawn several times, and so be heard more often.

    Raises:
        TrainingError: a share that is none, or an unknown `by`.
    """

    share: float
    by: By
    replace: bool = False
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0 < self.share <= 1:
            raise TrainingError(
                f"a bag with a share of {self.share}",
                expected="a number above 0 and at most 1",
                fix="Set share: 0.8",
            )
        if self.by not in ("utterance", "speaker"):
            raise TrainingError(
                f"a bag by {self.by!r}",
                expected="utterance or speaker",
                fix="Set by: speaker",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for digests and lineage."""
        return asdict(self)

    def chosen(self, examples: Sequence[Example]) -> list[int]:
        """Indices of the examples in the bag, rising, those that are drawn twice there twice.

        A function of names and speakers: the order of `examples` does not matter.

        Raises:
            TrainingError: an example without a speaker, where speakers are drawn.
        """
        units = self._units(examples)
        rng = generator(self.seed, "bag", self.by)
        count = min(len(units), max(1, round(self.share * len(units))))
        if not units:
            return []
        numbers = rng.choice(len(units), count, replace=self.replace)
        return sorted(index for number in numbers for index in units[number])

    def _units(self, examples: Sequence[Example]) -> list[list[int]]:
        """What is drawn together, in the order of names."""
        if self.by == "utterance":
            return [[k] for k in sorted(range(len(examples)), key=lambda k: examples[k].name)]
        speakers: dict[str, list[int]] = defaultdict(list)
        for index, example in enumerate(examples):
            if example.speaker is None:
                raise TrainingError(
                    f"no speaker of '{example.name}'",
                    expected="a speaker of every example, where a bag draws speakers",
                    fix="Name the column of speakers, or set by: utterance",
                )
            speakers[example.speaker].append(index)
        return [speakers[name] for name in sorted(speakers)]


@dataclass(frozen=True, slots=True)
class Sampler:
    """How an epoch draws its utterances; by default each once.

    Every epoch is as long as its pass, whatever is drawn: a bag of half the utterances hears each
    of them twice.

    Args:
        bag: of the examples that are heard; None for all.
        temperature: a label or language of ``count`` examples is drawn with a probability
            proportional to ``count ** (1 / temperature)`` (Devlin et al. 2019, multilingual BERT;
            Arivazhagan et al. 2019): 1 takes them as they come, much more hears all equally often.
        balance: what is counted. The label of an example is its targets, all of them.

    Raises:
        TrainingError: a temperature that is no positive number.
    """

    bag: Bag | None = None
    temperature: float = 1.0
    balance: Balance = "label"

    def __post_init__(self) -> None:
        if not 0 < self.temperature < math.inf:
            raise TrainingError(
                f"a sampler with a temperature of {self.temperature}",
                expected="a positive number; above 1 rare labels are heard more often",
                fix="Set temperature: 1",
            )

    def to_dict(self) -> dict[str, Any]:
        """Plain values, for digests and lineage."""
        return asdict(self)

    def weights(self, examples: Sequence[Example]) -> Weights | None:
        """How often each example is heard, ``(examples,)``; None where all are alike.

        Raises:
            TrainingError: an example without a speaker, where speakers are drawn.
        """
        if self.bag is None and self.temperature == 1:
            return None
        weights: Weights = np.ones(len(examples))
        if self.bag is not None:
            chosen = np.array(self.bag.chosen(examples), np.int64)
            weights = np.bincount(chosen, minlength=len(examples)).astype(np.float64)
        counts: dict[Hashable, float] = defaultdict(float)
        kinds = [e.targets if self.balance == "label" else e.language for e in examples]
        for kind, weight in zip(kinds, weights, strict=True):
            counts[kind] += float(weight)
        for index, kind in enumerate(kinds):
            weights[index] *= max(counts[kind], 1.0) ** (1 / self.temperature - 1)
        return weights


EVERYTHING = Sampler()


def drawn(
    rng: np.random.Generator, groups: Sequence[Sequence[int]], weights: Weights | None
) -> npt.NDArray[np.int64]:
    """The utterances of an epoch in random order, ``(utterances,)``, as many as the pass has.

    Each comes as often as its weight says, rounded down or up (systematic sampling, Madow and
    Madow 1944), so that what is left out of an epoch is left out by weight and not by accident.

    Args:
        groups: the examples that each utterance joins: one of them outside the bag leaves it out,
            and where there are several their mean weight counts.

    Raises:
        TrainingError: no utterance of which all examples are in the bag.
    """
    order = rng.permutation(len(groups))
    if weights is None:
        return order
    alone = np.array([_together(weights[list(groups[number])]) for number in order])
    if not alone.any():
        raise TrainingError(
            f"none of {len(groups)} joined utterances is made of examples of the bag alone",
            expected="a bag that holds some of them",
            fix="Draw the bag by speaker, or raise its share",
        )
    ends = np.cumsum(alone)
    ends *= len(groups) / ends[-1]
    ends[alone.nonzero()[0][-1] :] = len(groups)  # whatever was lost by rounding
    points = np.arange(len(groups)) + float(rng.random(dtype=np.float32))
    return rng.permutation(order[np.searchsorted(ends, points, side="right")])


def _together(weights: Weights) -> float:
    return float(weights.mean()) if weights.all() else 0.0

"""Teachers: the graphs of our own models over many utterances at once, and engines that answer."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from aimass.base.contract import Engine, RecognizeOptions, Task
from aimass.base.errors import TrainingError
from aimass.decoding.combine import Combination, combined
from aimass.features.spec import Frames
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, load_member
from aimass.registry.massive import voice_of
from aimass.runtime.answers import stated
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.graph import RowStream, StreamingGraph
from aimass.text.tokens import LabelSet
from aimass.training.teacher import NEVER, Heard, LogProbs

AT_ONCE = 16  # utterances in one run; more of them no longer fit a cache, and are slower


class Posteriors:
    """A bundle of ours as a teacher: its posteriors, or those of its members combined.

    All members are heard, to the last: what they say together is the target, not the label alone.
    A graph in int8 scales a batch as a whole, which moved probabilities by 0.002 at most on
    isolated words; batches are the same whenever a pass is asked again, so the rows are too.

    Where a massive model of labels combines answers, the arithmetic mean of its members'
    posteriors stands for them: at the same weights, and it says more than the label that wins.

    Args:
        bundle: of one model, or a massive model whose members share their outputs.

    Raises:
        TrainingError: a massive model that votes on words, or one whose members' frames differ.
        BundleError, IntegrityError: a member that does not load or is damaged.
    """

    def __init__(self, bundle: Bundle) -> None:
        members, self._combination = _members(bundle)
        self._graphs = [BundleEngine(member).graph for member in members]
        self._digest = voice_of(bundle)
        self.symbols = bundle.symbols()
        self.outputs = self.symbols.size
        self.labels = bundle.manifest.task is Task.CLASSIFY
        steps = {round(graph.frame_seconds, 6) for graph in self._graphs}
        if len(steps) > 1 and not self.labels:
            raise _unfit(f"'{bundle.manifest.name}', whose members give rows every {sorted(steps)}")
        self.row_seconds = 0.0 if self.labels else steps.pop()

    @property
    def inputs(self) -> list[Any]:
        """What decides its rows."""
        how = self._combination and self._combination.to_dict()
        return ["posteriors", self._digest, how, onnxruntime.__version__, AT_ONCE]

    def __call__(self, heard: Heard) -> list[LogProbs]:
        """The rows of each utterance; of labels the last."""
        tail = max(graph.graph.tail for graph in self._graphs)
        of_each = [
            run(graph, heard.features(graph.features, tail), last=self.labels)
            for graph in self._graphs
        ]
        return [self._together(own) for own in zip(*of_each, strict=True)]

    def _together(self, rows: Sequence[LogProbs]) -> LogProbs:
        if self._combination is None:
            return rows[0]
        count = min(map(len, rows))  # front ends may differ by a frame
        return combined([own[:count] for own in rows], self._combination)


def run(graph: StreamingGraph, utterances: Sequence[Frames], *, last: bool) -> list[LogProbs]:
    """The rows of whole utterances, many in one run; the same as one by one but for rounding.

    Args:
        last: keep the last row of each alone.
    """
    found: list[LogProbs] = [np.empty((0, 0), np.float32)] * len(utterances)
    by_length = sorted(range(len(utterances)), key=lambda number: len(utterances[number]))
    alone = [n for n in by_length if graph.graph.whole or len(utterances[n]) > graph.at_once]
    for number in alone:
        found[number] = RowStream(graph).finish(utterances[number])
    together = [number for number in by_length if number not in set(alone)]
    for first in range(0, len(together), AT_ONCE):
        chosen = together[first : first + AT_ONCE]
        for number, rows in zip(
            chosen, _batch(graph, [utterances[n] for n in chosen]), strict=True
        ):
            found[number] = rows
    return [rows[-1:].copy() if last else rows for rows in found]


def _batch(graph: StreamingGraph, utterances: Sequence[Frames]) -> list[LogProbs]:
    """One run; models do not see the future, so what is behind an utterance does not matter."""
    stack = graph.graph.stack
    steps = [-(-len(frames) // stack) for frames in utterances]
    longest = max(steps) * stack
    batch = np.stack([np.pad(f, ((0, longest - len(f)), (0, 0)), mode="edge") for f in utterances])
    cache = np.zeros((len(batch), *graph.graph.cache), np.float32)
    rows, _ = graph.step(batch, cache)
    return [own[:count].copy() for own, count in zip(rows, steps, strict=True)]


@dataclass(frozen=True, slots=True)
class Certain:
    """An engine that answers with a label, as a teacher: its confidence, the rest spread evenly.

    So a massive model that votes teaches too, or a model of others.

    Args:
        digest: what pins the engine.
    """

    engine: Engine
    digest: str
    labels: LabelSet
    row_seconds: float = 0.0

    @property
    def outputs(self) -> int:
        """Of its rows."""
        return self.labels.size

    @property
    def inputs(self) -> list[Any]:
        """What decides its rows."""
        return ["answers", self.digest, list(self.labels.symbols)]

    def __call__(self, heard: Heard) -> list[LogProbs]:
        """One row for each utterance; an even one where the answer is none of the labels."""
        return [self._row(samples) for samples in heard.sound(self.engine.sample_rate)]

    def _row(self, samples: LogProbs) -> LogProbs:
        answer = self.engine.recognize(samples, RecognizeOptions())
        even = np.full((1, self.outputs), -math.log(self.outputs), np.float32)
        if answer.text not in self.labels.symbols:
            return even
        sure = min(max(stated(answer), 1 / self.outputs), 1 - 1e-6)
        even[:] = math.log((1 - sure) / (self.outputs - 1))
        even[0, self.labels.symbols.index(answer.text)] = math.log(sure)
        return np.maximum(even, NEVER)


@lru_cache(maxsize=2)
def posteriors_of(folder: Path) -> Posteriors:
    """The teacher in a folder, loaded and proven once. Raises: as `Posteriors`."""
    return Posteriors(bundles.load(folder))


def gives_posteriors(bundle: Bundle) -> bool:
    """Whether a bundle has posteriors of its own, or its members have some to combine."""
    if bundle.massive is None or bundle.manifest.on_rows:
        return True
    own = len(bundle.massive.contained) == len(bundle.massive.members)
    return own and bundle.manifest.task is Task.CLASSIFY


def _members(bundle: Bundle) -> tuple[list[Bundle], Combination | None]:
    """The members that are heard and how they combine; a single model needs no combination."""
    if bundle.manifest.task is Task.EMBED:
        raise _unfit(f"'{bundle.manifest.name}', which gives voiceprints")
    if bundle.massive is None:
        return [bundle], None
    if not gives_posteriors(bundle):
        raise _unfit(f"'{bundle.manifest.name}', whose members are combined by their answers")
    whole = bundle.massive.combining
    heard = [number for number, weight in enumerate(whole.weights) if weight > 0]
    members = [load_member(bundle, bundle.massive.members[number]) for number in heard]
    if not bundle.manifest.on_rows:
        whole = replace(whole, method="arithmetic", temperature=1.0)
    return members, whole.only(heard)


def _unfit(found: str) -> TrainingError:
    return TrainingError(
        f"posteriors are asked of {found}",
        expected="a model, or a massive model whose members share outputs and frame rate",
        fix="Set targets: answers",
    )

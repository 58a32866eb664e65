"""Cascades: few members answer, and only utterances of which they are unsure go on to more.

Viola and Jones (2001), "Rapid object detection using a boosted cascade of simple features", order
classifiers from cheap to costly; Wang et al. (2022), "Wisdom of committees: an overlooked approach
to faster and more accurate models", show that ensembles in such a cascade, ended by a threshold on
their confidence, cost less than one model as good. Here stages share the members of one massive
model: what a member said in an earlier stage is used again in a later one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

import numpy as np

from aimass.base.contract import Hypothesis, RecognizeOptions, Samples, Stream
from aimass.base.errors import BundleError
from aimass.decoding.combine import Combination, calibrated, decided
from aimass.features.spec import FeatureSpec, Frames
from aimass.registry.points import Stage
from aimass.runtime.answers import Alternatives, Jury, stated
from aimass.runtime.bundled import decoder, hypothesis
from aimass.runtime.graph import LogProbs, RowStream
from aimass.runtime.panel import Panel
from aimass.runtime.pooled import Pool
from aimass.text.tokens import LabelSet

Evidence = Mapping[int, Any]
"""What members said of one utterance, by number: rows, or answers."""


class Hearing(Protocol):
    """One utterance before the members."""

    def ready(self, members: Sequence[int]) -> None:
        """Prepare what these members need, before they are asked side by side."""

    def hear(self, member: int) -> Any:
        """What one member says."""

    def judged(self, evidence: Evidence) -> Hypothesis:
        """What members say together."""

    def decided(self, evidence: Evidence, combination: Combination) -> bool:
        """Whether the members of a combination that have not answered can change nothing."""


@dataclass(frozen=True, slots=True)
class Step:
    """A stage among the members that are there.

    Args:
        members: by number, the weightiest first.
        combination: of all members; those that have no part in the stage have the weight 0.
    """

    members: tuple[int, ...]
    combination: Combination
    threshold: float
    temperature: float

    def sure(self, found: Hypothesis) -> bool:
        """Whether an answer need not go on; of silence nobody is sure."""
        if self.threshold >= 1:
            return False
        return calibrated(stated(found), self.temperature) >= self.threshold


class Cascade:
    """The stages of an operating point over the members of a panel. Shared by all threads.

    Args:
        early: whether members of the last stage are not asked once they can change nothing.
    """

    def __init__(self, panel: Panel, steps: Sequence[Step], early: bool) -> None:
        self._panel = panel
        self._steps = tuple(steps)
        self._early = early

    @classmethod
    def of(cls, stages: Sequence[Stage], panel: Panel, early: bool) -> "Cascade | None":
        """The cascade of those members that are there; None where none of them is."""
        numbers = {seat.name: number for number, seat in enumerate(panel.seats)}
        steps = []
        for stage in stages:
            there = [numbers[name] for name in stage.members if name in numbers]
            if there:
                steps.append(_step(stage, sorted(there), panel))
        return cls(panel, steps, early) if steps else None

    @property
    def first(self) -> tuple[int, ...]:
        """The members of the first stage."""
        return self._steps[0].members

    def ends_with(self, found: Hypothesis) -> bool:
        """Whether the answer of the first stage is that of the cascade."""
        return len(self._steps) == 1 or self._steps[0].sure(found)

    def recognize(self, hearing: Hearing, known: Evidence | None = None) -> Hypothesis:
        """What the first stage says that is sure, or the last.

        A stage without any answer is passed over.

        Args:
            known: what members have said already; they are not asked again.

        Raises:
            RequestError: what is asked is wrong in the eyes of all members.
            BundleError: none answers.
        """
        evidence = dict(known or {})
        found, failed = None, None
        for step in self._steps:
            last = step is self._steps[-1]
            try:
                self._ask(step, hearing, evidence, self._early and last)
            except BundleError as error:
                failed = error
            own = {member: evidence[member] for member in step.members if member in evidence}
            if not own:
                continue
            found = hearing.judged(own)
            if last or step.sure(found):
                break
        if found is None:
            assert failed is not None  # else somebody has answered
            raise failed
        return found

    def _ask(self, step: Step, hearing: Hearing, evidence: dict[int, Any], early: bool) -> None:
        """Add what members of a stage say that were not asked before."""
        missing = [member for member in step.members if member not in evidence]

        def enough(found: Evidence) -> bool:
            own = {m: said for m, said in {**evidence, **found}.items() if m in step.members}
            return bool(own) and hearing.decided(own, step.combination)

        if not missing or (early and enough({})):
            return
        if early:
            evidence.update(self._panel.ask_until(hearing.hear, enough, hearing.ready, missing))
        else:
            hearing.ready(missing)
            evidence.update(self._panel.ask(hearing.hear, missing))


def _step(stage: Stage, members: Sequence[int], panel: Panel) -> Step:
    part = panel.combination.only(members)
    weights = dict(zip(members, part.weights, strict=True))
    whole = replace(
        panel.combination,
        weights=tuple(weights.get(number, 0.0) for number in range(len(panel.seats))),
    )

    def rank(member: int) -> tuple[float, str, str]:
        seat = panel.seats[member]
        return -weights[member], seat.digest, seat.name

    heard = sorted((member for member in members if weights[member] > 0), key=rank)
    return Step(tuple(heard), whole, stage.threshold, stage.temperature)


class RowsHearing:
    """An utterance before members whose posteriors are combined."""

    def __init__(
        self, pool: Pool, samples: Samples, language: str, options: RecognizeOptions
    ) -> None:
        self._pool = pool
        self._samples = samples
        self._language = language
        self._options = options
        self._labels = isinstance(pool.symbols, LabelSet)
        self._frames: dict[FeatureSpec, Frames] = {}

    def ready(self, members: Sequence[int]) -> None:
        """Compute the features that are missing."""
        self._pool.prepare(self._samples, members, self._frames)

    def hear(self, member: int) -> LogProbs:
        """The rows of a member; of labels the last."""
        graph = self._pool.graphs[member]
        rows = RowStream(graph).finish(self._frames[graph.features])
        return rows[-1:] if self._labels else rows

    def judged(self, evidence: Evidence) -> Hypothesis:
        """The decoder of the task over the mean of rows."""
        pool = self._pool
        rows: Mapping[int, LogProbs] = evidence
        if not self._labels:
            most = max(map(len, rows.values()))
            rows = {
                m: pool.filled(own, most) if len(own) < most else own for m, own in rows.items()
            }
        search = decoder(pool.symbols, pool.frame_seconds)
        search.accept(pool.mean(rows))
        return hypothesis(search, len(self._samples) / pool.rate, self._language, self._options)

    def decided(self, evidence: Evidence, combination: Combination) -> bool:
        """Whether the label of all is known."""
        return self._labels and decided(evidence, combination)


@dataclass(frozen=True, slots=True)
class AnswersHearing:
    """An utterance before members whose answers are combined.

    Args:
        answer: what a member answers.
        verdict: what answers are together.
    """

    jury: Jury
    answer: Callable[[int], Alternatives]
    verdict: Callable[[Mapping[int, Alternatives]], Hypothesis]

    def ready(self, members: Sequence[int]) -> None:
        """Nothing: each member hears by itself."""

    def hear(self, member: int) -> Alternatives:
        """A member's answers, the best first."""
        return self.answer(member)

    def judged(self, evidence: Evidence) -> Hypothesis:
        """What the answers are together."""
        return self.verdict(evidence)

    def decided(self, evidence: Evidence, combination: Combination) -> bool:
        """Whether the outcome of the vote is known."""
        return replace(self.jury, combination=combination).decided(evidence)


class CascadeStream:
    """The first stage while sound comes in; whether that will do is decided at its end.

    Args:
        inner: the stream of the first stage.
        known: what its members have said so far.
        onward: the answer of the cascade to the whole sound, from what is known.
        most: samples that are remembered; longer sound is left to the first stage.
    """

    def __init__(
        self,
        cascade: Cascade,
        inner: Stream,
        known: Callable[[], Evidence],
        onward: Callable[[Samples, Evidence], Hypothesis],
        most: int,
    ) -> None:
        self._cascade, self._inner = cascade, inner
        self._known, self._onward = known, onward
        self._sound: list[Samples] = []
        self._room = most

    def accept(self, samples: Samples) -> None:
        """Take the next samples."""
        self._room -= len(samples)
        if self._room >= 0:
            self._sound.append(samples.copy())  # the caller may use its array again
        else:
            self._sound.clear()
        self._inner.accept(samples)

    def results(self) -> Hypothesis:
        """The words so far, of the first stage."""
        return self._inner.results()

    def finish(self) -> Hypothesis:
        """No more audio: the answer of the first stage, or of those after it."""
        found = self._inner.finish()
        if self._cascade.ends_with(found) or not self._sound:
            return found
        return self._onward(np.concatenate(self._sound), self._known())

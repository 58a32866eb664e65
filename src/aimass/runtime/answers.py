"""What several engines answer as one answer, where they share no posteriors.

Word voting, the answer of least risk, or that of the surest member.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from aimass.base.contract import Hypothesis, Segment, Task, Word
from aimass.decoding import combine, mbr, voting
from aimass.decoding.combine import Combination, calibrated
from aimass.decoding.voting import Ballot, Key, VoteSpec
from aimass.registry.manifest import Manifest
from aimass.text.spacing import respaced

UNSURE = 0.5  # the confidence of an engine that gives none
LEAST = 1e-9
_CLEAR = 1e-6  # a lead below it may be lost in rounding

Alternatives = tuple[Hypothesis, ...]
"""One member's answers to one input, the best first; most engines have but one."""


@dataclass(frozen=True, slots=True)
class Jury:
    """How the answers of members become one.

    Args:
        combination: of all members.
        labels: whether an answer is a label: one word, whatever it is made of.
        key: the form in which words are compared.
        spec: how votes are counted.
    """

    combination: Combination
    labels: bool
    key: Key
    spec: VoteSpec

    @classmethod
    def of(cls, manifest: Manifest) -> "Jury":
        """The jury of a massive model."""
        assert manifest.massive is not None
        labels = manifest.task is Task.CLASSIFY
        language = manifest.languages[0] if len(manifest.languages) == 1 else None
        key = one_word if labels else voting.spoken(language)
        spec = VoteSpec(**manifest.massive.vote.model_dump())
        return cls(manifest.massive.combining, labels, key, spec)

    def verdict(self, answers: Mapping[int, Alternatives], duration: float) -> Hypothesis:
        """The answer of all: one segment, or none where nothing is said.

        Args:
            answers: by member.
            duration: of the sound, seconds.
        """
        members = sorted(answers)
        own = [answers[number] for number in members]
        part = self.combination.only(members)
        if part.method == "vote":
            found = self._voted([first for first, *_ in own], part, duration)
        elif part.method == "mbr":
            found = self._least_risk(own, part, duration)
        else:
            found = _surest([first for first, *_ in own], part, duration)
        return _calibrated(found, part.temperature)

    def decided(self, answers: Mapping[int, Alternatives]) -> bool:
        """Whether the members that have not answered can no more change the words of a vote."""
        if self.combination.method != "vote":
            return False
        left = 1 - math.fsum(self.combination.weights[number] for number in answers)
        ballots = [
            self._ballot(first, self.combination.temperatures[n], self.combination.weights[n])
            for n, (first, *_) in sorted(answers.items())
        ]
        if self.labels:
            return self._label_decided(ballots, left)
        return voting.decided(ballots, max(0.0, left), self.spec, self.key)

    def _voted(
        self, own: Sequence[Hypothesis], part: Combination, duration: float
    ) -> Segment | None:
        ballots = [
            self._ballot(answer, temperature, weight)
            for answer, temperature, weight in zip(
                own, part.temperatures, part.weights, strict=True
            )
        ]
        words = voting.vote(ballots, self.spec, self.key)
        if not words:
            return None
        text = " ".join(word.text for word in words)
        logs = [math.log(max(word.confidence, LEAST)) for word in words]
        sure = math.exp(math.fsum(logs) / len(logs))
        if not any(word.end > word.start for word in words):
            words = _spread(words, duration)
        return Segment(0.0, duration, text if self.labels else respaced(text), words, sure)

    def _least_risk(
        self, own: Sequence[Alternatives], part: Combination, duration: float
    ) -> Segment | None:
        """The answer nearest to all others; each member's list shares the member's weight.

        Of several that say the same, the surest.
        """
        listed: list[tuple[Hypothesis, float]] = []
        candidates: list[mbr.Candidate] = []
        for number, answers in enumerate(own):
            temperature = part.temperatures[number]
            for answer in answers:
                words = tuple(self.key(answer.text).split())
                chance = mbr.log_prob(answer) / temperature
                weight = part.weights[number]
                candidates.append(mbr.Candidate(words, chance, weight, str(number)))
                listed.append((answer, temperature))
        words = candidates[mbr.choose(candidates)].words
        same = [own for own, one in zip(listed, candidates, strict=True) if one.words == words]
        answer, temperature = max(
            same, key=lambda own: (calibrated(stated(own[0]), own[1]), own[0].text)
        )
        return _taken(answer, temperature, duration)

    def _ballot(self, answer: Hypothesis, temperature: float, weight: float) -> Ballot:
        """The words of an answer with calibrated confidences."""
        if self.labels:
            words = [Word(answer.text, 0.0, 0.0, stated(answer))] if answer.text else []
        else:
            words = list(voting.ballot(answer).words)
        return Ballot(
            tuple(Word(w.text, w.start, w.end, calibrated(_sane(w), temperature)) for w in words),
            weight,
        )

    def _label_decided(self, ballots: Sequence[Ballot], left: float) -> bool:
        """Whether the leading label wins even if all others say another, and are certain.

        Or if they say the same and doubt it, which lowers its mean confidence.
        """
        shares: dict[str, list[Ballot]] = {}
        for one in ballots:
            for word in one.words:
                shares.setdefault(word.text, []).append(one)
        ranges = {label: self._range(own, left) for label, own in shares.items()}
        if not ranges:
            return False
        leader = max(ranges, key=lambda label: ranges[label][0])
        unheard = self.spec.alpha * left + (1 - self.spec.alpha)
        others = [high for label, (_, high) in ranges.items() if label != leader]
        return ranges[leader][0] > max([unheard, *others]) + _CLEAR

    def _range(self, own: Sequence[Ballot], left: float) -> tuple[float, float]:
        """The least and the most that the score of a label may become."""
        alpha = self.spec.alpha
        share = math.fsum(one.weight for one in own)
        sure = [(one.weight, one.words[0].confidence) for one in own]
        if self.spec.confidence == "max":
            doubted = max(confidence for _, confidence in sure)
        else:
            doubted = math.fsum(weight * confidence for weight, confidence in sure) / (share + left)
        return alpha * share + (1 - alpha) * doubted, alpha * (share + left) + (1 - alpha)


def stated(answer: Hypothesis) -> float:
    """The geometric mean over the segments, each counted by its words."""
    kept = [segment for segment in answer.segments if segment.text]
    if not kept or not all(math.isfinite(segment.confidence) for segment in kept):
        return UNSURE
    counts = [max(1, len(segment.text.split())) for segment in kept]
    logs = [math.log(min(1.0, max(segment.confidence, LEAST))) for segment in kept]
    return math.exp(float(np.average(logs, weights=counts)))


def one_word(text: str) -> str:
    """A label as one word, so that a vote never mixes parts of two."""
    return "\0".join(text.split())


def _spread(words: Sequence[Word], duration: float) -> tuple[Word, ...]:
    """Words of which nobody knows the times, one after the other."""
    each = duration / len(words)
    return tuple(
        Word(word.text, number * each, (number + 1) * each, word.confidence)
        for number, word in enumerate(words)
    )


def _sane(word: Word) -> float:
    return word.confidence if math.isfinite(word.confidence) else UNSURE


def _surest(own: Sequence[Hypothesis], part: Combination, duration: float) -> Segment | None:
    """The answer of the member that is surest; who says nothing is asked last."""
    answers = [(answer.text, stated(answer)) if answer.text else None for answer in own]
    if not any(answers):
        return None
    taken = combine.choose(answers, part)
    return _taken(own[taken], part.temperatures[taken], duration)


def _taken(answer: Hypothesis, temperature: float, duration: float) -> Segment | None:
    """A member's answer as that of all."""
    if not answer.text:
        return None
    words = tuple(word for segment in answer.segments for word in segment.words)
    return Segment(0.0, duration, answer.text, words, calibrated(stated(answer), temperature))


def _calibrated(found: Segment | None, temperature: float) -> Hypothesis:
    if found is None:
        return Hypothesis()
    sure = calibrated(found.confidence, temperature)
    words = tuple(
        Word(w.text, w.start, w.end, calibrated(w.confidence, temperature)) for w in found.words
    )
    return Hypothesis((Segment(found.start, found.end, found.text, words, sure),))

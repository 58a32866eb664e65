"""The combination of members that a dev set speaks for: temperatures and weights.

In three steps: the temperature of each member, so that all are equally sure where they are equally
right; the weights, by the likelihood of labels (`aimass.ensemble.pools`) or the errors of words
(`aimass.ensemble.search`), equal ones unless speakers left out clearly speak for others; and the
temperature of the whole. Nothing is drawn at random.

Means of posteriors of CTC models help only where the models agree on the frame of each token.
Models that were trained apart do not, by several frames this way and that (Kurata and Audhkhasi
2019, "Guiding CTC posterior spike timings for improved posterior fusion and knowledge
distillation"); then all weight goes to the best member, and answers are better put to a vote.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from aimass.base.errors import DataError
from aimass.decoding.combination import Combination, Method
from aimass.decoding.combine import pooled
from aimass.decoding.forced import needed
from aimass.ensemble.calibrate import confidence_temperature, temperature
from aimass.ensemble.occupancy import occupancies
from aimass.ensemble.outputs import Outputs, Symbols, answered
from aimass.ensemble.pools import Stack, chosen, normalised
from aimass.ensemble.search import fewest_errors
from aimass.ensemble.weigh import Judge
from aimass.evaluation.errors import count_errors, heard_right
from aimass.evaluation.scorecard import Scored
from aimass.evaluation.units import Metric, units
from aimass.text.tokens import LabelSet, TokenSet

MOST_UTTERANCES = 400
"""Utterances by whose words weights are searched, of all speakers alike."""
PARTS = 8
"""Speakers are left out one by one, or in so many groups."""

_HEATS = np.geomspace(0.25, 4.0, 17)
_LEAST = 1e-6


def fit(outputs: Outputs, method: Method, symbols: Symbols) -> Combination:
    """Weights and temperatures of members for a method.

    Args:
        outputs: of the members on a dev set that none of them was trained on.
        symbols: what rows stand for.

    Raises:
        DataError: no utterance whose text the symbols can spell, or a mean of posteriors of
            members without them, or with others.
    """
    means = method in ("arithmetic", "geometric")
    if means and isinstance(symbols, LabelSet):
        return reheated(outputs, _labels(outputs, method, symbols), symbols)
    first = replace(
        Combination.equal(method, len(outputs.names)),
        temperatures=_frame_heats(outputs, symbols) if means else _heats(outputs, symbols),
    )
    if method != "choose" and len(outputs.names) > 1:
        first = replace(first, weights=_by_errors(outputs, first, symbols))
    return reheated(outputs, first, symbols)


def reheated(outputs: Outputs, fitted: Combination, symbols: Symbols) -> Combination:
    """A combination with the temperature of the whole that belongs to its weights.

    Args:
        outputs, symbols: as `fit` takes them.

    Raises:
        DataError: as `fit`.
    """
    means = fitted.method in ("arithmetic", "geometric")
    if means and isinstance(symbols, LabelSet):
        stack, targets = _known(outputs, symbols)
        heard = [member for member, weight in enumerate(fitted.weights) if weight > 0]
        own = _tempered(stack, fitted.temperatures)[heard]
        mean = pooled(own, np.array(fitted.weights)[heard], fitted.method)
        return replace(fitted, temperature=temperature(mean, targets))
    plain = replace(fitted, temperature=1.0)  # of stated confidences it is found from this one
    return replace(fitted, temperature=_whole_heat(outputs, plain, symbols, by_rows=means))


def _labels(outputs: Outputs, method: Method, symbols: LabelSet) -> Combination:
    """By likelihood: each utterance is one row with one right label."""
    stack, targets = _known(outputs, symbols)
    heats = tuple(temperature(own, targets) for own in stack)
    parts = folds(_spelled(outputs, symbols))
    weights = chosen(_tempered(stack, heats), targets, parts, method)
    return Combination(method, tuple(map(float, weights)), heats)


def _known(outputs: Outputs, symbols: LabelSet) -> tuple[Stack, Stack]:
    """Each member's rows of the utterances whose label it knows, and what is right there."""
    outputs = _spelled(outputs, symbols)
    truth = [symbols.encode(clip.text)[0] for clip in outputs.clips]
    stack = np.stack([_whole(own, symbols) for own in _rows(outputs)])
    return stack, np.eye(symbols.size)[truth]


def _spelled(outputs: Outputs, symbols: LabelSet) -> Outputs:
    """The utterances of labels that the members know."""
    known = set(symbols.symbols)
    kept = [place for place, clip in enumerate(outputs.clips) if clip.text in known]
    if not kept:
        raise _nothing("labels among those that the members know")
    return outputs.at(kept)


def _tempered(stack: Stack, heats: Sequence[float]) -> Stack:
    return normalised(stack / np.array(heats)[:, None, None])


def _rows(outputs: Outputs) -> list[tuple[npt.NDArray[np.float32], ...]]:
    rows = [own for own in outputs.rows if own is not None]
    if len(rows) < len(outputs.names):
        raise DataError(
            f"a mean of posteriors of {len(outputs.names)} members, "
            f"{len(outputs.names) - len(rows)} of which give none",
            expected="members of our own",
            fix="Combine these members by voting",
        )
    return rows


def _whole(own: Sequence[npt.NDArray[np.float32]], symbols: Symbols) -> Stack:
    """All rows of a member one after the other, normalised."""
    shapes = {rows.shape[1:] for rows in own if len(rows)}
    if shapes != {(symbols.size,)}:
        raise DataError(
            f"rows of {', '.join(str(*shape) for shape in sorted(shapes)) or 'no'} outputs",
            expected=f"{symbols.size} of every member",
            fix="Combine these members by voting",
        )
    return normalised(np.concatenate([np.asarray(rows, float) for rows in own if len(rows)]))


def _frame_heats(outputs: Outputs, symbols: Symbols) -> tuple[float, ...]:
    """Each CTC member's temperature, against what its own paths of the text occupy."""
    assert isinstance(symbols, TokenSet)
    texts = [_spelt(clip.text, symbols) for clip in outputs.clips]
    found = []
    for own in _rows(outputs):
        _whole(own[:1], symbols)
        kept = [u for u, ids in enumerate(texts) if ids and needed(ids) <= len(own[u])]
        kept = _spread([outputs.clips[u].speaker for u in kept], kept)
        if not kept:
            raise _nothing("texts that the tokens can spell, and no longer than their sound")
        rows = [normalised(np.asarray(own[u], float)) for u in kept]
        targets = occupancies(rows, [texts[u] for u in kept], symbols.blank)
        found.append(temperature(np.concatenate(rows), np.concatenate(targets)))
    return tuple(found)


def _spelt(text: str, symbols: TokenSet) -> list[int]:
    """Token ids of a text, none where the set cannot spell it."""
    try:
        return symbols.encode(text)
    except DataError:
        return []


def _heats(outputs: Outputs, symbols: Symbols) -> tuple[float, ...]:
    """Each member's temperature by the confidences that it states."""
    return tuple(confidence_temperature(*_stated(own, symbols)) for own in outputs.answers)


def _stated(answers: Sequence[Scored], symbols: Symbols) -> tuple[list[float], list[bool]]:
    """Confidences of words, or of whole answers where words have none, and what was right."""
    metric: Metric = "classification_error" if isinstance(symbols, LabelSet) else "wer"
    words: list[tuple[float, bool]] = []
    whole: list[tuple[float, bool]] = []
    for answer in answers:
        said, heard = (
            units(text, metric, answer.language) for text in (answer.reference, answer.hypothesis)
        )
        if metric == "wer" and len(answer.words) == len(heard):
            right = heard_right(said, heard)
            words += [(w.confidence, fine) for w, fine in zip(answer.words, right, strict=True)]
        if answer.confidence is not None:
            whole.append((answer.confidence, not count_errors(said, heard).total))
    pairs = words or whole
    return [confidence for confidence, _ in pairs], [fine for _, fine in pairs]


def _by_errors(outputs: Outputs, first: Combination, symbols: Symbols) -> tuple[float, ...]:
    """Weights by word errors on some of the utterances."""
    part = outputs.at(_spread([clip.speaker for clip in outputs.clips]))
    return fewest_errors(Judge(part, first, symbols), folds(part))


def _whole_heat(outputs: Outputs, first: Combination, symbols: Symbols, *, by_rows: bool) -> float:
    """The temperature at which the confidences that come out are likeliest.

    That of frames reaches a word through its best frames, so it is tried; the words stay the same.
    """
    outputs = outputs.at(_spread([clip.speaker for clip in outputs.clips]))
    if not by_rows:
        return confidence_temperature(*_stated(answered(outputs, first, symbols), symbols))
    costs = []
    for heat in _HEATS.tolist():
        tried = replace(first, temperature=heat)
        sure, right = _stated(answered(outputs, tried, symbols), symbols)
        inside = np.clip(sure, _LEAST, 1 - _LEAST)
        costs.append(-float(np.log(np.where(right, inside, 1 - inside)).sum()))
    return float(_HEATS[int(np.argmin(costs))])


def folds(outputs: Outputs) -> npt.NDArray[np.int64]:
    """The part of the dev set that each utterance is left out with: its speaker's.

    Where fewer than two speakers are known, every `PARTS`-th utterance; that says nothing of
    strangers, and is better than no doubt at all.
    """
    speakers = [clip.speaker for clip in outputs.clips]
    names = sorted({name for name in speakers if name is not None})
    if len(names) < 2 or None in speakers:
        ranks = np.argsort(np.argsort([clip.id for clip in outputs.clips]))
        return np.asarray(ranks % PARTS, np.int64)
    place = {name: number % PARTS for number, name in enumerate(names)}
    return np.array([place[name or ""] for name in speakers], np.int64)


def _spread(speakers: Sequence[str | None], places: Sequence[int] | None = None) -> list[int]:
    """At most `MOST_UTTERANCES` places, from all speakers in turn, each one's over all its own."""
    places = range(len(speakers)) if places is None else places
    if len(places) <= MOST_UTTERANCES:
        return list(places)
    by: dict[str, list[int]] = {}
    for place, speaker in zip(places, speakers, strict=True):
        by.setdefault(speaker or "", []).append(place)
    each = max(1, MOST_UTTERANCES // len(by))
    picks = [np.linspace(0, len(own) - 1, min(each, len(own))).round() for own in by.values()]
    chosen_ones = [own[int(i)] for own, pick in zip(by.values(), picks, strict=True) for i in pick]
    return sorted(chosen_ones)[:MOST_UTTERANCES]


def _nothing(expected: str) -> DataError:
    return DataError(
        "a dev set by which nothing can be fitted",
        expected=expected,
        fix="Fit on a dev set of the members' own task",
    )

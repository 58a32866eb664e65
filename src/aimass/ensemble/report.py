"""The report on a massive model: JSON for programs, a page with pictures and sound for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from aimass.base.errors import AudioError, MissingExtra, RequestError
from aimass.base.files import write_bytes, write_json
from aimass.base.page import rendered
from aimass.data.corpus import Clip
from aimass.data.sound import sound_of
from aimass.decoding.combine import Combination
from aimass.ensemble.outputs import Outputs, Symbols, answered
from aimass.ensemble.prune import Selection
from aimass.ensemble.weigh import Judge, Weighing, Worth, weigh, without
from aimass.evaluation.report import NAMES
from aimass.evaluation.scorecard import Scorecard, score
from aimass.evaluation.units import Metric

TEMPLATE = "report.html.j2"
PAGE, NUMBERS = "index.html", "report.json"
RATE = 16_000


@dataclass(frozen=True, slots=True)
class Way:
    """One way to combine the members, judged on the utterances of the report.

    Args:
        apart, interval: error rate minus that of the best member, and its 95 % interval over
            speakers, the same drawn for both.
    """

    name: str
    combination: Combination
    card: Scorecard
    apart: float
    interval: tuple[float, float]

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        calibration = self.card.calibration
        return self.card.summary() | {
            "name": self.name,
            "combination": self.combination.to_dict(),
            "apart": self.apart,
            "apart_interval": list(self.interval),
            "calibration_error": None if calibration is None else calibration.ece,
        }


@dataclass(frozen=True, slots=True)
class Saved:
    """An utterance that is better because a member is there."""

    clip: Clip
    together: str
    without: str
    member: str


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """What is known of a massive model.

    Args:
        chosen: the name of the way that the model combines by.
        before: its scorecard with all temperatures 1.
        saved: for each member, all that it saves.
        selection: how members were chosen, where they were.
    """

    outputs: Outputs
    chosen: str
    weighing: Weighing
    ways: tuple[Way, ...]
    before: Scorecard
    saved: tuple[tuple[Saved, ...], ...]
    selection: Selection | None = None

    @property
    def after(self) -> Scorecard:
        """The scorecard of the massive model."""
        return next(way.card for way in self.ways if way.name == self.chosen)

    def to_dict(self) -> dict[str, Any]:
        """Everything as JSON-able values."""
        before = self.before.calibration
        return {
            "chosen": self.chosen,
            "weighing": self.weighing.to_dict(),
            "methods": [way.to_dict() for way in self.ways],
            "calibration_error_before": None if before is None else before.ece,
            "selection": None if self.selection is None else self.selection.to_dict(),
        }

    def write(
        self,
        folder: Path,
        *,
        title: str = "Massive model",
        chosen_on: str = "the dev set",
        examples: int = 5,
        seconds: float = 12.0,
    ) -> Path:
        """Write ``index.html``, ``report.json`` and ``audio/`` into a folder; gives the page.

        The page needs nothing but the folder, which may be moved or sent.

        Args:
            chosen_on: what `selection` was made on.
            examples: utterances to hear for each member.
            seconds: longest stretch of each.

        Raises:
            MissingExtra: without jinja2 and matplotlib, which come with the extra ``train``.
        """
        try:
            import jinja2  # noqa: F401  # asked for before anything is written

            from aimass.ensemble.pictures import pictures

            drawn = pictures(self.weighing, self.selection, self.before, self.after)
        except ImportError as error:
            raise MissingExtra(
                "the parts that write reports are not installed",
                expected="jinja2 and matplotlib",
                fix="Type: pip install 'aimass[train]'",
            ) from error
        folder.mkdir(parents=True, exist_ok=True)
        page = rendered(
            Path(__file__).parent,
            TEMPLATE,
            title=title,
            metric=NAMES[self.weighing.metric],
            model=self.weighing,
            best=_member(self.weighing, self.weighing.best),
            shared=self.weighing.members[0].shapley is not None,
            methods=self.ways,
            chosen=self.chosen,
            chosen_on=chosen_on,
            selection=self.selection,
            unit=None if self.selection is None else self.selection.unit,
            before=self.before if self.before.calibration else None,
            after=self.after if self.after.calibration else None,
            drawn=drawn,
            saved=self._shown(_Player(folder, seconds), examples),
        )
        write_bytes(folder / PAGE, page.encode())
        write_json(folder / NUMBERS, self.to_dict())
        for name in (PAGE, NUMBERS):
            (folder / name).chmod(0o644)  # both are made for others to read
        return folder / PAGE

    def _shown(self, player: "_Player", most: int) -> list[dict[str, Any]]:
        """Some of what each member saves, of different speakers as far as there are."""
        return [
            {
                "name": member.name,
                "count": len(own),
                "shown": [
                    {
                        "id": one.clip.id,
                        "speaker": one.clip.speaker,
                        "said": one.clip.text,
                        "together": one.together,
                        "without": one.without,
                        "member": one.member,
                        "link": player.link(one.clip),
                    }
                    for one in _spread(own, most)
                ],
            }
            for member, own in zip(self.weighing.members, self.saved, strict=True)
        ]


def report(
    outputs: Outputs,
    combinations: Mapping[str, Combination],
    chosen: str,
    symbols: Symbols,
    *,
    metric: Metric | None = None,
    language: str | None = None,
    selection: Selection | None = None,
) -> Report:
    """Judge every way to combine members, and take the chosen one apart.

    Args:
        outputs: of the members on a test set.
        combinations: by name, each of all members, as they were fitted on a dev set.
        chosen: the name of one of them.
        metric: when None, errors of labels for a `LabelSet` and of words else.
        language: of utterances that do not name theirs.
        selection: made on the dev set, of the same members.

    Raises:
        RequestError: no combination of the chosen name, or a selection of other members.
    """
    if chosen not in combinations:
        raise _odd(f"the combination '{chosen}'", f"one of {', '.join(combinations)}")
    if selection is not None and selection.names != outputs.names:
        raise _odd("a selection among other members", "one among the members of the outputs")
    judge = Judge(outputs, combinations[chosen], symbols, metric, language)
    weighing = weigh(judge)
    best = judge.alone[outputs.names.index(weighing.best)]
    plain = replace(combinations[chosen], temperatures=(1.0,) * len(outputs.names), temperature=1.0)
    return Report(
        outputs=outputs,
        chosen=chosen,
        weighing=weighing,
        ways=tuple(_way(judge, name, one, best) for name, one in combinations.items()),
        before=score(answered(outputs, plain, symbols), judge.metric, language),
        saved=tuple(_saved(judge, member) for member in weighing.members),
        selection=selection,
    )


def _odd(found: str, expected: str) -> RequestError:
    return RequestError(found, expected=expected, fix="Name what was fitted on these members")


def _way(judge: Judge, name: str, combination: Combination, best: Any) -> Way:
    answers = answered(judge.outputs, combination, judge.symbols)
    apart, interval = judge.difference(judge.counted(answers), best)
    card = score(answers, judge.metric, judge.language)
    return Way(name, combination, card, apart, interval)


def _saved(judge: Judge, member: Worth) -> tuple[Saved, ...]:
    """What a member saves, in the order of the utterances."""
    number = judge.outputs.names.index(member.name)
    rest = without(judge.combination.weights, number)
    named = set(member.saves)
    places = [place for place, clip in enumerate(judge.outputs.clips) if clip.id in named]
    if not places:
        return ()
    part = judge.outputs.at(places)
    whole = answered(part, judge.combination, judge.symbols)
    fewer = (
        None
        if rest is None
        else answered(part, replace(judge.combination, weights=_convex(rest)), judge.symbols)
    )
    return tuple(
        Saved(
            clip,
            whole[place].hypothesis,
            "" if fewer is None else fewer[place].hypothesis,
            part.answers[number][place].hypothesis,
        )
        for place, clip in enumerate(part.clips)
    )


def _convex(weights: Sequence[float]) -> tuple[float, ...]:
    return tuple(weight / sum(weights) for weight in weights)


def _member(weighing: Weighing, name: str) -> Worth:
    return next(member for member in weighing.members if member.name == name)


def _spread(items: Sequence[Saved], most: int) -> list[Saved]:
    """At most so many, evenly from the first to the last."""
    places = np.linspace(0, len(items) - 1, min(most, len(items))).round().astype(int)
    return [items[place] for place in places]


@dataclass(slots=True)
class _Player:
    """Copies clips beside the page, each once."""

    folder: Path
    seconds: float
    links: dict[str, str | None] = field(default_factory=dict)

    def link(self, clip: Clip) -> str | None:
        """The address of a copy, relative to the page; None where there is nothing to hear."""
        if clip.id not in self.links:
            self.links[clip.id] = self._copy(clip)
        return self.links[clip.id]

    def _copy(self, clip: Clip) -> str | None:
        try:
            samples = sound_of(clip, RATE)[: round(self.seconds * RATE)]
        except AudioError:  # moved away since it was heard; the numbers stay true
            return None
        name = f"audio/{len(self.links):03d}.wav"
        (self.folder / "audio").mkdir(exist_ok=True)
        soundfile.write(self.folder / name, samples, RATE, subtype="PCM_16")
        return name

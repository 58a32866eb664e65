"""Stages hear, choose and massive: many models as one.

::

    hear      each model over dev and test, once   -> posteriors and answers
    choose    every way to combine them, judged on speakers that it was not fitted on
    massive   the members of the best way, packed  -> a bundle, measured through its own engine

A build takes its own members, `aimass ensemble combine` models that are there already.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import onnxruntime

from aimass import __version__
from aimass.base.contract import Engine, Progress, Samples, Task
from aimass.base.errors import RequestError
from aimass.base.files import write_json
from aimass.base.settings import Settings
from aimass.data.corpus import Corpus
from aimass.data.sound import sound_of
from aimass.decoding.combination import Combination
from aimass.ensemble.outputs import Outputs, collect, joined
from aimass.ensemble.report import Report, report
from aimass.ensemble.ways import ON_ROWS, Kind, WaysSpec, heard_by, largest_group, symbols_of, ways
from aimass.evaluation.report import write_html
from aimass.evaluation.scorecard import Scorecard, score
from aimass.evaluation.scorecard import read as read_card
from aimass.evaluation.scorecard import write as write_card
from aimass.evaluation.units import Metric
from aimass.lifecycle.stages import Stages
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.bundle import Bundle
from aimass.registry.massive import MemberModel, digest_of
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import Model, open_model, resolve
from aimass.runtime.massive import massive_engine, pack

WAYS, BUNDLE, CARD, MEMBERS = "ways.json", "bundle", "report", "members"
PROOF_SECONDS = 10

Sets = Mapping[str, Corpus]
"""Labelled recordings by split: ``dev``, on which everything is fitted, and what else is measured,
``test`` above all."""


@dataclass(frozen=True, slots=True)
class Purpose:
    """What a massive model is for.

    Args:
        language: as a scenario has it; ``zh+en`` stands for two.
        data: names the recordings of `dev` and `test` among the inputs of stages.
        licence: of the training data; None leaves the text to the members.
    """

    name: str
    task: Task
    language: str
    metric: Metric
    data: Any
    licence: str | None = None

    @property
    def one_language(self) -> str | None:
        """The language of utterances that do not name theirs."""
        return None if "+" in self.language else self.language


@dataclass(frozen=True, slots=True)
class Combined:
    """What the stages give.

    Args:
        ways: all that were tried, the best one first, as `Way.to_dict` has them; error rates are
            of speakers of dev on whom they were not fitted.
        members: the scorecards of each model alone.
        cards: the scorecards of the packed bundle, by split.
        reports: the pages of the scorecard and of the members.
    """

    bundle: Bundle
    ways: tuple[dict[str, Any], ...]
    cards: dict[str, Scorecard]
    members: dict[str, dict[str, Scorecard]]
    reports: dict[str, Path]

    @property
    def error_rate(self) -> float:
        """Of the way that was chosen, on speakers of dev that it was not fitted on."""
        return float(self.ways[0]["error_rate"])

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        massive = self.bundle.massive
        assert massive is not None
        return {
            "method": massive.combination["method"],
            "members": [
                {"name": member.name, "weight": weight}
                for member, weight in zip(
                    massive.members, massive.combination["weights"], strict=True
                )
            ],
            "dev_error_rate": self.error_rate,
            "ways": [{key: way[key] for key in ("name", "error_rate")} for way in self.ways],
        } | {split: card.summary() for split, card in self.cards.items()}


def part(reference: str, task: Task, config: Settings) -> MemberModel:
    """The model of a name, as a member.

    Raises:
        UnknownModel: there is none.
        RequestError: one for another task, or one that is massive itself.
    """
    found = resolve(reference, config)
    if found.kind != "bundle":
        model: MemberModel = pretrained.verify(found.folder)
        own, massive = Task.TRANSCRIBE, False
    else:
        model = bundles.load(found.folder)
        own, massive = model.manifest.task, model.massive is not None
    if own is not task or massive:
        raise RequestError(
            f"'{reference}' as a member, a model that is massive itself"
            if massive
            else f"'{reference}' as a member, a model for the task {own}",
            expected=f"a single model for the task {task}",
            fix="Name its members instead" if massive else "See: aimass models list",
            param="members",
        )
    return model


def combine(
    purpose: Purpose,
    models: Mapping[str, MemberModel],
    sets: Sets,
    spec: WaysSpec,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> Combined:
    """Make one model of many, going on where an earlier run stopped.

    Args:
        models: members by name; one name is no other's, whatever its case.
        sets: ``dev`` at least.

    Raises:
        DataError: recordings on which nothing can be fitted.
        BundleError: models that do not go together.
    """
    heard = heard_by_all(purpose, models, sets, stages, progress)
    about = [*_about(purpose, models), asdict(spec)]

    def choose(folder: Path) -> None:
        found = ways(heard["dev"], kind_of(purpose, models), spec)
        write_json(folder / WAYS, [way.to_dict() for way in found])

    chosen = stages.run("choose", about, choose)
    found = json.loads((chosen / WAYS).read_text())
    return made(purpose, models, found, heard, sets, stages, config, progress)


def made(
    purpose: Purpose,
    models: Mapping[str, MemberModel],
    found: Sequence[dict[str, Any]],
    heard: Mapping[str, Outputs],
    sets: Sets,
    stages: Stages,
    config: Settings,
    progress: Progress,
) -> Combined:
    """Pack the members that a way hears, and measure them together.

    Args:
        found: ways as `Way.to_dict` gives them; the first is taken, the others are in the report.
        heard: what each model says of each of `sets`.
    """
    combinations = {way["name"]: Combination.from_dict(way["combination"]) for way in found}
    best, kind = combinations[found[0]["name"]], kind_of(purpose, models)

    def work(folder: Path) -> None:
        bundle = packed(purpose, models, best, sets["dev"], folder / BUNDLE, config)
        cards = measured(bundle, purpose, sets, config, progress)
        _with_scores(bundle, cards, heard["dev"], best)
        for split, card in cards.items():
            write_card(card, folder / f"{split}.json")
        last = "test" if "test" in cards else "dev"
        write_html(cards[last], folder / CARD, title=f"{purpose.name}: massive")
        page = reported(purpose, heard[last], kind, combinations, found[0]["name"])
        page.write(folder / MEMBERS, title=f"{purpose.name}: members")

    about = [_about(purpose, models), purpose.name, purpose.language, purpose.licence, list(found)]
    folder = stages.run("massive", about, work)
    return Combined(
        bundles.load(folder / BUNDLE),
        tuple(found),
        {split: read_card(folder / f"{split}.json") for split in sets},
        {
            name: {split: alone(own, number, purpose) for split, own in heard.items()}
            for number, name in enumerate(models)
        },
        {"massive model": folder / CARD, "members": folder / MEMBERS},
    )


def _about(purpose: Purpose, models: Mapping[str, MemberModel]) -> list[Any]:
    """What decides how models combine."""
    digests = {name: digest_of(model) for name, model in models.items()}
    return [__version__, purpose.data, list(digests.items()), str(purpose.metric)]


def heard_by_all(
    purpose: Purpose,
    models: Mapping[str, MemberModel],
    sets: Sets,
    stages: Stages,
    progress: Progress,
) -> dict[str, Outputs]:
    """What each model says of each set; each model and set is a stage of its own."""
    return {
        split: hear(purpose, models, corpus, split, stages, progress)
        for split, corpus in sets.items()
    }


def alone(heard: Outputs, member: int, purpose: Purpose) -> Scorecard:
    """The scorecard of one member."""
    answers, cost = heard.answers[member], heard.costs[member]
    return score(answers, purpose.metric, purpose.one_language, cost)


def hear(
    purpose: Purpose,
    models: Mapping[str, MemberModel],
    corpus: Corpus,
    split: str,
    stages: Stages,
    progress: Progress,
) -> Outputs:
    """What each model says of a corpus."""
    parts = []
    for name, model in models.items():

        def work(folder: Path, name: str = name, model: MemberModel = model) -> None:
            def told(what: str, done: int, total: int | None) -> None:
                progress(f"{name} {what} {split}", done, total)

            engine = opened(name, model)
            collect({name: engine}, corpus, told).save(folder / "outputs")
            engine.close()

        inputs = [name, digest_of(model), purpose.data, split, onnxruntime.__version__]
        parts.append(Outputs.read(stages.run("hear", inputs, work) / "outputs"))
    return joined(parts)


def opened(name: str, model: MemberModel) -> Engine:
    """The engine of a member."""
    if isinstance(model, Bundle):
        return BundleEngine(model)
    return open_model(Model(name, name, model.kind, "pretrained", model.folder))


def kind_of(purpose: Purpose, models: Mapping[str, MemberModel]) -> Kind:
    """What these members are."""
    symbols = [m.symbols() if isinstance(m, Bundle) else None for m in models.values()]
    return Kind(purpose.task, purpose.metric, purpose.one_language, tuple(symbols))


def packed(
    purpose: Purpose,
    models: Mapping[str, MemberModel],
    combination: Combination,
    dev: Corpus,
    folder: Path,
    config: Settings,
) -> Bundle:
    """Pack the members that a combination hears.

    Args:
        combination: of all `models`.
        dev: its first clip becomes the golden input.
        folder: to be made.
    """
    names, kept = list(models), sorted(heard_by(combination))
    members = {names[m]: models[names[m]] for m in kept}
    folder.mkdir(parents=True)
    if purpose.licence is not None:
        (folder / bundles.LICENCE).write_text(purpose.licence.strip() + "\n", encoding="utf-8")
    manifest = {
        "name": purpose.name,
        "task": purpose.task.value,
        "language": purpose.language,
        "metric": purpose.metric,
        "scores": {},
        "lineage": {
            "aimass": __version__,
            "python": ".".join(map(str, sys.version_info[:2])),
            "members": {name: digest_of(model) for name, model in members.items()},
        },
        "licences": _licences(purpose, members),
    }
    own = combination.only(kept)
    return pack(folder, manifest, own, members, _proof(dev, members), home=config.home)


def measured(
    bundle: Bundle, purpose: Purpose, sets: Sets, config: Settings, progress: Progress
) -> dict[str, Scorecard]:
    """The scorecards of a massive model, through the engine that serves it."""
    engine = massive_engine(bundle, home=config.home)
    cards = {
        split: evaluate(engine, corpus, metric=purpose.metric, progress=progress)
        for split, corpus in sets.items()
    }
    engine.close()
    return cards


def _with_scores(
    bundle: Bundle, cards: Mapping[str, Scorecard], dev: Outputs, combination: Combination
) -> None:
    """Write what was measured into the manifest; times depend on the machine and stay out."""
    adds = [dev.costs[member].multiply_adds for member in heard_by(combination)]
    known = [one for one in adds if one is not None]
    scores = {split: score_of(card) for split, card in cards.items()} | (
        {"multiply_adds": sum(known)} if len(known) == len(adds) else {}
    )
    content = bundle.manifest.model_dump(mode="json", exclude={"format", "files"})
    bundles.write(bundle.folder, content | {"scores": scores}, bundle.golden())


def score_of(card: Scorecard) -> dict[str, Any]:
    """What of a scorecard a bundle keeps; times depend on the machine and stay out."""
    return {
        "error_rate": card.error_rate,
        "interval": list(card.interval),
        "utterances": card.utterances,
        "speakers": card.speakers,
    }


def reported(
    purpose: Purpose,
    heard: Outputs,
    kind: Kind,
    combinations: Mapping[str, Combination],
    chosen: str,
) -> Report:
    """What each member is worth; where posteriors are combined, of those that have them alike."""
    on_rows = combinations[chosen].method in ON_ROWS
    members = largest_group(heard, kind) if on_rows else list(range(len(heard.names)))
    return report(
        heard.only(members),
        {
            name: one.only(members)
            for name, one in combinations.items()
            if heard_by(one) <= set(members)
        },
        chosen,
        symbols_of(kind, members),
        metric=purpose.metric,
        language=purpose.one_language,
    )


def _proof(dev: Corpus, members: Mapping[str, MemberModel]) -> Samples:
    """A real input for the golden output, at the rate of the whole."""
    rates = [model.sample_rate for model in members.values() if isinstance(model, Bundle)]
    rate = max(rates, default=16000)
    return sound_of(dev.clips[0], rate)[: PROOF_SECONDS * rate]


def _licences(purpose: Purpose, members: Mapping[str, MemberModel]) -> dict[str, str]:
    found = {"data": purpose.licence.strip()} if purpose.licence is not None else {}
    for name, model in members.items():
        own = model.manifest.licences if isinstance(model, Bundle) else {"weights": model.licence}
        for key, text in own.items():
            if text not in found.values():
                found[f"{name} {key}"] = text
    return found

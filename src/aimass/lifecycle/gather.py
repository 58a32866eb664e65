"""`aimass ensemble combine`, `weigh` and `prune`: massive models of models that are there already.

Everything is fitted on the split ``dev`` of the data, on all but ``test`` where there is none, and
measured on ``test`` where that is other data. What a model said of a set is kept under
``AIMASS_HOME/ensembles`` and asked no second time. A model that serves already under the name is
replaced only by one that makes no more errors on the same recordings.
"""

import logging
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, Task, no_progress
from aimass.base.digests import of_value
from aimass.base.errors import AimassError, RequestError
from aimass.base.settings import Settings, settings
from aimass.data import corpus as corpora
from aimass.data.corpus import Corpus
from aimass.decoding.combination import METHODS, Combination
from aimass.ensemble.fit import reheated
from aimass.ensemble.prune import PruneSpec, Unit, prune
from aimass.ensemble.report import Report
from aimass.ensemble.ways import Way, WaysSpec, heard_by, judge_of, symbols_of, ways
from aimass.evaluation.scorecard import Scorecard
from aimass.evaluation.units import Metric, unspaced
from aimass.lifecycle.combine import (
    Combined,
    Purpose,
    combine,
    heard_by_all,
    kind_of,
    made,
    part,
    reported,
)
from aimass.lifecycle.due import keep_card
from aimass.lifecycle.prepare import LANGUAGE
from aimass.lifecycle.scenario import NAME
from aimass.lifecycle.stages import Stages, fingerprint
from aimass.registry import bundle as bundles
from aimass.registry.bundle import Bundle, load_member
from aimass.registry.massive import MemberModel, pretrained_member
from aimass.registry.store import CANDIDATE, PRODUCTION, Published, Registry
from aimass.runtime.evaluate import evaluate
from aimass.runtime.load import resolve
from aimass.runtime.massive import as_it_is, open_bundle

DEV, TEST = "dev", "test"

_LOGGER = logging.getLogger("aimass.ensemble")


@dataclass(frozen=True, slots=True)
class Data:
    """Labelled recordings to fit and to measure on.

    Args:
        source: of any layout of docs/data.md.
        split: to fit on; ``dev``, or all but ``test`` where there is none, when None.
        test: other recordings to measure on; the test split of `source` when None.
    """

    source: Path
    split: str | None = None
    test: Path | None = None

    def sets(self) -> dict[str, Corpus]:
        """What is fitted on under ``dev``, and what else is measured under ``test``."""
        whole = corpora.read(self.source)
        known = {clip.split for clip in whole.clips}
        split = self.split or (DEV if DEV in known else None)
        if split is not None:
            fitted = whole.split(split)
        elif known > {TEST}:
            fitted = replace(whole, clips=tuple(c for c in whole.clips if c.split != TEST))
        else:
            fitted, split = whole, TEST
        found = {DEV: fitted.whole()}
        if self.test is not None:
            found[TEST] = corpora.read(self.test).split(TEST).whole()
        elif split != TEST and TEST in known:
            found[TEST] = whole.split(TEST).whole()
        return found


@dataclass(frozen=True, slots=True)
class Gathered:
    """A massive model that was published, and how it came about."""

    published: Published
    combined: Combined

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.published.name,
            "version": self.published.version,
            "folder": str(self.published.folder),
            "digest": self.published.digest,
            "aliases": list(self.published.aliases),
            "reports": {name: str(path) for name, path in self.combined.reports.items()},
        } | self.combined.to_dict()


def combine_models(
    name: str,
    references: Sequence[str],
    data: Data,
    spec: WaysSpec | None = None,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Gathered:
    """Make one model of several and publish it.

    Raises:
        RequestError: a name that no model may have, or models that do not go together.
        UnknownModel: a model that is not there.
        DataError: data on which nothing can be fitted.
    """
    config = config or settings()
    check_name(name)
    if len(references) < 2:
        raise RequestError(
            f"{len(references)} model to combine",
            expected="two models or more",
            fix="Name another model, or use this one as it is",
            param="models",
        )
    models = models_of(references, config)
    with ensembles(config) as stages:
        sets = data.sets()
        purpose = _purpose(name, models, sets)
        combined = combine(purpose, models, sets, spec or WaysSpec(), stages, config, progress)
        return Gathered(published(combined.bundle, combined.cards, sets, config), combined)


def weigh_models(
    references: Sequence[str],
    data: Data,
    spec: WaysSpec | None = None,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Report:
    """Take a massive model apart, or several models as the best massive model of them.

    Args:
        references: one massive model, or the models that would be its members.
    """
    config = config or settings()
    with ensembles(config) as stages:
        sets = data.sets()
        models, own = _members(references, config)
        purpose = _purpose("weighed", models, sets)
        heard = heard_by_all(purpose, models, sets, stages, progress)
        kind = kind_of(purpose, models)
        found = {"as it is": own} if own is not None else {}
        if own is None:
            tried = ways(heard[DEV], kind, spec or WaysSpec())
            found = {way.name: way.combination for way in tried}
        last = heard.get(TEST, heard[DEV])
        return reported(purpose, last, kind, found, next(iter(found)))


def prune_model(
    reference: str,
    data: Data,
    spec: PruneSpec,
    *,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Gathered:
    """Leave the members of a massive model out that are not worth their cost; publish the rest.

    Raises:
        RequestError: a model that is not massive, or a budget that no member fits.
    """
    config = config or settings()
    with ensembles(config) as stages:
        sets = data.sets()
        models, own = _members([reference], config)
        if own is None:
            raise RequestError(
                f"'{reference}', a single model",
                expected="a massive model, whose members can be left out",
                fix="Make one: aimass ensemble combine NAME MODEL MODEL --data DIR",
                param="model",
            )
        purpose = _purpose(reference.partition("@")[0], models, sets)
        heard = heard_by_all(purpose, models, sets, stages, progress)
        kind = kind_of(purpose, models)
        judge = judge_of(heard[DEV], kind, own)
        selection = prune(judge, spec)
        last = selection.steps[selection.kept - 1]
        rate = last.error_rate if last.held_out is None else last.held_out
        kept = replace(own, weights=selection.weights)
        pruned = reheated(heard[DEV], kept, symbols_of(kind, sorted(heard_by(kept))))
        found = [
            Way(f"{own.method}, pruned", pruned, rate, selection).to_dict(),
            Way("as it was", own, judge.rate(judge.errors(own.weights))).to_dict(),
        ]
        combined = made(purpose, models, found, heard, sets, stages, config, progress)
        return Gathered(
            published(combined.bundle, combined.cards, sets, config, spec.slack), combined
        )


def ways_of(methods: Sequence[str], budget: float | None, unit: Unit) -> WaysSpec:
    """What may be chosen, of words that a person typed. Raises: RequestError."""
    for method in methods:
        if method not in METHODS:
            raise RequestError(
                f"the method '{method[:40]}'",
                expected=f"one of {', '.join(METHODS)}",
                fix="Correct --method",
                param="method",
            )
    return WaysSpec(tuple(one for one in METHODS if one in methods), budget, unit)


def prune_of(budget: float | None, unit: Unit, slack: float) -> PruneSpec:
    """How members are selected."""
    return PruneSpec(budget=budget, unit=unit, slack=slack)


def published(
    bundle: Bundle,
    cards: Mapping[str, Scorecard],
    sets: Mapping[str, Corpus],
    config: Settings,
    slack: float = 0.0,
) -> Published:
    """Publish a model; a candidate where what serves under its name makes fewer errors.

    Args:
        slack: the share of more errors that is taken.
    """
    last = TEST if TEST in cards else DEV
    card = cards[last]
    keep_card(config.home, bundle.digest, card)
    registry = Registry(config.home, config.registry_url)
    serving = registry.resolve(bundle.manifest.name, PRODUCTION)
    if serving is None or serving.digest == bundle.digest:
        return registry.publish(bundle)
    try:
        engine = as_it_is(open_bundle(serving.folder, home=config.home))
        before = evaluate(engine, sets[last], metric=card.metric)
        engine.close()
    except AimassError as error:  # what cannot answer cannot be better
        _LOGGER.warning("%s cannot be measured and is replaced: %s", serving.reference, error)
        return registry.publish(bundle)
    worse = card.error_rate > before.error_rate * (1 + slack)
    return registry.publish(bundle, CANDIDATE if worse else PRODUCTION)


@contextmanager
def ensembles(config: Settings) -> Iterator[Stages]:
    """Where what is made of other models is kept, for one process at a time."""
    stages = Stages(config.home / "ensembles")
    with stages.lock():
        yield stages


def check_name(name: str) -> None:
    """Raises: RequestError for a name that no model may have."""
    if not re.fullmatch(NAME, name):
        raise RequestError(
            f"'{name[:80]}' as the name of a model",
            expected="letters, digits, dots, dashes and underscores",
            fix="Choose another name",
            param="name",
        )


def models_of(references: Sequence[str], config: Settings) -> dict[str, MemberModel]:
    """Models by the names that they have as members."""
    task = _task(references[0], config) if references else Task.TRANSCRIBE
    models: dict[str, MemberModel] = {}
    for reference in references:
        name = own = reference.partition("@")[0]
        taken = {other.casefold() for other in models}
        count = 1
        while name.casefold() in taken:
            count += 1
            name = f"{own}-{count}"
        models[name] = part(reference, task, config)
    return models


def _task(reference: str, config: Settings) -> Task:
    found = resolve(reference, config)
    return bundles.load(found.folder).manifest.task if found.kind == "bundle" else Task.TRANSCRIBE


def _members(
    references: Sequence[str], config: Settings
) -> tuple[dict[str, MemberModel], Combination | None]:
    """The members and combination of a massive model; of several models themselves and None."""
    if len(references) == 1:
        found = resolve(references[0], config)
        bundle = bundles.load(found.folder) if found.kind == "bundle" else None
        if bundle is not None and bundle.massive is not None:
            models = {
                member.name: load_member(bundle, member)
                if member.pretrained is None
                else pretrained_member(member, config.home)
                for member in bundle.massive.members
            }
            return models, bundle.massive.combining
    return models_of(references, config), None


def recordings_of(sets: Mapping[str, Corpus]) -> str:
    """The digest that names recordings among the inputs of stages."""
    return of_value([[split, fingerprint(corpus)] for split, corpus in sets.items()])


def _purpose(name: str, models: Mapping[str, MemberModel], sets: Mapping[str, Corpus]) -> Purpose:
    """What the members say of themselves; of models of others, what the data says."""
    own = [model.manifest for model in models.values() if isinstance(model, Bundle)]
    clips = sets[DEV].clips
    languages = [language for manifest in own for language in manifest.languages] or [
        language
        for language, _ in Counter(clip.language for clip in clips).most_common()
        if language and LANGUAGE.fullmatch(language)
    ]
    return Purpose(
        name,
        own[0].task if own else Task.TRANSCRIBE,
        "+".join(dict.fromkeys(languages)) or "en",
        own[0].metric if own else _metric(sets[DEV]),  # type: ignore[arg-type]  # a bundle's
        recordings_of(sets),
    )


def _metric(corpus: Corpus) -> Metric:
    """Words, characters, or each script in its own unit."""
    kinds = {unspaced(clip.language, clip.text) for clip in corpus.clips}
    return "mer" if len(kinds) == 2 else "cer" if kinds == {True} else "wer"

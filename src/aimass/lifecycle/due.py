"""`aimass due`: whether the published model of a scenario must be trained again.

It is measured on recent recordings and held against its scorecard from when it was published,
which a build keeps in ``AIMASS_HOME/scorecards`` under the digest of the bundle.
"""

import logging
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from aimass.base.contract import Progress, no_progress
from aimass.base.errors import DataError, UnknownModel
from aimass.base.settings import Settings, settings
from aimass.data import corpus as corpora
from aimass.data.checks import Finding, apply_policy, counts
from aimass.data.corpus import Corpus
from aimass.data.measure import measure
from aimass.evaluation.gates import Retraining, needs_retraining
from aimass.evaluation.scorecard import Scorecard
from aimass.evaluation.scorecard import read as read_card
from aimass.evaluation.scorecard import write as write_card
from aimass.lifecycle.scenario import Scenario, read
from aimass.registry.store import PRODUCTION, Published, Registry
from aimass.runtime.evaluate import evaluate
from aimass.runtime.massive import as_it_is, open_bundle

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Due:
    """What was found.

    Args:
        model: the version in production.
        now: its scorecard on the recent recordings.
        published: that of its test data, from when it was published.
        left_out: the findings for which recent recordings were not measured.
    """

    model: Published
    now: Scorecard
    published: Scorecard
    retraining: Retraining
    left_out: tuple[Finding, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "model": self.model.reference,
            "needs_retraining": self.retraining.needed,
            "reasons": list(self.retraining.reasons),
            "published": self.published.summary(),
            "left_out": {str(code): count for code, count in counts(self.left_out).items()},
            "scorecard": self.now.to_dict(),
        }


def due(
    scenario: str | Path | Scenario,
    data: str | Path,
    *,
    split: str | None = None,
    config: Settings | None = None,
    progress: Progress = no_progress,
) -> Due:
    """Measure the model in production on recent recordings and say whether it is due.

    They are checked as a build checks its data: what the scenario excludes is left out.

    Args:
        data: labelled recordings of any layout, of which `split` is used, or all.

    Raises:
        UnknownModel: nothing of the scenario is in production.
        DataError: recordings that cannot be used and that the scenario does not exclude, or a
            model that was not built here.
    """
    plan = scenario if isinstance(scenario, Scenario) else read(Path(scenario))
    config = config or settings()
    model = _in_production(plan, config)
    published = kept_card(config.home, model)
    recent = corpora.read(Path(data), columns=plan.data.columns)
    recent, left_out = _kept(recent.split(split) if split else recent, plan, config, progress)
    engine = as_it_is(open_bundle(model.folder, home=config.home))
    now = evaluate(engine, recent, metric=published.metric, progress=progress)
    return Due(model, now, published, needs_retraining(now, published, plan.gates), left_out)


def keep_card(home: Path, digest: str, card: Scorecard) -> None:
    """Keep the scorecard of a bundle that is published."""
    path = _place(home, digest)
    path.parent.mkdir(parents=True, exist_ok=True)
    write_card(card, path)


def pass_card_on(home: Path, digest: str, heir: str) -> None:
    """Keep the scorecard of a bundle for another that answers alike as it is."""
    if _place(home, digest).is_file():
        write_card(read_card(_place(home, digest)), _place(home, heir))


def kept_card(home: Path, model: Published) -> Scorecard:
    """The scorecard of a published model. Raises: DataError where it was not built here."""
    path = _place(home, model.digest)
    if not path.is_file():
        raise DataError(
            f"there is no scorecard of {model.reference} in {path.parent}",
            expected="a model that was built on this machine",
            fix="Build its scenario here, or measure two models with: aimass compare",
        )
    return read_card(path)


def _kept(
    recent: Corpus, plan: Scenario, config: Settings, progress: Progress
) -> tuple[Corpus, tuple[Finding, ...]]:
    """What the scenario's policy leaves of recent recordings, and why it leaves out the others."""
    # It needs torch, which is there where a scorecard is kept: a build was here.
    from aimass.lifecycle.prepare import faults

    # All of them judge: a speaker in two of their splits, or a copy in another, is no leak.
    recent = replace(recent, clips=tuple(replace(clip, split=None) for clip in recent.clips))
    measured = measure(recent.clips, config.home / "cache/measurements", progress=progress).of
    findings = faults(plan.task, recent, measured)
    kept, left_out = apply_policy(recent, findings, plan.data.exclude)
    if left_out:
        told = ", ".join(f"{code}: {count}" for code, count in counts(left_out).items())
        log.warning(
            "%d of the recent recordings are left out (%s)",
            len({one.clip for one in left_out}),
            told,
        )
    return kept.whole(), left_out


def _place(home: Path, digest: str) -> Path:
    return home / "scorecards" / f"{digest[:16]}.json"


def _in_production(plan: Scenario, config: Settings) -> Published:
    model = Registry(config.home, config.registry_url).resolve(plan.name, PRODUCTION)
    if model is None:
        raise UnknownModel(
            f"no version of '{plan.name}' is in production",
            expected="a model that was built and passed its gates",
            fix="Build the scenario first: aimass build SCENARIO",
            param="scenario",
        )
    return model

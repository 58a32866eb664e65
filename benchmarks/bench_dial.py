"""A cascade against the massive model whose members it asks, on speakers that no training heard.

    python benchmarks/bench_dial.py HOME [NAME=HOME ...] --cache FOLDER
        [--only 'commands-*'] [--students FOLD=BUNDLE ...] [--method geometric] [--slack 0.001]
        [--engine 200] [--output r.json]

Homes and folds are those of bench_ensemble.py. Each fold fits the combination and chooses its
points on dev and is tested on test; figures pool the folds and draw whole speakers. Told are, of
the most careful cascade and of the cheapest that keeps each slack on dev: the error, its difference
from the massive model's with a paired 95 % interval over speakers, and the mean cost in
multiply-adds as a share of the massive model's, once as it runs, which stops asking when a label is
decided, and once with every member asked. With --engine the massive model is packed, and its points
are run through the engine on so many test utterances of each fold: real-time factors, also as a
share of that of the point that runs everything, and answers that differ. A student that is given
for a fold (build-name=folder) may answer in first stages.
"""

import argparse
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from bench_ensemble import Fold, collected, common, discovered

from aimass.base.contract import Task
from aimass.base.files import write_json
from aimass.cli.progress import shown
from aimass.data.sound import sound_of
from aimass.decoding.combine import Combination, Method
from aimass.ensemble.fit import fit
from aimass.ensemble.kept import Outputs
from aimass.ensemble.outputs import Symbols
from aimass.ensemble.points import Outcome, Plan, Table, outcome
from aimass.ensemble.sweep import SweepSpec, sweep
from aimass.ensemble.ways import Kind, among_all
from aimass.ensemble.weigh import Judge
from aimass.evaluation.interval import by_unit, error_interval, percentiles, rates, resampled
from aimass.lifecycle.points import DialSpec, measure_points
from aimass.registry.bundle import Bundle, load
from aimass.runtime.massive import pack

STUDENT = "student"
TENTH = 0.001  # of the error: the slack that is always told of


@dataclass
class Pooled:
    """What one rule gave on all folds, utterance by utterance."""

    errors: list[float] = field(default_factory=list)
    whole: list[float] = field(default_factory=list)
    lengths: list[float] = field(default_factory=list)
    speakers: list[str] = field(default_factory=list)
    costs: list[tuple[float, float, float]] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)

    def add(self, fold: str, judge: Judge, own: Outcome, whole: Outcome, everybody: float) -> None:
        """Take in a fold; `everybody` is the cost with all members asked."""
        self.errors += own.errors.tolist()
        self.whole += whole.errors.tolist()
        self.lengths += judge.lengths.tolist()
        self.speakers += [f"{fold} {speaker}" for speaker in judge.speakers]
        self.costs.append((own.cost, whole.cost, everybody))

    def told(self) -> dict[str, Any]:
        """Rates, difference and shares of cost."""
        counts = np.array([self.errors, self.whole, self.lengths]).T
        drawn = resampled(by_unit(counts, self.speakers), "dial")
        apart = rates(drawn[:, 0], drawn[:, 2]) - rates(drawn[:, 1], drawn[:, 2])
        own, whole, total = counts.sum(0)
        wrong, said = ([int(n) for n in row] for row in (self.errors, self.lengths))
        costs = np.array(self.costs).mean(0)
        return {
            "error_rate": own / total,
            "interval": error_interval(wrong, said, self.speakers),
            "massive": whole / total,
            "difference": (own - whole) / total,
            "difference_interval": percentiles(apart),
            "cost": costs[0],
            "of_massive": costs[0] / costs[1],
            "of_everybody": costs[0] / costs[2],
            "chosen": self.chosen,
        }


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("homes", nargs="+", help="HOME or NAME=HOME")
    parser.add_argument("--only", default="*", help="builds with these names")
    parser.add_argument("--cache", type=Path, required=True, help="keeps what members said")
    parser.add_argument("--method", default="geometric", choices=["geometric", "arithmetic"])
    parser.add_argument(
        "--students", nargs="+", default=[], metavar="FOLD=BUNDLE", help="that stand beside members"
    )
    parser.add_argument("--slack", type=float, default=0.001)
    parser.add_argument("--engine", type=int, default=0, metavar="UTTERANCES")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    folds = [fold for fold in discovered(given.homes, given.only) if len(fold.members) > 1]
    beside = dict(text.split("=", 1) for text in given.students)
    for fold in folds:
        fold.members.update({STUDENT: Path(beside[fold.name])} if fold.name in beside else {})
    # No looser rule may have the slack of the careful one, by which that is found.
    looser = tuple(slack for slack in SweepSpec().looser if slack > given.slack)
    spec = SweepSpec(slack=given.slack, looser=looser)
    pools: dict[str, Pooled] = {}
    engines = []
    for fold in folds:
        engines += one(fold, given.cache, given.method, spec, given.engine, pools)
    result: dict[str, Any] = {
        "folds": {fold.name: sorted(fold.members) for fold in folds},
        "spec": asdict(spec),
        "rules": {name: pool.told() for name, pool in pools.items()},
        "engine": engines,
    }
    for name, told in result["rules"].items():
        low, high = told["difference_interval"]
        print(
            f"{name:>14}: {told['error_rate']:.2%}, massive {told['massive']:.2%}, apart "
            f"{told['difference']:+.2%} ({low:+.2%} to {high:+.2%}), {told['cost'] / 1e6:.1f} M; "
            f"{', '.join(told['chosen'])}"
        )
    for name, told in result["rules"].items():
        if name not in ("careful", slack_rule(TENTH)) and not name.startswith("for "):
            continue
        print(
            f"Of the multiply-adds of the massive model, '{name}' takes {told['of_massive']:.1%} "
            "where the massive model stops asking members once its label is decided, as it is "
            f"served (of_massive), and {told['of_everybody']:.1%} where it asks every member that "
            "is heard (of_everybody). 100 % would be no saving."
        )
    if given.output:
        write_json(given.output, result)


def one(
    fold: Fold,
    cache: Path,
    method: Method,
    spec: SweepSpec,
    timed: int,
    pools: dict[str, Pooled],
) -> list[dict[str, Any]]:
    """Choose on dev, test on test."""
    heard = collected(fold, cache)
    dev, test = heard.outputs["dev"], heard.outputs["test"]
    symbols = common(heard, dev.names)
    combination = fitted(dev, method, symbols)
    table = Table(Judge(dev, combination, symbols, heard.metric))
    there = Table(Judge(test, combination, symbols, heard.metric))
    whole = outcome(there, ())
    everybody = sum(there.costs[member] for member in there.whole)
    print(f"fold {fold.name}: {len(there.whole)} of {len(test.names)} members are heard")
    for rule, plan in rules(table, spec).items():
        own = outcome(there, plan.stages)
        pool = pools.setdefault(rule, Pooled())
        pool.add(fold.name, there.judge, own, whole, everybody)
        pool.chosen.append(plan.name)
    return through_engine(fold, combination, heard.outputs, spec, timed) if timed else []


def fitted(dev: Outputs, method: Method, symbols: Symbols) -> Combination:
    """How the members combine; a student has no voice among them."""
    members = [number for number, name in enumerate(dev.names) if name != STUDENT]
    return among_all(fit(dev.only(members), method, symbols), members, len(dev.names))


def rules(table: Table, spec: SweepSpec) -> dict[str, Plan]:
    """The most careful plan, the best for a share of the cost, the cheapest for each slack."""
    whole, *others = sweep(table, spec)
    total = table.judge.lengths.sum()
    found = {"careful": next((p for p in others if p.slack == spec.slack), whole)}
    found |= {f"for {p.budget:.0%}": p for p in others if p.budget}
    for slack in sorted({TENTH, spec.slack, *spec.looser}):
        most = whole.errors.sum() + slack * total
        fine = [p for p in others if outcome(table, p.stages).errors.sum() <= most + 1e-9]
        found[slack_rule(slack)] = min(fine or [whole], key=lambda plan: plan.cost)
    return found


def slack_rule(slack: float) -> str:
    return f"within {slack:.2%}"


def through_engine(
    fold: Fold,
    combination: Combination,
    outputs: dict[str, Outputs],
    spec: SweepSpec,
    timed: int,
) -> list[dict[str, Any]]:
    """The points of the packed model, run through the engine that serves it."""
    names: Sequence[str] = outputs["dev"].names
    models: dict[str, Bundle] = {
        name.replace("/", "-").replace("#", "-"): load(Path(str(fold.members[name])))
        for name in names
    }
    outputs = {
        split: Outputs(tuple(models), o.clips, o.rows, o.answers, o.costs, o.frame_seconds)
        for split, o in outputs.items()
    }
    first = next(iter(models.values()))
    manifest = first.manifest
    about: dict[str, Any] = {
        "name": "massive",
        "task": manifest.task.value,
        "language": manifest.language,
    }
    about |= {"metric": manifest.metric, "scores": {}, "lineage": {}, "licences": {}}
    proof = sound_of(outputs["dev"].clips[0], max(m.sample_rate for m in models.values()))
    kind = Kind(
        Task(manifest.task),
        "classification_error" if manifest.task is Task.CLASSIFY else "wer",
        None,
        tuple(model.symbols() for model in models.values()),
    )
    with tempfile.TemporaryDirectory() as folder, shown() as progress:
        home = Path(folder)
        (home / "bundle").mkdir()
        bundle = pack(home / "bundle", about, combination, models, proof, home=home)
        dial = DialSpec(spec, timed=timed)
        trial = measure_points(bundle, models, outputs, kind, home, dial, progress)
    print(f"fold {fold.name}: {trial.differing} of {trial.checked} answers differ")
    everything = next(p for p in trial.points if not (p.stages or p.chunk_ms)).rtf
    points = [
        point.model_dump(mode="json") | {"rtf_of_everything": point.rtf / everything}
        for point in trial.points
    ]
    for point in points:
        print(
            f"  {point['name']}: {point['error_rate']:.2%}, "
            f"{point.get('multiply_adds', 0) / 1e6:.1f} M, rtf {point['rtf']:.4f} = "
            f"{point['rtf_of_everything']:.1%} of running everything, wait "
            f"{point['wait_ms']:.0f} ms, {point['memory_mb']:.0f} MB"
        )
    return [
        {"fold": fold.name, "checked": trial.checked, "differing": trial.differing}
        | {"points": points}
    ]


if __name__ == "__main__":
    main()

"""What members are worth together: every way to combine them, and sets of members against each
other, on speakers that no training heard.

    python benchmarks/bench_ensemble.py HOME [NAME=HOME ...] --cache FOLDER
        [--arms seeds='conv-s?' families='conv*,recurrent*,attention*'] [--output results.json]
    python benchmarks/bench_ensemble.py --description folds.json --cache FOLDER

A HOME is what AIMASS_HOME was for builds of the same folds, such as `build_commands.py --home`
leaves it: every build below it with a prepared dev and test set and packed members is part of one
fold, and builds with the same test set are the same fold. With NAME= the members of that home are
called NAME/member. Without names of their own (those of a massive bundle in the build), members are
called by what makes them differ; --list shows them. A description says the same by hand::

    {"folds": [{"name": "0", "dev": "dev.jsonl.gz", "test": "test.jsonl.gz",
                "members": {"conv": "path/to/bundle", "whisper": "whisper-base"}}],
     "arms": {"all": "*"}}

--trained takes members of the task classify as they were trained, whether they are packed or not
(benchmarks/trained.py), called by what makes them differ. --sets DEV TEST gives other recordings to
fit and to test on than those that the builds prepared.

An arm is a set of members: names with wildcards, parted by commas; ! before one takes away. Each
fold fits on its dev set and is tested on its test set; figures pool the folds and draw whole
speakers. ``best on dev`` is the member with the fewest errors on each fold's dev set, ``best on
test`` the one with the fewest on all test sets together, which nobody could have known.
"""

import argparse
import json
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any, get_args

import numpy as np
from trained import Trained

from aimass.base.contract import Engine
from aimass.base.digests import of_value
from aimass.base.errors import AimassError, DataError
from aimass.base.files import write_json
from aimass.cli.progress import shown
from aimass.data import corpus as corpora
from aimass.data.corpus import Corpus
from aimass.decoding.combine import Combination, Method
from aimass.ensemble.fit import fit
from aimass.ensemble.outputs import Outputs, Symbols, answered, collect, joined
from aimass.ensemble.prune import PruneSpec, prune
from aimass.ensemble.weigh import Counts, Judge, weigh
from aimass.evaluation.compare import compare
from aimass.evaluation.interval import by_unit, percentiles, resampled
from aimass.evaluation.scorecard import Scorecard, Scored, score
from aimass.evaluation.units import METRICS, Metric
from aimass.registry.bundle import MANIFEST, TOKENS, Bundle
from aimass.registry.bundle import load as load_bundle
from aimass.runtime.bundled import BundleEngine
from aimass.runtime.load import load
from aimass.text.tokens import LabelSet, TokenSet

METHODS: tuple[Method, ...] = get_args(Method)
ROWS: tuple[Method, ...] = ("arithmetic", "geometric")
SPLITS = ("dev", "test")


@dataclass(frozen=True)
class Fold:
    """One division of the speakers, and the members that were trained on it."""

    name: str
    sets: dict[str, Corpus]
    members: dict[str, Path | str | Trained] = field(default_factory=dict)  # a bundle, or a name


@dataclass(frozen=True)
class Heard:
    """What a fold's members said."""

    name: str
    outputs: dict[str, Outputs]
    symbols: dict[str, Symbols]
    metric: Metric


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    parser.add_argument("homes", nargs="*", help="HOME or NAME=HOME")
    parser.add_argument("--description", type=Path)
    parser.add_argument("--arms", nargs="+", default=[], metavar="NAME=GLOB,GLOB")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--only", default="*", help="builds with these names, such as 'commands-*'")
    parser.add_argument("--trained", action="store_true", help="packed or not")
    parser.add_argument("--sets", type=Path, nargs=2, help="manifests to fit and to test on")
    parser.add_argument("--cache", type=Path, required=True, help="keeps what members said")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--list", action="store_true", help="show folds and members, and stop")
    given = parser.parse_args()
    folds, arms = described(given.description) if given.description else ([], {})
    find = trained if given.trained else discovered
    folds += find(given.homes, given.only, given.sets)
    arms |= dict(one.split("=", 1) for one in given.arms)
    for fold in folds:
        sizes = ", ".join(f"{len(fold.sets[split].clips)} {split}" for split in SPLITS)
        print(f"fold {fold.name} ({sizes}): {', '.join(sorted(fold.members))}")
    if given.list or not folds:
        return
    heard = [collected(fold, given.cache) for fold in folds]
    result: dict[str, Any] = {"folds": [fold.name for fold in folds], "arms": {}}
    for name, pattern in (arms or {"all": "*"}).items():
        result["arms"][name] = arm(name, pattern, heard, given.methods)
        if given.output:
            write_json(given.output, result)
    if len(result["arms"]) > 1:
        print_arms(result["arms"])


def described(path: Path) -> tuple[list[Fold], dict[str, str]]:
    """The folds and arms of a JSON description."""
    plain = json.loads(path.read_text(encoding="utf-8"))
    folds = []
    for one in plain["folds"]:
        sets = {split: corpora.read(Path(one[split])) for split in SPLITS}
        members = {
            name: Path(where) if Path(where).is_dir() else where
            for name, where in one["members"].items()
        }
        folds.append(Fold(str(one["name"]), sets, members))
    return folds, dict(plain.get("arms", {}))


def discovered(homes: Sequence[str], only: str, paths: Sequence[Path] | None = None) -> list[Fold]:
    """The folds of all builds below some homes; builds with the same test set are one fold."""
    folds: dict[str, Fold] = {}
    found: list[tuple[str, str, Bundle]] = []  # fold, prefix, member
    names: dict[str, str] = {}  # of members in massive bundles, by digest
    for prefix, prepared, sets in builds(homes, only, paths):
        build = prepared.parent
        packed = newest(build, f"pack-*/bundle/{MANIFEST}")
        if not packed:
            continue
        key = key_of(sets)
        folds.setdefault(key, Fold(build.name, sets))
        found += [(key, prefix, load_bundle(path.parent)) for path in packed]
        for path in build.glob(f"massive-*/bundle/members/*/{MANIFEST}"):
            names[load_bundle(path.parent).digest] = path.parent.name
    for (key, prefix, bundle), name in zip(
        found, named([b for *_, b in found], names), strict=True
    ):
        full = f"{prefix}/{name}" if prefix else name
        number = sum(other.split("#")[0] == full for other in folds[key].members)
        known = {load_bundle(p).digest for p in folds[key].members.values() if isinstance(p, Path)}
        if bundle.digest not in known:
            folds[key].members[f"{full}#{number + 1}" if number else full] = bundle.folder
    return list(folds.values())


def trained(homes: Sequence[str], only: str, paths: Sequence[Path] | None) -> list[Fold]:
    """The folds of all builds below some homes, with all that was trained on what is prepared."""
    folds: dict[str, Fold] = {}
    for prefix, prepared, sets in builds(homes, only, paths):
        build = prepared.parent
        fold = folds.setdefault(key_of(sets), Fold(build.name, sets))
        labels = LabelSet.load(prepared / TOKENS)
        for path in sorted(build.glob("train-*/inputs.json")):
            inputs = json.loads(path.read_text())
            if inputs[0] == prepared.name:
                name = "/".join(filter(None, (prefix, called(inputs))))
                fold.members[name] = Trained(path.parent, labels, name)
    return list(folds.values())


def builds(
    homes: Sequence[str], only: str, paths: Sequence[Path] | None
) -> Iterator[tuple[str, Path, dict[str, Corpus]]]:
    """The prefix, what was prepared last, and the sets of every build below some homes."""
    for one in homes:
        prefix, _, where = one.rpartition("=")
        for build in sorted(Path(where).expanduser().glob("builds/*")):
            prepared = next(iter(newest(build, "prepare-*/test.jsonl.gz")), None)
            if prepared is None or not fnmatchcase(build.name, only):
                continue
            own = paths or [prepared.with_name(f"{s}.jsonl.gz") for s in SPLITS]
            sets = {s: corpora.read(path).whole() for s, path in zip(SPLITS, own, strict=True)}
            yield prefix, prepared.parent, sets


def called(inputs: Sequence[Any]) -> str:
    """A member by its family, its features, its policy, its bag and its seed."""
    shape, features, augment, training = inputs[1:5]
    more = {key: value for one in inputs[5:] if isinstance(one, dict) for key, value in one.items()}
    bag = (more.get("sampler") or {}).get("bag")
    parts = [
        shape["family"],
        features["kind"] if features["kind"] != "fbank" else "",
        f"{features['frame_length_ms']:g}ms" if features["frame_length_ms"] != 25 else "",
        features["compression"] if features["compression"] != "log" else "",
        augment["policy"]["name"] if augment["policy"]["name"] != "standard" else "",
        f"bag{bag['share']:g}{bag['by']}" if bag else "",
        "joint" if more.get("together") else "",
        f"s{training['seed']}",
    ]
    return "-".join(part for part in parts if part)


def newest(build: Path, pattern: str) -> list[Path]:
    return sorted(build.glob(pattern), key=lambda path: path.stat().st_mtime, reverse=True)


def key_of(sets: Mapping[str, Corpus]) -> str:
    """What tells a fold from others: its test and dev clips."""
    return of_clips(sets["test"]) + of_clips(sets["dev"])


def of_clips(corpus: Corpus) -> str:
    clips = [[c.id, c.text, c.speaker, c.start, c.duration] for c in corpus.clips]
    return of_value(clips)[:16]


def named(bundles: Sequence[Bundle], names: Mapping[str, str]) -> list[str]:
    """A name for each member: its own, or its family and what differs within the family."""
    parts = [traits(bundle) for bundle in bundles]
    seen: dict[tuple[str, str], set[str]] = defaultdict(set)
    for own in parts:
        for key, value in own.items():
            seen[own["family"], key].add(value)
    return [
        names.get(bundle.digest)
        or "-".join(v for k, v in own.items() if k == "family" or len(seen[own["family"], k]) > 1)
        for bundle, own in zip(bundles, parts, strict=True)
    ]


def traits(bundle: Bundle) -> dict[str, str]:
    """What a member may differ in, as short words."""
    lineage, features = bundle.manifest.lineage, bundle.features
    augment, training = lineage.get("augment", {}), lineage.get("training", {})
    policy = augment.get("policy") if isinstance(augment, dict) else None
    return {
        "family": str(lineage.get("model", {}).get("family", bundle.manifest.name)),
        "kind": features.kind,
        "compression": features.compression,
        "bins": f"{features.bins}bins",
        "policy": str(policy.get("name")) if isinstance(policy, dict) else "",
        "size": f"{bundle.manifest.parameters // 1000}k",
        "seed": f"s{training.get('seed', 0)}",
    }


def collected(fold: Fold, cache: Path) -> Heard:
    """What every member says, from the cache where it was heard before."""
    symbols: dict[str, Symbols] = {}
    metrics: list[str] = []
    parts: dict[str, list[Outputs]] = {split: [] for split in SPLITS}
    for name, where in sorted(fold.members.items()):
        bundle = load_bundle(where) if isinstance(where, Path) else None
        digest = str(where) if bundle is None else bundle.digest[:16]
        if isinstance(where, Trained):
            digest = where.digest[:16]
            symbols[name] = where.labels
            metrics.append("classification_error")
        engine: Engine | None = None
        for split in SPLITS:
            folder = cache / f"{digest}-{of_clips(fold.sets[split])}"
            if not folder.exists():
                print(f"{fold.name}: {name} hears {split}", flush=True)
            if not folder.exists() and isinstance(where, Trained):
                where.outputs(fold.sets[split]).save(folder)
            elif not folder.exists():
                engine = engine or (load(str(where)) if bundle is None else BundleEngine(bundle))
                with shown() as progress:
                    collect({name: engine}, fold.sets[split], progress).save(folder)
            parts[split].append(renamed(Outputs.read(folder), name, fold.sets[split]))
        if bundle is not None:
            symbols[name] = bundle.symbols()
            metrics.append(bundle.manifest.metric)
    outputs = {split: joined(own) for split, own in parts.items()}
    return Heard(fold.name, outputs, symbols, metric_of(metrics))


def renamed(outputs: Outputs, name: str, corpus: Corpus) -> Outputs:
    """As of a member of another name; the recordings lie where they lie now."""
    return replace(outputs, names=(name,), clips=tuple(corpus.clips))


def metric_of(metrics: Sequence[str]) -> Metric:
    wanted = metrics[0] if metrics else "wer"
    return next(metric for metric in METRICS if metric == wanted)


def chosen(pattern: str, names: Sequence[str]) -> list[int]:
    """The members that a pattern names: wildcards parted by commas, ! takes away."""
    wanted = [one.strip() for one in pattern.split(",") if one.strip()]
    plus = [one for one in wanted if not one.startswith("!")] or ["*"]
    minus = [one[1:] for one in wanted if one.startswith("!")]
    return [
        number
        for number, name in enumerate(names)
        if any(fnmatchcase(name, one) for one in plus)
        and not any(fnmatchcase(name, one) for one in minus)
    ]


class Pool:
    """Answers of one system to the test utterances of all folds."""

    def __init__(self, metric: Metric) -> None:
        self.metric = metric
        self.rows: list[Scored] = []
        self.seconds = 0.0

    def add(self, fold: str, answers: Sequence[Scored]) -> None:
        self.rows += [replace(a, utterance_id=f"{fold}: {a.utterance_id}") for a in answers]

    @property
    def card(self) -> Scorecard:
        return score(self.rows, self.metric)


def arm(name: str, pattern: str, heard: Sequence[Heard], methods: Sequence[Method]) -> Any:
    """Everything about one set of members, printed and as plain values."""
    metric = heard[0].metric
    members: dict[str, Pool] = defaultdict(lambda: Pool(metric))
    ways: dict[str, Pool] = defaultdict(lambda: Pool(metric))
    best_dev, oracle = Pool(metric), Pool(metric)
    picked: list[str] = []
    fitted: list[dict[str, Any]] = []
    analyses: list[dict[str, Any]] = []
    for fold in heard:
        some = chosen(pattern, fold.outputs["test"].names)
        if not some:
            print(f"{name}: no member in fold {fold.name}")
            continue
        dev, test = (fold.outputs[split].only(some) for split in SPLITS)
        symbols = common(fold, test.names)
        for number, member in enumerate(test.names):
            members[member].add(fold.name, test.answers[number])
        first = alone(dev, metric)
        picked.append(dev.names[first])
        best_dev.add(fold.name, test.answers[first])
        oracle.add(fold.name, oracles(test, metric))
        for way, combination, seconds in combinations(dev, methods, fold, symbols, metric):
            ways[way].add(fold.name, answered(test, combination, symbols))
            ways[way].seconds += seconds
            fitted.append({"fold": fold.name, "way": way, "combination": combination.to_dict()})
        analyses.append(analysed(test, symbols, metric, fold))
    if not picked:
        return None
    return told(name, metric, members, ways, best_dev, oracle, picked, fitted, analyses)


def common(fold: Heard, names: Sequence[str]) -> Symbols:
    """The symbols of all members; those of the first where they differ and answers must do."""
    known = [fold.symbols[name] for name in names if name in fold.symbols]
    return known[0] if known else TokenSet(())


def shared(outputs: Outputs, fold: Heard) -> bool:
    """Whether rows can be combined."""
    own = [fold.symbols.get(name) for name in outputs.names]
    return None not in own and len(set(own)) == 1


def combinations(
    dev: Outputs, methods: Sequence[Method], fold: Heard, symbols: Symbols, metric: Metric
) -> list[tuple[str, Combination, float]]:
    """Every way to combine, fitted on dev: equal weights, fitted ones, and fewer members."""
    found: list[tuple[str, Combination, float]] = []
    count = len(dev.names)
    for method in methods:
        if method in ROWS and not shared(dev, fold):
            continue
        started = time.perf_counter()
        try:
            combination = fit(dev, method, symbols)
            found.append((method, combination, time.perf_counter() - started))
            equal = replace(combination, weights=(1 / count,) * count)
            found.append((f"{method}, equal weights", equal, 0.0))
            if count > 2:
                started = time.perf_counter()
                pruned = selected(dev, combination, symbols, metric)
                found.append((f"{method}, pruned", pruned, time.perf_counter() - started))
        except DataError as error:
            print(f"{fold.name}: {method}: {error}")
    return found


def selected(
    dev: Outputs, combination: Combination, symbols: Symbols, metric: Metric
) -> Combination:
    """Greedy selection among the members, with the temperatures that were fitted."""
    selection = prune(Judge(dev, combination, symbols, metric), PruneSpec())
    total = sum(selection.weights)
    return replace(combination, weights=tuple(w / total for w in selection.weights))


def errors_of(outputs: Outputs, metric: Metric) -> Counts:
    """Errors ``(members, utterances)``."""
    plain = Combination.equal("choose", len(outputs.names))
    symbols = LabelSet(()) if metric == "classification_error" else TokenSet(())
    return Judge(outputs, plain, symbols, metric).alone


def alone(outputs: Outputs, metric: Metric) -> int:
    """The member with the fewest errors; of equal ones the first by name."""
    errors = errors_of(outputs, metric).sum(1)
    return int(np.lexsort((outputs.names, errors))[0])


def oracles(outputs: Outputs, metric: Metric) -> list[Scored]:
    best = errors_of(outputs, metric).argmin(0)
    return [outputs.answers[member][place] for place, member in enumerate(best)]


def analysed(test: Outputs, symbols: Symbols, metric: Metric, fold: Heard) -> dict[str, Any]:
    """How alike the members err."""
    method: Method = "geometric" if shared(test, fold) else "choose"
    judge = Judge(test, Combination.equal(method, len(test.names)), symbols, metric)
    found = weigh(judge).to_dict()
    for member in found["members"]:
        for kind in ("saves", "spoils", "alone"):
            member[kind] = len(member[kind])
    return {"fold": fold.name, **found}


def told(
    name: str,
    metric: Metric,
    members: Mapping[str, Pool],
    ways: Mapping[str, Pool],
    best_dev: Pool,
    oracle: Pool,
    picked: Sequence[str],
    fitted: Sequence[dict[str, Any]],
    analyses: Sequence[dict[str, Any]],
) -> dict[str, Any]:
    """Print one arm, and give its numbers."""
    whole = [n for n, pool in members.items() if len(pool.rows) == len(best_dev.rows)]
    cards = {n: pool.card for n, pool in members.items()}
    best = min(whole, key=lambda n: (cards[n].error_rate, n)) if whole else None
    against = {"dev": best_dev.card} | ({"test": cards[best]} if best else {})
    print(f"\n== {name}: {len(members)} members, {len(picked)} folds, "
          f"{len(best_dev.rows)} utterances, {metric}")  # fmt: skip
    rows: dict[str, Any] = {}
    heading = f"{'':34}{'error %':>8} {'interval':>15}{'ECE %':>7}"
    print(heading + "".join(f"{f'/ best on {kind}':>16} {'interval':>14}" for kind in against))
    lines = [(f"member {n}", cards[n], members[n]) for n in sorted(members)]
    lines.append((f"best on dev ({', '.join(f'{n} {c}' for n, c in Counter(picked).items())})",
                  against["dev"], best_dev))  # fmt: skip
    if best:
        lines.append((f"best on test ({best})", cards[best], members[best]))
    lines.append(("oracle", oracle.card, oracle))
    lines += [(way, pool.card, pool) for way, pool in ways.items()]
    for title, card, pool in lines:
        rows[title] = row(card, against, pool)
        print(line(title, rows[title], against))
    correlations = [
        value
        for one in analyses
        for i, own in enumerate(one["correlation"])
        for value in own[:i]
        if value is not None
    ]
    disagreement = [v for a in analyses for i, own in enumerate(a["disagreement"]) for v in own[:i]]
    if disagreement:
        mean = float(np.mean(correlations)) if correlations else float("nan")
        print(f"mean disagreement {100 * float(np.mean(disagreement)):.2f} %, "
              f"mean correlation of errors {mean:.2f}")  # fmt: skip
    return {
        "metric": metric,
        "rows": rows,
        "picked_on_dev": list(picked),
        "best_on_test": best,
        "fitted": list(fitted),
        "weighing": list(analyses),
    }


def row(card: Scorecard, against: Mapping[str, Scorecard], pool: Pool) -> dict[str, Any]:
    found = card.summary() | {
        "ece": card.calibration and card.calibration.ece,
        "per_speaker": {one.speaker: one.error_rate for one in card.per_speaker},
        "fit_seconds": round(pool.seconds, 2),
    }
    for kind, other in against.items():
        if card.utterances == other.utterances:
            found[f"ratio_{kind}"] = ratio(card, other)
            found[f"compared_{kind}"] = compare(card, other).to_dict()
    return found


def ratio(a: Scorecard, b: Scorecard) -> dict[str, Any]:
    """Errors of a for one of b, with a 95 % interval of speakers drawn for both."""
    counts = np.array(
        [[x.errors, y.errors] for x, y in zip(a.per_utterance, b.per_utterance, strict=True)], float
    )
    drawn = resampled(by_unit(counts, [one.speaker for one in a.per_utterance]), "ratio")
    ratios = drawn[:, 0] / np.maximum(drawn[:, 1], 1)
    total = counts.sum(0)
    return {"ratio": float(total[0] / max(total[1], 1)), "interval": list(percentiles(ratios))}


def line(title: str, found: Mapping[str, Any], against: Mapping[str, Any]) -> str:
    low, high = found["interval"]
    ece = "" if found["ece"] is None else f"{100 * found['ece']:.2f}"
    text = f"{title:34.34}{100 * found['error_rate']:8.2f} "
    text += f"{100 * low:6.2f} to {100 * high:5.2f}{ece:>7}"
    for kind in against:
        if one := found.get(f"ratio_{kind}"):
            text += f"{one['ratio']:16.3f} {one['interval'][0]:5.3f} to {one['interval'][1]:5.3f}"
    return text


def print_arms(arms: Mapping[str, Any]) -> None:
    """Sets of members against each other, one method for all."""
    ways = sorted({way for one in arms.values() if one for way in one["rows"] if way in METHODS})
    for kind in ("dev", "test"):
        print(f"\n== error %, and its ratio to the best member on {kind}, of each arm")
        print(f"{'':22}{'members':>8}{'best':>8}" + "".join(f"{way:>22}" for way in ways))
        for name, one in arms.items():
            if one is None:
                continue
            best = next(
                (v for k, v in one["rows"].items() if k.startswith(f"best on {kind}")), None
            )
            count = sum(title.startswith("member ") for title in one["rows"])
            text = f"{name:22.22}{count:8d}" + (
                f"{100 * best['error_rate']:8.2f}" if best else "       -"
            )
            for way in ways:
                found = one["rows"].get(way)
                part = found and found.get(f"ratio_{kind}")
                text += (
                    f"{100 * found['error_rate']:14.2f} ({part['ratio']:.3f})"
                    if part
                    else f"{'-':>22}"
                )
            print(text)


if __name__ == "__main__":
    try:
        main()
    except AimassError as error:
        raise SystemExit(str(error)) from error

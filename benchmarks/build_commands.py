"""Members of every family on isolated words, judged on speakers that no training heard.

    python benchmarks/build_commands.py PATH/commands20 --noise PATH/noise --rooms PATH/rir
        [--folds 0 1 2 3] [--families conv recurrent attention | --members 6 | --ablation]
        [--output results.json]

The speakers are dealt into six groups; fold i tests on group i, chooses on group i + 1, and trains
on the other four. The figures over folds pool the utterances and draw whole speakers.

With --members the members are those that a scenario plans by their number alone; the massive model
that they make is measured beside them. --ablation trains what bench_ensemble.py holds against each
other: members that differ by their seed, their family, what they hear, and what part of the
speakers they hear; with --joint the families are trained jointly instead. --every 4 trains on each
fourth clip. A run that is stopped goes on when it is started again with the same --home.
"""

import argparse
import json
import tempfile
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from typing import Any

from aimass.base.settings import Settings
from aimass.cli.progress import shown
from aimass.data import corpus as corpora
from aimass.data import manifest
from aimass.data.split import rotation
from aimass.evaluation.interval import error_interval
from aimass.evaluation.scorecard import Scorecard, UtteranceScore
from aimass.lifecycle.build import build
from aimass.lifecycle.scenario import Scenario

GROUPS = 6
FAMILIES = ("conv", "recurrent", "attention")
LONG = {"frame_length_ms": 50.0}
PLAIN: tuple[dict[str, Any], ...] = (
    {"name": "conv", "family": "conv"},
    {"name": "recurrent", "family": "recurrent", "seed": 3},
    {"name": "attention", "family": "attention", "seed": 4},
)
HEARD: tuple[dict[str, Any], ...] = (
    PLAIN[0],
    {"name": "recurrent-long", "family": "recurrent", "seed": 3, "features": LONG},
    {"name": "attention-long", "family": "attention", "seed": 4, "features": LONG},
)
BAG = {"share": 0.8, "by": "speaker"}
ABLATION: tuple[dict[str, Any], ...] = (
    *HEARD,
    {"name": "conv-s1", "family": "conv", "seed": 1},
    {"name": "conv-s2", "family": "conv", "seed": 2},
    *PLAIN[1:],
    *({**one, "name": f"{one['name']}-bag", "bag": BAG} for one in HEARD),
)
JOINT = tuple({**one, "name": f"{one['name']}-joint"} for one in PLAIN)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("data", type=Path)
    parser.add_argument("--noise", type=Path)
    parser.add_argument("--rooms", type=Path)
    parser.add_argument("--folds", type=int, nargs="+", default=[0, 1, 2, 3])
    parser.add_argument("--families", nargs="+", default=FAMILIES)
    parser.add_argument("--members", type=int, help="as many as a scenario plans")
    parser.add_argument("--methods", nargs="+", default=[], help="of combining; else all that suit")
    parser.add_argument("--whole", action="store_true", help="leave no member out")
    parser.add_argument("--ablation", action="store_true")
    parser.add_argument("--joint", type=float, default=0.0, help="how members pull each other")
    parser.add_argument(
        "--parameters", type=int, default=300_000, help="of each, but with --members"
    )
    parser.add_argument("--every", type=int, default=1, help="take every n-th training clip alone")
    parser.add_argument("--epochs", type=int, default=30)
    parser.add_argument("--passes", type=int, default=6)
    parser.add_argument("--policy", default="standard")
    parser.add_argument("--margin", type=float, help="silence around the speech of training clips")
    parser.add_argument("--pause", type=float, default=0.3, help="longest around a clip, seconds")
    parser.add_argument("--window", type=float, default=25.0, help="of the spectrum, ms")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--home", type=Path, help="keep builds here, so that they resume")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = (given.home or Path(scratch)).resolve()
        rows: dict[str, list[UtteranceScore]] = defaultdict(list)
        result: dict[str, Any] = {"folds": {}}
        for fold in given.folds:
            started = time.perf_counter()
            cards = fold_cards(given, fold, home)
            result["folds"][fold] = {
                "seconds": round(time.perf_counter() - started),
                "members": {name: told(card) for name, card in cards.items()},
            }
            for family, card in cards.items():
                rows[family] += card.per_utterance
            result["all"] = {family: pooled(own) for family, own in rows.items()}
            print(json.dumps(result["folds"][fold], indent=2))
            if given.output:
                given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(json.dumps(result["all"], indent=2))


def fold_cards(given: argparse.Namespace, fold: int, home: Path) -> dict[str, Scorecard]:
    """The test scorecard of each member, and of all of them together."""
    corpus = corpora.read(given.data.resolve())
    splits = rotation(corpus.clips, GROUPS, fold)
    source = home / f"fold-{fold}-{given.every}.jsonl.gz"
    if not source.exists():
        home.mkdir(parents=True, exist_ok=True)
        parts = {"train": splits.train[:: given.every], "dev": splits.dev, "test": splits.test}
        manifest.write(
            [replace(clip, split=name) for name, clips in parts.items() for clip in clips],
            source,
            licence=corpus.licence,
        )
    scenario = Scenario.model_validate(
        {
            "name": f"commands-fold{fold}" + ("-joint" if given.joint else ""),
            "task": "classify",
            "language": "zh+en",
            # Seven clips hold nothing above -60 dB.
            "data": {"train": source, "exclude": ["silent"], "margin": given.margin},
            "augment": {
                "policy": given.policy,
                "noise": given.noise,
                "rooms": given.rooms,
                "pause": (0.02, given.pause),
                "passes": given.passes,
            },
            "features": {"frame_length_ms": given.window},
            "training": {"epochs": given.epochs},
            "joint": given.joint,
            "members": planned(given),
            "ensemble": {"methods": given.methods, "prune": not given.whole},
        }
    )
    with shown() as progress:
        built = build(scenario, config=Settings(home=home), progress=progress)
    cards = {name: own["test"] for name, own in built.members.items()}
    return cards | ({"massive": built.massive.cards["test"]} if built.massive else {})


def planned(given: argparse.Namespace) -> int | list[dict[str, Any]]:
    """The members that were asked for."""
    if given.members:
        return int(given.members)
    named = [{"name": family, "family": family} for family in given.families]
    chosen = ABLATION if given.ablation else JOINT if given.joint else named
    return [{**one, "parameters": given.parameters} for one in chosen]


def told(card: Scorecard) -> dict[str, Any]:
    return {
        "error_rate": card.error_rate,
        "interval": card.interval,
        "per_speaker": {row.speaker: row.error_rate for row in card.per_speaker},
        "calibration_error": card.calibration and card.calibration.ece,
        "multiply_adds": card.cost.multiply_adds,
    }


def pooled(rows: list[UtteranceScore]) -> dict[str, Any]:
    errors = [row.errors for row in rows]
    speakers = [row.speaker for row in rows]
    return {
        "error_rate": sum(errors) / len(errors),
        "interval": error_interval(errors, [row.length for row in rows], speakers),
        "utterances": len(rows),
        "speakers": len(set(speakers)),
    }


if __name__ == "__main__":
    main()

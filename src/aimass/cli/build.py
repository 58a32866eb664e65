"""`aimass build`, `tune` and `due`: a scenario from recordings to a model that stays good."""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from aimass.cli.common import Json, need_training, print_json
from aimass.cli.progress import shown

app = typer.Typer()

DUE = 9
"""Exit code of `due` where the model must be trained again."""
ScenarioFile = Annotated[Path, typer.Argument(help="The scenario file (YAML).")]


@app.command()
def build(scenario: ScenarioFile, as_json: Json = False) -> None:
    """Build a scenario's model from raw recordings and publish it; resumes where it stopped."""
    need_training()
    from aimass.lifecycle.build import build as build_scenario

    with shown() as progress:
        built = build_scenario(scenario, progress=progress).to_dict()
    if as_json:
        print_json(built)
    else:
        _print_built(built)


@app.command()
def tune(
    scenario: ScenarioFile,
    trials: Annotated[int, typer.Option(min=1, help="Trials in all, earlier runs counted.")] = 20,
    minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after so long; a later run goes on.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Search the ranges under `tune` in a scenario by dev error, and write NAME.tuned.yaml."""
    need_training("optuna")
    from aimass.lifecycle.tune import TuneSpec
    from aimass.lifecycle.tune import tune as tune_scenario

    with shown() as progress:
        tuned = tune_scenario(scenario, TuneSpec(trials, minutes), progress=progress).to_dict()
    if as_json:
        print_json(tuned)
        return
    console, best = Console(soft_wrap=True), tuned["best"]
    table = Table("trial", "", "dev error", "epochs", *map(escape, best["values"]))
    for trial in tuned["trials"]:
        mark = " *" if trial["number"] == best["number"] else ""
        table.add_row(f"{trial['number'] + 1}{mark}", *_cells(trial, list(best["values"])))
    console.print(table)
    for key, value in best["values"].items():
        console.print(f"{key}: {value}", markup=False, highlight=False)
    console.print(
        f"Dev error {best['dev']:.2%}. Try: aimass build {tuned['scenario']}", markup=False
    )


@app.command()
def due(
    scenario: ScenarioFile,
    data: Annotated[Path, typer.Option(help="Recent recordings with what they say.")],
    split: Annotated[str | None, typer.Option(help="train, dev or test; else all.")] = None,
    as_json: Json = False,
) -> None:
    """Say whether a scenario's model in production must be trained again; exit code 9 if so."""
    from aimass.lifecycle.due import due as examine

    with shown() as progress:
        found = examine(scenario, data, split=split, progress=progress)
    if as_json:
        print_json(found.to_dict())
    else:
        console = Console(soft_wrap=True)
        verdict = "must be trained again" if found.retraining.needed else "need not be trained"
        low, high = found.now.interval
        console.print(
            f"{found.model.reference} {verdict}: {found.now.metric} {found.now.error_rate:.2%} "
            f"(95 % interval {low:.2%} to {high:.2%}) on {found.now.utterances} recent "
            f"utterances, {found.published.error_rate:.2%} when it was published",
            markup=False,
            highlight=False,
        )
        for code, count in found.to_dict()["left_out"].items():
            console.print(f"Left out: {count} {code}", markup=False, highlight=False)
        for reason in found.retraining.reasons:
            console.print(f"Reason: {reason}", markup=False, highlight=False)
    if found.retraining.needed:
        sys.exit(DUE)


def _cells(trial: dict[str, Any], keys: list[str]) -> list[str]:
    dev = "" if trial["dev"] is None else f"{trial['dev']:.2%}"
    values = (trial["values"].get(key, "") for key in keys)
    texts = (f"{value:.4g}" if isinstance(value, float) else str(value) for value in values)
    return [trial["state"], dev, str(trial["epochs"]), *map(escape, texts)]


def _members(built: dict[str, Any]) -> Table:
    """A row for each member, and one for all of them together; what was published is marked."""
    table = Table(Column("member", overflow="fold"), "dev error", "test error", "95 % interval")
    rows = {
        name: (cards["dev"]["error_rate"], cards["test"])
        for name, cards in built["members"].items()
    }
    if built["massive"] is not None:
        rows["massive"] = (built["massive"]["dev_error_rate"], built["massive"]["test"])
    for name, (dev, test) in rows.items():
        low, high = test["interval"]
        mark = " *" if name == built["selected"] else ""
        rates = f"{dev:.2%}", f"{test['error_rate']:.2%}", f"{low:.2%} to {high:.2%}"
        table.add_row(escape(name) + mark, *rates)
    return table


def _method(built: dict[str, Any]) -> str:
    made = built["massive"]
    return f"{made['method']} of {len(made['members'])} members"


def _print_built(built: dict[str, Any]) -> None:
    card, gates, console = built["scorecard"], built["gates"], Console(soft_wrap=True)
    if len(built["members"]) > 1:
        console.print(_members(built))
    for row in built["failed"]:
        console.print(f"Failed: {row['name']}: {row['reason']}", markup=False, highlight=False)
    low, high = card["interval"]
    state = "published" if gates["passed"] else "kept as candidate, not published"
    console.print(
        f"{built['model']} version {built['version']} is {state}: "
        f"{card['metric']} {card['error_rate']:.2%} (95 % interval {low:.2%} to {high:.2%}) "
        f"on {card['utterances']} test utterances, "
        f"{built['parameters']:,} parameters, {built['precision'] or _method(built)}"
    )
    for reason in gates["reasons"]:
        console.print(f"Gate: {reason}", markup=False)
    for student in built["students"]:
        console.print(
            f"Student {student['model']} version {student['version']}: "
            f"{student['test']['metric']} {student['test']['error_rate']:.2%}, "
            f"{student['parameters']:,} parameters, {student['precision']}",
            markup=False,
        )
    for name, folder in built["reports"].items():
        console.print(f"Report of the {name}: {Path(folder) / 'index.html'}", markup=False)
    reference = built["model"] if gates["passed"] else f"{built['model']}@{built['version']}"
    if built["points"]:
        points = f"{len(built['points'])} operating points"
        console.print(f"{points}: aimass dial show {reference}", markup=False)
    console.print(f"Try: aimass transcribe FILE --model {reference}")

"""`aimass ensemble`: many models planned, made one, weighed, pruned, or averaged."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from aimass.cli.common import Json, need_training, print_json
from aimass.cli.progress import shown

app = typer.Typer(help="Massive models: many models, served as one.", no_args_is_help=True)

Recordings = Annotated[Path, typer.Option(help="Labelled recordings: dev, or all but test.")]
Split = Annotated[str | None, typer.Option(help="The split to fit on, instead of dev.")]
Test = Annotated[Path | None, typer.Option(help="Other recordings to measure on.")]
Budget = Annotated[
    float | None, typer.Option(help="The most that all members together may cost, in --unit.")
]
Unit = Annotated[
    Literal["rtf", "multiply_adds"],
    typer.Option(help="Seconds of work, or multiply-adds, for a second of sound."),
]


@app.command()
def grow(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (YAML).")],
    members: Annotated[int | None, typer.Option(min=1, max=64, help="How many to plan.")] = None,
    output: Annotated[
        Path | None, typer.Option(help="The file to write, instead of NAME.grown.yaml.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Plan members that differ on purpose, and write them into a scenario file to edit."""
    need_training()
    from aimass.lifecycle.grow import grow as grow_scenario

    grown = grow_scenario(scenario, members, output).to_dict()
    if as_json:
        print_json(grown)
        return
    heads = ("family", "hears", "augment", "trained on", "tokens", "seed")
    table = Table(Column("member", no_wrap=True), *heads)
    for row in grown["members"]:
        table.add_row(*map(escape, _cells(row)))
    console = Console(soft_wrap=True)
    console.print(table)
    console.print(f"Edit it, then: aimass build {grown['scenario']}", markup=False)


@app.command()
def combine(
    name: Annotated[str, typer.Argument(help="The name of the massive model.")],
    models: Annotated[list[str], typer.Argument(help="Its members: two models or more.")],
    data: Recordings,
    method: Annotated[
        list[str] | None, typer.Option(help="A method to try; repeatable; else all that suit.")
    ] = None,
    budget: Budget = None,
    unit: Unit = "rtf",
    split: Split = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Make one model of several that are there already, fitted on labelled recordings."""
    need_training()
    from aimass.lifecycle.gather import Data, combine_models, ways_of

    spec = ways_of(method or (), budget, unit)
    with shown() as progress:
        made = combine_models(name, models, Data(data, split, test), spec, progress=progress)
    _print_made(made.to_dict(), as_json)


@app.command()
def weigh(
    models: Annotated[list[str], typer.Argument(help="A massive model, or its members to be.")],
    data: Recordings,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with pictures and sound here.")
    ] = None,
    split: Split = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Say what each member is worth, how alike members err, and how much room there is."""
    need_training()
    from aimass.lifecycle.gather import Data, weigh_models

    with shown() as progress:
        found = weigh_models(models, Data(data, split, test), progress=progress)
    if report is not None:
        typer.echo(f"The report is {found.write(report)}", err=True)
    told = found.to_dict()
    if as_json:
        print_json(told)
        return
    console, weighing = Console(soft_wrap=True), told["weighing"]
    table = Table("member", "error rate", "weight", "helps by", "saves", "spoils")
    for row in weighing["members"]:
        table.add_row(
            escape(row["name"]),
            f"{row['error_rate']:.2%}",
            f"{row['weight']:.3f}",
            f"{row['marginal']:+.2%}",
            str(len(row["saves"])),
            str(len(row["spoils"])),
        )
    console.print(table)
    table = Table("method", "error rate", "against the best member", "95 % interval")
    for row in told["methods"]:
        low, high = row["apart_interval"]
        rates = f"{row['error_rate']:.2%}", f"{row['apart']:+.2%}", f"{low:+.2%} to {high:+.2%}"
        table.add_row(escape(row["name"]), *rates)
    console.print(table)
    console.print(
        f"Together {weighing['error_rate']:.2%}, the best member {weighing['best']} "
        f"{weighing['error_rate'] + weighing['gain']:.2%}, the best answer of any member "
        f"{weighing['oracle']:.2%}; {weighing['utterances']} utterances",
        markup=False,
        highlight=False,
    )


@app.command()
def prune(
    name: Annotated[str, typer.Argument(help="A massive model.")],
    data: Recordings,
    budget: Budget = None,
    unit: Unit = "rtf",
    slack: Annotated[
        float, typer.Option(min=0, help="More error that is taken for fewer members, as a share.")
    ] = 0.0,
    split: Split = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Leave out members that are not worth their cost, and publish the next version."""
    need_training()
    from aimass.lifecycle.gather import Data, prune_model, prune_of

    spec = prune_of(budget, unit, slack)
    with shown() as progress:
        made = prune_model(name, Data(data, split, test), spec, progress=progress)
    _print_made(made.to_dict(), as_json)


@app.command()
def soup(
    name: Annotated[str, typer.Argument(help="The name of the averaged model.")],
    models: Annotated[list[str], typer.Argument(help="Models that were trained from one start.")],
    data: Recordings,
    split: Split = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Average the weights of models of one shape, as far as that helps on dev."""
    need_training()
    from aimass.lifecycle.gather import Data
    from aimass.lifecycle.soup import soup_models

    with shown() as progress:
        made = soup_models(name, models, Data(data, split, test), progress=progress).to_dict()
    if as_json:
        print_json(made)
        return
    console, card = Console(soft_wrap=True), made.get("test", made["dev"])
    console.print(
        f"{made['model']} version {made['version']} is {_state(made)}: the mean of "
        f"{', '.join(made['ingredients'])}; {card['metric']} {card['error_rate']:.2%}",
        markup=False,
        highlight=False,
    )


def _cells(row: dict[str, Any]) -> list[str]:
    """A member as a row of the table of a plan."""
    if "engine" in row:
        return [row["name"], row["engine"], "", "", "", "", ""]
    features = row["features"]
    heard = [features["kind"], str(features.get("bins", "")), row.get("subsampling", "")]
    heard += [features["compression"]] if features["compression"] != "log" else []
    heard += [f"{features['frame_length_ms']:g} ms"] if features["frame_length_ms"] != 25 else []
    bag = row.get("bag")
    drawn = [f"{bag['share']:.0%} by {bag['by']}"] if bag else []
    if row["sampling_temperature"] != 1:
        drawn.append(f"temperature {row['sampling_temperature']:g}")
    policy = row["augment"]["policy"]
    return [
        row["name"],
        f"{row['family']} {row['parameters'] // 1000}k",
        " ".join(word for word in heard if word),
        policy if isinstance(policy, str) else policy.get("name", "own"),
        ", ".join(drawn) or "all",
        row["tokens"]["kind"],
        str(row["seed"]),
    ]


def _state(made: dict[str, Any]) -> str:
    serves = "production" in made["aliases"]
    return "published" if serves else "kept as candidate, as what serves makes fewer errors"


def _print_made(made: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(made)
        return
    console = Console(soft_wrap=True)
    table = Table("method", "dev error, left-out speakers")
    for way in made["ways"]:
        table.add_row(escape(way["name"]), f"{way['error_rate']:.2%}")
    console.print(table)
    table = Table("member", "weight")
    for row in made["members"]:
        table.add_row(escape(row["name"]), f"{row['weight']:.3f}")
    console.print(table)
    card = made.get("test", made["dev"])
    low, high = card["interval"]
    console.print(
        f"{made['model']} version {made['version']} is {_state(made)}: {made['method']} of "
        f"{len(made['members'])} members, {card['metric']} {card['error_rate']:.2%} "
        f"(95 % interval {low:.2%} to {high:.2%}) on {card['utterances']} "
        f"{'test' if 'test' in made else 'dev'} utterances",
        markup=False,
        highlight=False,
    )
    for name, folder in made["reports"].items():
        console.print(f"Report of the {name}: {Path(folder) / 'index.html'}", markup=False)
    console.print(f"Try: aimass transcribe FILE --model {made['model']}", markup=False)

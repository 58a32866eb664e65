"""`aimass dial`: how much of a model to spend, and what that gives."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Column, Table

from aimass.base.contract import RecognizeOptions
from aimass.base.errors import RequestError
from aimass.base.settings import settings
from aimass.cli.common import Json, MaxError, MaxLatency, Quality, need_training, print_json
from aimass.cli.progress import shown
from aimass.registry.points import Point

app = typer.Typer(help="The dial: accuracy against speed, measured.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(metavar="MODEL", help="A model's name.")]
Recordings = Annotated[
    Path, typer.Option(help="Labelled recordings: chosen on their dev split, measured on test.")
]
Split = Annotated[str | None, typer.Option(help="The split to choose on, instead of dev.")]
Test = Annotated[Path | None, typer.Option(help="Other recordings to measure on.")]


@app.command()
def show(
    model: Name,
    quality: Quality = None,
    max_error: MaxError = None,
    max_latency: MaxLatency = None,
    as_json: Json = False,
) -> None:
    """The operating points of a model, which one would run, and why."""
    from aimass.registry.points import by_cost

    dial = _dial(model)
    asked = RecognizeOptions(quality=quality, max_error=max_error, max_latency_ms=max_latency)
    picked = dial.picked(asked)
    points = by_cost(dial.points)
    origin = f"measured on {dial.measured.machine}" if dial.measured else "as they were packed"
    if as_json:
        print_json(
            {
                "model": dial.name,
                "points": [point.model_dump(mode="json") for point in points],
                "origin": origin if points else None,
                "set": dial.standing.model_dump(mode="json"),
                "runs": None if picked is None else picked.point.name,
                "why": None if picked is None else picked.why,
            }
        )
        return
    console = Console(soft_wrap=True)
    if points:
        _print_points(console, points)
        console.print(f"Points {origin}", markup=False, highlight=False)
    if picked is None:
        console.print(f"{dial.name} runs as it is", markup=False)
        if not points:
            console.print(f"Measure it: aimass dial measure {model} --data DIR", markup=False)
        return
    console.print(
        f"{dial.name} runs '{picked.point.name}': {picked.why}", markup=False, highlight=False
    )


@app.command("set")
def set_dial(
    model: Name,
    quality: Annotated[
        str | None,
        typer.Argument(help="fast, balanced, accurate, or an operating point."),
    ] = None,
    max_error: MaxError = None,
    max_latency: MaxLatency = None,
    clear: Annotated[bool, typer.Option("--clear", help="Set nothing any more.")] = False,
) -> None:
    """Say which operating point runs where a request asks for none."""
    from aimass.runtime.dial import keep, pick, setting_path, wish_of

    dial = _dial(model)
    wish = wish_of(quality, max_latency, max_error)
    if bool(wish) == clear:
        raise RequestError(
            "nothing to set" if not clear else "something to set and --clear",
            expected="fast, balanced, accurate, the name of a point, or a limit; or --clear",
            fix=f"See: aimass dial show {model}",
        )
    console, path = Console(soft_wrap=True), setting_path(settings().home, dial.name)
    if clear:
        keep(path, None)
        console.print(f"{dial.name} is set to nothing", markup=False)
        return
    if not dial.points:
        raise RequestError(
            f"'{model}' has no operating points to choose from",
            expected="a model whose points were measured",
            fix=f"Type: aimass dial measure {model} --data DIR",
            param="model",
        )
    picked = pick(dial.points, wish)
    keep(path, wish)
    console.print(
        f"{dial.name} runs '{picked.point.name}': {picked.why}", markup=False, highlight=False
    )


@app.command()
def measure(
    model: Name,
    data: Recordings,
    split: Split = None,
    test: Test = None,
    timed: Annotated[int, typer.Option(min=1, help="Utterances to take the time of.")] = 200,
    as_json: Json = False,
) -> None:
    """Measure the operating points of a model on this machine."""
    need_training()
    from aimass.lifecycle.dial import measure_dial
    from aimass.lifecycle.gather import Data
    from aimass.lifecycle.points import DialSpec

    with shown() as progress:
        turned = measure_dial(
            model, Data(data, split, test), DialSpec(timed=timed), progress=progress
        )
    _print_turned(turned.to_dict(), as_json)


@app.command()
def pack(
    model: Name,
    data: Recordings,
    student: Annotated[
        list[str] | None, typer.Option(help="A model to stand beside the members; repeatable.")
    ] = None,
    quality: Quality = None,
    max_error: MaxError = None,
    max_latency: MaxLatency = None,
    split: Split = None,
    test: Test = None,
    as_json: Json = False,
) -> None:
    """Publish a version of a model that holds its operating points, and students beside it."""
    need_training()
    from aimass.lifecycle.dial import pack_dial
    from aimass.lifecycle.gather import Data
    from aimass.runtime.dial import wish_of

    wish = wish_of(quality, max_latency, max_error)
    with shown() as progress:
        turned = pack_dial(model, Data(data, split, test), student or (), wish, progress=progress)
    _print_turned(turned.to_dict(), as_json)


@app.command()
def search(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (YAML).")],
    teacher: Annotated[
        str | None, typer.Option(help="Any model; else that of the file, or what was built of it.")
    ] = None,
    trials: Annotated[int, typer.Option(help="Students in all, earlier runs counted.")] = 10,
    least: Annotated[int, typer.Option(help="The fewest parameters to propose.")] = 30_000,
    most: Annotated[int, typer.Option(help="The most parameters to propose.")] = 280_000,
    family: Annotated[
        list[str] | None,
        typer.Option(help="conv, recurrent or attention, beside those of the file; repeatable."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Train students of the sizes where the curve of error over cost has gaps."""
    need_training("optuna")
    from aimass.lifecycle.sizes import SearchSpec
    from aimass.lifecycle.sizes import search as search_sizes

    spec = SearchSpec(trials, least, most, tuple(family or ()))
    with shown() as progress:
        found = search_sizes(scenario, spec, teacher=teacher, progress=progress).to_dict()
    if as_json:
        print_json(found)
    else:
        _print_found(found)


def _print_found(found: dict[str, Any]) -> None:
    """A table that fits 80 columns, what the curve still lacks, and what would be next."""
    console = Console(soft_wrap=True)
    heads = ("parameters", "M adds", "dev %", "test %", "95 %")
    columns = (Column(head, justify="right", no_wrap=True) for head in heads)
    table = Table(
        Column("student", overflow="fold"), "family", *columns, "", box=SIMPLE_HEAD,
        padding=(0, 1, 0, 0),
    )  # fmt: skip
    for one in found["students"]:
        low, high = one["test"]["interval"]
        table.add_row(
            escape(one["model"]),
            one["family"],
            f"{one['parameters']:,}",
            f"{one['multiply_adds'] / 1e6:.2f}",
            f"{100 * one['dev']:.2f}",
            f"{100 * one['test']['error_rate']:.2f}",
            f"{100 * low:.1f}-{100 * high:.1f}",
            "on the curve" if one["on_curve"] else "dominated",
        )
    console.print(table)
    for gap in found["gaps"]:
        told = f"Gap: {gap['worth']:.0%} of the curve from {gap['from']} to {gap['to']}"
        console.print(told, markup=False, highlight=False)
    ahead = found["next"]
    told = f"{ahead['family']}, {ahead['parameters']:,} parameters" if ahead else "to be drawn"
    console.print(f"Next, with more --trials: {told}", markup=False, highlight=False)


def _dial(model: str) -> Any:
    """The dial of a model that is not loaded for it."""
    from aimass.registry import bundle as bundles
    from aimass.runtime.dial import Dial
    from aimass.runtime.load import resolve

    found = resolve(model)
    if found.kind != "bundle":
        return Dial(found.name)
    return Dial.of(bundles.load_outside(found.folder), settings().home)


def _print_turned(turned: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print_json(turned)
        return
    console = Console(soft_wrap=True)
    _print_points(console, [Point.model_validate(point) for point in turned["points"]])
    told = (
        f"{len(turned['dominated'])} more are dominated by these; measured on {turned['machine']}"
    )
    console.print(told, markup=False, highlight=False)
    if turned["differing"]:
        console.print(
            f"{turned['differing']} of {turned['checked']} answers of the engine are not what "
            "was computed from its members",
            markup=False,
            highlight=False,
        )
    if "version" in turned:
        console.print(f"{turned['model']} version {turned['version']} is published", markup=False)
    console.print(f"The curve: {turned['page']}", markup=False)
    console.print(f"Try: aimass dial show {turned['model']} --quality balanced", markup=False)


def _print_points(console: Console, points: Sequence[Point]) -> None:
    """A table that fits 80 columns, units in its heads, and below it what each point runs."""
    heads = ("error %", "95 %", "M adds", "rtf", "stream", "peak %", "lag ms", "MB")
    columns = (Column(head, justify="right", no_wrap=True) for head in heads)
    table = Table(Column("point", overflow="fold"), *columns, box=SIMPLE_HEAD, padding=(0, 1, 0, 0))
    for point in points:
        low, high = point.interval
        adds, stream, share = point.multiply_adds, point.stream_rtf, point.of_peak
        table.add_row(
            escape(point.name),
            f"{100 * point.error_rate:.2f}",
            f"{100 * low:.1f}-{100 * high:.1f}",
            "" if adds is None else f"{adds / 1e6:.1f}",
            f"{point.rtf:.4f}",
            "" if stream is None else f"{stream:.4f}",
            "" if share is None else f"{100 * share:.1f}",
            f"{point.lag_ms:.0f}",
            f"{point.memory_mb:.1f}",
        )
    console.print(table)
    for point in points:
        console.print(f"{point.name}: {_runs(point)}", markup=False, highlight=False)


def _runs(point: Point) -> str:
    """What runs, in a few words."""
    told = []
    for number, stage in enumerate(point.stages):
        last = number == len(point.stages) - 1
        members = stage.members
        name = members[0] if len(members) == 1 else f"{len(members)} members"
        told.append(name if last else f"{name} until {stage.threshold:.1%} sure")
    chunks = f", in chunks of {point.chunk_ms:g} ms" if point.chunk_ms else ""
    return (", then ".join(told) or "everything") + chunks

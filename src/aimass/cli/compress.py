"""`aimass compress`: what was built, made smaller and faster, with numbers."""

from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.cli.common import Json, need_training, print_json
from aimass.cli.progress import shown

app = typer.Typer(help="Models made smaller and faster, by measurement.", no_args_is_help=True)

ScenarioFile = Annotated[Path, typer.Argument(help="The scenario file (YAML), built before.")]
Member = Annotated[str | None, typer.Option(help="One of its members; else the best on dev.")]


@app.command()
def quantize(
    scenario: ScenarioFile,
    member: Member = None,
    epochs: Annotated[
        int, typer.Option(min=0, help="Epochs of training that is aware of int8.")
    ] = 0,
    kilobytes: Annotated[
        int | None, typer.Option(min=1, help="The most that the graph may take.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Try every kind of int8 on dev and on this machine, and publish the best graph."""
    need_training()
    from aimass.lifecycle.compress import quantize as quantize_member

    with shown() as progress:
        done = quantize_member(
            scenario,
            member=member,
            epochs=epochs,
            largest=None if kilobytes is None else 1000 * kilobytes,
            progress=progress,
        ).to_dict()
    if as_json:
        print_json(done)
        return
    given, console = done["candidates"][0], Console(soft_wrap=True)
    batches = list(given["seconds"])
    table = Table("graph", "dev error", "kB", *(f"x at batch {batch}" for batch in batches))
    for one in done["candidates"]:
        mark = " *" if one["name"] == done["chosen"]["name"] else ""
        speeds = (f"{given['seconds'][b] / one['seconds'][b]:.2f}" for b in batches)
        table.add_row(
            one["name"] + mark, f"{one['error']:.2%}", f"{one['bytes'] / 1000:.0f}", *speeds
        )
    console.print(table)
    console.print(f"{done['chosen']['name']}: {done['chosen']['reason']}", markup=False)
    console.print(f"Published as {done['model']}", markup=False)


@app.command()
def prune(
    scenario: ScenarioFile,
    wanted: Annotated[int, typer.Option("--parameters", min=1, help="The most that may stay.")],
    member: Member = None,
    epochs: Annotated[
        int | None, typer.Option(min=1, help="Training afterwards; else a quarter of its own.")
    ] = None,
    by: Annotated[
        Literal["taylor", "magnitude"], typer.Option(help="What channels are judged by.")
    ] = "taylor",
    as_json: Json = False,
) -> None:
    """Take the least important channels out of a model, train on, and publish the rest."""
    need_training()
    from aimass.lifecycle.compress import prune as prune_member

    with shown() as progress:
        done = prune_member(
            scenario, wanted, member=member, epochs=epochs, by=by, progress=progress
        ).to_dict()
    if as_json:
        print_json(done)
        return
    before, after = done["parameters"]
    given, found = done["dev"]
    Console(soft_wrap=True).print(
        f"{before:,} parameters became {after:,}, dev error {given:.2%} became {found:.2%}; "
        f"published as {done['model']}",
        markup=False,
        highlight=False,
    )


@app.command()
def bound(
    model: Annotated[str, typer.Argument(help="A model's name, or an ONNX graph.")],
    batch: Annotated[
        list[int] | None, typer.Option(min=1, max=1024, help="Streams at once; repeatable.")
    ] = None,
    frames: Annotated[
        list[int] | None, typer.Option(min=1, max=10_000, help="Frames in a chunk; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say how near a model runs to the peak of this machine, and what its time goes to."""
    need_training()
    from aimass.lifecycle.compress import bound as measure

    done = measure(model, batches=batch or (1, 16, 32), frames=frames or (32, 100))
    if as_json:
        print_json(done)
        return
    console = Console(soft_wrap=True)
    peaks = ", ".join(f"{rate / 1e9:.0f} G in {kind}" for kind, rate in done["peak"].items())
    console.print(f"Products of matrices, operations per second of one thread: {peaks}")
    table = Table("streams", "frames", "ms", "G operations/s", "of the peak")
    for row in done["points"]:
        table.add_row(*_cells(row))
    console.print(table)
    for streams, kinds in done["operators"].items():
        shares = ", ".join(f"{escape(kind)} {share:.0%}" for kind, share in [*kinds.items()][:8])
        console.print(f"At batch {streams}: {shares}", highlight=False)


def _cells(row: dict[str, Any]) -> list[str]:
    rates = (f"{1000 * row['seconds']:.3f}", f"{row['operations'] / 1e9:.1f}")
    return [str(row["batch"]), str(row["frames"]), *rates, f"{row['share']:.0%}"]

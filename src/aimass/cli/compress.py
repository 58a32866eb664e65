"""`aimass compress`: what was built, made smaller and faster, with numbers."""

from dataclasses import asdict
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


@app.command()
def sherpa(
    model: Annotated[str, typer.Argument(help="A model's name, or the folder of a bundle.")],
    target: Annotated[Path, typer.Argument(help="A new folder.")],
    release: Annotated[
        str | None, typer.Option(help="Of the sherpa-onnx that is to run it; 2.0.1 by default.")
    ] = None,
    window: Annotated[
        int | None, typer.Option(help="Frames of 10 ms a step; 32 or nearly so by default.")
    ] = None,
    server: Annotated[
        Path | None, typer.Option(help="Also write a bundle that computes the same on a server.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Write a model in the form that sherpa-onnx loads: phones, browsers, small boards."""
    need_training()
    from aimass.lifecycle.phones import phones

    done = phones(model, target, window=window, release=release, server=server)
    if as_json:
        print_json(asdict(done) | {"folder": str(done.folder)})
        return
    typer.echo(
        f"{done.size / 1000:.0f} kB are in {done.folder}, for windows of {done.window} frames. "
        f"Feed {done.silence:g} s of silence after the last word; README.md has the settings"
    )


@app.command()
def distil(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (YAML).")],
    teacher: Annotated[str | None, typer.Option(help="Any model; else that of the file.")] = None,
    parameters: Annotated[
        list[int] | None, typer.Option(min=1, help="A student of so many; repeatable.")
    ] = None,
    family: Annotated[str | None, typer.Option(help="conv, recurrent or attention.")] = None,
    alpha: Annotated[
        float | None, typer.Option(min=0, max=1, help="The teacher's share in what is learned.")
    ] = None,
    temperature: Annotated[
        float | None, typer.Option(help="At which posteriors are compared.")
    ] = None,
    targets: Annotated[
        Literal["posteriors", "answers"] | None, typer.Option(help="What the teacher gives.")
    ] = None,
    confidence: Annotated[
        float | None, typer.Option(min=0, max=1, help="Of answers that stand for labels.")
    ] = None,
    epochs: Annotated[int | None, typer.Option(min=1, help="How long; long pays.")] = None,
    as_json: Json = False,
) -> None:
    """Train small models that learn what a large one says, and publish them."""
    need_training()
    from aimass.lifecycle.distil import distil as distil_students
    from aimass.lifecycle.distil import planned

    plan = planned(
        scenario,
        parameters or (),
        family,
        epochs,
        teacher=teacher,
        alpha=alpha,
        temperature=temperature,
        targets=targets,
        confidence=confidence,
    )
    with shown() as progress:
        found = [one.to_dict() for one in distil_students(plan, progress=progress)]
    if as_json:
        print_json(found)
        return
    console, table = Console(soft_wrap=True), Table("model", "parameters", "test error", "interval")
    for one in found:
        table.add_row(escape(f"{one['model']}@{one['version']}"), *_student(one))
    taught = found[0]["teacher"]
    table.add_row(escape(taught["model"]), "teacher", *_error(taught))
    console.print(table)


@app.command()
def label(
    recordings: Annotated[Path, typer.Argument(help="A folder, a table or a Lhotse manifest.")],
    output: Annotated[Path, typer.Option(help="The manifest to write: NAME.jsonl.gz")],
    teacher: Annotated[str, typer.Option(help="Any model that transcribes or classifies.")],
    language: Annotated[str, typer.Option(help="Of the recordings.")] = "en",
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Answers below it are left out.")
    ] = 0.7,
    as_json: Json = False,
) -> None:
    """Write what a model is sure it hears as labels, to train another model on."""
    need_training()
    from aimass.lifecycle.label import label as label_recordings

    with shown() as progress:
        done = label_recordings(
            recordings,
            teacher,
            output,
            language=language,
            confidence=confidence,
            progress=progress,
        ).to_dict()
    if as_json:
        print_json(done)
        return
    typer.echo(
        f"{done['kept']} of {done['heard']} recordings, {done['seconds'] / 60:.1f} minutes, are "
        f"labelled in {done['manifest']}"
    )


def _student(one: dict[str, Any]) -> list[str]:
    return [f"{one['parameters']:,}", *_error(one["test"])]


def _error(card: dict[str, Any]) -> list[str]:
    low, high = card["interval"]
    return [f"{card['error_rate']:.2%}", f"{low:.2%} to {high:.2%}"]


def _cells(row: dict[str, Any]) -> list[str]:
    rates = (f"{1000 * row['seconds']:.3f}", f"{row['operations'] / 1e9:.1f}")
    return [str(row["batch"]), str(row["frames"]), *rates, f"{row['share']:.0%}"]

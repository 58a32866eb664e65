"""`aimass eval` and `compare`: how good models are."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.base.settings import settings
from aimass.cli.common import Json, ModelName, print_json
from aimass.cli.progress import shown

if TYPE_CHECKING:
    from aimass.evaluation.scorecard import Scorecard

app = typer.Typer()


@app.command("eval")
def evaluate(
    data: Annotated[Path, typer.Option(help="A folder with metadata.tsv, or a Lhotse manifest.")],
    model: ModelName = None,
    split: Annotated[
        str | None, typer.Option(help="train, dev or test; test where the data has splits.")
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(help="wer, cer, mer or classification_error; else the model's own."),
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Also write a page with pictures and sound here.")
    ] = None,
    members: Annotated[
        bool, typer.Option("--members", help="Also measure each member of a massive model alone.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Measure a model on labelled recordings: errors with their interval, time, memory."""
    from aimass.data.report import check_folder
    from aimass.evaluation.report import write_html
    from aimass.runtime.evaluate import dead_members, evaluate_members
    from aimass.runtime.evaluate import evaluate as evaluate_model
    from aimass.runtime.load import load

    if report is not None:
        check_folder(report)
    name = model or settings().default_model
    engine = load(name)
    with shown() as progress:
        measured = evaluate_model(
            engine,
            data,
            split=split,
            metric=metric,  # type: ignore[arg-type]  # evaluate checks it
            progress=progress,
        )
        cards = {}
        if members:
            cards = evaluate_members(
                engine, data, split=split, metric=measured.metric, progress=progress
            )
    if report is not None:
        page = write_html(measured, report, title=f"{name} on {data.name}")
        typer.echo(f"The report is {page}", err=True)
    card = measured.to_dict()
    if members:
        card["members"] = [_member(name, own) for name, own in cards.items()]
        if dead := dead_members(engine):
            card["dead"] = dead
    if as_json:
        print_json(card)
        return
    low, high = card["interval"]
    console = Console(soft_wrap=True)
    console.print(
        f"{card['metric']} {card['error_rate']:.2%} (95 % interval {low:.2%} to {high:.2%}), "
        f"{card['utterances']} utterances, {card['speakers']} speakers, "
        f"real-time factor {card['rtf']:.3f}, peak memory {card['peak_memory_mb']:.0f} MB"
    )
    table = Table("speaker", "utterances", "error rate")
    for row in card["per_speaker"]:
        table.add_row(escape(row["speaker"]), str(row["utterances"]), f"{row['error_rate']:.2%}")
    if card["per_speaker"]:
        console.print(table)
    if members:
        console.print(_members_table(card["members"], card.get("dead", {})))
    for row in card["worst"][:5]:
        line = f"{row['utterance_id']}: {row['reference']} -> {row['hypothesis']}"
        console.print(line, markup=False)


def _member(name: str, card: "Scorecard") -> dict[str, Any]:
    plain = card.to_dict()
    return {"name": name} | {key: plain[key] for key in ("error_rate", "interval", "rtf")}


def _members_table(rows: list[dict[str, Any]], dead: dict[str, str]) -> Table:
    table = Table("member", "error rate", "95 % interval", "real-time factor")
    for row in rows:
        low, high = row["interval"]
        table.add_row(
            escape(row["name"]),
            f"{row['error_rate']:.2%}",
            f"{low:.2%} to {high:.2%}",
            f"{row['rtf']:.3f}",
        )
    for name, reason in dead.items():
        table.add_row(escape(name), "dead", escape(reason), "")
    return table


@app.command()
def compare(
    first: Annotated[str, typer.Argument(metavar="A", help="A scorecard, or a model's name.")],
    second: Annotated[str, typer.Argument(metavar="B", help="What it is compared with.")],
    data: Annotated[
        Path | None, typer.Option(help="Recordings to measure both models on now.")
    ] = None,
    split: Annotated[
        str | None, typer.Option(help="train, dev or test; test where the data has splits.")
    ] = None,
    metric: Annotated[str | None, typer.Option(help="As for eval; with --data alone.")] = None,
    as_json: Json = False,
) -> None:
    """Say which of two models is better on the same recordings, and how sure that is."""
    from aimass.evaluation.compare import compare as compare_cards
    from aimass.evaluation.scorecard import Scorecard, read
    from aimass.runtime.evaluate import evaluate as evaluate_model

    def card(name: str) -> Scorecard:
        if data is None:
            return read(Path(name))
        with shown() as progress:
            return evaluate_model(
                name,
                data,
                split=split,
                metric=metric,  # type: ignore[arg-type]  # evaluate checks it
                progress=progress,
            )

    found = compare_cards(card(first), card(second))
    if as_json:
        print_json(found.to_dict())
        return
    low, high = found.interval
    better = first if found.difference < 0 else second
    verdict = f"{better} is better" if found.significant else "no sure difference"
    Console(soft_wrap=True).print(
        f"{verdict}: {found.metric} {found.error_rate_a:.2%} against {found.error_rate_b:.2%}, "
        f"difference {found.difference:+.2%} (95 % interval {low:+.2%} to {high:+.2%}), "
        f"p {found.p_value:.2g} ({found.test}), "
        f"{found.wins} utterances better, {found.losses} worse, {found.ties} alike",
        markup=False,
        highlight=False,
    )

"""`aimass data`: recordings, before anything is trained on them."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.base.errors import MissingExtra, RequestError
from aimass.cli.progress import shown

app = typer.Typer(help="Recordings: read, shown and brought in.", no_args_is_help=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
Columns = Annotated[
    list[str] | None,
    typer.Option("--column", help="Name a table's column, as in text=sentence; repeatable."),
]
_MOST = 5


@app.command()
def show(
    source: Annotated[Path, typer.Argument(help="A folder, a table or a Lhotse manifest.")],
    column: Columns = None,
    as_json: Json = False,
) -> None:
    """How recordings are understood, and what there is of them."""
    from aimass.data.corpus import read
    from aimass.data.summary import summarise

    corpus = read(source, columns=_pairs(column, "column"))
    with shown() as progress:
        found = summarise(corpus, progress).to_dict()
    if as_json:
        _print_json(found)
        return
    table = Table(show_header=False)
    for name, value in _rows(found):
        table.add_row(name, escape(value))
    console = Console(soft_wrap=True)
    console.print(table)
    for title in ("notes", "missing", "unreadable"):
        lines = [one["found"] if isinstance(one, dict) else one for one in found[title]]
        for line in lines[:_MOST]:
            console.print(f"{title}: {line}", markup=False, highlight=False)
        if len(lines) > _MOST:
            console.print(f"{title}: {len(lines) - _MOST} more; --json lists them")


@app.command()
def corpora(as_json: Json = False) -> None:
    """The corpora that can be imported by name, which are those that Lhotse knows."""
    _need_lhotse()
    from aimass.data.recipes import recipes

    found = recipes()
    if as_json:
        _print_json(
            [{"name": r.name, "needs": list(r.needs), "options": list(r.options)} for r in found]
        )
        return
    table = Table("corpus", "needs --option", "takes --option")
    for recipe in found:
        table.add_row(recipe.name, ", ".join(recipe.needs), ", ".join(recipe.options))
    Console().print(table)


@app.command("import")
def import_corpus(
    name: Annotated[str, typer.Argument(help="A name that `aimass data corpora` lists.")],
    source: Annotated[Path, typer.Argument(help="The corpus on this machine, unpacked.")],
    output: Annotated[Path, typer.Argument(help="The manifest to write, such as x.jsonl.gz.")],
    option: Annotated[
        list[str] | None, typer.Option("--option", help="NAME=VALUE for the recipe; repeatable.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Bring in a corpus by the recipe that Lhotse has for it; nothing is copied or downloaded."""
    _need_lhotse()
    from aimass.data.recipes import prepare

    with shown() as progress:
        done = prepare(name, source, output, _pairs(option, "option"), progress)
    splits = {split or "none": count for split, count in done.splits.items()}
    if as_json:
        about = {"manifest": str(output), "splits": splits, "without_text": done.without_text}
        _print_json(about)
        return
    parts = ", ".join(f"{count} {split}" for split, count in splits.items())
    left = f"; {done.without_text} without a text left out" if done.without_text else ""
    console = Console(soft_wrap=True)
    console.print(f"{output} holds {sum(splits.values())} clips ({parts}){left}", markup=False)
    console.print(f"Try: aimass data show {output}", markup=False)


def _rows(found: dict[str, Any]) -> list[tuple[str, str]]:
    """What `show` tells a person, line by line."""
    columns = [f"{ours} = {theirs}" for ours, theirs in found["columns"].items()]
    speakers = str(found["speakers"])
    if found["clips_without_speaker"]:
        speakers += f" (unknown for {found['clips_without_speaker']} clips)"
    rows = [
        ("layout", found["layout"]),
        ("columns", ", ".join(columns)),
        ("clips", f"{found['clips']:,}"),
        ("hours", f"{found['hours']:.{2 if found['hours'] >= 0.1 else 4}f}"),
        ("different texts", f"{found['texts']:,}"),
        ("speakers", speakers),
        ("splits", _counts(found["splits"])),
        ("languages", _counts(found["languages"])),
        ("synthetic", f"{found['synthetic']:,}"),
        ("missing", f"{len(found['missing']):,}"),
        ("unreadable", f"{len(found['unreadable']):,}"),
        ("licence", (found["licence"].splitlines() or [""])[0][:100]),
        ("for example", "; ".join(f"{e['id']}: {e['text'][:60]}" for e in found["examples"])),
    ]
    return [(name, value) for name, value in rows if value and value != "0"]


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in counts.items())


def _pairs(given: list[str] | None, option: str) -> dict[str, str]:
    """``NAME=VALUE`` as typed, by name."""
    found = {}
    for text in given or ():
        name, sign, value = text.partition("=")
        if not (name and sign and value):
            raise RequestError(
                f"--{option} {text}",
                expected="NAME=VALUE",
                fix=f"Write it as in: --{option} NAME=VALUE",
                param=option,
            )
        found[name.strip()] = value.strip()
    return found


def _need_lhotse() -> None:
    from importlib.util import find_spec

    if find_spec("lhotse") is None or find_spec("torch") is None:
        raise MissingExtra(
            "the recipes for corpora are Lhotse's, which is not installed",
            expected="lhotse and torch",
            fix="Type: pip install 'aimass[train]'",
        )


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))

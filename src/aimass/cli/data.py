"""`aimass data`: recordings, before anything is trained on them."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.base.errors import MissingExtra, RequestError
from aimass.cli.progress import shown
from aimass.cli.speech import align, list_voices, speak

if TYPE_CHECKING:
    from aimass.base.contract import Progress
    from aimass.data.checks import Finding
    from aimass.data.corpus import Clip

app = typer.Typer(help="Recordings: read, shown and brought in.", no_args_is_help=True)
app.command()(speak)
app.command("voices")(list_voices)
app.command()(align)

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
def check(
    source: Annotated[Path, typer.Argument(help="A folder, a table or a Lhotse manifest.")],
    model: Annotated[
        str | None, typer.Option(help="A model that says where it hears something else.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Write a page with pictures and sound into this folder.")
    ] = None,
    language: Annotated[
        str | None, typer.Option(help="ISO 639-1 code, where the data does not say.")
    ] = None,
    labels: Annotated[
        bool, typer.Option(help="Let a small classifier look for wrong labels in closed sets.")
    ] = True,
    column: Columns = None,
    as_json: Json = False,
) -> None:
    """What is wrong with recordings and their texts; what was measured before is remembered."""
    from dataclasses import replace

    from aimass.base.settings import settings
    from aimass.data.checks import MEANINGS, STOPS, check, counts, ordered
    from aimass.data.corpus import read
    from aimass.data.measure import measure
    from aimass.data.report import Report, check_folder

    if report is not None:
        check_folder(report)
    corpus = read(source, columns=_pairs(column, "column"))
    if language is not None:
        clips = tuple(replace(c, language=c.language or language) for c in corpus.clips)
        corpus = replace(corpus, clips=clips)
    with shown() as progress:
        measured = measure(corpus.clips, settings().home / "cache/measurements", progress=progress)
        findings = check(corpus, measured.of)
        if model is not None or labels:
            stopped = {finding.clip for finding in findings if finding.code in STOPS}
            sound = [
                clip
                for clip in corpus.clips
                if clip.id not in stopped and not measured.of[clip.id].fault
            ]
            rates = [measured.of[clip.id].rate for clip in sound]
            findings += _suspects(sound, rates, labels, model, progress)
    made = Report(corpus, measured.of, ordered(corpus, findings))
    page = made.write(report) if report is not None else None
    if as_json:
        _print_json(made.to_dict())
        return
    console = Console(soft_wrap=True)
    table = Table("code", "clips", "", "what it means")
    for code, count in counts(made.findings).items():
        effect = "stops training" if code in STOPS else "to look at"
        table.add_row(code, f"{count:,}", effect, MEANINGS[code])
    console.print(table if made.findings else "Nothing was found.")
    console.print(f"{len(corpus.clips):,} clips, {measured.decoded:,} recordings measured anew")
    if page is not None:
        console.print(f"Open: {page}", markup=False, highlight=False)


def _suspects(
    clips: "list[Clip]", rates: list[int], labels: bool, model: str | None, progress: "Progress"
) -> "list[Finding]":
    """Labels that a classifier or a model hears otherwise; the classifier only where torch is."""
    from importlib.util import find_spec

    if find_spec("torch") is None:
        if model is None:
            return []
        raise MissingExtra(
            "the parts that look for wrong labels are not installed",
            expected="torch",
            fix="Type: pip install 'aimass[train]'",
        )
    from aimass.lifecycle.suspects import SuspectSpec, cross_validated, disagreements
    from aimass.runtime.load import load

    found: list[Finding] = []
    if labels:
        narrow = 2 * sum(rate <= 8000 for rate in rates) > len(rates)
        spec = SuspectSpec(sample_rate=8000 if narrow else 16000)
        found += cross_validated(clips, spec, progress=progress)
    if model is not None:
        found += disagreements(clips, load(model), progress=progress)
    return found


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

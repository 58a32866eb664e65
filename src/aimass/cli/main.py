"""`aimass`: one command for each step from recordings to words.

Exit codes: 0 done; 1 a fault in aimass; 2 wrong usage; 3 audio; 4 scenario or data; 5 model;
6 something missing or not fetched; 7 training; 8 service; 130 interrupted.
"""

import json
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.base.contract import RecognizeOptions, Transcript
from aimass.base.errors import AimassError, BundleError, RequestError
from aimass.base.settings import Settings, settings
from aimass.cli.data import app as data
from aimass.cli.progress import shown
from aimass.text.formats import TIMED

if TYPE_CHECKING:
    from aimass.evaluation.scorecard import Scorecard
    from aimass.lifecycle.build import Built

app = typer.Typer(
    help="Your own speech service: from recordings to words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
models = typer.Typer(help="Models: registered, shipped and pretrained.", no_args_is_help=True)
app.add_typer(models, name="models")
app.add_typer(data, name="data")

UsageError: type[typer.BadParameter] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""What every fault in usage is. Typer brings its own click, or uses the one it finds."""
FORMATS = ("text", "json", *TIMED)
Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="A model's name, name@alias or name@version.")
]


def run() -> None:
    """Run the command line and end the process with a documented exit code."""
    try:
        code = app(standalone_mode=False)  # Typer gives 130 after an interrupt
    except AimassError as error:
        Console(stderr=True).print(f"[bold red]{error.code}[/]: ", end="")
        Console(stderr=True, soft_wrap=True).print(str(error), markup=False, highlight=False)
        sys.exit(error.exit_code)
    except UsageError as error:
        error.show()
        sys.exit(error.exit_code)
    except ValidationError as error:
        if error.title != Settings.__name__:
            raise
        for fault in error.errors():
            name = f"AIMASS_{fault['loc'][0]}".upper()
            typer.echo(f"{name} is {fault['input']!r}: {fault['msg']}", err=True)
        sys.exit(RequestError.exit_code)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(130)
    except SystemExit as ended:
        if not isinstance(ended.__context__, BrokenPipeError):
            raise
        code = 0  # the reader of our output went away, as `head` does
    if isinstance(code, int):
        sys.exit(code)


@app.command()
def build(
    scenario: Annotated[Path, typer.Argument(help="The scenario file (YAML).")],
    as_json: Json = False,
) -> None:
    """Build a scenario's model from raw recordings and publish it; resumes where it stopped."""
    from importlib.util import find_spec

    from aimass.base.errors import MissingExtra

    if find_spec("torch") is None or find_spec("lhotse") is None:
        raise MissingExtra(
            "the parts that train models are not installed",
            expected="torch and lhotse",
            fix="Type: pip install 'aimass[train]'",
        )
    from aimass.lifecycle.build import build as build_scenario

    with shown() as progress:
        built = build_scenario(scenario, progress=progress)
    card = built.scorecard
    if as_json:
        _print_json(
            {
                "model": built.published.name,
                "version": built.published.version,
                "folder": str(built.published.folder),
                "digest": built.bundle.digest,
                "aliases": list(built.published.aliases),
                "member": built.member,
                "members": {
                    name: {split: _summary(own) for split, own in cards.items()}
                    for name, cards in built.members.items()
                },
                "gates": asdict(built.verdict),
                "reports": {name: str(path) for name, path in built.report.items()},
                "reused": list(built.reused),
                "scorecard": card.to_dict(),
            }
        )
        return
    _print_built(built)


def _summary(card: "Scorecard") -> dict[str, Any]:
    return {"error_rate": card.error_rate, "interval": list(card.interval)}


def _print_built(built: "Built") -> None:
    card, console = built.scorecard, Console(soft_wrap=True)
    if len(built.members) > 1:
        table = Table("member", "dev error", "test error", "95 % interval")
        for name, cards in built.members.items():
            low, high = cards["test"].interval
            rates = (f"{cards[split].error_rate:.2%}" for split in ("dev", "test"))
            mark = " *" if name == built.member else ""
            table.add_row(escape(name) + mark, *rates, f"{low:.2%} to {high:.2%}")
        console.print(table)
    low, high = card.interval
    state = "published" if built.verdict.passed else "kept as candidate, not published"
    console.print(
        f"{built.published.name} version {built.published.version} is {state}: "
        f"{card.metric} {card.error_rate:.2%} (95 % interval {low:.2%} to {high:.2%}) "
        f"on {card.utterances} test utterances, "
        f"{built.bundle.manifest.parameters:,} parameters, "
        f"{built.bundle.manifest.graph.precision}"
    )
    for reason in built.verdict.reasons:
        console.print(f"Gate: {reason}", markup=False)
    for name, folder in built.report.items():
        console.print(f"Report of the {name}: {folder / 'index.html'}", markup=False)
    reference = built.published.name if built.verdict.passed else built.published.reference
    console.print(f"Try: aimass transcribe FILE --model {reference}")


@app.command()
def transcribe(
    files: Annotated[list[Path], typer.Argument(help="Recordings of any common format.")],
    model: ModelName = None,
    output: Annotated[str, typer.Option("--format", help=f"One of {', '.join(FORMATS)}.")] = "text",
    language: Annotated[str | None, typer.Option(help="ISO 639-1 code, such as en.")] = None,
    prompt: Annotated[str | None, typer.Option(help="Text that precedes the speech.")] = None,
    words: Annotated[bool, typer.Option("--words", help="Give the time of each word.")] = False,
    split: Annotated[
        bool, typer.Option("--split-channels", help="One transcript for each channel.")
    ] = False,
) -> None:
    """Write what recordings say."""
    from aimass.audio.decode import probe
    from aimass.runtime.load import load
    from aimass.runtime.transcribe import transcribe as transcribe_file

    if output not in FORMATS:
        raise RequestError(
            f"format '{output}'",
            expected=f"one of {', '.join(FORMATS)}",
            fix="Correct --format",
            param="format",
        )
    options = RecognizeOptions(
        language=language,
        prompt=prompt,
        segment_times=output in TIMED,
        word_times=words,
    )
    engine = load(model)
    if output in ("srt", "vtt") and (split or len(files) > 1):
        raise RequestError(
            f"format {output} for more than one transcript",
            expected="one file, its channels mixed",
            fix="Write the files one by one, or choose text or json",
            param="format",
        )
    failed: AimassError | None = None
    found_json: list[dict[str, Any]] = []
    for file in files:
        try:
            channels = range(probe(file).channels) if split else [None]
            for channel in channels:
                with shown() as progress:
                    found = transcribe_file(
                        file, engine, options, channel=channel, progress=progress
                    )
                label = file if len(files) > 1 else None
                if output in ("json", "verbose_json"):
                    found_json.append(_as_json(found, output, label, words))
                else:
                    _print_transcript(found, output, label)
        except AimassError as error:
            if len(files) == 1:
                raise
            typer.echo(f"{file}: {error}", err=True)  # the other files are still worth doing
            failed = error
    if found_json:
        several = split or len(files) > 1
        _print_json(found_json if several else found_json[0])
    if failed is not None:
        sys.exit(failed.exit_code)


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
    as_json: Json = False,
) -> None:
    """Measure a model on labelled recordings: errors with their interval, time, memory."""
    from aimass.evaluation.report import write_html
    from aimass.runtime.evaluate import evaluate as evaluate_model

    name = model or settings().default_model
    with shown() as progress:
        measured = evaluate_model(
            name,
            data,
            split=split,
            metric=metric,  # type: ignore[arg-type]  # evaluate checks it
            progress=progress,
        )
    if report is not None:
        page = write_html(measured, report, title=f"{name} on {data.name}")
        typer.echo(f"The report is {page}", err=True)
    card = measured.to_dict()
    if as_json:
        _print_json(card)
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
    for row in card["worst"][:5]:
        line = f"{row['utterance_id']}: {row['reference']} -> {row['hypothesis']}"
        console.print(line, markup=False)


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
        _print_json(found.to_dict())
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


@models.command("list")
def list_models(as_json: Json = False) -> None:
    """Every model that can be used now, and what can be pulled."""
    from aimass.registry import pretrained
    from aimass.runtime.load import models as found_models

    found = found_models()
    rows: list[dict[str, Any]] = [
        {
            "model": model.reference,
            "kind": model.kind,
            "source": model.source,
            "aliases": list(model.aliases),
        }
        for model in found
    ]
    there = {model.name for model in found}
    rows += [
        {"model": name, "kind": entry.kind, "source": "can be pulled", "aliases": []}
        for name, entry in pretrained.catalogue().items()
        if name not in there
    ]
    if as_json:
        _print_json(rows)
        return
    table = Table("model", "kind", "source", "aliases")
    for row in rows:
        table.add_row(row["model"], row["kind"], row["source"], ", ".join(row["aliases"]))
    Console().print(table)


@models.command()
def show(name: Annotated[str, typer.Argument(help="A model's name.")]) -> None:
    """What a model is, as JSON: scores, lineage, licences, files."""
    from aimass.registry import bundle, pretrained
    from aimass.runtime.load import resolve

    model = resolve(name)
    about: dict[str, Any] = {
        "model": model.reference,
        "kind": model.kind,
        "source": model.source,
        "aliases": list(model.aliases),
        "folder": str(model.folder),
    }
    if model.kind == "bundle":
        loaded = bundle.load(model.folder)
        about |= {"digest": loaded.digest, **loaded.manifest.model_dump(mode="json")}
    else:
        about |= asdict(pretrained.verify(model.folder)) | {"folder": str(model.folder)}
    _print_json(about)


@models.command()
def pull(
    name: Annotated[str, typer.Argument(help="A name of the catalogue, or a new name.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A local folder or archive instead.")
    ] = None,
) -> None:
    """Fetch a pretrained model, or bring a model from a path; checked, and kept in AIMASS_HOME."""
    from aimass.registry import bundle, pretrained
    from aimass.registry.store import Registry
    from aimass.runtime.bundled import BundleEngine
    from aimass.runtime.load import open_model, resolve, shipped

    registry = Registry(settings().home, settings().registry_url)
    if source is not None and (source / bundle.MANIFEST).is_file():
        brought = bundle.load(source)
        if brought.manifest.name != name:
            raise RequestError(
                f"{source} is the bundle of a model called '{brought.manifest.name}'",
                expected=f"a bundle called '{name}'",
                fix=f"Type: aimass models pull {brought.manifest.name} --from {source}",
            )
        BundleEngine(brought)  # a model that does not give its golden output is not published
        folder = registry.publish(brought).folder
    else:
        if name in shipped() or name in registry.names():
            raise RequestError(
                f"there is already a model of our own called '{name}'",
                expected="a new name",
                fix="Choose another name; this one would never be reached",
            )
        with shown() as progress:
            folder = pretrained.pull(name, home=settings().home, source=source, progress=progress)
        if source is not None:
            try:
                open_model(resolve(name)).close()
            except BundleError:  # a model that does not load is not ready
                pretrained.remove(settings().home, name)
                raise
    Console(soft_wrap=True).print(f"{name} is ready in {folder}", markup=False)


@models.command()
def verify(name: Annotated[str, typer.Argument(help="A model's name.")]) -> None:
    """Check every digest of a model, and that it reproduces its golden output."""
    from aimass.registry import pretrained
    from aimass.runtime.load import open_model, resolve

    model = resolve(name)
    if model.kind != "bundle":
        pretrained.verify(model.folder)
    open_model(model).close()
    Console().print(f"{model.reference} is whole")


@app.command()
def serve(
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 takes a free one.")] = 8080,
    preload: Annotated[
        list[str] | None, typer.Option(help="Load this model before answering; repeatable.")
    ] = None,
) -> None:
    """Serve every model over HTTP until interrupted."""
    from aimass.serving.server import serve as serve_models

    serve_models(host=host, port=port, preload=tuple(preload or ()))


@app.command()
def doctor(as_json: Json = False) -> None:
    """What is installed, what is missing, and what to type."""
    from aimass.cli.doctor import doctor as examine

    findings = examine()
    if as_json:
        _print_json([finding.to_dict() for finding in findings])
    else:
        table = Table("", "what", "found", "to do")
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
            table.add_row(mark, *map(escape, (finding.what, finding.found, finding.fix)))
        Console().print(table)
    if any(finding.needed and not finding.ok for finding in findings):
        sys.exit(6)


def _as_json(found: Transcript, output: str, file: Path | None, words: bool) -> dict[str, Any]:
    from aimass.text import formats

    about: dict[str, Any] = {} if file is None else {"file": str(file)}
    if found.channel is not None:
        about["channel"] = found.channel
    if output == "json":
        return about | formats.to_json(found)
    return about | formats.to_verbose_json(found, ("segment", "word") if words else ("segment",))


def _print_transcript(found: Transcript, output: str, file: Path | None) -> None:
    from aimass.text import formats

    write = {"text": formats.to_text, "srt": formats.to_srt, "vtt": formats.to_vtt}[output]
    label = "" if file is None else f"{file}: "
    if found.channel is not None:
        label += f"channel {found.channel}: "
    typer.echo(label + write(found).rstrip("\n"))


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))

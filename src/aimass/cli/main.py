"""`aimass`: one command for each step from recordings to words.

Exit codes: 0 done; 1 a fault in aimass; 2 wrong usage; 3 audio; 4 scenario or data; 5 model;
6 something missing or not fetched; 7 training; 8 service; 9 a model is due for
training; 130 interrupted.
"""

import sys
from typing import Annotated

import typer
from pydantic import ValidationError
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from aimass.base.errors import AimassError, RequestError
from aimass.base.settings import Settings
from aimass.cli.build import app as build
from aimass.cli.common import Json, print_json
from aimass.cli.compress import app as compress
from aimass.cli.data import app as data
from aimass.cli.dial import app as dial
from aimass.cli.ensemble import app as ensemble
from aimass.cli.evaluate import app as evaluate
from aimass.cli.models import app as models
from aimass.cli.transcribe import app as transcribe

app = typer.Typer(
    help="Your own speech service: from recordings to words.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
)
for _commands in (build, transcribe, evaluate):
    app.add_typer(_commands)
app.add_typer(models, name="models")
app.add_typer(data, name="data")
app.add_typer(ensemble, name="ensemble")
app.add_typer(dial, name="dial")
app.add_typer(compress, name="compress")

UsageError: type[typer.BadParameter] = next(
    c for c in typer.BadParameter.__mro__ if c.__name__ == "ClickException"
)
"""What every fault in usage is. Typer brings its own click, or uses the one it finds."""


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
        print_json([finding.to_dict() for finding in findings])
    else:
        table = Table("", "what", "found", "to do")
        for finding in findings:
            mark = "[green]ok[/]" if finding.ok else "[yellow]--[/]"
            table.add_row(mark, *map(escape, (finding.what, finding.found, finding.fix)))
        Console().print(table)
    if any(finding.needed and not finding.ok for finding in findings):
        sys.exit(6)

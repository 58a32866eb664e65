"""`aimass models`: what can be used, and how it gets here."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from aimass.base.errors import BundleError, RequestError
from aimass.base.settings import settings
from aimass.cli.common import Json, print_json
from aimass.cli.progress import shown

app = typer.Typer(help="Models: registered, shipped and pretrained.", no_args_is_help=True)


@app.command("list")
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
        print_json(rows)
        return
    table = Table("model", "kind", "source", "aliases")
    for row in rows:
        table.add_row(row["model"], row["kind"], row["source"], ", ".join(row["aliases"]))
    Console().print(table)


@app.command()
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
    print_json(about)


@app.command()
def pull(
    name: Annotated[str, typer.Argument(help="A name of the catalogue, or a new name.")],
    source: Annotated[
        Path | None, typer.Option("--from", help="A local folder or archive instead.")
    ] = None,
) -> None:
    """Fetch a pretrained model, or bring a model from a path; checked, and kept in AIMASS_HOME."""
    from aimass.registry import bundle, pretrained
    from aimass.registry.store import Registry
    from aimass.runtime.load import open_model, resolve, shipped
    from aimass.runtime.massive import open_bundle, whole

    registry = Registry(settings().home, settings().registry_url)
    if source is not None and (source / bundle.MANIFEST).is_file():
        brought = bundle.load(source)
        if brought.manifest.name != name:
            raise RequestError(
                f"{source} is the bundle of a model called '{brought.manifest.name}'",
                expected=f"a bundle called '{name}'",
                fix=f"Type: aimass models pull {brought.manifest.name} --from {source}",
            )
        whole(open_bundle(source)).close()  # what does not give its golden output is not published
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


@app.command()
def verify(name: Annotated[str, typer.Argument(help="A model's name.")]) -> None:
    """Check every digest of a model and its members, and that it gives its golden output."""
    from aimass.registry import bundle, pretrained
    from aimass.runtime.load import open_model, resolve
    from aimass.runtime.massive import whole

    model = resolve(name)
    if model.kind == "bundle":
        bundle.load(model.folder)
    else:
        pretrained.verify(model.folder)
    whole(open_model(model)).close()
    Console().print(f"{model.reference} is whole")

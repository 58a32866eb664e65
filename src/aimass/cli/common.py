"""What several commands share."""

import json
from collections.abc import Sequence
from typing import Annotated, Any

import typer

from aimass.base.errors import MissingExtra

Json = Annotated[bool, typer.Option("--json", help="Print JSON for programs.")]
ModelName = Annotated[
    str | None, typer.Option("--model", help="A model's name, name@alias or name@version.")
]

Quality = Annotated[
    str | None,
    typer.Option(help="fast, balanced, accurate, or an operating point: see `aimass dial show`."),
]
MaxError = Annotated[
    float | None, typer.Option(min=0, help="The highest error rate, such as 0.03.")
]
MaxLatency = Annotated[
    float | None, typer.Option(min=0, help="The longest that an answer may lag, milliseconds.")
]


def print_json(value: Any) -> None:
    """Print a plain value for programs."""
    typer.echo(json.dumps(value, ensure_ascii=False, indent=2))


def need_training(*packages: str) -> None:
    """Refuse to begin without what trains models. Raises: MissingExtra."""
    from importlib.util import find_spec

    needed: Sequence[str] = ("torch", "lhotse", *packages)
    if any(find_spec(name) is None for name in needed):
        raise MissingExtra(
            "the parts that train models are not installed",
            expected=" and ".join(needed),
            fix="Type: pip install 'aimass[train]'",
        )

"""The engines that are installed, by the kind of model that they run."""

from importlib.metadata import entry_points
from typing import Any

from aimass.base.errors import MissingExtra

ENGINES = "aimass.engines"


def engine_class(kind: str) -> Any:
    """The class whose ``open`` loads a model folder. Raises: MissingExtra."""
    for entry in entry_points(group=ENGINES):
        if entry.name == kind:
            return entry.load()
    raise MissingExtra(
        f"nothing installed runs models of kind '{kind}'",
        expected=f"an entry point '{kind}' in the group {ENGINES}",
        fix=f"Type: pip install 'aimass[{kind}]'",
    )

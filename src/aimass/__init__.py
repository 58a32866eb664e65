"""AI Mass: your own speech service, from recordings to words.

The commands are functions too, under the same words: ``aimass.transcribe("call.mp3").text``. Each
loads what it needs when it is first asked for, so that importing this package costs nothing.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_VERBS = {
    "build": "aimass.lifecycle.build",
    "transcribe": "aimass.runtime.transcribe",
    "evaluate": "aimass.runtime.evaluate",
    "load": "aimass.runtime.load",
    "pull": "aimass.registry.pretrained",
    "serve": "aimass.serving.server",
    "doctor": "aimass.cli.doctor",
}
__all__ = [
    "__version__",
    "build",
    "doctor",
    "evaluate",
    "load",
    "pull",
    "serve",
    "transcribe",
]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'aimass' has no attribute {name!r}")

"""AI Mass: your own speech service, from recordings to words.

The commands are functions too, under the same words; each loads what it needs when it is called:

>>> import aimass
>>> aimass.transcribe("samples/jfk.wav", model="whisper-base").text  # doctest: +SKIP
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

_VERBS = {
    "build": "aimass.lifecycle.build",
    "transcribe": "aimass.runtime.transcribe",
    "evaluate": "aimass.runtime.evaluate",
    "load": "aimass.runtime.load",
}
__all__ = ["__version__", "build", "evaluate", "load", "transcribe"]


def __getattr__(name: str) -> Any:
    if name in _VERBS:
        return getattr(import_module(_VERBS[name]), name)
    raise AttributeError(f"module 'aimass' has no attribute {name!r}")

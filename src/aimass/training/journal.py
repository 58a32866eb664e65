"""What a run tells of itself: a line for each epoch, its speed, and when to save again."""

import json
import time
from pathlib import Path

from aimass.base.files import write_bytes
from aimass.training.checkpoint import Position


def log(path: Path, position: Position, losses: float, told: dict[str, float]) -> dict[str, float]:
    """Append one epoch; lines of epochs that a crash made us repeat are replaced."""
    lines = path.read_text().splitlines()[: position.epoch - 1] if path.is_file() else []
    row = {
        "epoch": position.epoch,
        "step": position.step,
        "loss": losses,
        "dev": position.errors[-1],
        **told,
    }
    write_bytes(path, ("\n".join([*lines, json.dumps(row)]) + "\n").encode())
    return row


class Speed:
    """Utterances and seconds of one epoch, or of what a resumed run had left of it."""

    def __init__(self) -> None:
        self.utterances = 0
        self._begun = time.monotonic()

    def to_dict(self) -> dict[str, float]:
        """For the log."""
        seconds = max(time.monotonic() - self._begun, 1e-9)
        return {"seconds": seconds, "utterances_per_second": self.utterances / seconds}


class Every:
    """True once every so many seconds."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def due(self) -> bool:
        """Whether it is time; if so, the next time is counted from now."""
        if time.monotonic() - self._last < self._seconds:
            return False
        self._last = time.monotonic()
        return True

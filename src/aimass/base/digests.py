"""SHA-256 digests of files, folders and plain values: what names a stage's output."""

import hashlib
import json
from pathlib import Path
from typing import Any

_BLOCK = 1 << 20


def of_file(path: Path) -> str:
    """Hex SHA-256 of a file's content, read in blocks."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while block := file.read(_BLOCK):
            digest.update(block)
    return digest.hexdigest()


def of_value(value: Any) -> str:
    """Hex SHA-256 of a JSON-able value; the order of keys does not matter."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=False, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()

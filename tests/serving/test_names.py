"""What a model's name means to a running service."""

import time
from pathlib import Path

import httpx
import pytest

from aimass.registry.store import Registry
from serving.process import PATIENCE, Server
from serving.sounds import digit

PATH = "/v1/audio/transcriptions"


def heard(http: httpx.Client, model: str) -> str:
    files = {"file": ("a.flac", digit("zero"))}
    answer = http.post(PATH, files=files, data={"model": model})
    assert answer.status_code == 200, answer.text
    return str(answer.json()["text"])


@pytest.mark.parametrize(
    ("name", "word"),
    [
        ("digits", "zero"),
        ("spoken", "nought"),
        ("spoken@1", "zero"),
        ("spoken@2", "nought"),
        ("spoken@production", "nought"),
    ],
)
def test_names_versions_and_aliases(http: httpx.Client, name: str, word: str) -> None:
    assert heard(http, name) == word


def test_an_alias_that_moves_is_followed(home: Path, server: Server, http: httpx.Client) -> None:
    registry = Registry(home)
    registry.point("spoken", "trial", 1)
    assert heard(http, "spoken@trial") == "zero"
    loads = server.value("aimass_model_loads_total", model="spoken")
    for version, word in ((2, "nought"), (1, "zero")):
        registry.point("spoken", "trial", version)
        moved = time.monotonic()
        while heard(http, "spoken@trial") != word:
            assert time.monotonic() - moved < PATIENCE
        # Asked anew every second, so the names of one second ago; generous on a busy machine.
        assert time.monotonic() - moved < 5
    assert server.value("aimass_model_loads_total", model="spoken") == loads

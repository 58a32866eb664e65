"""A request says how much of a model to spend, by level, latency or error."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from aimass.registry.points import Point, Stage, Wish
from aimass.registry.store import Registry
from aimass.runtime.dial import Measured, keep, points_path, setting_path
from runtime.dials import of_skill
from serving.process import Server
from serving.sounds import digit


def point(name: str, error: float, adds: int, lag: float, *members: str) -> Point:
    return Point(
        name=name,
        stages=(Stage(members=members),) if members else (),
        error_rate=error,
        interval=(error, error),
        utterances=60,
        speakers=6,
        rtf=0.01,
        multiply_adds=adds,
        latency_ms=lag,
        wait_ms=1,
        memory_mb=1,
    )


POINTS = (point("hasty", 0.5, 1_000_000, 455, "hasty"), point("all", 0.01, 9_000_000, 600))


@pytest.fixture(scope="module")
def dial_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with ``many``, whose points were measured here."""
    home = tmp_path_factory.mktemp("home")
    published = Registry(home).publish(of_skill(tmp_path_factory.mktemp("packed")))
    told = Measured(model="many", machine="here", data="digits", points=POINTS)
    keep(points_path(home, published.digest), told)
    return home


@pytest.fixture(scope="module")
def server(dial_home: Path) -> Iterator[Server]:
    with Server(dial_home, "--preload", "many") as server:
        yield server.ready()


def answer(server: Server, model: str = "many", **fields: str) -> httpx.Response:
    path = f"{server.url}/v1/audio/transcriptions"
    files = {"file": ("a.flac", digit("seven"))}
    return httpx.post(path, files=files, data={"model": model, **fields}, timeout=60)


@pytest.mark.parametrize(
    "asked",
    [{"quality": "accurate"}, {"max_error": "0.02"}, {"max_latency_ms": "700"}, {"quality": "all"}],
)
def test_it_is_honoured(server: Server, asked: dict[str, str]) -> None:
    assert answer(server, **asked).json() == answer(server).json()


def test_levels_differ(server: Server) -> None:
    """The cheap point gives the answer of its one member, which is less sure."""
    wanted = {"include[]": "logprobs"}
    sure = [
        answer(server, quality=quality, **wanted).json() for quality in ("fast", "hasty", "all")
    ]
    assert sure[0] == sure[1] != sure[2]


def test_the_official_client_sends_it(server: Server) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    found = client.audio.transcriptions.create(
        file=("a.flac", digit("seven")), model="many", extra_body={"quality": "accurate"}
    )
    assert found.text == "seven"


@pytest.mark.parametrize(
    ("asked", "param"),
    [
        ({"quality": "best"}, "quality"),
        ({"quality": "so so"}, "quality"),
        ({"max_error": "0.001"}, "max_error"),
        ({"max_error": "much"}, "max_error"),
        ({"max_error": "-1"}, "max_error"),
        ({"max_latency_ms": "10"}, "max_latency_ms"),
        ({"max_latency_ms": "0"}, "max_latency_ms"),
        ({"max_latency_ms": "nan"}, "max_latency_ms"),
        ({"model": "digits", "max_error": "0.5"}, "max_error"),
    ],
)
def test_what_no_point_gives_is_refused(server: Server, asked: dict[str, str], param: str) -> None:
    found = answer(server, **asked)
    assert (found.status_code, found.json()["error"]["param"]) == (400, param)


def test_one_model_gives_any_level(server: Server) -> None:
    assert answer(server, "digits", quality="fast").json()["text"] == "seven"


def test_a_setting_takes_effect_without_a_restart(server: Server, dial_home: Path) -> None:
    wanted = {"include[]": "logprobs"}
    before = answer(server, **wanted).json()
    keep(setting_path(dial_home, "many"), Wish(quality="fast"))
    try:
        assert answer(server, **wanted).json() == answer(server, quality="hasty", **wanted).json()
        assert answer(server, quality="accurate", **wanted).json() == before
    finally:
        keep(setting_path(dial_home, "many"), None)
    assert answer(server, **wanted).json() == before

"""A massive model is served as any other, also while one of its members is damaged."""

import asyncio
import gc
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from aimass.base.settings import Settings
from aimass.registry import bundle as bundles
from aimass.registry.store import Registry
from aimass.serving.service import Service
from runtime.massives import digits_three
from serving.process import Server
from serving.sounds import digit


@pytest.fixture(scope="module")
def massive_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A registry with ``many``, by posteriors, and ``voting``, one of whose members is damaged."""
    home, folder = tmp_path_factory.mktemp("home"), tmp_path_factory.mktemp("packed")
    registry = Registry(home)
    registry.publish(digits_three(folder / "many"))
    kept = registry.publish(digits_three(folder / "voting", "vote", name="voting")).folder
    (kept / bundles.MEMBERS / "one" / bundles.GRAPH).write_bytes(b"no graph")
    return home


@pytest.fixture(scope="module")
def server(massive_home: Path) -> Iterator[Server]:
    with Server(massive_home, "--preload", "many") as server:
        yield server.ready()


def test_it_is_listed(server: Server) -> None:
    names = {model["id"] for model in server.get("/v1/models").json()["data"]}
    assert {"many", "many@1", "many@production", "voting"} <= names
    assert server.get("/v1/models/many").json()["owned_by"] == "registry"


@pytest.mark.parametrize("model", ["many", "many@production", "voting"])
def test_it_transcribes(server: Server, model: str) -> None:
    client = openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0)
    for word in ("zero", "seven"):
        found = client.audio.transcriptions.create(
            file=("a.flac", digit(word)),
            model=model,
            response_format="verbose_json",
            timestamp_granularities=["word"],
        )
        assert found.text == word
        assert found.words is not None and [w.word for w in found.words] == [word]


def test_what_it_refuses(server: Server) -> None:
    answer = httpx.post(
        f"{server.url}/v1/audio/transcriptions",
        files={"file": ("a.flac", digit("one"))},
        data={"model": "many", "language": "de"},
    )
    assert answer.status_code == 400
    assert answer.json()["error"]["param"] == "language"


def test_the_damage_is_told(server: Server) -> None:
    files = {"file": ("a.flac", digit("one"))}
    path = f"{server.url}/v1/audio/transcriptions"
    assert httpx.post(path, files=files, data={"model": "voting"}).json()["text"] == "one"
    assert "member 'one' of 'voting' is left out" in "".join(server.log)
    assert server.value("aimass_dead_members", model="voting") == 1
    assert server.value("aimass_dead_members", model="many") == 0
    for name in ("voting", "voting@1", "voting@production"):
        found = server.get(f"/v1/models/{name}").json()
        assert list(found["dead_members"]) == ["one"]
        assert "changed after it was packed" in found["dead_members"]["one"]
        assert found in server.get("/v1/models").json()["data"]
    assert server.get("/v1/models/many").json()["dead_members"] == {}
    assert "dead_members" not in server.get("/v1/models/digits").json()


def test_a_massive_model_is_watched_while_it_is_loaded(massive_home: Path) -> None:
    service = Service.start(Settings(home=massive_home, workers=2, max_models=1))

    async def watched() -> list[list[str]]:
        found = []
        for name in ("digits", "many", "digits"):
            await service.engine(name)
            found.append([engine.name for engine in service.massive.values()])
        return found

    assert asyncio.run(watched()) == [[], ["many"], []]
    service.scheduler.close()
    gc.unfreeze()

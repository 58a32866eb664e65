"""What requests share: one lookup for many, and a socket that answers at once."""

import asyncio
import gc
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from aimass.base.contract import Engine
from aimass.base.errors import ServiceError, UnknownModel
from aimass.base.settings import Settings
from aimass.serving.server import _listen
from aimass.serving.service import Service


@pytest.fixture
def service(tmp_path: Path) -> Iterator[Service]:
    service = Service.start(Settings(home=tmp_path, workers=2))
    yield service
    service.scheduler.close()
    gc.unfreeze()


def test_many_requests_share_one_lookup(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    go = threading.Event()
    found = service.engines.get("digits")

    def get(reference: str) -> Engine:
        asked.append(reference)
        assert go.wait(10)
        if reference == "nothing":
            raise UnknownModel("nothing", expected="a model", fix="None")
        return found

    monkeypatch.setattr(service.engines, "get", get)
    monkeypatch.setattr(service.engines, "ready", lambda _: None)

    async def ask() -> None:
        good = [asyncio.create_task(service.engine("digits")) for _ in range(16)]
        bad = [asyncio.create_task(service.engine("nothing")) for _ in range(16)]
        await asyncio.sleep(0.05)
        good[0].cancel()  # it leaves alone
        go.set()
        answers = await asyncio.gather(*good, *bad, return_exceptions=True)
        assert isinstance(answers[0], asyncio.CancelledError)
        assert all(answer is found for answer in answers[1:16])
        assert all(isinstance(answer, UnknownModel) for answer in answers[16:])
        await asyncio.sleep(0)
        assert not service.lookups

    asyncio.run(ask())
    assert sorted(asked) == ["digits", "nothing"]


def test_a_loaded_model_is_kept_out_of_garbage_collections(service: Service) -> None:
    gc.unfreeze()
    service.engines.get("digits")
    assert gc.get_freeze_count() > 10_000


def test_answers_do_not_wait_for_acknowledgements() -> None:
    with _listen("127.0.0.1", 0) as listening:
        # What asyncio looks at before it sets TCP_NODELAY on an accepted connection.
        assert listening.proto == socket.IPPROTO_TCP
        socket.create_connection(listening.getsockname(), timeout=5).close()


def test_an_address_of_another_machine_is_refused() -> None:
    with pytest.raises(ServiceError):
        _listen("192.0.2.1", 0)

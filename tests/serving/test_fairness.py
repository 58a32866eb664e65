"""A short recording is never stuck behind a long one, and nobody works for a client that left."""

import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest

from serving.process import PATIENCE, Server, until
from serving.sounds import digit, long_wav

PATH = "/v1/audio/transcriptions"
HOUR = 3600


@pytest.fixture(autouse=True)
def idle(server: Server) -> Iterator[None]:
    """Every test begins and ends with all places given back."""
    yield
    until(lambda: server.value("aimass_requests_under_way") == 0, "a place was not given back")


def upload(url: str, sound: bytes, **fields: str) -> httpx.Response:
    files = {"file": ("a.wav", sound)}
    return httpx.post(url + PATH, files=files, data={"model": "digits", **fields}, timeout=PATIENCE)


def leave(server: Server, sound: bytes, stream: bool) -> None:
    """Send a request, and close the connection when it is being worked on."""
    request = httpx.Request(
        "POST",
        server.url + PATH,
        files={"file": ("a.wav", sound)},
        data={"model": "digits", "stream": str(stream).lower()},
    )
    content = request.read()
    head = f"POST {PATH} HTTP/1.1\r\n" + "".join(
        f"{k}: {v}\r\n" for k, v in request.headers.items()
    )
    before = server.value("aimass_audio_seconds_total", model="digits")
    host, port = server.url.removeprefix("http://").split(":")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode() + b"\r\n" + content)
        until(
            lambda: server.value("aimass_audio_seconds_total", model="digits") > before,
            "the work never began",
        )
        if stream:
            assert b"transcript.text.delta" in connection.recv(4096)


def test_a_short_recording_overtakes_long_ones(server: Server) -> None:
    order: list[str] = []

    def send(name: str, sound: bytes) -> None:
        answer = upload(server.url, sound)
        order.append(name)
        assert answer.status_code == 200, answer.text

    before = server.value("aimass_audio_seconds_total", model="digits")
    long = [threading.Thread(target=send, args=("long", long_wav(HOUR))) for _ in range(3)]
    for thread in long:
        thread.start()
    until(
        lambda: server.value("aimass_audio_seconds_total", model="digits") > before + 300,
        "the long recordings never began",
    )
    for _ in range(5):
        send("short", digit("one"))
    assert order[:5] == ["short"] * 5
    for thread in long:
        thread.join(PATIENCE)
    assert order.count("long") == 3


@pytest.mark.parametrize("stream", [False, True])
def test_work_stops_when_its_client_goes_away(server: Server, stream: bool) -> None:
    read = "aimass_audio_seconds_total"
    before = server.value(read, model="digits")
    leave(server, long_wav(HOUR), stream)
    until(lambda: server.value("aimass_requests_under_way") == 0, "the place was not given back")
    counted, spent = server.value(read), server.value("aimass_recognise_seconds_total")
    assert counted - before < HOUR
    time.sleep(0.5)
    assert server.value(read) == counted
    assert server.value("aimass_recognise_seconds_total") == spent


def test_an_upload_that_stops_gives_its_place_back(server: Server) -> None:
    host, port = server.url.removeprefix("http://").split(":")
    head = (
        f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
        "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
    )
    before = server.value("aimass_errors_total", code="cancelled")
    with socket.create_connection((host, int(port))) as connection:
        connection.sendall(head.encode())
        until(lambda: server.value("aimass_requests_under_way") == 1, "no place was taken")
    until(
        lambda: server.value("aimass_errors_total", code="cancelled") > before,
        "it was not told from a fault",
    )


def test_many_clients_at_once_all_get_their_own_words(server: Server) -> None:
    words = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
    wrong: list[str] = []

    def send(start: int) -> None:
        with httpx.Client(timeout=PATIENCE) as client:
            for step in range(5):
                word = words[(start + step) % len(words)]
                answer = client.post(
                    server.url + PATH,
                    files={"file": ("a.flac", digit(word))},
                    data={"model": "digits"},
                )
                if answer.status_code != 200 or answer.json()["text"] != word:
                    wrong.append(answer.text)

    threads = [threading.Thread(target=send, args=(start,)) for start in range(16)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert not wrong

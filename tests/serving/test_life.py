"""From start to stop: ready when loaded, exit codes, and nothing lost when told to stop."""

import socket
import threading
from pathlib import Path

import httpx

from serving.process import PATIENCE, Server, until
from serving.sounds import digit, long_wav

PATH = "/v1/audio/transcriptions"


def test_not_ready_while_loading_and_stopped_in_the_midst_of_it(home: Path) -> None:
    with Server(home, "--preload", "whisper-base", "--preload", "digits") as server:
        answer = server.get("/readyz")
        assert (answer.status_code, answer.json()["status"]) == (503, "loading")
        assert "digits" in answer.json()["models"]
        assert server.get("/healthz").json() == {"status": "ok"}


def test_ready_when_loaded(server: Server) -> None:
    assert (server.get("/readyz").status_code, server.get("/healthz").status_code) == (200, 200)


def test_an_unknown_model_to_preload_ends_the_process(home: Path) -> None:
    server = Server(home, "--preload", "nothing")
    assert server.exit_code() == 5
    assert any("unknown_model" in line for line in server.log)


def test_a_taken_port_ends_the_process(home: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = Server(home, "--port", str(taken.getsockname()[1]))
        assert server.exit_code() == 8
        assert any("cannot listen" in line for line in server.log)


def test_told_to_stop_it_still_answers_what_is_under_way(home: Path) -> None:
    answers: list[httpx.Response] = []
    streamed: list[str] = []

    def whole() -> None:
        files = {"file": ("a.wav", long_wav(1800))}
        data = {"model": "digits"}
        answers.append(httpx.post(server.url + PATH, files=files, data=data, timeout=PATIENCE))

    def stream() -> None:
        files = {"file": ("a.wav", long_wav(600))}
        data = {"model": "digits", "stream": "true"}
        with httpx.stream(
            "POST", server.url + PATH, files=files, data=data, timeout=PATIENCE
        ) as answer:
            streamed.extend(line for line in answer.iter_lines() if line)

    with Server(home, "--preload", "digits") as server:
        server.ready()
        threads = [threading.Thread(target=whole), threading.Thread(target=stream)]
        for thread in threads:
            thread.start()
        until(lambda: server.value("aimass_requests_under_way") == 2, "they never arrived")
        until(lambda: server.value("aimass_audio_seconds_total") > 0, "the work never began")
        server.terminate()
        for thread in threads:
            thread.join(PATIENCE)
        assert server.exit_code() == 0
    assert answers[0].status_code == 200
    assert answers[0].json()["usage"]["seconds"] == 1800
    assert "transcript.text.done" in streamed[-1]


def test_a_slow_upload_is_given_up(home: Path) -> None:
    settings = {"UPLOAD_TIMEOUT_S": 1}
    with Server(home, settings=settings) as server:
        host, port = server.ready().url.removeprefix("http://").split(":")
        head = (
            f"POST {PATH} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n"
            "Content-Type: multipart/form-data; boundary=x\r\n\r\n--x\r\n"
        )
        with socket.create_connection((host, int(port)), timeout=PATIENCE) as connection:
            connection.sendall(head.encode())
            assert connection.recv(4096).startswith(b"HTTP/1.1 504")
        until(lambda: server.value("aimass_requests_under_way") == 0, "its place was kept")


def test_a_request_that_takes_too_long_is_given_up(home: Path) -> None:
    settings = {"REQUEST_TIMEOUT_S": 0.5}
    with Server(home, "--preload", "digits", settings=settings) as server:
        server.ready()
        files = {"file": ("a.wav", long_wav(3600))}
        answer = httpx.post(
            server.url + PATH, files=files, data={"model": "digits"}, timeout=PATIENCE
        )
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "timed_out")
        files = {"file": ("a.flac", digit("one"))}
        answer = httpx.post(
            server.url + PATH, files=files, data={"model": "digits"}, timeout=PATIENCE
        )
        assert answer.json()["text"] == "one"

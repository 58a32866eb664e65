"""Two hundred malformed uploads: each is refused with a reason, and nothing is left behind."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from malformed import malformed_inputs
from serving.process import Server, until
from serving.sounds import digit

PATH = "/v1/audio/transcriptions"
COUNT = 200
MOST_GROWTH_MB = 60


@pytest.fixture(scope="module")
def inputs() -> list[tuple[str, bytes]]:
    return list(malformed_inputs(COUNT, 0))


@pytest.fixture(scope="module")
def answers(http: httpx.Client, inputs: list[tuple[str, bytes]]) -> dict[str, httpx.Response]:
    return dict(zip([name for name, _ in inputs], send(http, inputs), strict=True))


def send(http: httpx.Client, inputs: list[tuple[str, bytes]]) -> Iterator[httpx.Response]:
    def one(given: tuple[str, bytes]) -> httpx.Response:
        return http.post(PATH, files={"file": ("a.wav", given[1])}, data={"model": "digits"})

    with ThreadPoolExecutor(4) as pool:
        yield from pool.map(one, inputs)


def test_all_are_there(inputs: list[tuple[str, bytes]]) -> None:
    assert len(inputs) == len({name for name, _ in inputs}) == COUNT


def test_each_is_refused_with_what_was_found_expected_and_to_do(
    answers: dict[str, httpx.Response],
) -> None:
    wrong = []
    for name, answer in answers.items():
        error = answer.json().get("error", {})
        sentences = str(error.get("message", "")).split(". ")
        if not (
            400 <= answer.status_code < 500
            and error.keys() == {"message", "type", "param", "code"}
            and error["type"] == "invalid_request_error"
            and len(sentences) >= 3
            and any(sentence.startswith("Expected ") for sentence in sentences[1:])
            and len(error["message"]) < 1000
        ):
            wrong.append((name, answer.status_code, answer.text[:200]))
    assert not wrong


def test_the_service_goes_on(server: Server, http: httpx.Client, answers: object) -> None:
    del answers
    answer = http.post(PATH, files={"file": ("a.flac", digit("nine"))}, data={"model": "digits"})
    assert answer.json()["text"] == "nine"
    assert server.value("aimass_requests_under_way") == 0


def test_memory_comes_back(
    server: Server, http: httpx.Client, inputs: list[tuple[str, bytes]], answers: object
) -> None:
    del answers  # the first pass has warmed every decoder up
    before = server.memory_mb
    assert all(answer.status_code < 500 for answer in send(http, inputs))
    until(lambda: server.value("aimass_requests_under_way") == 0, "a place was not given back")
    assert server.memory_mb - before < MOST_GROWTH_MB

"""What is not a request is refused with one shape, and never with a fault of ours."""

import json
import random
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest

from serving.process import PATIENCE, Server
from serving.sounds import digit

PATH = "/v1/audio/transcriptions"
FORM = {"content-type": "multipart/form-data; boundary=x"}


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    file = f'; filename="{filename}"' if filename is not None else ""
    head = f'--x\r\nContent-Disposition: form-data; name="{name}"{file}\r\n\r\n'
    return head.encode() + content + b"\r\n"


def body(*parts: bytes) -> bytes:
    return b"".join(parts) + b"--x--\r\n"


def sound() -> bytes:
    return part("file", digit("one"), "a.flac")


MODEL = part("model", b"digits")


def assert_problem(answer: httpx.Response, *statuses: int) -> dict[str, str]:
    assert answer.status_code in (statuses or range(400, 500)), answer.text
    assert answer.headers["content-type"] == "application/json"
    content = answer.json()
    assert content.keys() == {"error"}
    problem: dict[str, str] = content["error"]
    assert problem.keys() == {"message", "type", "param", "code"}
    assert problem["message"] and problem["code"]
    assert problem["type"] in ("invalid_request_error", "rate_limit_error")
    assert "Expected" in problem["message"]
    return problem


def test_the_form_of_these_tests_is_good(http: httpx.Client) -> None:
    answer = http.post(PATH, content=body(sound(), MODEL), headers=FORM)
    assert answer.json()["text"] == "one"


def test_media_types_know_no_case(http: httpx.Client) -> None:
    headers = {"content-type": "Multipart/Form-Data; boundary=x"}
    assert http.post(PATH, content=body(sound(), MODEL), headers=headers).json()["text"] == "one"


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        (None, b""),
        (None, b"hello"),
        ("application/json", json.dumps({"file": "a.wav"}).encode()),
        ("application/x-www-form-urlencoded", b"file=a&model=b"),
        ("audio/wav", b"RIFF"),
        ("text/plain; charset=", b""),
        ("multipart/mixed; boundary=x", b""),
    ],
)
def test_what_is_no_form(http: httpx.Client, kind: str | None, content: bytes) -> None:
    headers = {} if kind is None else {"content-type": kind}
    assert_problem(http.post(PATH, content=content, headers=headers), 400)


@pytest.mark.parametrize(
    "kind",
    [
        "multipart/form-data",
        "multipart/form-data; boundary=",
        "multipart/form-data; boundary=other",
        "multipart/form-data; boundary=" + "y" * 5000,
        "multipart/form-data; charset=nonsense; boundary=x",
    ],
)
def test_a_wrong_boundary_or_charset(http: httpx.Client, kind: str) -> None:
    content = body(part("other", b"field"), MODEL)
    assert_problem(http.post(PATH, content=content, headers={"content-type": kind}), 400)


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"--x",
        b"--x--",
        b"--x\r\n\r\n\r\n--x--\r\n",
        b"\0" * 10_000,
        b"--x\r\n" * 5_000,
        b"--x\r\nContent-Disposition: nonsense\r\n\r\nhello\r\n--x--\r\n",
        b'--x\r\nContent-Disposition: form-data; name=""\r\n\r\nhello\r\n--x--\r\n',
        b"--x\r\nContent-Disposition: form-data\r\n\r\nhello\r\n--x--\r\n",
        b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\n--x--\r\n",
        b"--x\r\nA: " + b"b" * 1_000_000 + b"\r\n\r\n--x--\r\n",
        body(MODEL),
        body(part("file", b"no filename"), MODEL),
        body(part("file", b"", "a.wav"), MODEL),
        body(sound(), sound(), MODEL),
        body(sound(), part("other", b"x", "b.wav"), MODEL),
        body(sound(), *[part(f"f{i}", b"x") for i in range(10_000)]),
        body(sound(), part("prompt", b"x" * 3_000_000), MODEL),
        body(sound(), part("prompt", b"\xff\xfe\xc3"), part("response_format", b"\xff")),
    ],
)
def test_broken_forms(http: httpx.Client, content: bytes) -> None:
    assert_problem(http.post(PATH, content=content, headers=FORM), 400)


def test_forms_cut_or_damaged_anywhere(http: httpx.Client) -> None:
    whole = body(part("response_format", b"json"), MODEL, sound())
    rng = random.Random(0)
    for number in range(60):
        content = bytearray(whole[: rng.randrange(len(whole))] if number % 2 else whole)
        if not number % 2:
            for _ in range(20):
                content[rng.randrange(len(content))] = rng.randrange(256)
        answer = http.post(PATH, content=bytes(content), headers=FORM)
        assert answer.status_code == 200 or assert_problem(answer)


@pytest.mark.parametrize(
    "name", ["../../../../etc/passwd", "..\\..\\a.wav", "/etc/passwd", "a\0b.wav", "ä" * 300, "|ls"]
)
def test_the_name_of_a_file_is_never_used(http: httpx.Client, name: str) -> None:
    content = body(part("file", digit("one"), name), MODEL)
    assert http.post(PATH, content=content, headers=FORM).json()["text"] == "one"
    refused = http.post(PATH, content=body(part("file", b"junk", name), MODEL), headers=FORM)
    assert "passwd" not in assert_problem(refused, 415)["message"]


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/v1/nothing", 404),
        ("GET", "/v1/models/nothing", 404),
        ("GET", "/v1/models/..%2f..%2fetc", 404),
        ("GET", "/" + "x" * 5000, 404),
        ("GET", PATH, 405),
        ("DELETE", "/v1/models", 405),
        ("POST", "/healthz", 405),
    ],
)
def test_unknown_paths_and_methods(http: httpx.Client, method: str, path: str, status: int) -> None:
    answer = http.request(method, path)
    assert len(assert_problem(answer, status)["message"]) < 1000
    if status == 405:
        assert answer.headers["allow"]


@pytest.fixture(scope="module")
def small(home: Path) -> Iterator[Server]:
    """A server that takes at most 1 MB and has two places."""
    settings = {"MAX_UPLOAD_MB": 1, "MAX_WAITING": 1, "WORKERS": 1, "DEFAULT_MODEL": "digits"}
    with Server(home, settings=settings) as server:
        yield server.ready()


@pytest.mark.parametrize("megabytes", [3, 30])
@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_over_the_limit_is_refused(small: Server, megabytes: int, chunked: bool) -> None:
    whole = body(MODEL, part("file", bytes(megabytes * 1_000_000), "a.wav"))
    pieces = (whole[i : i + 65_536] for i in range(0, len(whole), 65_536))
    answer = httpx.post(
        small.url + PATH,
        content=pieces if chunked else whole,
        headers=FORM,
        timeout=PATIENCE,
    )
    problem = assert_problem(answer, 413)
    assert problem["code"] == "audio_too_large" and "AIMASS_MAX_UPLOAD_MB" in problem["message"]


def test_a_file_over_the_limit_is_refused_though_its_body_is_not(small: Server) -> None:
    content = body(MODEL, part("file", b"RIFF" + bytes(1_500_000), "a.wav"))
    answer = httpx.post(small.url + PATH, content=content, headers=FORM)
    assert assert_problem(answer, 413)["code"] == "audio_too_large"


def test_the_official_client_meets_413_too(small: Server) -> None:
    client = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0)
    with pytest.raises(openai.APIStatusError) as caught:
        client.audio.transcriptions.create(file=("a.wav", bytes(40_000_000)), model="digits")
    assert (caught.value.status_code, caught.value.code) == (413, "audio_too_large")


def test_a_full_service_says_when_to_come_back(small: Server) -> None:
    client = openai.OpenAI(base_url=f"{small.url}/v1", api_key="none", max_retries=0)

    def endless() -> Iterator[bytes]:  # holds a place for as long as it is not closed
        yield part("model", b"digits")
        while small.value("aimass_requests_under_way") < 2:
            pass
        with pytest.raises(openai.RateLimitError) as caught:
            client.audio.transcriptions.create(file=("a.wav", bytes(900_000)), model="digits")
        assert 1 <= int(caught.value.response.headers["retry-after"]) <= 60
        assert (caught.value.code, caught.value.type) == ("busy", "rate_limit_error")
        assert small.get("/healthz").status_code == 200
        yield body(sound())

    def waiting() -> Iterator[bytes]:
        yield part("model", b"digits")
        inner = httpx.post(small.url + PATH, content=endless(), headers=FORM, timeout=PATIENCE)
        assert inner.json()["text"] == "one"
        yield body(sound())

    outer = httpx.post(small.url + PATH, content=waiting(), headers=FORM, timeout=PATIENCE)
    assert outer.json()["text"] == "one"
    assert small.value("aimass_requests_under_way") == 0
    assert small.value("aimass_errors_total", code="busy") == 1

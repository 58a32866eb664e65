"""What a running service counts."""

import httpx
from prometheus_client.parser import text_string_to_metric_families

from serving.process import Server, until
from serving.sounds import digit

PATH = "/v1/audio/transcriptions"


def test_the_page_parses(http: httpx.Client) -> None:
    answer = http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert len(list(text_string_to_metric_families(answer.text))) >= 7


def test_requests_audio_compute_and_errors_are_counted(server: Server, http: httpx.Client) -> None:
    def counted() -> list[float]:
        return [
            server.value("aimass_requests_total", route=PATH, status="200"),
            server.value("aimass_request_seconds_count", route=PATH),
            server.value("aimass_requests_total", route=PATH, status="415"),
            server.value("aimass_errors_total", code="not_audio"),
        ]

    before, audio = counted(), server.value("aimass_audio_seconds_total", model="digits")
    compute = server.value("aimass_recognise_seconds_total", model="digits")
    data = {"model": "digits"}
    http.post(PATH, files={"file": ("a.flac", digit("one"))}, data=data).raise_for_status()
    http.post(PATH, files={"file": ("a.flac", b"no audio at all")}, data=data)
    wanted = [before[0] + 1, before[1] + 2, before[2] + 1, before[3] + 1]
    until(lambda: counted() == wanted, "the counters did not move")
    assert 0 < server.value("aimass_audio_seconds_total", model="digits") - audio < 2
    assert server.value("aimass_recognise_seconds_total", model="digits") > compute


def test_paths_of_clients_do_not_become_labels(server: Server, http: httpx.Client) -> None:
    before = server.value("aimass_requests_total", route="none", status="404")
    for number in range(3):
        http.get(f"/made-up-{number}")
    until(
        lambda: server.value("aimass_requests_total", route="none", status="404") == before + 3,
        "unknown paths are not counted as one",
    )
    assert "made-up" not in http.get("/metrics").text

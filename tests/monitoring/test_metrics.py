"""The page that Prometheus scrapes."""

from prometheus_client.parser import text_string_to_metric_families

from aimass.monitoring.metrics import SECONDS, Metrics


def page(metrics: Metrics) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    families = text_string_to_metric_families(metrics.page().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if not sample.name.endswith("_created")
    }


def test_an_idle_page_parses_and_every_metric_is_explained() -> None:
    families = list(text_string_to_metric_families(Metrics(lambda: 0).page().decode()))
    assert {family.name for family in families} == {
        "aimass_requests",
        "aimass_request_seconds",
        "aimass_audio_seconds",
        "aimass_recognise_seconds",
        "aimass_errors",
        "aimass_model_loads",
        "aimass_requests_under_way",
        "aimass_dead_members",
    }
    assert all(family.documentation.endswith(".") for family in families)


def test_counters_move_by_what_was_counted() -> None:
    metrics = Metrics(lambda: 0)
    metrics.requests.labels("/v1/models", "200").inc()
    metrics.requests.labels("/v1/models", "200").inc()
    metrics.audio.labels("digits").inc(2.5)
    metrics.compute.labels("digits").inc(0.5)
    metrics.errors.labels("busy").inc()
    metrics.loads.labels("digits").inc()
    found = page(metrics)
    assert found["aimass_requests_total", (("route", "/v1/models"), ("status", "200"))] == 2
    assert found["aimass_audio_seconds_total", (("model", "digits"),)] == 2.5
    assert found["aimass_recognise_seconds_total", (("model", "digits"),)] == 0.5
    assert found["aimass_errors_total", (("code", "busy"),)] == 1
    assert found["aimass_model_loads_total", (("model", "digits"),)] == 1


def test_latencies_fall_into_buckets_that_add_up() -> None:
    metrics = Metrics(lambda: 0)
    times = (0.001, 0.02, 0.02, 3.0, 4000.0)
    for seconds in times:
        metrics.latency.labels("/").observe(seconds)
    found = page(metrics)
    counts = [
        found["aimass_request_seconds_bucket", (("le", f"{float(s)}"), ("route", "/"))]
        for s in SECONDS
    ]
    assert counts == [sum(t <= s for t in times) for s in SECONDS]
    assert found["aimass_request_seconds_count", (("route", "/"),)] == len(times)
    assert found["aimass_request_seconds_sum", (("route", "/"),)] == sum(times)


def test_places_are_asked_for_at_each_scrape() -> None:
    places = iter((0, 3, 1))
    metrics = Metrics(lambda: next(places))
    seen = [page(metrics)["aimass_requests_under_way", ()] for _ in range(3)]
    assert seen == [0, 3, 1]


def test_dead_members_are_those_of_now() -> None:
    told = iter(({"a": 1, "b": 0}, {"b": 2}))
    metrics = Metrics(lambda: 0, lambda: next(told))
    seen = [page(metrics) for _ in range(2)]
    name = "aimass_dead_members"
    counts = [[own.get((name, (("model", model),))) for model in "ab"] for own in seen]
    assert counts == [[1, 0], [None, 2]]


def test_labels_of_any_content_keep_the_page_readable() -> None:
    metrics = Metrics(lambda: 0)
    for text in ('a"b', "a\\b", "a\nb", "ä→", ""):
        metrics.errors.labels(text).inc()
    codes = {dict(labels).get("code") for name, labels in page(metrics) if "errors" in name}
    assert codes == {'a"b', "a\\b", "a\nb", "ä→", ""}


def test_two_services_of_one_process_do_not_share_counters() -> None:
    first, second = Metrics(lambda: 0), Metrics(lambda: 0)
    first.loads.labels("a").inc()
    assert ("aimass_model_loads_total", (("model", "a"),)) not in page(second)

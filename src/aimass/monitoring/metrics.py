"""What a running service counts, in the form that Prometheus reads."""

from collections.abc import Callable, Mapping

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class Metrics:
    """The counters of one service.

    Args:
        places_taken: tells how many requests are under way.
        dead_members: tells how many members do not answer, of each massive model that is loaded.
    """

    content_type = "text/plain; version=0.0.4; charset=utf-8"

    def __init__(
        self, places_taken: Callable[[], int], dead_members: Callable[[], Mapping[str, int]] = dict
    ) -> None:
        self._registry = CollectorRegistry()
        self.requests = Counter(
            "aimass_requests", "Finished requests.", ["route", "status"], registry=self._registry
        )
        self.latency = Histogram(
            "aimass_request_seconds",
            "Time from the first byte of a request to the end of its answer.",
            ["route"],
            buckets=SECONDS,
            registry=self._registry,
        )
        self.audio = Counter(
            "aimass_audio_seconds", "Audio recognised.", ["model"], registry=self._registry
        )
        self.compute = Counter(
            "aimass_recognise_seconds",
            "Time spent recognising.",
            ["model"],
            registry=self._registry,
        )
        self.errors = Counter(
            "aimass_errors", "Errors by their code.", ["code"], registry=self._registry
        )
        self.loads = Counter(
            "aimass_model_loads", "Models loaded.", ["model"], registry=self._registry
        )
        under_way = Gauge(
            "aimass_requests_under_way", "Requests that hold a place.", registry=self._registry
        )
        under_way.set_function(places_taken)
        self._dead_members = dead_members
        self._dead = Gauge(
            "aimass_dead_members",
            "Members of loaded massive models that do not answer.",
            ["model"],
            registry=self._registry,
        )

    def page(self) -> bytes:
        """The text that Prometheus scrapes."""
        self._dead.clear()  # of models that are no longer loaded nothing is told
        for model, count in self._dead_members().items():
            self._dead.labels(model).set(count)
        return generate_latest(self._registry)

"""What every request of one service shares."""

import asyncio
import gc
import logging
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from weakref import WeakValueDictionary

from aimass.base.contract import Engine
from aimass.base.errors import AimassError
from aimass.base.settings import Settings
from aimass.monitoring.metrics import Metrics
from aimass.runtime.load import Engines, Model, Parallelism
from aimass.runtime.massive import MassiveEngine
from aimass.runtime.scheduler import Scheduler

log = logging.getLogger(__name__)


@dataclass(slots=True)
class Service:
    """Workers, engines and metrics.

    Args:
        massive: the massive models that are loaded, by folder.
        loading: models that must be loaded before the service is ready.
        lookups: of names under way; however many requests ask for one, the registry is asked once.
    """

    config: Settings
    scheduler: Scheduler
    engines: Engines
    metrics: Metrics
    massive: WeakValueDictionary[Path, MassiveEngine]
    loading: list[str] = field(default_factory=list)
    lookups: dict[str, asyncio.Task[Engine]] = field(default_factory=dict)

    async def engine(self, reference: str) -> Engine:
        """The engine of a model's name, looked up and loaded off the event loop."""
        if engine := self.engines.ready(reference):
            return engine
        lookup = self.lookups.get(reference)
        if lookup is None:
            lookup = asyncio.create_task(asyncio.to_thread(self.engines.get, reference))
            self.lookups[reference] = lookup
            lookup.add_done_callback(lambda done: self._looked_up(reference, done))
        return await asyncio.shield(lookup)  # one client that goes away does not end it for all

    def _looked_up(self, reference: str, lookup: asyncio.Task[Engine]) -> None:
        del self.lookups[reference]
        if lookup.cancelled() or lookup.exception():  # seen, even where every client has gone away
            return
        engine = lookup.result()
        if isinstance(engine, MassiveEngine):
            self.massive[engine.bundle.folder] = engine

    def report(self, error: AimassError, where: str) -> None:
        """Count an error, and log it where it is ours."""
        self.metrics.errors.labels(error.code).inc()
        if error.status >= 500:
            log.error("%s: %s", where, error)

    @classmethod
    def start(cls, config: Settings) -> "Service":
        """Start the workers and load nothing yet."""
        workers = Parallelism.of_machine(config.workers).workers
        scheduler = Scheduler(workers, config.max_waiting)
        massive = WeakValueDictionary[Path, MassiveEngine]()
        metrics = Metrics(lambda: scheduler.taken, lambda: _dead_members(massive))

        def opened(model: Model) -> None:
            metrics.loads.labels(model.name).inc()
            _settle()

        return cls(config, scheduler, Engines(config, opened), metrics, massive)


def _dead_members(massive: Mapping[Path, MassiveEngine]) -> dict[str, int]:
    """How many members do not answer, by the name of their model; of all its versions together."""
    found = Counter[str]()
    for engine in massive.values():
        found[engine.name] += len(engine.dead)
    return found


def _settle() -> None:
    """Keep what is there now out of later garbage collections.

    A full collection looks at every object of the libraries loaded so far, and stops all requests
    for a fifth of a second. Thawed first: what an earlier model left behind goes now.
    """
    gc.unfreeze()
    gc.collect()
    gc.freeze()

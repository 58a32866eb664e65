"""Records of training in MLflow: one run for each member, beside the registry's own entries.

The log of a training folder is the truth and MLflow a copy for people to compare runs in: rows
are sent from a thread, a resumed run goes on in the same MLflow run, and an MLflow that fails is
told once and never stops training.
"""

import json
import logging
import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from aimass.base.files import write_json
from aimass.data.measure import cores
from aimass.registry.store import Registry

RUN = "run.json"
PAGE = 100  # params in one request, which is all that MLflow takes
LONGEST = 6000  # characters of a param's value, likewise
TRIES, PAUSE = 4, 0.2  # seconds, twice as long after each try
GONE = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")  # the latter of a deleted run
_LOGGER = logging.getLogger("aimass.tracking")


class Pruned(Exception):
    """Raised from the report of an epoch to end a training that is not worth its time."""


@dataclass(frozen=True, slots=True)
class Tracking:
    """Where runs are kept; plain values, so that a member's own process can have it.

    Args:
        home, url: those of the registry.
        experiment: the scenario's name, under which its runs stand together.
        tags: of every run.
    """

    home: Path
    url: str | None
    experiment: str
    tags: tuple[tuple[str, str], ...] = ()

    @property
    def registry(self) -> Registry:
        """What runs are written through."""
        return Registry(self.home, self.url)


@contextmanager
def tracked(
    tracking: Tracking | None, folder: Path, log: Path, name: str, parameters: Mapping[str, Any]
) -> Iterator[Callable[[], None]]:
    """Keep one training in MLflow; gives what to call when the log has a new row.

    Args:
        folder: of the training, where the run's id is kept for a resumption.
        log: JSON lines, one for each epoch, of numbers by name with ``epoch`` among them.
        parameters: nested values that decide the training.
    """
    if tracking is None:
        yield lambda: None
        return
    run = _Run(tracking, folder, log)
    with ThreadPoolExecutor(1) as thread:

        def copy() -> None:
            thread.submit(run.copy_log)

        thread.submit(run.begin, name, parameters)
        try:
            yield copy
        except BaseException as error:
            meant = isinstance(error, Pruned) or not isinstance(error, Exception)
            thread.submit(run.end, "KILLED" if meant else "FAILED")
            raise
        thread.submit(run.end, "FINISHED")


def keep_scores(
    tracking: Tracking | None, trained: Path, scores: Mapping[str, float], pages: Sequence[Path]
) -> None:
    """Add what was measured of a packed member to its run.

    Args:
        trained: the member's folder, where its training left the id of its run.
        pages: files and folders to keep with the run.
    """
    if tracking is None or not (trained / RUN).is_file():
        return
    run = _Run(tracking, trained, trained / "none")
    run.scored(scores, pages)


def environment() -> dict[str, Any]:
    """What a training ran on."""
    import torch

    return {
        "torch": torch.__version__,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "cores": cores(),
        "device": "cuda" if torch.cuda.is_available() else "cpu",
    }


def flat(values: Mapping[str, Any], prefix: str = "") -> dict[str, str]:
    """Nested values under dotted names; lists and what is empty as JSON."""
    found: dict[str, str] = {}
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            found |= flat(value, f"{prefix}{key}.")
        else:
            text = value if isinstance(value, str) else json.dumps(value, default=str)
            found[f"{prefix}{key}"] = text[:LONGEST]
    return found


class _Run:
    """One run; every method is called from one thread, and none of them raises."""

    def __init__(self, tracking: Tracking, folder: Path, log: Path) -> None:
        self._tracking = tracking
        self._registry = tracking.registry
        self._folder = folder
        self._log = log
        self._sent: set[int] = set()
        self._id: str | None = None
        self._told = False
        if (folder / RUN).is_file():
            self._id = str(json.loads((folder / RUN).read_text())["run"])

    def begin(self, name: str, parameters: Mapping[str, Any]) -> None:
        """Go on with the run that the folder names, or begin one."""
        with self._forgiven():
            known = self._id is not None and self._again(self._known)
            if not known:
                self._id = self._again(lambda: self._create(name))
                write_json(self._folder / RUN, {"run": self._id})
            self._again(lambda: self._describe(flat(parameters)))
        self.copy_log()

    def copy_log(self) -> None:
        """Send the rows of the log that MLflow does not have yet."""
        with self._forgiven():
            if self._id is None or not self._log.is_file():
                return
            rows = [json.loads(line) for line in self._log.read_text().splitlines()]
            new = [row for row in rows if row["epoch"] not in self._sent]
            for first in range(0, len(new), PAGE):
                self._again(partial(self._send, new[first : first + PAGE]))

    def end(self, status: str) -> None:
        """Close the run with the last of its log."""
        self.copy_log()
        with self._forgiven():
            if self._id is not None:
                self._keep(self._log)
                self._again(lambda: self._client.set_terminated(self._id, status))

    def scored(self, scores: Mapping[str, float], pages: Sequence[Path]) -> None:
        """Add scores and pages."""
        with self._forgiven():
            self._again(lambda: self._metrics([(name, scores[name], 0) for name in scores]))
            for page in pages:
                self._keep(page)

    @property
    def _client(self) -> Any:
        return self._registry.client

    def _known(self) -> bool:
        """Whether MLflow knows the run still, and which epochs it has."""
        from mlflow.exceptions import MlflowException

        try:
            history = self._client.get_metric_history(self._id, "dev")
            self._client.update_run(self._id, status="RUNNING")
        except MlflowException as error:
            if error.error_code not in GONE:
                raise
            return False
        self._sent = {metric.step for metric in history}
        return True

    def _create(self, name: str) -> str:
        tags = {"mlflow.runName": name, **dict(self._tracking.tags)}
        return str(self._client.create_run(self._experiment(), tags=tags).info.run_id)

    def _experiment(self) -> str:
        name = self._tracking.experiment
        known = self._client.get_experiment_by_name(name)
        if known is not None:
            return str(known.experiment_id)
        url = self._tracking.url or ""
        place = None if url.startswith("http") else self._tracking.home.resolve() / "artifacts"
        folder = None if place is None else (place / name).as_uri()  # a server has a place itself
        return str(self._client.create_experiment(name, artifact_location=folder))

    def _describe(self, parameters: dict[str, str]) -> None:
        from mlflow.entities import Param, RunTag

        tags = [RunTag(f"environment.{k}", str(v)) for k, v in environment().items()]
        self._client.log_batch(self._id, tags=tags)
        rows = [Param(key, value) for key, value in parameters.items()]
        for first in range(0, len(rows), PAGE):
            self._client.log_batch(self._id, params=rows[first : first + PAGE])

    def _send(self, rows: Sequence[Mapping[str, float]]) -> None:
        self._metrics(
            [
                (name, value, int(row["epoch"]))
                for row in rows
                for name, value in row.items()
                if name != "epoch"
            ]
        )
        self._sent |= {int(row["epoch"]) for row in rows}

    def _metrics(self, values: Sequence[tuple[str, float, int]]) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(name, float(value), now, step) for name, value, step in values]
        self._client.log_batch(self._id, metrics=metrics)

    def _keep(self, path: Path) -> None:
        """Keep a file, or a folder under its own name."""
        if path.is_dir():
            self._client.log_artifacts(self._id, str(path), path.name)
        elif path.is_file():
            self._client.log_artifact(self._id, str(path))

    def _again(self, work: Callable[[], Any]) -> Any:
        """Do work that writes, one process at a time; another program may lock the database."""
        for left in reversed(range(TRIES)):
            try:
                with self._registry.alone():
                    return work()
            except Exception as error:
                if not left or "locked" not in str(error):
                    raise
                time.sleep(PAUSE * 2 ** (TRIES - left))
        raise AssertionError("the last try returned or raised")

    @contextmanager
    def _forgiven(self) -> Iterator[None]:
        """Tell once that MLflow fails; training goes on."""
        try:
            yield
        except Exception as error:  # of a server, a database, a full disk: none is worth a model
            if not self._told:
                self._told = True
                first = (str(error).splitlines() or [type(error).__name__])[0][:200]
                _LOGGER.warning("training goes on without its record in MLflow: %s", first)

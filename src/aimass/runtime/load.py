"""From a model's name to an engine.

A name means, in this order: a version in the registry, a bundle that ships with the package,
a pretrained model under ``AIMASS_HOME/models``. ``name@alias`` and ``name@version`` pick one
version of a registered model.
"""

import os
import re
import sys
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from aimass.base.contract import Engine
from aimass.base.errors import AimassError, BundleError, IntegrityError, UnknownModel
from aimass.base.settings import Settings, settings
from aimass.registry import bundle as bundles
from aimass.registry import pretrained
from aimass.registry.store import Registry
from aimass.runtime.kinds import engine_class
from aimass.runtime.massive import open_bundle

FRESH_SECONDS = 1.0
NICENESS = 10
MAX_REMEMBERED = 1000
_NAME = re.compile(r"([A-Za-z0-9][A-Za-z0-9._-]{0,63})(?:@([A-Za-z0-9][A-Za-z0-9._-]{0,63}))?")


_Key = tuple[Path, str | None]


@dataclass(frozen=True, slots=True)
class Model:
    """Where a name leads.

    Args:
        reference: the name with its version or alias, as a caller may write it.
        kind: ``bundle``, or the entry point of an engine such as ``whisper``.
        source: ``registry``, ``shipped`` or ``pretrained``.
        digest: of a registered bundle, else None.
    """

    name: str
    reference: str
    kind: str
    source: str
    folder: Path
    digest: str | None = None
    aliases: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Parallelism:
    """How many recognitions run at once, and the threads of each."""

    workers: int
    threads: int

    @classmethod
    def of_machine(cls, wanted: int | None = None) -> "Parallelism":
        """At least two workers, so that a short file never waits for a long one to end."""
        cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        workers = wanted or min(8, max(2, cores or 1))
        return cls(workers, max(1, (cores or 1) // workers))


def shipped() -> dict[str, Path]:
    """The bundles inside the package, by name."""
    folder = Path(str(files("aimass"))) / "bundles"
    return {p.name: p for p in sorted(folder.iterdir()) if (p / bundles.MANIFEST).is_file()}


def resolve(
    reference: str, config: Settings | None = None, registry: Registry | None = None
) -> Model:
    """What a name means now.

    Raises:
        UnknownModel: no such name, alias or version.
    """
    config = config or settings()
    registry = registry or Registry(config.home, config.registry_url)
    match = _NAME.fullmatch(reference)
    if match is None:
        raise UnknownModel(
            f"'{reference[:80]}' is no model name",
            expected="letters, digits, dots, dashes and underscores, and optionally @alias",
            fix="See: aimass models list",
            param="model",
        )
    name, version = match.groups()
    published = registry.resolve(name, version)
    if published is not None:
        return Model(
            name,
            f"{name}@{published.version}",
            "bundle",
            "registry",
            published.folder,
            published.digest,
            published.aliases,
        )
    if version is None and name in shipped():
        return Model(name, name, "bundle", "shipped", shipped()[name])
    found = pretrained.find(config.home, name) if version is None else None
    if found is not None and found.kind != "voice":
        return Model(name, name, found.kind, "pretrained", found.folder)
    raise _unknown(reference, config)


def _unknown(reference: str, config: Settings) -> UnknownModel:
    if reference in pretrained.catalogue():
        fix = f"Type: aimass models pull {reference}"
    else:
        fix = "See: aimass models list"
    known = dict.fromkeys(model.name for model in models(config))
    return UnknownModel(
        f"there is no model '{reference}'",
        expected=f"one of {', '.join(known)}",
        fix=fix,
        param="model",
    )


def models(config: Settings | None = None) -> list[Model]:
    """Every model that can be used now; one entry for each registered version."""
    config = config or settings()
    registry = Registry(config.home, config.registry_url)
    found = [
        Model(v.name, f"{v.name}@{v.version}", "bundle", "registry", v.folder, v.digest, v.aliases)
        for name in registry.names()
        for v in registry.versions(name)
    ]
    found += [Model(n, n, "bundle", "shipped", folder) for n, folder in shipped().items()]
    found += [
        Model(p.name, p.name, p.kind, "pretrained", p.folder)
        for p in pretrained.installed(config.home)
        if p.kind != "voice"
    ]
    return found


def open_model(
    model: Model, parallelism: Parallelism | None = None, home: Path | None = None
) -> Engine:
    """Load a model; its digests and golden output are checked on the way.

    Args:
        home: where the pretrained members of a massive model are; that of the settings when None.

    Raises:
        BundleError, IntegrityError: a model that is damaged or is not the published one.
        MissingExtra: the engine of a pretrained model is not installed.
    """
    parallelism = parallelism or Parallelism.of_machine()
    given: dict[str, Any] = {
        "name": model.name,
        "workers": parallelism.workers,
        "threads": parallelism.threads,
    }
    if model.kind != "bundle":
        engine: Engine = engine_class(model.kind).open(model.folder, **given)
        return engine
    bundled = open_bundle(model.folder, home=home, **given)
    if model.digest is not None and bundled.bundle.digest != model.digest:
        raise IntegrityError(
            f"{model.folder} is not the bundle that was published as {model.reference}",
            expected=f"a {bundles.MANIFEST} with SHA-256 {model.digest}",
            fix="Build or publish the model again",
        )
    return bundled


def load(name: str | None = None) -> Engine:
    """The engine of a model's name; the default model's when None.

    Raises:
        UnknownModel, BundleError, IntegrityError, MissingExtra: as `resolve` and `open_model`.
    """
    return open_model(resolve(name or settings().default_model))


def _behind(opening: Callable[[], Engine]) -> Engine:
    """Open an engine so that the threads of its library run behind ours, where Linux is.

    Threads inherit the priority of the one that starts them. A large model's threads compute for
    seconds; answering requests and small models takes milliseconds and must not wait for them.
    """

    def low() -> Engine:
        if sys.platform == "linux":
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
        return opening()

    with ThreadPoolExecutor(1) as once:
        return once.submit(low).result()


class Engines:
    """Engines that are loaded once and shared; thread-safe.

    What a name means is asked anew every second, so that an alias that moves takes effect
    without a restart and without a database query in every request. At most
    ``config.max_models`` stay loaded; the one unused for longest goes first.

    Args:
        config: the settings of the process.
        opened: called with the model each time one was loaded.
    """

    def __init__(self, config: Settings, opened: Callable[[Model], None] | None = None) -> None:
        self._config = config
        self._registry = Registry(config.home, config.registry_url)
        self._parallelism = Parallelism.of_machine(config.workers)
        self._opened = opened
        self._meaning: dict[str, tuple[float, Model]] = {}
        self._engines: OrderedDict[_Key, Engine] = OrderedDict()
        self._loading: dict[_Key, threading.Lock] = {}
        self._lock = threading.Lock()

    def ready(self, reference: str) -> Engine | None:
        """The engine of a name, if that takes no time to find out."""
        with self._lock:
            asked, model = self._meaning.get(reference, (0.0, None))
            if model is None or time.monotonic() - asked > FRESH_SECONDS:
                return None
            return self._loaded((model.folder, model.digest))

    def get(self, reference: str) -> Engine:
        """The engine that a name means now, loaded at its first use."""
        model = resolve(reference, self._config, self._registry)
        key = (model.folder, model.digest)
        with self._lock:
            self._remember(reference, model)
            if engine := self._loaded(key):
                return engine
            loading = self._loading.setdefault(key, threading.Lock())
        with loading:  # only callers of the same model wait for it
            with self._lock:
                if engine := self._loaded(key):
                    return engine
            engine = self._open(model)
            with self._lock:
                self._engines[key] = engine
                self._loading.pop(key, None)
                while len(self._engines) > self._config.max_models:
                    self._engines.popitem(last=False)  # requests that still use it keep it alive
            return engine

    def _remember(self, reference: str, model: Model) -> None:
        if len(self._meaning) >= MAX_REMEMBERED:
            self._meaning.clear()
        self._meaning[reference] = (time.monotonic(), model)

    def _loaded(self, key: "_Key") -> Engine | None:
        engine = self._engines.get(key)
        if engine is not None:
            self._engines.move_to_end(key)
        return engine

    def _open(self, model: Model) -> Engine:
        try:
            engine = _behind(lambda: open_model(model, self._parallelism, self._config.home))
        except AimassError:
            raise
        except Exception as error:  # an adapter's library may raise anything
            raise BundleError(
                f"model '{model.reference}' cannot be loaded: {error}",
                expected="a complete model",
                fix=f"Type: aimass models verify {model.reference}",
            ) from error
        if self._opened is not None:
            self._opened(model)
        return engine

    def close(self) -> None:
        """Let go of every engine."""
        with self._lock:
            for engine in self._engines.values():
                engine.close()
            self._engines.clear()

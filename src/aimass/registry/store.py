"""The model registry: names, versions and aliases of bundles, kept by MLflow.

A registry is one SQLite file under ``AIMASS_HOME`` unless ``AIMASS_REGISTRY_URL`` names an MLflow
server or another database. Bundles themselves stand under ``AIMASS_HOME/bundles``, each in a
folder named by its digest.
"""

import logging
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fcntl import LOCK_EX, flock
from functools import cached_property
from pathlib import Path
from typing import Any

from aimass.base.errors import BundleError, ServiceError, UnknownModel
from aimass.base.files import new_folder
from aimass.registry.bundle import Bundle, load

PRODUCTION, CANDIDATE = "production", "candidate"
_DIGEST, _FOLDER = "aimass.digest", "aimass.folder"


@dataclass(frozen=True, slots=True)
class Published:
    """One version of a model.

    Args:
        aliases: names such as ``production`` that point here now.
        folder: where its bundle stands.
        digest: of its ``bundle.toml``; a bundle with another digest must not be served.
    """

    name: str
    version: int
    aliases: tuple[str, ...]
    folder: Path
    digest: str

    @property
    def reference(self) -> str:
        """The name by which this very version is asked for."""
        return f"{self.name}@{self.version}"


class Registry:
    """Names, versions and aliases.

    Args:
        home: where bundles and the default database stand.
        url: MLflow server or database; ``<home>/registry.db`` when None.
    """

    def __init__(self, home: Path, url: str | None = None) -> None:
        self._home = home
        self._database = home / "registry.db"
        self._url = url

    @property
    def exists(self) -> bool:
        """Whether anything can have been published; false costs no database access."""
        return self._url is not None or self._database.is_file()

    def publish(self, bundle: Bundle, alias: str = PRODUCTION) -> Published:
        """Keep a bundle as the next version of its name and point `alias` at it.

        A bundle that was published before keeps its version; only the alias moves.
        """
        name = bundle.manifest.name
        with self.alone(), self.reached():
            self._keep(bundle)
            known = [v for v in self.versions(name) if v.digest == bundle.digest]
            number = known[0].version if known else self._add(name, bundle.digest)
            if not known or alias not in known[0].aliases:
                self.point(name, alias, number)
            return next(v for v in self.versions(name) if v.version == number)

    def point(self, name: str, alias: str, version: int) -> None:
        """Let an alias point at a version; new requests use it at once."""
        with self.reached():
            self.client.set_registered_model_alias(name, alias, str(version))

    def withdraw(self, name: str, digest: str) -> None:
        """Let no alias point at a bundle any more; its version stays."""
        with self.alone(), self.reached():
            for version in self.versions(name):
                for alias in version.aliases if version.digest == digest else ():
                    self.client.delete_registered_model_alias(name, alias)

    def resolve(self, name: str, reference: str | None = None) -> Published | None:
        """The version that a name means, or None where the registry does not know the name.

        Args:
            reference: an alias or a version number; ``production``, else the newest, when None.

        Raises:
            UnknownModel: a known name, but no such alias or version.
        """
        versions = self.versions(name)
        if not versions:
            return None
        for version in versions:
            if reference in (str(version.version), *version.aliases):
                return version
        if reference is not None:
            if reference == PRODUCTION:
                return None
            known = sorted({a for v in versions for a in v.aliases})
            raise UnknownModel(
                f"model '{name}' has no alias or version '{reference}'",
                expected=f"one of {', '.join([*known, *(str(v.version) for v in versions)])}",
                fix=f"See: aimass models show {name}",
                param="model",
            )
        promoted = [v for v in versions if PRODUCTION in v.aliases]
        return (promoted or versions)[0]

    def versions(self, name: str) -> list[Published]:
        """All versions of a name, the newest first."""
        if not self.exists:
            return []
        with self.reached():
            model = self._model(name)
            if model is None:
                return []
            found = self.client.search_model_versions(f"name = '{name}'", max_results=1000)
        aliases: dict[int, list[str]] = {}
        for alias, version in model.aliases.items():
            aliases.setdefault(int(version), []).append(alias)
        return sorted(
            (
                Published(
                    name,
                    int(v.version),
                    tuple(sorted(aliases.get(int(v.version), []))),
                    self._folder(v.tags[_FOLDER]),
                    v.tags[_DIGEST],
                )
                for v in found
                if _DIGEST in v.tags
            ),
            key=lambda v: -v.version,
        )

    def names(self) -> list[str]:
        """Every registered name."""
        if not self.exists:
            return []
        with self.reached():
            found = self.client.search_registered_models(max_results=1000)
        return sorted(model.name for model in found)

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Write from one process at a time: two would create tables and versions twice."""
        self._home.mkdir(parents=True, exist_ok=True)
        with (self._home / ".registry.lock").open("w") as file:
            flock(file, LOCK_EX)
            yield

    def _keep(self, bundle: Bundle) -> None:
        target = self._folder(bundle.digest)
        if target.is_dir() and not _whole(target, bundle.digest):
            shutil.rmtree(target)
        if not target.is_dir():
            with new_folder(target) as fresh:
                shutil.copytree(bundle.folder, fresh, dirs_exist_ok=True)

    def _add(self, name: str, digest: str) -> int:
        """Register the next version of a name; gives its number."""
        self._create(name)
        source = self._folder(digest).as_uri()
        tags = {_DIGEST: digest, _FOLDER: digest}
        return int(self.client.create_model_version(name, source=source, tags=tags).version)

    def _folder(self, digest: str) -> Path:
        return self._home.resolve() / "bundles" / digest[:16]

    def _create(self, name: str) -> None:
        from mlflow.exceptions import MlflowException

        if self._model(name) is None:
            try:
                self.client.create_registered_model(name)
            except MlflowException as error:  # another machine was first on a shared server
                if error.error_code != "RESOURCE_ALREADY_EXISTS":
                    raise

    def _model(self, name: str) -> Any:
        from mlflow.exceptions import MlflowException

        try:
            return self.client.get_registered_model(name)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return None
            raise

    @contextmanager
    def reached(self) -> Iterator[None]:
        """Say in our own words that the registry cannot be asked."""
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            yield
        except (MlflowException, SQLAlchemyError) as error:
            where = self._url or str(self._database)
            raise ServiceError(
                f"the registry {where} cannot be asked: {str(error).splitlines()[0][:200]}",
                expected="a registry database or an MLflow server that answers",
                fix="Check AIMASS_REGISTRY_URL, or put a copy of the database back",
            ) from error

    @cached_property
    def client(self) -> Any:
        """MLflow's own client, which also keeps the records of training."""
        # Imported late: it takes a second, and most commands never ask the registry.
        from mlflow import MlflowClient
        from mlflow.environment_variables import MLFLOW_DISABLE_TELEMETRY
        from mlflow.telemetry import set_telemetry_client

        MLFLOW_DISABLE_TELEMETRY.set(True)  # its reports of use would leave this machine
        set_telemetry_client()
        # Its first use reports every table that it creates.
        logging.getLogger("mlflow.store.db.utils").setLevel(logging.WARNING)
        logging.getLogger("alembic").setLevel(logging.WARNING)
        url = self._url or f"sqlite:///{self._database.resolve()}"
        return MlflowClient(tracking_uri=url, registry_uri=url)


def _whole(folder: Path, digest: str) -> bool:
    """Whether a kept bundle is still the one that was published."""
    try:
        return load(folder).digest == digest
    except BundleError:
        return False

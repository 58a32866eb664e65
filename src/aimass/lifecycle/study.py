"""Studies of Optuna, kept in a database so that a search that was stopped goes on."""

import logging
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def opened_study(
    database: Path, name: str, directions: Sequence[str] = ("minimize",)
) -> Iterator[Any]:
    """The study of that name, with the trials of earlier runs; a new one where there is none."""
    import optuna

    logging.getLogger("optuna").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    database.parent.mkdir(parents=True, exist_ok=True)
    storage = optuna.storages.RDBStorage(f"sqlite:///{database.resolve()}")
    known = {summary.study_name for summary in storage.get_all_studies()}
    try:
        yield optuna.create_study(
            storage=storage, study_name=name, directions=directions, load_if_exists=name in known
        )
    finally:
        storage.remove_session()
        storage.engine.dispose()

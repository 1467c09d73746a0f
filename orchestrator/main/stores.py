"""Which store the settings ask for: a file of this machine, or a database that nodes share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.ports import Store
from orchestrator.model.queries import Queries
from orchestrator.settings import Settings


class KeptStore(Store, Protocol):
    """A store with the reads that people ask for."""

    @property
    def queries(self) -> Queries: ...


class SharedStore(KeptStore, Protocol):
    """A store that several nodes read, and that the leader alone may write."""

    def lead(self, epoch: int) -> None:
        """From now on this node writes, under this epoch; StoreFenced when another one leads."""
        ...


def open_file(settings: Settings) -> KeptStore:
    """The SQLite file; it locks its folder. StoreError, StoreLocked in plain words."""
    return SqliteStore(settings.database_path, sync=settings.store_sync)


def open_shared(settings: Settings, url: Callable[[], str]) -> SharedStore:
    """The database, to be read until this node is told to lead. StoreError in plain words."""
    # The driver costs start-up time, and only who has a database needs it.
    from orchestrator.adapters.store.archive import FOLDER
    from orchestrator.adapters.store.postgres import PostgresStore

    return PostgresStore(url, archive=settings.state_dir / FOLDER, lease=True)

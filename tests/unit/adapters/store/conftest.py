"""Stores on PostgreSQL for one test, with patience or without."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from orchestrator.adapters.store import postgres_writer
from orchestrator.adapters.store.postgres import PostgresStore
from tests.unit.adapters.store.postgres_stores import Make


@pytest.fixture
def make(fresh_database: str) -> Iterator[Make]:
    """Opens a store on the test's own database each time."""
    opened: list[PostgresStore] = []

    def open_store(url: str = fresh_database, **options: Any) -> PostgresStore:
        opened.append(PostgresStore(url, **options))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of tenths of a second."""
    for name in ("TURN_S", "WRITE_S", "REOPEN_S"):
        monkeypatch.setattr(postgres_writer, name, 0.4)

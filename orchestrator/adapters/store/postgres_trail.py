"""The journal on PostgreSQL as an auditor reads it, beside nodes at work."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from orchestrator.adapters.store.codec import record_of
from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres_connection import UrlSource, parse
from orchestrator.adapters.store.postgres_reading import PostgresSource
from orchestrator.adapters.store.postgres_schema import JOURNAL, refuse_other, version
from orchestrator.adapters.store.postgres_sql import postgres_statements, record_from
from orchestrator.adapters.store.trail import NoStoreYet, Pruned, pruned_of
from orchestrator.model.journal import Record


class PostgresTrail:
    """Meets `trail.TrailSource`. StoreError for whatever cannot be read."""

    def __init__(self, url: UrlSource, variable: str = "DATABASE_URL") -> None:
        self._sql = postgres_statements("journal")
        self._thread = LoopThread("trail")
        self._source = PostgresSource(url, variable, self._thread)
        try:
            found = self._source.run(lambda session: version(session, JOURNAL))
            _refuse(found, parse(url(), variable).place)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Idempotent."""
        self._source.close()
        self._thread.close()

    def installation_id(self) -> str:
        return str(self._rows("get_meta", "installation_id")[0][0])

    def prunings(self) -> tuple[Pruned, ...]:
        """Oldest first."""
        return tuple(map(pruned_of, self._rows("prunings")))

    def last(self) -> Record | None:
        found = self._rows("last")
        return record_of(found[0]) if found else None

    def needed_from(self) -> int:
        """The oldest record that recovery and open trades still need; 0 when there is none."""
        return int(self._rows("needed_from")[0][0] or 0)

    def records(self, after: int = 0, upto: int = 2**62) -> Iterator[Record]:
        """From `after` (exclusive) to `upto`, in order; grows with a journal that is written."""
        for rows in self._source.pages(self._sql["after"], after, upto):
            yield from map(record_from, rows)

    def _rows(self, name: str, *given: object) -> list[tuple[Any, ...]]:
        with self._source.snapshot() as db:
            return db.execute(self._sql[name], given).fetchall()


def _refuse(found: int, place: str) -> None:
    if found == 0:
        raise NoStoreYet(f"there is no store in {place} yet")
    refuse_other(found, JOURNAL)

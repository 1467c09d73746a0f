"""The journal as an auditor reads it: in order, read-only, beside a service at work or without."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.adapters.store.codec import DbRow, record_of
from orchestrator.adapters.store.connections import BUSY_TIMEOUT_S
from orchestrator.adapters.store.statements import statements
from orchestrator.model.errors import StoreError
from orchestrator.model.journal import Record

# Small enough that no read holds up the write-ahead log for long.
_BATCH = 2_000


class NoStoreYet(StoreError):
    """The place is right, and nothing was ever kept there."""


class Pruned(msgspec.Struct, frozen=True, kw_only=True):
    """Records up to `upto`, the last one hashed `hash`, stand in `archive/FILE` only."""

    upto: int
    hash: bytes
    file: str
    digest: str
    at_ns: int
    actor: str


class TrailSource(Protocol):
    """A journal to be audited, wherever it stands."""

    def installation_id(self) -> str: ...

    def prunings(self) -> tuple[Pruned, ...]:
        """Oldest first."""
        ...

    def last(self) -> Record | None: ...

    def needed_from(self) -> int:
        """The oldest record that recovery and open trades still need; 0 when there is none."""
        ...

    def records(self, after: int = 0, upto: int = 2**62) -> Iterator[Record]:
        """From `after` (exclusive) to `upto`, in order; grows with a journal that is written."""
        ...

    def close(self) -> None: ...


class TrailReader:
    """A file: one connection that cannot write. StoreError for whatever cannot be read."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._sql = statements("journal")
        if not path.exists():
            raise NoStoreYet(f"there is no store {path}")
        try:
            self._db = sqlite3.connect(
                path.resolve().as_uri() + "?mode=ro", uri=True, timeout=BUSY_TIMEOUT_S,
                isolation_level=None,
            )  # fmt: skip
            self._db.execute("PRAGMA query_only = ON")
            self._db.execute("PRAGMA trusted_schema = OFF")
        except sqlite3.Error as exc:
            raise StoreError(f"the store {path} cannot be opened: {exc}") from exc

    def close(self) -> None:
        with suppress(sqlite3.Error):
            self._db.close()

    def installation_id(self) -> str:
        row = self._one("get_meta", "installation_id")
        if row is None:
            raise StoreError(f"the store {self._path} has no installation id")
        return str(row[0])

    def prunings(self) -> tuple[Pruned, ...]:
        """Oldest first."""
        there = self._one("has_prunings")
        if there is None or there[0] == 0:
            return ()
        try:
            return tuple(pruned_of(row) for row in self._db.execute(self._sql["prunings"]))
        except sqlite3.Error as exc:
            raise self._unreadable(exc) from exc

    def last(self) -> Record | None:
        row = self._one("last")
        return None if row is None else record_of(row)

    def needed_from(self) -> int:
        """The oldest record that recovery and open trades still need; 0 when there is none."""
        row = self._one("needed_from")
        return 0 if row is None or row[0] is None else int(row[0])

    def records(self, after: int = 0, upto: int = 2**62) -> Iterator[Record]:
        """From `after` (exclusive) to `upto`, in order; grows with a journal that is written."""
        while after < upto:
            try:
                rows = self._db.execute(
                    self._sql["after"], (after, min(_BATCH, upto - after))
                ).fetchall()
            except sqlite3.Error as exc:
                raise self._unreadable(exc) from exc
            if not rows:
                return
            yield from map(record_of, rows)
            if rows[-1][0] <= after:
                return  # numbers that do not grow: the chain says what is wrong
            after = rows[-1][0]

    def _one(self, name: str, *asked: str) -> DbRow | None:
        try:
            return self._db.execute(self._sql[name], asked).fetchone()
        except sqlite3.Error as exc:
            raise self._unreadable(exc) from exc

    def _unreadable(self, exc: sqlite3.Error) -> StoreError:
        return StoreError(f"the store {self._path} cannot be read: {exc}")


def pruned_of(row: tuple[int, bytes, str, str, int, str]) -> Pruned:
    """A row of `prunings`."""
    return Pruned(upto=row[0], hash=row[1], file=row[2], digest=row[3], at_ns=row[4], actor=row[5])

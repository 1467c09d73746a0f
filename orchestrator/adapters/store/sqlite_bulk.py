"""The SQLite store as a whole: copied beside a service, put back, or read table by table."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from orchestrator.adapters.store.connections import check, connect, make_private
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError

_PAGES = 2_000
_BATCH = 1_000


def copy(source: Path, target: Path, heard: Callable[[int, int], None]) -> None:
    """A copy of one moment, whole and on the disk, or none; the service goes on meanwhile.

    `heard` is told pages done and in all. StoreError; OSError.
    """

    def told(_: int, left: int, total: int) -> None:
        heard(total - left, total)

    with _new(target) as temporary:
        make_private(temporary)
        try:
            with closing(connect(source)) as old, closing(connect(temporary)) as new:
                old.backup(new, pages=_PAGES, progress=told)
                new.execute("PRAGMA journal_mode = DELETE")
                check(new, temporary)
        except sqlite3.Error as exc:
            raise StoreError(f"{source} cannot be copied: {exc}") from exc


def put_back(source: Path, target: Path) -> None:
    """The other way: a copy becomes a store where there is none. StoreError; OSError."""
    for name in (target, target.with_name(f"{target.name}-wal")):
        if name.exists():
            raise StoreError(f"{name} is there already: move it away, nothing is overwritten")
    copy(source, target, lambda _done, _total: None)


@contextmanager
def _new(target: Path) -> Generator[Path]:
    """Another name, which becomes `target` at the end if all went well."""
    temporary = target.with_name(f"{target.name}.part")
    temporary.unlink(missing_ok=True)
    try:
        yield temporary
        handle = os.open(temporary, os.O_RDWR | os.O_CLOEXEC)
        try:
            failpoints.before("audit.export")
            os.fsync(handle)
        finally:
            os.close(handle)
        os.replace(temporary, target)
        failpoints.after("audit.export")
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_sqlite(path: Path) -> bool:
    with path.open("rb") as file:
        return file.read(16) == b"SQLite format 3\0"


def schema_of(path: Path) -> int:
    """0 for a file that is no store."""
    try:
        with closing(connect(path)) as db:
            return int(db.execute("SELECT max(version) FROM schema_version").fetchone()[0] or 0)
    except sqlite3.Error:
        return 0


class Tables:
    """Reads a store that nobody writes meanwhile. StoreError."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._db = connect(path)
        self._db.execute("PRAGMA query_only = ON")

    def close(self) -> None:
        self._db.close()

    def count(self, table: str) -> int:
        return int(self._db.execute(f"SELECT count(*) FROM {table}").fetchone()[0])  # noqa: S608

    def rows(self, table: str, names: Sequence[str], order: str) -> Iterator[Sequence[Any]]:
        """In this order of columns; the journal's `data` as text."""
        query = f"SELECT {', '.join(names)} FROM {table} ORDER BY {order}"  # noqa: S608
        try:
            found = self._db.execute(query)
            while batch := found.fetchmany(_BATCH):
                yield from batch
        except sqlite3.Error as exc:
            raise StoreError(f"{self._path} cannot be read: {exc}") from exc

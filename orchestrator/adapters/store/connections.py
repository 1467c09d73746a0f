"""SQLite connections as we want them: private files, WAL, checked, at our schema's version."""

from __future__ import annotations

import os
import sqlite3
import threading
from contextlib import closing, contextmanager, suppress
from decimal import Decimal
from typing import TYPE_CHECKING

from orchestrator.adapters.store.statements import Migration, migrations
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError

if TYPE_CHECKING:
    from collections.abc import Generator
    from pathlib import Path

BUSY_TIMEOUT_S = 5.0  # SAFETY R4
# A whole check reads the whole file; beyond this size it would eat the time of a recovery.
CHECK_BYTES_MAX = 256 * 1024 * 1024
_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def make_private(path: Path) -> None:
    """The folder (0700 if we make it) and the file (0600), before SQLite opens it.

    SQLite gives its -wal and -shm files the mode of the main file.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
        path.chmod(0o600)
    except OSError as exc:
        raise StoreError(f"the store {path} cannot be opened: {exc.strerror}") from exc


def connect(path: Path, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> sqlite3.Connection:
    """In autocommit mode: transactions are begun and committed by name. sqlite3.Error passes."""
    connection = sqlite3.connect(
        path.resolve().as_uri() + "?mode=rw",
        uri=True,
        timeout=busy_timeout_s,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=256,
    )
    connection.execute("PRAGMA trusted_schema = OFF")
    return connection


def connect_writer(path: Path, *, synchronous: str) -> sqlite3.Connection:
    """The one writing connection; the log is checkpointed by someone else. sqlite3.Error passes."""
    connection = connect(path)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute(f"PRAGMA synchronous = {synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint = 0")
        connection.execute("PRAGMA recursive_triggers = ON")
        connection.create_function("decimal_add", 2, _decimal_add, deterministic=True)
    except BaseException:
        connection.close()
        raise
    return connection


def _decimal_add(a: str, b: str) -> str:
    """The sum of two decimals kept as texts; SQLite itself would add them as floats."""
    return str(Decimal(a) + Decimal(b))


def connect_reader(path: Path) -> sqlite3.Connection:
    """Cannot write, never blocks the writer. sqlite3.Error passes."""
    connection = connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


class SqliteSource:
    """Meets `reading.Source` for a file: one read at a time, from any thread."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._mutex = threading.Lock()
        self._connection: sqlite3.Connection | None = None

    def close(self) -> None:
        with self._mutex:
            self._drop()

    @contextmanager
    def snapshot(self) -> Generator[sqlite3.Connection]:
        with self._mutex:
            try:
                db = self._connection = self._connection or connect_reader(self._path)
                db.execute("BEGIN")
                try:
                    yield db
                finally:
                    db.execute("ROLLBACK")
            except sqlite3.Error as exc:
                self._drop()
                raise StoreError(f"the store {self._path} cannot be read: {exc}") from exc

    def _drop(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()


def not_opened(path: Path, exc: sqlite3.Error) -> StoreError:
    """What to tell a person of a store that SQLite does not open."""
    if getattr(exc, "sqlite_errorcode", 0) & 0xFF in _DAMAGED:
        return _damaged(path, str(exc))
    return StoreError(f"the store {path} cannot be opened: {exc}")


def _damaged(path: Path, how: str) -> StoreError:
    return StoreError(
        f"the store {path} is damaged: {how}; move it away and restore a copy, see docs/store.md"
    )


def check(connection: sqlite3.Connection, path: Path) -> None:
    """StoreError for a file that is cut or corrupt. Skipped for a very large one."""
    if path.stat().st_size > CHECK_BYTES_MAX:
        return
    with closing(connection.execute("PRAGMA quick_check(3)")) as rows:
        found = [str(row[0]) for row in rows]
    if found != ["ok"]:
        raise _damaged(path, "; ".join(found))


def migrate(connection: sqlite3.Connection, path: Path, folder: str) -> None:
    """Bring the schema to our version, each step in one transaction, forward only (SAFETY R6)."""
    known = migrations(folder)
    version = _version(connection, path, folder)
    if version > len(known):
        raise StoreError(
            f"the store {path} has schema {version}, this version knows {len(known)}:"
            " it was written by a newer version; run that one"
        )
    for step in known[version:]:
        _apply(connection, path, folder, step)


def _version(connection: sqlite3.Connection, path: Path, folder: str) -> int:
    tables = {
        str(row[0])
        for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
    }
    if not tables:
        return 0
    if "schema_version" not in tables:
        raise StoreError(f"{path} is an SQLite file, but no store of ours")
    rows = connection.execute("SELECT version, kind FROM schema_version ORDER BY version")
    found = [(int(row[0]), str(row[1])) for row in rows]
    if any(kind != folder for _, kind in found):
        raise StoreError(f"{path} is a store of another kind ({found[0][1]}, not {folder})")
    return found[-1][0] if found else 0


def _apply(connection: sqlite3.Connection, path: Path, kind: str, step: Migration) -> None:
    number, name, text = step
    script = (
        "BEGIN IMMEDIATE;\n"
        "CREATE TABLE IF NOT EXISTS schema_version"
        " (version INTEGER PRIMARY KEY, name TEXT NOT NULL, kind TEXT NOT NULL);\n"
        f"{text}\n"
        f"INSERT INTO schema_version (version, name, kind) VALUES ({number}, '{name}', '{kind}');\n"
        "COMMIT;"
    )
    try:
        failpoints.before("journal.migrate")
        connection.executescript(script)
        failpoints.after("journal.migrate")
    except sqlite3.Error as exc:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise StoreError(f"the store {path} cannot be brought to schema {number}: {exc}") from exc

"""Moves the write-ahead log into the store's file from a thread, beside the path of orders."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing, suppress
from typing import TYPE_CHECKING

from orchestrator.adapters.store.connections import connect

if TYPE_CHECKING:
    from pathlib import Path

# A passive checkpoint waits for nobody, but writes without any pause keep it from ever reaching the
# log's end. A log that has outgrown this is cut with the writer held up for some milliseconds.
LOG_BYTES_MAX = 64 * 1024 * 1024
_FORCE_MS = 200


class Checkpointer:
    """One thread, one connection of its own; a failure is counted and tried again later."""

    def __init__(self, path: Path, interval_s: float) -> None:
        self._path = path
        self._log = path.with_name(path.name + "-wal")
        self._interval_s = interval_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="checkpoints", daemon=True)
        self.done = 0
        self.failed = 0

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Waits for a running checkpoint, at most 5 s. Idempotent."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join(5.0)

    def _run(self) -> None:
        connection: sqlite3.Connection | None = None
        while not self._stop.wait(self._interval_s):
            try:
                connection = connection or connect(self._path, busy_timeout_s=0)
                self._checkpoint(connection)
                self.done += 1
            except sqlite3.Error:
                self.failed += 1
                connection = _closed(connection)
        _closed(connection)

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        if self._log_bytes() == 0:
            return
        _run(connection, "PRAGMA wal_checkpoint(PASSIVE)")
        if self._log_bytes() > LOG_BYTES_MAX:
            _run(connection, f"PRAGMA busy_timeout = {_FORCE_MS}")
            _run(connection, "PRAGMA wal_checkpoint(TRUNCATE)")
            _run(connection, "PRAGMA busy_timeout = 0")

    def _log_bytes(self) -> int:
        try:
            return self._log.stat().st_size
        except OSError:
            return 0


def _run(connection: sqlite3.Connection, sql: str) -> None:
    with closing(connection.execute(sql)) as rows:
        rows.fetchall()


def _closed(connection: sqlite3.Connection | None) -> None:
    if connection is not None:
        with suppress(sqlite3.Error):
            connection.close()

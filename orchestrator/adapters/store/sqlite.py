"""The store on SQLite: one writer, every append durable before it returns."""

from __future__ import annotations

import hashlib
import sqlite3
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeAlias

import msgspec

from orchestrator.adapters.store.archive import FOLDER, pruned_records
from orchestrator.adapters.store.checkpoints import Checkpointer
from orchestrator.adapters.store.codec import DbRow, fact_of, record_of, refuse_break
from orchestrator.adapters.store.connections import (
    SqliteSource,
    check,
    connect_writer,
    make_private,
    migrate,
    not_opened,
)
from orchestrator.adapters.store.lock import FolderLock
from orchestrator.adapters.store.projections import changes
from orchestrator.adapters.store.reading import StoreQueries, select_records
from orchestrator.adapters.store.statements import statements
from orchestrator.adapters.store.trail import Pruned, pruned_of
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreConflict, StoreError

if TYPE_CHECKING:
    from collections.abc import Generator, Iterator, Sequence

    from orchestrator.model.facts import Fact
    from orchestrator.model.journal import Record, RecordFilter

Sync: TypeAlias = Literal["full", "normal"]

_SYNCHRONOUS: dict[Sync, str] = {"full": "FULL", "normal": "NORMAL"}
_BATCH_ROWS = 1_000


class SqliteStore:
    """Meets `ports.Store`; to be called from one thread. `queries` may be used in any thread.

    `sync`: "full" survives a power cut; "normal" survives a killed process only, and is quicker.
    `checkpoint_s` 0 leaves the log to the close (for tests). The folder of `path` is locked until
    `close`. `installation_id` is used at the first opening only; "" makes one by chance.
    Raises StoreLocked, or StoreError for a store that is damaged, foreign or of a newer version.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        sync: Sync = "full",
        checkpoint_s: float = 0.5,
        installation_id: str = "",
    ) -> None:
        self._path = Path(path)
        self._synchronous = _SYNCHRONOUS[sync]
        self._sql = statements("journal")
        self._projections = statements("projections")
        self._connection: sqlite3.Connection | None = None
        self._queries: StoreQueries | None = None
        self._closed = False
        self._head: Record | None = None
        make_private(self._path)
        self._lock = FolderLock(self._path.parent)
        self._checkpointer = Checkpointer(self._path, checkpoint_s)
        try:
            self._connection = self._open_checked(installation_id)
        except BaseException:
            self._lock.release()
            raise
        if checkpoint_s > 0:
            self._checkpointer.start()

    # -- writing -----------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """StoreConflict: a unique key exists already, or the records do not continue the journal.

        After any StoreError nothing of the batch stands, and the connection is opened anew; a
        commit whose failure was only reported, not real, is found out then and counts as done.
        """
        if not records:
            return
        db = self._open()
        refuse_break(self._head, records, facts)
        try:
            self._append(db, records, facts)
        except (sqlite3.IntegrityError, ValueError, OverflowError) as exc:
            self._roll_back()
            raise StoreConflict(f"refused, nothing was written: {exc}") from exc
        except sqlite3.Error as exc:
            self._roll_back()
            self._drop_connection()
            if not self._landed(records[-1]):
                raise StoreError(f"not written: {exc}") from exc
        except BaseException:
            self._roll_back()
            raise
        self._head = records[-1]

    def _append(
        self, db: sqlite3.Connection, records: Sequence[Record], facts: Sequence[Fact]
    ) -> None:
        sql = self._sql
        db.execute(sql["begin"])
        db.executemany(sql["append"], [msgspec.structs.astuple(record) for record in records])
        for name, given in changes(records, facts):
            db.execute(self._projections[name], given)
        failpoints.before("journal.append")
        db.execute(sql["commit"])
        failpoints.after("journal.append")

    def _landed(self, record: Record) -> bool:
        """Whether a commit that reported a failure stands all the same, seen by a new connection.

        Then the log is brought into the file and flushed before that is believed: a flush that
        failed may have left pages which look written and are not on the disk.
        """
        try:
            db = self._open()
            if self._head is None or self._head.hash != record.hash:
                return False
            with self._reading():
                busy, _, _ = db.execute("PRAGMA wal_checkpoint(FULL)").fetchone()
        except StoreError:
            return False
        return busy == 0

    def save_snapshot(self, seq: int, state: bytes) -> None:
        with self._transaction() as db:
            db.execute(self._sql["save_snapshot"], (seq, _digest(state), state))
            db.execute(self._sql["drop_old_snapshots"])

    def next_epoch(self, above: int = 0) -> int:
        epoch = max(int(self._meta("epoch")), above) + 1
        with self._transaction() as db:
            db.execute(self._sql["raise_epoch"], (str(epoch), epoch))
        return epoch

    # -- reading, in the writer's thread -----------------------------------------------------------

    @property
    def queries(self) -> StoreQueries:
        """Reads for people, on a connection of their own that cannot write."""
        if self._queries is None:
            self._queries = StoreQueries(SqliteSource(self._path))
        return self._queries

    def last_record(self) -> Record | None:
        with self._reading() as db:
            row = db.execute(self._sql["last"]).fetchone()
        return None if row is None else record_of(row)

    def records(self, wanted: RecordFilter) -> list[Record]:
        with self._reading() as db:
            return select_records(db, wanted)

    def facts_after(self, seq: int) -> Iterator[tuple[Record, Fact]]:
        """StoreError naming the record when one cannot be read, or is of a newer version.

        What was pruned is read from its archive: only a recovery without a snapshot needs it.
        """
        for record in pruned_records(self.prunings(), self._path.parent / FOLDER, seq):
            yield record, fact_of(record)
            seq = record.seq
        while rows := self._rows_after(seq):
            for row in rows:
                record = record_of(row)
                yield record, fact_of(record)
                seq = record.seq

    def _rows_after(self, seq: int) -> list[DbRow]:
        with self._reading() as db:
            return db.execute(self._sql["after"], (seq, _BATCH_ROWS)).fetchall()

    def prunings(self) -> tuple[Pruned, ...]:
        """What was pruned, oldest first."""
        with self._reading() as db:
            return tuple(pruned_of(row) for row in db.execute(self._sql["prunings"]))

    def prune(self, pruned: Pruned) -> int:
        """Delete what stands in an archive that verified; how many records went.

        One transaction: all of it, or nothing. Projections stay, so that what is unique for ever
        stays so. StoreError, or ValueError for records that are still needed.
        """
        with self._reading() as db:
            needed = db.execute(self._sql["needed_from"]).fetchone()[0]
        last = self._head.seq if self._head is not None else 0
        if needed is None or pruned.upto >= min(needed, last):
            raise ValueError(f"record {pruned.upto} and those after it are still needed")
        with self._transaction() as db:
            db.execute(self._sql["add_pruning"], msgspec.structs.astuple(pruned))
            return db.execute(self._sql["delete_pruned"], (pruned.upto,)).rowcount

    def compact(self) -> None:
        """Give the room of what was deleted back to the disk; takes as much room meanwhile."""
        with self._reading() as db:
            db.execute("VACUUM")

    def trail_start(self) -> tuple[int, bytes]:
        """Number and hash of the last record that was pruned; (0, b"") when none was."""
        found = self.prunings()
        return (found[-1].upto, found[-1].hash) if found else (0, b"")

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """The newest that is whole; None when there is none."""
        with self._reading() as db:
            rows = db.execute(self._sql["snapshots"]).fetchall()
        for seq, digest, state in rows:
            if _digest(state) == digest:
                return seq, state
        return None

    def installation_id(self) -> str:
        return self._meta("installation_id")

    def signal_seen(self, signal_id: str) -> bool:
        """Whether this signal's id was ever used; quick enough for the path of signals (C04)."""
        with self._reading() as db:
            return db.execute(self._sql["signal_seen"], (signal_id,)).fetchone() is not None

    def _meta(self, key: str) -> str:
        with self._reading() as db:
            row = db.execute(self._sql["get_meta"], (key,)).fetchone()
        if row is None:
            raise StoreError(f"the store {self._path} has no {key}")
        return str(row[0])

    # -- opening and closing -----------------------------------------------------------------------

    def close(self) -> None:
        """Writes the log back into the file and frees the folder. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._checkpointer.stop()
        if self._queries is not None:
            self._queries.close()
        if self._connection is not None:
            # Only tidiness: what is in the log is durable already.
            with suppress(sqlite3.Error), closing(self._connection) as db:
                db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
            self._connection = None
        self._lock.release()

    def _open(self) -> sqlite3.Connection:
        if self._connection is None:
            if self._closed:
                raise StoreError("the store is closed")
            self._connection = self._reopen()
        return self._connection

    def _open_checked(self, installation_id: str) -> sqlite3.Connection:
        try:
            db = connect_writer(self._path, synchronous=self._synchronous)
        except sqlite3.Error as exc:
            raise not_opened(self._path, exc) from exc
        try:
            check(db, self._path)
            migrate(db, self._path, "sqlite")
            self._settle_in(db, installation_id)
        except sqlite3.Error as exc:
            db.close()
            raise not_opened(self._path, exc) from exc
        except BaseException:
            db.close()
            raise
        return db

    def _settle_in(self, db: sqlite3.Connection, installation_id: str) -> None:
        if installation_id:
            db.execute(self._sql["insert_meta"], ("installation_id", installation_id))
        db.execute(self._sql["make_installation_id"])
        db.execute(self._sql["insert_meta"], ("epoch", "0"))
        self._read_head(db)

    def _reopen(self) -> sqlite3.Connection:
        try:
            db = connect_writer(self._path, synchronous=self._synchronous)
            try:
                self._read_head(db)
            except BaseException:
                db.close()
                raise
        except sqlite3.Error as exc:
            raise StoreError(f"the store {self._path} cannot be reopened: {exc}") from exc
        return db

    def _read_head(self, db: sqlite3.Connection) -> None:
        row = db.execute(self._sql["last"]).fetchone()
        self._head = None if row is None else record_of(row)

    def _roll_back(self) -> None:
        db = self._connection
        if db is not None and db.in_transaction:
            with suppress(sqlite3.Error):
                db.execute(self._sql["rollback"])

    def _drop_connection(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        db = self._open()
        try:
            db.execute(self._sql["begin"])
            yield db
            failpoints.before("journal.snapshot")
            db.execute(self._sql["commit"])
            failpoints.after("journal.snapshot")
        except sqlite3.Error as exc:
            self._roll_back()
            self._drop_connection()
            raise StoreError(f"not written: {exc}") from exc
        except BaseException:
            self._roll_back()
            raise

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        db = self._open()
        try:
            yield db
        except sqlite3.Error as exc:
            self._drop_connection()
            raise StoreError(f"not read: {exc}") from exc


def _digest(state: bytes) -> str:
    return hashlib.sha256(state).hexdigest()

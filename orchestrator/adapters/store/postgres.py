"""The store on PostgreSQL: one writer at a time, every append durable before it is answered."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Coroutine, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeAlias, TypeVar

import msgspec

from orchestrator.adapters.store.archive import pruned_records
from orchestrator.adapters.store.codec import fact_of, record_of
from orchestrator.adapters.store.loop_thread import LoopThread, NotWaitedFor
from orchestrator.adapters.store.postgres_connection import UrlSource
from orchestrator.adapters.store.postgres_ids import OldIds
from orchestrator.adapters.store.postgres_reading import PostgresSource
from orchestrator.adapters.store.postgres_sql import postgres_statements
from orchestrator.adapters.store.postgres_writer import PostgresWriter
from orchestrator.adapters.store.reading import StoreQueries, select_records
from orchestrator.adapters.store.trail import Pruned, pruned_of
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import Fact
from orchestrator.model.journal import Record, RecordFilter

T = TypeVar("T")
Done: TypeAlias = Callable[[StoreError | None], None]

_BATCH_ROWS = 1_000
# Longer than what is bounded inside, so that the plain words of the inside are heard.
_OPEN_S = 60.0
_CALL_S = 12.0
_LONG_S = 3_600.0


class PostgresStore:
    """Meets `ports.Store` and `ports.SoonStore`; may be called from any thread.

    `url` is asked for each new connection. `archive`: the folder of what was pruned.
    `lease`: several nodes open the same store, and only who was told to `lead` writes; without it a
    second one is refused (StoreLocked). Raises StoreError in plain words, within 5 s for a server
    that is away.
    """

    def __init__(
        self,
        url: UrlSource | str,
        *,
        variable: str = "DATABASE_URL",
        archive: Path | None = None,
        lease: bool = False,
        installation_id: str = "",
    ) -> None:
        source: UrlSource = (lambda: url) if isinstance(url, str) else url
        self._archive = archive
        self._sql = postgres_statements("journal")
        self._thread = LoopThread("store")
        self._readers = LoopThread("store-readers")
        self._source = PostgresSource(source, variable, self._readers)
        self._writer = PostgresWriter(
            source, variable, lease=lease, installation_id=installation_id
        )
        self._old_ids = OldIds(source, variable, self._readers, self._sql["signal_seen"])
        self.queries = StoreQueries(self._source)
        self._closed = False
        self._began_s = self._ended_s = 0.0  # of the last append beside the loop
        try:
            self._thread.call(self._writer.open, _OPEN_S)
            self._prepare_for_old_ids()
        except BaseException:
            self.close()
            raise

    # -- writing -----------------------------------------------------------------------------------

    def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """As SqliteStore's. After a StoreError the same records may be appended again, with or
        without more behind them: those that stand after all are found and not written twice.
        """
        if not records:
            return
        try:
            self._call(lambda: self._writer.append(records, facts))
        except NotWaitedFor:
            self._writer.abandoned = records[-1].hash
            raise

    def append_soon(self, records: Sequence[Record], facts: Sequence[Fact], done: Done) -> None:
        """Never waits. `done` is called once, later, in the loop that this is called from."""
        self._began_s, self._ended_s = self._thread.now_s(), 0.0

        async def append() -> None:
            try:
                await self._writer.append(records, facts)
            finally:
                self._ended_s = self._thread.now_s()

        self._soon(append, done)

    @property
    def append_s(self) -> float:
        """As `ports.SoonStore`'s."""
        return (self._ended_s or self._thread.now_s()) - self._began_s

    def save_snapshot(self, seq: int, state: bytes) -> None:
        self._call(lambda: self._writer.save_snapshot(seq, _digest(state), state))

    def save_snapshot_soon(self, seq: int, state: bytes, done: Done) -> None:
        """As `append_soon`."""
        self._soon(lambda: self._writer.save_snapshot(seq, _digest(state), state), done)

    def probe_soon(self, done: Done) -> None:
        """As `append_soon`: a round trip of the session that writes, told within 3 s."""
        self._soon(self._writer.probe, done)

    def next_epoch(self, above: int = 0) -> int:
        return self._call(lambda: self._writer.next_epoch(above))

    def lead(self, epoch: int) -> None:
        """This node has taken the lease with this epoch: from now on it writes.

        StoreFenced if another one has taken it since.
        """
        self._call(lambda: self._writer.lead(epoch), _OPEN_S)
        self._prepare_for_old_ids()

    def prune(self, pruned: Pruned) -> int:
        """As SqliteStore's."""
        needed = self._rows("needed_from")[0][0]
        last = self._writer.head.seq if self._writer.head is not None else 0
        if needed is None or pruned.upto >= min(needed, last):
            raise ValueError(f"record {pruned.upto} and those after it are still needed")
        row = msgspec.structs.astuple(pruned)
        return self._call(lambda: self._writer.prune(row, pruned.upto), _LONG_S)

    def compact(self) -> None:
        """Lets the room of what was deleted be used again, without giving it to the disk."""
        self._call(self._writer.compact, _LONG_S)

    # -- reading -----------------------------------------------------------------------------------

    def last_record(self) -> Record | None:
        found = self._rows("last")
        return record_of(found[0]) if found else None

    def records(self, wanted: RecordFilter) -> list[Record]:
        with self._source.snapshot() as db:
            return select_records(db, wanted)

    def facts_after(self, seq: int) -> Iterator[tuple[Record, Fact]]:
        """As SqliteStore's."""
        for record in pruned_records(self.prunings(), self._archive, seq):
            yield record, fact_of(record)
            seq = record.seq
        while rows := self._rows("after", seq, _BATCH_ROWS):
            for row in rows:
                record = record_of(row)
                yield record, fact_of(record)
                seq = record.seq

    def prunings(self) -> tuple[Pruned, ...]:
        """What was pruned, oldest first."""
        return tuple(map(pruned_of, self._rows("prunings")))

    def trail_start(self) -> tuple[int, bytes]:
        """Number and hash of the last record that was pruned; (0, b"") when none was."""
        found = self.prunings()
        return (found[-1].upto, found[-1].hash) if found else (0, b"")

    def load_snapshot(self) -> tuple[int, bytes] | None:
        """The newest that is whole; None when there is none."""
        for seq, digest, state in self._rows("snapshots"):
            if _digest(state) == digest:
                return seq, state
        return None

    def installation_id(self) -> str:
        found = self._rows("get_meta", "installation_id")
        if not found:
            raise StoreError("the store has no installation_id")
        return str(found[0][0])

    def signal_seen(self, signal_id: str) -> bool:
        """From memory, without a round trip (C04). One id in 10^12 or so is called seen wrongly.

        Of a history too long for memory, the ids that it does not hold are asked for, with a bound
        that the event loop can bear: StoreError when the server has not said it by then.
        """
        if self._writer.ids.has(signal_id):
            return True
        return not self._writer.ids.complete and self._old_ids.has(signal_id)

    def _prepare_for_old_ids(self) -> None:
        if not self._writer.ids.complete:
            self._old_ids.open()

    # -- its end -----------------------------------------------------------------------------------

    def close(self) -> None:
        """Frees the store for another writer. Idempotent."""
        if self._closed:
            return
        self._closed = True
        try:
            self.queries.close()
            self._old_ids.close()
            self._thread.call(self._writer.close, _CALL_S)
        finally:
            self._thread.close()
            self._readers.close()

    # -- plumbing ----------------------------------------------------------------------------------

    def _rows(self, name: str, *given: object) -> list[tuple[Any, ...]]:
        return self._call(lambda: self._writer.rows(self._sql[name], given), _LONG_S)

    def _call(self, work: Callable[[], Coroutine[Any, Any, T]], bound_s: float = _CALL_S) -> T:
        return self._thread.call(work, bound_s)

    def _soon(self, work: Callable[[], Coroutine[Any, Any, None]], done: Done) -> None:
        loop = asyncio.get_running_loop()

        async def run() -> None:
            try:
                await work()
            except StoreError as exc:
                error: StoreError | None = exc
            except BaseException as exc:  # noqa: BLE001 -- whatever it was: it must be told
                error = StoreError(f"not written: {type(exc).__name__}: {exc}")
            else:
                error = None
            if not loop.is_closed():
                loop.call_soon_threadsafe(done, error)

        self._thread.start(run)


def _digest(state: bytes) -> str:
    return hashlib.sha256(state).hexdigest()

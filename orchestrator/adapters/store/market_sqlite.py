"""Ticks, candles and outcomes in a file of their own, written by a thread, never waited for."""

from __future__ import annotations

import sqlite3
import threading
from collections import deque
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec

from orchestrator.adapters.store.connections import (
    check,
    connect_reader,
    connect_writer,
    make_private,
    migrate,
    not_opened,
)
from orchestrator.adapters.store.statements import statements
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, Tick
from orchestrator.model.money import Price
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import DAY_NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.adapters.store.codec import DbRow
    from orchestrator.model.time import Instant

Item: TypeAlias = Tick | Candle | TradeOutcome

_ROWS_A_COMMIT = 1_000
_ROUNDS_A_CLEANING = 50
# SQLite moves its log into the file by itself here: nobody waits for this thread.
_AUTOCHECKPOINT_PAGES = 1_000


class MarketStats(msgspec.Struct):
    """Rows since the start: on disk, thrown away because the queue was full, lost to errors."""

    written: int = 0
    dropped: int = 0
    failed: int = 0
    problem: str = ""  # the last error's text; "" when the last commit was good


class SqliteMarketStore:
    """Meets `ports.MarketStore`. Writes return at once and never raise for the disk's troubles.

    `retention_days` 0 keeps ticks for ever; they age by market time, against the newest tick of
    this life. With more than `rows_max` rows waiting, the oldest are thrown away and counted.
    Reads are blocking, for any thread, and may raise StoreError.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        retention_days: int = 30,
        rows_max: int = 200_000,
        flush_s: float = 0.5,
    ) -> None:
        self._path = Path(path)
        self._sql = statements("market")
        self._retention_ns = retention_days * DAY_NS
        self._rows_max = rows_max
        self._flush_s = flush_s
        self._queue: deque[Item] = deque()
        self._newest: dict[str, Instant] = {}
        self._wake = threading.Condition()
        self._closing = False
        self.stats = MarketStats()
        make_private(self._path)
        self._connection: sqlite3.Connection | None = self._open()
        self._thread = threading.Thread(target=self._run, name="market store", daemon=True)
        self._thread.start()

    # -- writing ---------------------------------------------------------------------------------

    def write_ticks(self, ticks: Sequence[Tick]) -> None:
        self._put(ticks)

    def write_candles(self, candles: Sequence[Candle]) -> None:
        self._put(candles)

    def write_outcomes(self, outcomes: Sequence[TradeOutcome]) -> None:
        self._put(outcomes)

    def close(self) -> None:
        """Writes what is waiting; gives up after 10 s. Idempotent."""
        with self._wake:
            self._closing = True
            self._wake.notify()
        self._thread.join(10.0)

    def _put(self, items: Sequence[Item]) -> None:
        with self._wake:
            if self._closing:
                self.stats.dropped += len(items)
                return
            self._queue.extend(items)
            over = len(self._queue) - self._rows_max
            for _ in range(over):
                self._queue.popleft()
            self.stats.dropped += max(0, over)
            if len(self._queue) >= _ROWS_A_COMMIT:
                self._wake.notify()

    # -- the thread ------------------------------------------------------------------------------

    def _run(self) -> None:
        closing = False
        while not closing:
            with self._wake:
                if not self._closing and len(self._queue) < _ROWS_A_COMMIT:
                    self._wake.wait(self._flush_s)
                closing = self._closing
            while batch := self._take():
                self._write(batch)
            self._clean()
        self._drop_connection()

    def _take(self) -> list[Item]:
        with self._wake:
            count = min(len(self._queue), _ROWS_A_COMMIT)
            return [self._queue.popleft() for _ in range(count)]

    def _write(self, batch: list[Item]) -> None:
        try:
            db = self._connection = self._connection or self._open()
            db.execute("BEGIN IMMEDIATE")
            self._insert(db, batch)
            failpoints.before("market.write")
            db.execute("COMMIT")
            failpoints.after("market.write")
        except (sqlite3.Error, StoreError, ValueError, OverflowError) as exc:
            self._drop_connection()  # which leaves nothing of the transaction
            self.stats.failed += len(batch)
            self.stats.problem = str(exc)
        else:
            self.stats.written += len(batch)
            self.stats.problem = ""

    def _insert(self, db: sqlite3.Connection, batch: list[Item]) -> None:
        ticks = [item for item in batch if isinstance(item, Tick)]
        candles = [item for item in batch if isinstance(item, Candle)]
        outcomes = [item for item in batch if isinstance(item, TradeOutcome)]
        db.executemany(self._sql["add_tick"], map(_tick_columns, ticks))
        db.executemany(self._sql["add_candle"], map(_candle_columns, candles))
        db.executemany(self._sql["add_outcome"], map(_outcome_columns, outcomes))
        # Our own stamp: a bad tick from the far future must not throw good ones away.
        for tick in ticks:
            self._newest[tick.instrument] = tick.seen_ns

    def _clean(self) -> None:
        if not self._retention_ns or self._connection is None:
            return
        try:
            for instrument, newest in self._newest.items():
                self._clean_one(self._connection, instrument, newest - self._retention_ns)
        except sqlite3.Error as exc:
            self._drop_connection()
            self.stats.problem = str(exc)

    def _clean_one(self, db: sqlite3.Connection, instrument: str, before_ns: Instant) -> None:
        for _ in range(_ROUNDS_A_CLEANING):
            if not db.execute(self._sql["drop_old_ticks"], (instrument, before_ns)).rowcount:
                return

    def _open(self) -> sqlite3.Connection:
        try:
            db = connect_writer(self._path, synchronous="NORMAL")
        except sqlite3.Error as exc:
            raise not_opened(self._path, exc) from exc
        try:
            db.execute(f"PRAGMA wal_autocheckpoint = {_AUTOCHECKPOINT_PAGES}")
            check(db, self._path)
            migrate(db, self._path, "market")
        except sqlite3.Error as exc:
            db.close()
            raise not_opened(self._path, exc) from exc
        except BaseException:
            db.close()
            raise
        return db

    def _drop_connection(self) -> None:
        db, self._connection = self._connection, None
        if db is not None:
            with suppress(sqlite3.Error):
                db.close()

    # -- reading ---------------------------------------------------------------------------------

    def ticks(
        self, instrument: str, since_ns: Instant, until_ns: Instant, limit: int = 100_000
    ) -> list[Tick]:
        """From `since_ns`, before `until_ns`, oldest first."""
        rows = self._read("ticks", (instrument, since_ns, until_ns, limit))
        return [
            Tick(
                instrument=row[0], venue_ns=row[1], seen_ns=row[2], bid=Price(Decimal(row[3])),
                ask=Price(Decimal(row[4])), tradeable=bool(row[5]),
            )
            for row in rows
        ]  # fmt: skip

    def candles(
        self,
        instrument: str,
        granularity: str,
        since_ns: Instant,
        until_ns: Instant,
        limit: int = 100_000,
    ) -> list[Candle]:
        """From `since_ns`, before `until_ns`, oldest first."""
        rows = self._read("candles", (instrument, granularity, since_ns, until_ns, limit))
        return [_candle_of(row) for row in rows]

    def outcomes(self, since_ns: Instant = 0, limit: int = 100_000) -> list[TradeOutcome]:
        """Closed since `since_ns`, oldest first."""
        rows = self._read("outcomes", (since_ns, limit))
        return [msgspec.json.decode(row[0], type=TradeOutcome) for row in rows]

    def _read(self, name: str, asked: tuple[str | int, ...]) -> list[DbRow]:
        try:
            db = connect_reader(self._path)
            try:
                return db.execute(self._sql[name], asked).fetchall()
            finally:
                db.close()
        except sqlite3.Error as exc:
            raise StoreError(f"the store {self._path} cannot be read: {exc}") from exc


def _tick_columns(tick: Tick) -> DbRow:
    return (
        tick.instrument, tick.venue_ns, tick.seen_ns, str(tick.bid), str(tick.ask),
        int(tick.tradeable),
    )  # fmt: skip


def _candle_columns(candle: Candle) -> DbRow:
    return (
        candle.instrument, candle.granularity, candle.start_ns, candle.volume,
        int(candle.complete), str(candle.bid_o), str(candle.bid_h), str(candle.bid_l),
        str(candle.bid_c), str(candle.ask_o), str(candle.ask_h), str(candle.ask_l),
        str(candle.ask_c),
    )  # fmt: skip


def _outcome_columns(outcome: TradeOutcome) -> DbRow:
    return (
        outcome.account_id, outcome.trade_id, outcome.strategy, outcome.regime,
        outcome.instrument, outcome.closed_ns, msgspec.json.encode(outcome, order="sorted"),
    )  # fmt: skip


def _candle_of(row: DbRow) -> Candle:
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c = (
        Price(Decimal(text)) for text in row[5:13]
    )
    return Candle(
        instrument=row[0], granularity=row[1], start_ns=row[2], volume=row[3],
        complete=bool(row[4]), bid_o=bid_o, bid_h=bid_h, bid_l=bid_l, bid_c=bid_c, ask_o=ask_o,
        ask_h=ask_h, ask_l=ask_l, ask_c=ask_c,
    )  # fmt: skip

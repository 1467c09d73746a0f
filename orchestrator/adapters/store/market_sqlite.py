"""Ticks, candles and outcomes in a file of their own, written by a thread, never waited for."""

from __future__ import annotations

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager, suppress
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from orchestrator.adapters.store.connections import (
    check,
    connect_reader,
    connect_writer,
    make_private,
    migrate,
    not_opened,
)
from orchestrator.adapters.store.market_bars import (
    Bar,
    aligned,
    can_roll,
    joined,
    minutes_of,
    rolled,
)
from orchestrator.adapters.store.market_queue import Item, MarketQueue
from orchestrator.adapters.store.statements import statements
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, MarketSpan, Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import DAY_NS

if TYPE_CHECKING:
    from orchestrator.adapters.store.codec import DbRow
    from orchestrator.model.time import Instant

_ROWS_A_COMMIT = 1_000
_ROUNDS_A_CLEANING = 50
# SQLite moves its log into the file by itself here: nobody waits for this thread.
_AUTOCHECKPOINT_PAGES = 1_000


class SqliteMarketStore(MarketQueue):
    """Meets `ports.MarketStore` and `ports.MarketReader`.

    `retention_days` 0 keeps ticks for ever; they age by market time, against the newest tick of
    this life. Minutes, candles and outcomes are kept. Reads are blocking, for any thread, and may
    raise StoreError.
    """

    def __init__(
        self,
        path: Path | str,
        *,
        retention_days: int = 30,
        rows_max: int = 200_000,
        flush_s: float = 0.5,
    ) -> None:
        super().__init__(rows_max=rows_max, flush_s=flush_s, rows_a_commit=_ROWS_A_COMMIT)
        self._path = Path(path)
        self._sql = statements("market")
        self._retention_ns = retention_days * DAY_NS
        self._newest: dict[str, Instant] = {}
        make_private(self._path)
        self._connection: sqlite3.Connection | None = self._open()
        self._thread.start()

    # -- the thread ------------------------------------------------------------------------------

    def _write_waiting(self) -> None:
        while batch := self._take():
            self._write(batch)
        self._clean()

    def _end(self) -> None:
        self._drop_connection()

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
        for bar in minutes_of(ticks):
            self._add_minute(db, bar)
        # Our own stamp: a bad tick from the far future must not throw good ones away.
        for tick in ticks:
            self._newest[tick.instrument] = tick.seen_ns

    def _add_minute(self, db: sqlite3.Connection, bar: Bar) -> None:
        row = db.execute(self._sql["minute"], (bar.instrument, bar.start_ns)).fetchone()
        if row is not None:
            known = _bar_of(row)
            known.merge(bar)
            bar = known
        db.execute(self._sql["put_minute"], _bar_columns(bar))

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
        with self._reading() as db:
            rows = db.execute(self._sql["ticks"], (instrument, since_ns, until_ns, limit))
            return [_tick_of(row) for row in rows]

    def candles(
        self,
        instrument: str,
        granularity: str,
        since_ns: Instant,
        until_ns: Instant,
        limit: int = 100_000,
    ) -> list[Candle]:
        """From `since_ns`, before `until_ns`, oldest first; rolled up where none were given."""
        with self._reading() as db:
            asked = (instrument, granularity, since_ns, until_ns, limit)
            given = [_candle_of(row) for row in db.execute(self._sql["candles"], asked)]
            if not can_roll(granularity):
                return given
            return joined(given, self._rolled(db, *asked), limit)

    def _rolled(
        self, db: sqlite3.Connection, instrument: str, granularity: str, since_ns: Instant,
        until_ns: Instant, limit: int,
    ) -> list[Candle]:  # fmt: skip
        span = (instrument, aligned(granularity, since_ns), aligned(granularity, until_ns))
        newest_ns = db.execute(self._sql["newest_ns"], (instrument,)).fetchone()[0] or 0
        minutes = map(_bar_of, db.execute(self._sql["minutes"], span))
        return [bar.candle(granularity, newest_ns) for bar in rolled(minutes, granularity, limit)]

    def outcomes(self, since_ns: Instant = 0, limit: int = 100_000) -> list[TradeOutcome]:
        """Closed since `since_ns`, oldest first."""
        with self._reading() as db:
            rows = db.execute(self._sql["outcomes"], (since_ns, limit))
            return [msgspec.json.decode(row[0], type=TradeOutcome) for row in rows]

    def spans(self) -> list[MarketSpan]:
        """What is there of each instrument."""
        with self._reading() as db:
            return [span_of(row) for row in db.execute(self._sql["spans"])]

    @contextmanager
    def _reading(self) -> Generator[sqlite3.Connection]:
        try:
            db = connect_reader(self._path)
            try:
                yield db
            finally:
                db.close()
        except (sqlite3.Error, OverflowError) as exc:
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


def _tick_of(row: DbRow) -> Tick:
    return Tick(
        instrument=row[0], venue_ns=row[1], seen_ns=row[2], bid=Price(Decimal(row[3])),
        ask=Price(Decimal(row[4])), tradeable=bool(row[5]),
    )  # fmt: skip


def span_of(row: DbRow) -> MarketSpan:
    """Of a row of the statement `spans`."""
    return MarketSpan(
        instrument=InstrumentName(row[0]), minutes=row[1], first_ns=row[2], last_ns=row[3],
        ticks=row[4],
    )  # fmt: skip


def _bar_columns(bar: Bar) -> DbRow:
    return (
        bar.instrument, bar.start_ns, bar.volume, bar.first_ns, bar.last_ns,
        str(bar.bid_o), str(bar.bid_h), str(bar.bid_l), str(bar.bid_c),
        str(bar.ask_o), str(bar.ask_h), str(bar.ask_l), str(bar.ask_c),
    )  # fmt: skip


def _bar_of(row: DbRow) -> Bar:
    bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c = (
        Price(Decimal(text)) for text in row[5:13]
    )
    return Bar(
        instrument=row[0], start_ns=row[1], volume=row[2], first_ns=row[3], last_ns=row[4],
        bid_o=bid_o, bid_h=bid_h, bid_l=bid_l, bid_c=bid_c,
        ask_o=ask_o, ask_h=ask_h, ask_l=ask_l, ask_c=ask_c,
    )  # fmt: skip

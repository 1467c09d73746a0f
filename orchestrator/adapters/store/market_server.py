"""The writing connection to the market database: its schema, batches stored once, days made and
dropped. Coroutines of one loop; a driver's errors leave as StoreError, or ValueError for rows that
no retry will store.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeAlias

import msgspec

from orchestrator.adapters.store import market_schema
from orchestrator.adapters.store.market_bars import Bar, minutes_of
from orchestrator.adapters.store.market_spool import Batch
from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    driver,
    in_words,
    parse,
    troubles,
)
from orchestrator.adapters.store.statements import statements
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import DAY_NS, MINUTE_NS, Instant

Span: TypeAlias = tuple[Instant, Instant]

_TICKS = ("instrument", "venue_ns", "seen_ns", "bid", "ask", "tradeable")
# A tick whose stamps are further apart is stamped with nonsense: it makes no partition of its own.
_STAMPS_APART_NS = 2 * DAY_NS
_DAYS_MAX = 1_000
# How far back TimescaleDB's policy looks for late ticks by itself, less an hour.
_POLICY_SEES_NS = 23 * 60 * MINUTE_NS
_KEEP_S = 600.0
_NEVER_STORED = ("22", "23")  # SQLSTATE classes: data that is no data, constraints


class MarketServer:
    """`layout` is "" until the first `open`. After an error: `end`, then `open` again."""

    def __init__(self, url: UrlSource, variable: str) -> None:
        self._url = url
        self._variable = variable
        self._sql: Mapping[str, str] = statements("market_postgres")
        self._connection: Session | None = None
        self._days: set[int] = set()
        self._late: Span | None = None
        self.layout = ""
        self.newest_ns: Instant = 0
        self.trouble = ""  # with making or dropping days; nothing is lost by it

    async def open(self) -> None:
        """Connect, and make the schema in an empty database."""
        self.end()
        connection = await connect(self._url, self._variable, name="orchestrator market data")
        self._connection = connection
        async with self._asked() as db:
            try:
                self.layout = await market_schema.ready(db)
            except BaseException:
                self.end()
                raise
        self._days.clear()

    def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()  # a server that hangs is not waited for

    async def write(self, batch: Batch) -> None:
        """All of it or nothing; what stands already is not stored again."""
        ticks = [item for item in batch.items if isinstance(item, Tick)]
        async with self._asked() as db:
            await self._make_days(db, ticks)
            await db.execute("BEGIN")
            if await db.fetchval(self._sql["begin_batch"], batch.writer, batch.number) is None:
                await db.execute("ROLLBACK")
                return
            await self._insert(db, batch, ticks)
            failpoints.before("market.write")
            await db.execute("COMMIT")
            failpoints.after("market.write")

    @property
    def late(self) -> bool:
        """Whether minutes wait to be refreshed."""
        return self._late is not None and self.layout == market_schema.TIMESCALE

    async def keep(self, retention_ns: int) -> None:
        """Housekeeping, on a connection of its own beside the writing; never raises.

        Ticks older than `retention_ns` are dropped by the market's time (0 keeps them for ever).
        Minutes of ticks that came too late for TimescaleDB's own policy are refreshed.
        """
        late, self._late = self._late, None
        try:
            async with asyncio.timeout(_KEEP_S):
                db = await connect(self._url, self._variable, name="orchestrator market keeping")
                try:
                    await self._keep(db, retention_ns, late)
                finally:
                    db.terminate()
        except (StoreError, *troubles()) as exc:
            self.trouble = str(exc) or f"{self._variable}: housekeeping took too long"

    async def _keep(self, db: Session, retention_ns: int, late: Span | None) -> None:
        await self._try(db, "forget_writers")
        if retention_ns and self.newest_ns > retention_ns:
            await self._try(db, "drop_before", self.newest_ns - retention_ns)
        if late is not None and self.layout == market_schema.TIMESCALE:
            await self._try(db, "refresh_minutes", *late)

    async def _insert(self, db: Session, batch: Batch, ticks: list[Tick]) -> None:
        if ticks:
            await db.copy_records_to_table("ticks", records=map(_tick_row, ticks), columns=_TICKS)
            seen_ns = max(tick.seen_ns for tick in ticks)
            self.newest_ns = await db.fetchval(self._sql["newest"], seen_ns)
            await self._add_minutes(db, ticks)
        for name, rows in (
            ("add_candle", [_candle_row(item) for item in batch.items if isinstance(item, Candle)]),
            (
                "add_outcome",
                [_outcome_row(item) for item in batch.items if isinstance(item, TradeOutcome)],
            ),
        ):
            if rows:
                await db.executemany(self._sql[name], rows)

    async def _add_minutes(self, db: Session, ticks: list[Tick]) -> None:
        if self.layout != market_schema.TIMESCALE:
            # In one order always, so that two writers cannot lock each other out.
            bars = sorted(minutes_of(ticks), key=lambda bar: (bar.instrument, bar.start_ns))
            await db.executemany(self._sql["add_minute"], [_bar_row(bar) for bar in bars])
            return
        late = [t.venue_ns for t in ticks if t.venue_ns < self.newest_ns - _POLICY_SEES_NS]
        if late:
            since, until = self._late or (late[0], late[0])
            since, until = min(since, *late), max(until, *late)
            self._late = (since - since % MINUTE_NS, until - until % MINUTE_NS + MINUTE_NS)

    async def _make_days(self, db: Session, ticks: list[Tick]) -> None:
        """The partitions of these days and of the next; without one a tick is kept aside."""
        if self.layout == market_schema.TIMESCALE:
            return
        days = {
            tick.venue_ns // DAY_NS
            for tick in ticks
            if abs(tick.venue_ns - tick.seen_ns) < _STAMPS_APART_NS
        }
        for day in sorted(days - self._days):
            if len(self._days) >= _DAYS_MAX:
                self._days.clear()
            self._days.add(day)  # tried once in a connection's life, whatever comes of it
            await self._try(db, "make_day", day)
            await self._try(db, "make_day", day + 1)

    async def _try(self, db: Session, name: str, *asked: int) -> None:
        """What may be refused (missing rights, a lock not had in time) and done later as well."""
        try:
            await db.fetch(self._sql[name], *asked)
            self.trouble = ""
        except driver().PostgresError as exc:
            self.trouble = f"{self._variable}: {name.replace('_', ' ')}: {exc}"

    @asynccontextmanager
    async def _asked(self) -> AsyncGenerator[Session]:
        db = self._connection
        if db is None or db.is_closed():
            raise StoreError(f"{self._variable}: the connection is lost")
        try:
            yield db
        except troubles() as exc:
            text = f"{self._variable}: {in_words(exc, parse(self._url(), self._variable))}"
            code = getattr(exc, "sqlstate", None) or ""
            if code[:2] in _NEVER_STORED or isinstance(exc, ValueError):
                raise ValueError(text) from exc
            raise StoreError(text) from exc


def _tick_row(tick: Tick) -> tuple[Any, ...]:
    return (
        tick.instrument, tick.venue_ns, tick.seen_ns, tick.bid, tick.ask, tick.tradeable,
    )  # fmt: skip


def _bar_row(bar: Bar) -> tuple[Any, ...]:
    return (
        bar.instrument, bar.start_ns, bar.volume, bar.first_ns, bar.last_ns,
        bar.bid_o, bar.bid_h, bar.bid_l, bar.bid_c, bar.ask_o, bar.ask_h, bar.ask_l, bar.ask_c,
    )  # fmt: skip


def _candle_row(candle: Candle) -> tuple[Any, ...]:
    return (
        candle.instrument, candle.granularity, candle.start_ns, candle.volume, candle.complete,
        candle.bid_o, candle.bid_h, candle.bid_l, candle.bid_c,
        candle.ask_o, candle.ask_h, candle.ask_l, candle.ask_c,
    )  # fmt: skip


def _outcome_row(outcome: TradeOutcome) -> tuple[Any, ...]:
    data = msgspec.json.encode(outcome, order="sorted").decode()
    return (
        outcome.account_id, outcome.trade_id, outcome.strategy, outcome.regime,
        outcome.instrument, outcome.closed_ns, data,
    )  # fmt: skip

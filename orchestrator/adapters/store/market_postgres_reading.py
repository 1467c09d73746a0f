"""Reading market data from PostgreSQL: plain calls for any thread, on a connection of their own."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TypeAlias

import msgspec

from orchestrator.adapters.store.codec import DbRow
from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.market_bars import (
    DAY,
    PERIODS,
    Bar,
    aligned,
    can_roll,
    day_starts,
    end_of,
    joined,
    start_of,
)
from orchestrator.adapters.store.market_sqlite import span_of
from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    in_words,
    parse,
    troubles,
)
from orchestrator.adapters.store.statements import statements
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, MarketSpan, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import Instant

Asked: TypeAlias = str | int | list[int]

_READ_S = 30.0
_NS_MAX = 2**63 - 1


class MarketReads:
    """One query at a time; the others wait their turn. StoreError for the server's troubles."""

    def __init__(self, url: UrlSource, variable: str, loop: LoopThread) -> None:
        self._url = url
        self._variable = variable
        self._loop = loop
        self._sql: Mapping[str, str] = statements("market_postgres")
        self._turn = asyncio.Lock()
        self._connection: Session | None = None

    async def end(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    def ticks(
        self, instrument: str, since_ns: Instant, until_ns: Instant, limit: int
    ) -> list[Tick]:
        rows = self._read("ticks", instrument, _bound(since_ns), _bound(until_ns), limit)
        return [
            Tick(
                instrument=row[0], venue_ns=row[1], seen_ns=row[2], bid=row[3], ask=row[4],
                tradeable=row[5],
            )
            for row in rows
        ]  # fmt: skip

    def candles(
        self, instrument: str, granularity: str, since_ns: Instant, until_ns: Instant, limit: int
    ) -> list[Candle]:
        since_ns, until_ns = _bound(since_ns), _bound(until_ns)
        rows = self._read("candles", instrument, granularity, since_ns, until_ns, limit)
        given = [_candle_of(row) for row in rows]
        if not can_roll(granularity):
            return given
        return joined(
            given, self._rolled(instrument, granularity, since_ns, until_ns, limit), limit
        )

    def _rolled(
        self, instrument: str, granularity: str, since_ns: Instant, until_ns: Instant, limit: int
    ) -> list[Candle]:
        if granularity == "M1":
            rows = self._read("minutes", instrument, since_ns, until_ns, limit)
        else:
            rows = self._periods(instrument, granularity, since_ns, until_ns, limit)
        newest = self._read("newest_ns", instrument)
        newest_ns = newest[0][0] if newest else 0
        return [_bar_of(row).candle(granularity, newest_ns) for row in rows]

    def _periods(
        self, instrument: str, granularity: str, since_ns: Instant, until_ns: Instant, limit: int
    ) -> list[DbRow]:
        """Only where there are minutes at all: nobody counts the periods since 1970."""
        first, last = self._read("edges", instrument)[0]
        if first is None:
            return []
        since_ns = aligned(granularity, max(since_ns, start_of(granularity)(first)))
        until_ns = min(aligned(granularity, until_ns), last + 1)
        if granularity != DAY:
            width = PERIODS[granularity]
            return self._read("rolled", instrument, since_ns, until_ns, limit, width)
        starts = day_starts(since_ns, until_ns)
        ends = [end_of(DAY, start) for start in starts]
        return self._read("rolled_days", instrument, starts, ends, limit)

    def outcomes(self, since_ns: Instant, limit: int) -> list[TradeOutcome]:
        rows = self._read("outcomes", _bound(since_ns), limit)
        return [msgspec.json.decode(row[0], type=TradeOutcome) for row in rows]

    def spans(self) -> list[MarketSpan]:
        return [span_of(row) for row in self._read("spans")]

    def _read(self, name: str, *asked: Asked) -> list[DbRow]:
        return self._loop.call(lambda: self._fetch(self._sql[name], asked), _READ_S)

    async def _fetch(self, sql: str, asked: tuple[Asked, ...]) -> list[DbRow]:
        async with self._turn:
            db = self._connection
            try:
                if db is None or db.is_closed():
                    db = self._connection = await connect(
                        self._url, self._variable, name="orchestrator market reads", writer=False,
                        session={"default_transaction_read_only": "on"},
                    )  # fmt: skip
                return await db.fetch(sql, *asked)
            except troubles() as exc:
                await self.end()
                text = in_words(exc, parse(self._url(), self._variable))
                raise StoreError(f"{self._variable}: {text}") from exc
            except asyncio.CancelledError:
                await self.end()  # the query goes on there; its connection is no use
                raise


def _bound(at_ns: Instant) -> Instant:
    return max(-_NS_MAX, min(_NS_MAX, at_ns))


def _candle_of(row: DbRow) -> Candle:
    return Candle(
        instrument=row[0], granularity=row[1], start_ns=row[2], volume=row[3], complete=row[4],
        bid_o=row[5], bid_h=row[6], bid_l=row[7], bid_c=row[8],
        ask_o=row[9], ask_h=row[10], ask_l=row[11], ask_c=row[12],
    )  # fmt: skip


def _bar_of(row: DbRow) -> Bar:
    return Bar(
        instrument=row[0], start_ns=row[1], volume=row[2], first_ns=row[3], last_ns=row[4],
        bid_o=row[5], bid_h=row[6], bid_l=row[7], bid_c=row[8],
        ask_o=row[9], ask_h=row[10], ask_l=row[11], ask_c=row[12],
    )  # fmt: skip

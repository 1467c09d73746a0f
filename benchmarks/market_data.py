"""Market data on a real PostgreSQL: ticks into it beside bare COPY, a year of minutes out of it."""

from __future__ import annotations

import asyncio
import random
import tempfile
import time
from collections.abc import Callable, Coroutine
from decimal import Decimal
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, TypeVar

import asyncpg
import msgspec
import uvloop

from benchmarks.children import Child
from benchmarks.figures import Row, Section, Spread, spread
from benchmarks.house import House
from benchmarks.signals import PER_MIN, to_first_byte
from benchmarks.venue import VenueProcess
from orchestrator.adapters.store.market_postgres import PostgresMarketStore
from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.ports import MarketData
from orchestrator.model.time import DAY_NS, MINUTE_NS, parse_time
from tests.servers.postgres import PostgresServer

T = TypeVar("T")

_START = parse_time("2024-01-01T00:00:00Z")
_TICKS, _INSTRUMENTS, _DAYS = 100_000, 20, 364
_BATCH = 500  # as the recorder hands them over
_QUESTIONS = 200
_POUR_S = 0.05
_COLUMNS = ("instrument", "venue_ns", "seen_ns", "bid", "ask", "tradeable")
_BARE = """CREATE TABLE bare (instrument text NOT NULL, venue_ns bigint NOT NULL,
 seen_ns bigint NOT NULL, bid numeric NOT NULL, ask numeric NOT NULL, tradeable boolean NOT NULL);
CREATE INDEX ON bare (instrument, venue_ns)"""
_YEAR = """INSERT INTO candles_m1
SELECT 'I' || i || '_USD', at, 60, at, at + 59000000000, p, p + 0.0003, p - 0.0003, p + 0.0001,
       p + 0.0001, p + 0.0004, p - 0.0002, p + 0.0002
FROM generate_series(1, $1::int) AS i,
     (SELECT $2::bigint + n * 60000000000 AS at, round(1.1 + (n % 997) * 0.00001, 5) AS p
      FROM generate_series(0, $3::int * 1440 - 1) AS n WHERE (n / 1440) % 7 < 5) AS minute"""
_ONE_DAY = """SELECT instrument, start_ns, volume, first_ns, last_ns,
 bid_o, bid_h, bid_l, bid_c, ask_o, ask_h, ask_l, ask_c
FROM candles_m1 WHERE instrument = $1 AND start_ns >= $2 AND start_ns < $3 ORDER BY start_ns"""


class Loaded(msgspec.Struct):
    """What a service with market data says at its end. `given`: signal -> instant before it."""

    given: dict[str, int]
    seconds: float
    stored: int


def run(quick: bool) -> Section:
    """On a server of its own, which ends with this."""
    part = 4 if quick else 1
    instruments = 3 if quick else _INSTRUMENTS
    with (
        PostgresServer("shared_buffers=128MB", "max_wal_size=2GB") as server,
        tempfile.TemporaryDirectory(prefix="tso-bench-") as name,
    ):
        folder = Path(name)
        rows = [
            *_into(server, folder, _TICKS // part),
            *_loaded(server, folder, 80 // part * 2),
            *_year(server, folder, instruments),
        ]
        version = _done(lambda: _ask(server.url(), "SHOW server_version"))[0][0]
    return Section(
        title="Market data on PostgreSQL, plain layout", rows=tuple(rows),
        notes=(
            f"PostgreSQL {version} by TCP on loopback, synchronous_commit on, the same index twice",
            "beside COPY the store makes partitions, rolls up minutes, and marks each batch",
            f"{instruments} instruments; TimescaleDB was not to be had: its layout is not measured",
        ),
    )  # fmt: skip


# -- into it -----------------------------------------------------------------------------------


def _into(server: PostgresServer, folder: Path, count: int) -> list[Row]:
    made = _ticks(count)
    once = _done(lambda: _copy(server.create(), made, count))
    floor = _done(lambda: _copy(server.create(), made, 1_000))
    url = server.create()
    store = PostgresMarketStore(
        lambda: url, folder / "into", writer="bench", rows_max=2 * count, flush_s=0.05
    )
    rate = _fill(store, made)
    file = SqliteMarketStore(folder / "market.db", rows_max=2 * count, flush_s=0.05)
    beside = _fill(file, made)
    return [
        Row(name="floor: bare COPY, one call", value=f"{once:,.0f} ticks/s"),
        Row(name="floor: bare COPY, 1000 a commit", value=f"{floor:,.0f} ticks/s"),
        Row(name="store, 4000 a commit, minutes included", value=f"{rate:,.0f} ticks/s",
            floor=f"{rate / floor:.2f} of its floor"),
        Row(name="  the same on SQLite", value=f"{beside:,.0f} ticks/s"),
    ]  # fmt: skip


def _ticks(count: int) -> list[Tick]:
    """A thousand a second, over all instruments."""
    return [
        Tick(
            instrument=InstrumentName(f"I{n % _INSTRUMENTS}_USD"),
            bid=Price(Decimal(110_000 + n % 997) / 100_000),
            ask=Price(Decimal(110_010 + n % 997) / 100_000),
            venue_ns=_START + n * 1_000_000, seen_ns=_START + n * 1_000_000 + 30_000_000,
        )
        for n in range(count)
    ]  # fmt: skip


async def _copy(url: str, ticks: list[Tick], each: int) -> float:
    db = await asyncpg.connect(url, ssl=False)
    await db.execute(_BARE)
    rows = [(t.instrument, t.venue_ns, t.seen_ns, t.bid, t.ask, t.tradeable) for t in ticks]
    began = time.monotonic()
    for start in range(0, len(rows), each):
        await db.copy_records_to_table("bare", records=rows[start : start + each], columns=_COLUMNS)
    took = time.monotonic() - began
    await db.close()
    return len(rows) / took


def _fill(store: MarketData, ticks: list[Tick]) -> float:
    began = time.monotonic()
    for start in range(0, len(ticks), _BATCH):
        store.write_ticks(ticks[start : start + _BATCH])
    while store.condition().written < len(ticks):
        assert not store.condition().problem, store.condition().problem
        time.sleep(0.002)
    took = time.monotonic() - began
    store.close()
    return len(ticks) / took


# -- beside a service at work ------------------------------------------------------------------


def _loaded(server: PostgresServer, folder: Path, count: int) -> list[Row]:
    rows: list[Row] = []
    quiet: Spread | None = None
    for per_s in (0, 1_000, 10_000):
        (folder / str(per_s)).mkdir()
        with VenueProcess() as venue:
            venue.ask("calm", 20)
            with Child(
                beside, venue.port, str(folder / str(per_s)), server.create(), per_s, count
            ) as child:
                told = child.hear(count * 0.1 + 90)
            assert isinstance(told, Loaded)
            took = spread(to_first_byte(told.given, venue.take()))
        quiet = quiet or took
        against = f"x {took.p50 / quiet.p50:.2f} at p50" if took and quiet and per_s else ""
        name = f"signal -> order read, {PER_MIN}/min, with {per_s:,} ticks/s more"
        rows.append(Row(name=name, spread=took, floor=against))
        if per_s:
            kept = told.stored / told.seconds
            rows.append(Row(name="  stored meanwhile", value=f"{kept:,.0f} ticks/s"))
    return rows


def beside(pipe: Connection, port: int, folder: str, url: str, per_s: int, count: int) -> None:
    """Child: the service, its market data on a server, so many ticks a second beside its own."""
    pipe.send(uvloop.run(_beside(port, Path(folder), url, per_s, count)))


async def _beside(port: int, folder: Path, url: str, per_s: int, count: int) -> Loaded:
    store = PostgresMarketStore(lambda: url, folder / "spool", writer="bench")
    async with House(folder, port, "full", market=store) as house:
        for number in range(30):
            house.give(f"warm-{number}")
            await asyncio.sleep(0.02)
        pouring = asyncio.get_running_loop().create_task(_pour(store, per_s))
        await asyncio.sleep(0.5)
        before = store.condition().written
        given: dict[str, int] = {}
        began = time.monotonic_ns()
        for number in range(count):
            due = began + number * 60_000_000_000 // PER_MIN
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            given[f"s-{number}"] = house.give(f"s-{number}")
        seconds = (time.monotonic_ns() - began) / 1e9
        stored = store.condition().written - before
        pouring.cancel()
        await asyncio.sleep(0.3)
        return Loaded(given, seconds, stored)


async def _pour(store: MarketData, per_s: int) -> None:
    made = _ticks(max(1, int(per_s * _POUR_S)))
    while per_s:
        store.write_ticks(made)
        await asyncio.sleep(_POUR_S)


# -- a year of minutes -------------------------------------------------------------------------


def _year(server: PostgresServer, folder: Path, instruments: int) -> list[Row]:
    url = server.create()
    store = PostgresMarketStore(lambda: url, folder / "year", writer="bench")
    began = time.monotonic()
    _done(lambda: _ask(url, _YEAR, instruments, _START, _DAYS))
    _done(lambda: _ask(url, "VACUUM ANALYZE candles_m1"))
    filled = time.monotonic() - began
    rows = _done(lambda: _ask(url, "SELECT count(*) FROM candles_m1"))[0][0]
    size = _done(lambda: _ask(url, "SELECT pg_total_relation_size('candles_m1')"))[0][0]
    asked = _questions(instruments)
    floor = _done(lambda: _bare_days(url, asked))
    took = [_timed(lambda a=a: store.candles(a[0], "M1", *a[1])) for a in asked]
    days = [
        _timed(lambda n=n: store.candles(f"I{n}_USD", "D", _START, _START + _DAYS * DAY_NS))
        for n in range(1, instruments + 1)
    ]
    hours = [
        _timed(lambda a=a: store.candles(a[0], "H1", a[1][0], a[1][0] + 7 * DAY_NS)) for a in asked
    ]
    store.close()
    ours, bare = spread(took), spread(floor)
    against = f"x {ours.p50 / bare.p50:.2f}" if ours and bare else ""
    return [
        Row(name=f"a year of minutes, {instruments} instruments: {rows:,} rows",
            value=f"{size / 1e9:.1f} GB, made in {filled:.0f} s"),
        Row(name="floor: one day's minutes of one instrument, bare asyncpg", spread=bare),
        Row(name="one day's minutes of one instrument, as candles", spread=ours, floor=against),
        Row(name="a week of H1 candles, rolled up", spread=spread(hours)),
        Row(name="a year of D candles, rolled up", spread=spread(days)),
    ]  # fmt: skip


def _questions(instruments: int) -> list[tuple[str, tuple[int, int]]]:
    """Days by chance, weekdays only."""
    dice = random.Random(1)
    found: list[tuple[str, tuple[int, int]]] = []
    for _ in range(_QUESTIONS):
        day = _START + (dice.randrange(_DAYS // 7) * 7 + dice.randrange(5)) * DAY_NS
        found.append((f"I{dice.randint(1, instruments)}_USD", (day, day + DAY_NS)))
    return found


async def _bare_days(url: str, asked: list[tuple[str, tuple[int, int]]]) -> list[int]:
    db = await asyncpg.connect(url, ssl=False)
    took: list[int] = []
    for name, span in asked:
        began = time.monotonic_ns()
        found = await db.fetch(_ONE_DAY, name, *span)
        took.append(time.monotonic_ns() - began)
        assert len(found) == DAY_NS // MINUTE_NS
    await db.close()
    return took


def _timed(work: Callable[[], list[Any]]) -> int:
    began = time.monotonic_ns()
    assert work()
    return time.monotonic_ns() - began


async def _ask(url: str, sql: str, *given: object) -> list[Any]:
    db = await asyncpg.connect(url, ssl=False)
    try:
        return await db.fetch(sql, *given)
    finally:
        await db.close()


def _done(work: Callable[[], Coroutine[Any, Any, T]]) -> T:
    return uvloop.run(work())

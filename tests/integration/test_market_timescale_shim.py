"""The TimescaleDB layout against a real PostgreSQL whose TimescaleDB is pretended.

Goal: the schema's text is read by a server, and the store's flow on that layout is right. It does
not show that TimescaleDB itself does what is asked: that needs the real extension.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store import market_schema
from orchestrator.adapters.store.market_postgres import PostgresMarketStore
from orchestrator.adapters.store.statements import migrations
from orchestrator.model.market import Tick
from orchestrator.model.time import DAY_NS, MINUTE_NS, parse_time
from tests.servers.postgres import execute, in_thread

START = parse_time("2014-05-08T10:00:00Z")
SHIM = Path(__file__).resolve().parents[1] / "data" / "timescale" / "shim.sql"
# What no plain server can read, and no function can stand in for.
COMPRESSION = re.compile(r"ALTER TABLE ticks SET \(\s*timescaledb\.compress,.*?\);", re.DOTALL)
AGGREGATE = re.compile(
    r"CREATE MATERIALIZED VIEW (candles_m1)\nWITH \(timescaledb\.continuous,"
    r" timescaledb\.materialized_only = false\) AS(.*?)\nWITH NO DATA;",
    re.DOTALL,
)


@pytest.fixture
def url(fresh_database: str) -> str:
    """A database with our schema for TimescaleDB, as far as a plain server has it."""
    url = fresh_database
    texts = [SHIM.read_text("utf-8")]
    for _, _, text in migrations(market_schema.SCHEMAS[market_schema.TIMESCALE].folder):
        plain, compressed = COMPRESSION.subn("", text)
        plain, aggregated = AGGREGATE.subn(r"CREATE VIEW \1 AS\2;", plain)
        assert (compressed, aggregated) == (1, 1)
        texts.append(plain)
    version = "CREATE TABLE alembic_version_market (version_num text)"
    in_thread(lambda: _run(url, *texts, version))
    execute(url, "INSERT INTO alembic_version_market VALUES ('0001')")
    return url


async def _run(url: str, *scripts: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url, ssl=False)
    for script in scripts:
        await connection.execute(script)
    await connection.close()


@pytest.fixture
def store(url: str, tmp_path: Path) -> Iterator[PostgresMarketStore]:
    made = PostgresMarketStore(lambda: url, tmp_path / "spool", writer="w", retention_days=3)
    yield made
    made.close()


def tick(at_ns: int, seen_ns: int = 0) -> Tick:
    return Tick(
        instrument="EUR_USD", bid=Decimal("1.1"), ask=Decimal("1.2"), venue_ns=at_ns,
        seen_ns=seen_ns or at_ns,
    )  # fmt: skip


def calls(url: str) -> list[str]:
    return [row[0] for row in execute(url, "SELECT call FROM shim_calls ORDER BY at")]


def test_the_schema_asks_for_hypertable_compression_and_aggregate(url: str) -> None:
    assert calls(url) == [
        f"hypertable ticks venue_ns {DAY_NS}", "now ticks market_now",
        f"compress ticks {2 * DAY_NS}", f"aggregate candles_m1 {DAY_NS} {MINUTE_NS}",
    ]  # fmt: skip
    assert execute(url, "SELECT market_now()")[0][0] == 0


def test_minutes_are_the_servers_and_nothing_of_ours_writes_them(
    url: str, store: PostgresMarketStore
) -> None:
    store.write_ticks([tick(START + n * MINUTE_NS // 2) for n in range(10)])
    store.close()
    assert store.condition().written == 10
    assert store.condition().layout == market_schema.NOTES[market_schema.TIMESCALE]
    again = PostgresMarketStore(lambda: url, store._folder, writer="x")
    try:
        found = again.candles("EUR_USD", "M1", START, START + DAY_NS)
        assert [(one.start_ns, one.volume) for one in found] == [
            (START + n * MINUTE_NS, 2) for n in range(5)
        ]
        assert again.candles("EUR_USD", "H1", START, START + DAY_NS)[0].volume == 10
    finally:
        again.close()


def test_ticks_that_come_days_late_have_their_minutes_refreshed(
    url: str, store: PostgresMarketStore
) -> None:
    """What waited on the disk for days is older than TimescaleDB's own policy looks."""
    late = START - 2 * DAY_NS
    store.write_ticks([tick(START), tick(late, START), tick(late + MINUTE_NS + 1, START)])
    store.close()
    assert f"refresh candles_m1 {late} {late + 2 * MINUTE_NS}" in calls(url)
    assert store.condition().problem == ""


def test_old_chunks_are_dropped_by_the_markets_time(url: str, store: PostgresMarketStore) -> None:
    store.write_ticks([tick(START), tick(START + 5 * DAY_NS)])
    store.close()
    assert f"drop ticks {START + 2 * DAY_NS}" in calls(url)
    assert execute(url, "SELECT count(*) FROM ticks")[0][0] == 1


# -- which layout ------------------------------------------------------------------------------


class Server:
    """Answers what `choose` asks; the second answer is that after CREATE EXTENSION."""

    def __init__(self, *answers: tuple[Any, ...] | None, may_create: bool = True) -> None:
        self._answers = list(answers)
        self._may_create = may_create

    async def fetchrow(self, *_: object) -> tuple[Any, ...] | None:
        return self._answers.pop(0)

    async def execute(self, query: str) -> str:
        import asyncpg

        if query.startswith("CREATE EXTENSION") and not self._may_create:
            raise asyncpg.InsufficientPrivilegeError("permission denied")
        return ""


@pytest.mark.parametrize(
    ("server", "layout"),
    [
        (Server(None), "partitions"),
        (Server(("2.20", "2.20", "timescale")), "timescale"),
        (Server(("2.20", "2.20", "apache")), "partitions"),
        (Server(("2.20", None, None), ("2.20", "2.20", "timescale")), "timescale"),
        (Server(("2.20", None, None), ("2.20", "2.20", "apache")), "partitions"),
        (Server(("2.20", None, None), may_create=False), "partitions"),
        (Server(("2.20", "2.20", None)), "partitions"),
    ],
)
async def test_the_layout_is_what_the_server_allows(server: Server, layout: str) -> None:
    assert await market_schema.choose(server) == layout

"""The market store: never in the way, bounded, and honest about what it lost."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Tick
from orchestrator.model.time import DAY_NS
from tests.unit.adapters.store import samples

START = samples.START


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "state" / "market.db"


@pytest.fixture
def make(path: Path) -> Iterator[Callable[..., SqliteMarketStore]]:
    opened: list[SqliteMarketStore] = []

    def open_store(**options: Any) -> SqliteMarketStore:
        opened.append(SqliteMarketStore(path, **options))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


def tick(number: int = 0, bid: str = "1.10000", instrument: str = "EUR_USD") -> Tick:
    return Tick(
        instrument=instrument, bid=Decimal(bid), ask=Decimal("1.10010"), venue_ns=START + number,
        seen_ns=START + number + 5, tradeable=number % 2 == 0,
    )  # fmt: skip


def test_when_full_the_newest_are_kept_and_the_lost_are_counted(
    path: Path, make: Callable[..., SqliteMarketStore]
) -> None:
    store = make(rows_max=10, flush_s=60)
    blocker = sqlite3.connect(path, isolation_level=None)
    blocker.execute("BEGIN IMMEDIATE")  # the thread cannot write meanwhile
    store.write_ticks([tick(number) for number in range(25)])
    assert store.stats.dropped == 15
    blocker.execute("ROLLBACK")
    blocker.close()
    store.close()
    kept = store.ticks("EUR_USD", 0, START + 100)
    assert [one.venue_ns - START for one in kept] == list(range(15, 25))


def test_a_disk_in_trouble_costs_rows_never_an_exception(
    make: Callable[..., SqliteMarketStore],
) -> None:
    store = make(flush_s=60)

    class Broken:
        def execute(self, _: str) -> None:
            raise sqlite3.OperationalError("disk I/O error")

        def close(self) -> None:
            pass

    with store._wake:
        good, store._connection = store._connection, Broken()
        good.close()
        store._queue.extend(tick(number) for number in range(1001))  # a batch and one more
    store.close()
    assert (store.stats.failed, store.stats.written, store.stats.problem) == (1000, 1, "")
    kept = store.ticks("EUR_USD", 0, START + 10_000)
    assert [one.venue_ns for one in kept] == [START + 1000]


def test_old_ticks_go_by_market_time(make: Callable[..., SqliteMarketStore]) -> None:
    store = make(retention_days=2)
    store.write_ticks([tick(0), tick(DAY_NS), tick(3 * DAY_NS)])
    store.write_ticks([tick(0, instrument="USD_JPY")])
    store.close()
    kept = store.ticks("EUR_USD", 0, START + 10 * DAY_NS)
    assert [one.venue_ns - START for one in kept] == [3 * DAY_NS]
    assert len(store.ticks("USD_JPY", 0, START + 1)) == 1


def test_a_damaged_market_file_is_told(path: Path, make: Callable[..., SqliteMarketStore]) -> None:
    path.parent.mkdir()
    path.write_bytes(b"no database at all, but long enough for a header" * 100)
    with pytest.raises(StoreError, match="damaged"):
        make()


def test_the_journals_file_is_not_taken_for_market_data(
    path: Path, make: Callable[..., SqliteMarketStore]
) -> None:
    SqliteStore(path, checkpoint_s=0).close()
    with pytest.raises(StoreError, match="another kind"):
        make()

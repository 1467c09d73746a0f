"""One suite for both market stores: SQLite, and PostgreSQL in its plain layout."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from orchestrator.adapters.store.market_postgres import PostgresMarketStore
from orchestrator.adapters.store.market_sqlite import SqliteMarketStore
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, Tick
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, parse_time, trading_day
from tests.unit.adapters.store import samples

START = parse_time("2014-05-08T10:00:00Z")
FAR = START + 400 * DAY_NS
D = Decimal

Make = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Opens the same store each time it is called."""
    opened: list[Any] = []
    url = ""
    if request.param == "postgres":
        url = request.getfixturevalue("fresh_database")

    def open_store(**options: Any) -> Any:
        if request.param == "sqlite":
            opened.append(SqliteMarketStore(tmp_path / "state" / "market.db", **options))
        else:
            opened.append(
                PostgresMarketStore(
                    lambda: url, tmp_path / "spool", writer=f"test-{len(opened)}", **options
                )
            )
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def written(make: Make) -> Callable[..., Any]:
    """What was given stands in the store; a fresh one to read it with."""

    def write(*ticks: Tick, candles: tuple[Candle, ...] = (), **options: Any) -> Any:
        store = make(**options)
        store.write_ticks(ticks)
        store.write_candles(candles)
        store.close()
        assert store.condition().problem == ""
        return make()

    return write


def tick(at_ns: int = START, bid: str = "1.10000", ask: str = "1.10010", **more: Any) -> Tick:
    told = {"instrument": "EUR_USD", "seen_ns": at_ns + 5, "tradeable": True} | more
    return Tick(bid=D(bid), ask=D(ask), venue_ns=at_ns, **told)


def candle(close: str, *, complete: bool, volume: int = 3, start_ns: int = START) -> Candle:
    price = D("1.1")
    return Candle(
        instrument="EUR_USD", granularity="M1", start_ns=start_ns, volume=volume,
        complete=complete, bid_o=price, bid_h=price, bid_l=price, bid_c=D(close), ask_o=price,
        ask_h=price, ask_l=price, ask_c=price,
    )  # fmt: skip


def test_ticks_come_back_as_they_were_oldest_first(written: Callable[..., Any]) -> None:
    ticks = [tick(START + n, tradeable=n % 2 == 0) for n in range(2_500)]
    store = written(*reversed(ticks))
    assert store.ticks("EUR_USD", START, FAR) == ticks
    assert store.ticks("EUR_USD", START + 10, START + 12) == ticks[10:12]
    assert store.ticks("EUR_USD", START, FAR, limit=3) == ticks[:3]
    assert store.ticks("USD_JPY", START, FAR) == []
    assert store.ticks("' OR 1=1 --", START, FAR) == []


def test_the_digits_of_a_price_are_kept(written: Callable[..., Any]) -> None:
    store = written(tick(bid="101.500", ask="101.5040"), tick(START + 1, bid="1E+1", ask="1E+3"))
    first, second = store.ticks("EUR_USD", START, FAR)
    assert (str(first.bid), str(first.ask)) == ("101.500", "101.5040")
    assert (second.bid, second.ask) == (D(10), D(1000))


def test_the_same_tick_twice_is_two_ticks(written: Callable[..., Any]) -> None:
    assert written(tick(), tick()).ticks("EUR_USD", START, FAR) == [tick(), tick()]


@pytest.mark.parametrize("bad", ["NaN", "sNaN", "-Infinity", "1E+40", "1E-40"])
def test_what_is_no_price_is_refused_and_costs_no_other_row(make: Make, bad: str) -> None:
    store = make()
    store.write_ticks([tick(), tick(bid=bad), tick(START + 1, ask=bad), tick(START + 2)])
    store.write_candles([candle(bad, complete=True)])
    store.close()
    told = store.condition()
    assert (told.written, told.refused, told.failed, told.problem) == (2, 3, 0, "")
    assert [one.venue_ns for one in make().ticks("EUR_USD", 0, FAR)] == [START, START + 2]


@pytest.mark.parametrize(
    "odd",
    [
        {"instrument": "EUR\0USD"}, {"instrument": "E" * 300}, {"at_ns": 2**63},
        {"seen_ns": -(2**63) - 1}, {"instrument": "\ud800"},
    ],
)  # fmt: skip
def test_no_row_can_poison_its_batch(make: Make, odd: dict[str, Any]) -> None:
    store = make()
    store.write_ticks([tick(), tick(**odd), tick(START + 1)])
    store.close()
    told = store.condition()
    assert (told.written, told.refused, told.failed) == (2, 1, 0)


def test_a_tick_stamped_with_nonsense_is_kept_and_read(written: Callable[..., Any]) -> None:
    odd = [tick(0, seen_ns=START), tick(2**61, seen_ns=START), tick(START)]
    store = written(*odd, retention_days=0)
    assert store.ticks("EUR_USD", 0, 2**62) == [odd[0], odd[2], odd[1]]


def test_minutes_are_rolled_up_whatever_the_order_of_arrival(make: Make) -> None:
    dice = random.Random(7)
    ticks = [
        tick(START + n * 1_000_000_007 * 3, bid=f"1.{dice.randint(10000, 10999)}", ask="1.2")
        for n in range(200)
    ]
    arrival = ticks.copy()
    dice.shuffle(arrival)
    store = make()
    for part in range(0, 200, 40):  # batches, by lives of the store
        store.write_ticks(arrival[part : part + 40])
        store.close()
        store = make()
    found = store.candles("EUR_USD", "M1", START, FAR)
    assert len(found) == 10
    for one in found:
        mine = [t for t in ticks if one.start_ns <= t.venue_ns < one.start_ns + MINUTE_NS]
        bids = [t.bid for t in mine]
        assert (one.bid_o, one.bid_h, one.bid_l, one.bid_c, one.volume) == (
            bids[0], max(bids), min(bids), bids[-1], len(mine),
        )  # fmt: skip
    assert [one.complete for one in found] == [True] * 9 + [False]
    (span,) = store.spans()
    assert (span.minutes, span.ticks, span.first_ns) == (10, 200, START)


def test_a_crossed_or_empty_quote_makes_no_candle(written: Callable[..., Any]) -> None:
    store = written(tick(), tick(START + 1, bid="9", ask="8"), tick(START + 2, bid="0", ask="2"))
    (one,) = store.candles("EUR_USD", "M1", START, FAR)
    assert (one.volume, one.bid_h, one.bid_l) == (1, D("1.10000"), D("1.10000"))
    assert len(store.ticks("EUR_USD", START, FAR)) == 3


@pytest.mark.parametrize(("granularity", "width"), [("M5", 5 * MINUTE_NS), ("H1", HOUR_NS)])
def test_minutes_are_rolled_up_further(
    written: Callable[..., Any], granularity: str, width: int
) -> None:
    ticks = [tick(START + n * MINUTE_NS, bid=f"1.{10_000 + n}", ask="1.2") for n in range(130)]
    store = written(*ticks)
    found = store.candles("EUR_USD", granularity, START, FAR)
    each = width // MINUTE_NS
    assert [(c.start_ns, c.volume) for c in found[:-1]] == [
        (START + n * width, each) for n in range(len(found) - 1)
    ]
    assert (found[0].bid_o, found[0].bid_c) == (ticks[0].bid, ticks[each - 1].bid)
    assert sum(c.volume for c in found) == 130
    assert store.candles("EUR_USD", granularity, START + 1, FAR) == found[1:]
    assert store.candles("EUR_USD", granularity, START, START + width) == found[:1]
    assert store.candles("EUR_USD", granularity, START, FAR, limit=1) == found[:1]


def test_days_begin_in_new_york_also_when_its_clocks_change(written: Callable[..., Any]) -> None:
    since = parse_time("2014-03-07T12:00:00Z")  # clocks change on the 9th
    store = written(*[tick(since + n * HOUR_NS) for n in range(24 * 6)])
    found = store.candles("EUR_USD", "D", since - 2 * DAY_NS, FAR)
    days = sorted({trading_day(since + n * HOUR_NS)[1] for n in range(24 * 6)})
    assert [one.start_ns for one in found] == days
    assert [one.volume for one in found[1:-1]] == [24, 23, 24, 24, 24]


def test_the_venues_own_candle_goes_before_ours(written: Callable[..., Any]) -> None:
    theirs = candle("1.2", complete=True)
    store = written(tick(), tick(START + MINUTE_NS), candles=(theirs,))
    found = store.candles("EUR_USD", "M1", START, FAR)
    assert found[0] == theirs
    assert [one.start_ns for one in found] == [START, START + MINUTE_NS]


def test_a_running_candle_is_replaced_until_it_is_complete(make: Make) -> None:
    store = make()
    store.write_candles([candle("1.2", complete=False), candle("1.3", complete=True, volume=9)])
    store.write_candles([candle("1.4", complete=False)])
    store.close()
    assert make().candles("EUR_USD", "M1", 0, FAR) == [candle("1.3", complete=True, volume=9)]


@pytest.mark.parametrize("granularity", ["S5", "H4", "W", "", "nonsense"])
def test_what_cannot_be_rolled_up_is_read_as_it_was_given(
    written: Callable[..., Any], granularity: str
) -> None:
    assert written(tick()).candles("EUR_USD", granularity, 0, FAR) == []


def test_outcomes_count_once(make: Make) -> None:
    store = make()
    store.write_outcomes([samples.outcome(8, "-1"), samples.outcome(8, "3")])
    store.close()
    assert make().outcomes() == [samples.outcome(8, "-1")]
    assert make().outcomes(since_ns=2**62) == []


def test_old_ticks_go_by_market_time_and_their_minutes_stay(make: Make) -> None:
    store = make(retention_days=2)
    store.write_ticks([tick(START), tick(START + DAY_NS), tick(START + 5 * DAY_NS)])
    store.close()
    kept = make().ticks("EUR_USD", 0, FAR)
    assert [one.venue_ns for one in kept] == [START + 5 * DAY_NS]
    assert len(make().candles("EUR_USD", "M1", START, FAR)) == 3


def test_a_stamp_of_the_future_throws_no_good_tick_away(make: Make) -> None:
    """The venue's stamp may be wrong; ticks age by when they were seen."""
    store = make(retention_days=2)
    store.write_ticks([tick(START), tick(2**61, seen_ns=START)])
    store.close()
    assert len(make().ticks("EUR_USD", 0, 2**62)) == 2


def test_when_full_the_newest_are_kept_and_the_lost_are_counted(make: Make) -> None:
    store = make(rows_max=10, flush_s=60)
    with store._wake:  # the thread sleeps meanwhile
        store.write_ticks([tick(START + n) for n in range(25)])
        assert store.condition().dropped == 15
    store.close()
    kept = make().ticks("EUR_USD", 0, FAR)
    assert [one.venue_ns - START for one in kept] == list(range(15, 25))


def test_what_comes_after_the_close_is_counted_as_lost(make: Make) -> None:
    store = make()
    store.close()
    store.close()
    store.write_ticks([tick()])
    assert store.condition().dropped == 1


def test_a_store_that_cannot_be_read_says_so(make: Make, tmp_path: Path) -> None:
    store = make()
    store.close()
    if isinstance(store, SqliteMarketStore):
        (tmp_path / "state" / "market.db").write_bytes(b"no database, but long enough" * 100)
    with pytest.raises(StoreError):
        store.ticks("EUR_USD", 0, FAR)

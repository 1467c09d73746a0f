"""Candles: right prices, right alignment, no candle where there was no price."""

from decimal import Decimal

import pytest

from orchestrator.model.market import Tick
from orchestrator.model.time import NS_PER_S, format_time, parse_time
from orchestrator.paper.candles import KEPT_S5, Alignment, CandleStore, complete

D = Decimal


def store(*ticks):
    candles = CandleStore()
    for at, bid, ask in ticks:
        at_ns = parse_time(at) if isinstance(at, str) else at
        candles.on_tick(
            Tick(instrument="EUR_USD", bid=D(bid), ask=D(ask), venue_ns=at_ns, seen_ns=at_ns)
        )
    return candles


def starts(candles, granularity, alignment=None):
    return [format_time(b.start_ns)[:16] for b in candles.bars("EUR_USD", granularity, alignment)]


def test_open_high_low_close_of_each_side_and_the_true_mid():
    candles = store(
        ("2024-03-12T12:00:01Z", "1.10", "1.12"), ("2024-03-12T12:00:02Z", "1.15", "1.16"),
        ("2024-03-12T12:00:31Z", "1.05", "1.20"), ("2024-03-12T12:00:59Z", "1.11", "1.13"),
        ("2024-03-12T12:02:00Z", "1.00", "1.01"),
    )  # fmt: skip
    first, second = candles.bars("EUR_USD", "M1")
    assert (first.bid, first.ask, first.volume) == (
        [D("1.10"), D("1.15"), D("1.05"), D("1.11")],
        [D("1.12"), D("1.20"), D("1.12"), D("1.13")],
        4,
    )
    assert first.mid == [D("1.11"), D("1.155"), D("1.11"), D("1.12")]
    assert format_time(second.start_ns).startswith("2024-03-12T12:02:00")
    assert [b.volume for b in candles.bars("EUR_USD", "M5")] == [5]


@pytest.mark.parametrize(
    ("granularity", "expected"),
    [
        ("S5", "2024-03-12T22:47"), ("M15", "2024-03-12T22:45"), ("H1", "2024-03-12T22:00"),
        ("H4", "2024-03-12T21:00"), ("D", "2024-03-12T21:00"), ("W", "2024-03-08T22:00"),
        ("M", "2024-02-29T22:00"),
    ],
)  # fmt: skip
def test_alignment_follows_new_york_over_its_summer_time(granularity, expected):
    """Five in the afternoon is 22:00 UTC before 10 March 2024 and 21:00 after."""
    assert starts(store(("2024-03-12T22:47:11Z", "1.1", "1.2")), granularity) == [expected]


def test_another_alignment_of_the_day():
    candles = store(("2024-03-12T22:47:11Z", "1.1", "1.2"))
    assert starts(candles, "D", Alignment(0, "UTC")) == ["2024-03-12T00:00"]
    assert starts(candles, "H8", Alignment(0, "UTC")) == ["2024-03-12T16:00"]
    assert starts(candles, "D", Alignment(9)) == ["2024-03-12T13:00"]


def test_the_running_candle_is_incomplete_until_its_period_is_over():
    candles = store(("2024-03-12T12:00:01Z", "1.1", "1.2"))
    bar = candles.bars("EUR_USD", "M1")[-1]
    assert not complete(bar, "M1", parse_time("2024-03-12T12:00:59Z"))
    assert complete(bar, "M1", parse_time("2024-03-12T12:01:00Z"))


def test_memory_is_bounded_and_longer_candles_outlive_shorter_ones():
    start = parse_time("2024-03-12T00:00:00Z")
    candles = store(*((start + i * 5 * NS_PER_S, "1.1", "1.2") for i in range(KEPT_S5 + 100)))
    assert len(candles.bars("EUR_USD", "S5")) == KEPT_S5 + 1
    hours = candles.bars("EUR_USD", "H1")
    assert hours[0].start_ns == start
    assert sum(b.volume for b in hours) == KEPT_S5 + 100


def test_an_unknown_instrument_has_no_candles():
    assert CandleStore().bars("EUR_USD", "M1") == []

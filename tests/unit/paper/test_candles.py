"""Candles: right prices, right alignment, no candle where there was no price."""

from decimal import Decimal

import pytest

from orchestrator.model.market import Tick
from orchestrator.model.time import MINUTE_NS, NS_PER_S, format_time, parse_time
from orchestrator.paper.alignment import NEW_YORK, Alignment
from orchestrator.paper.candles import KEPT_S5, CandleStore, complete
from orchestrator.paper.shelf import Bar

D = Decimal


def store(*ticks):
    candles = CandleStore()
    for at, bid, ask in ticks:
        at_ns = parse_time(at) if isinstance(at, str) else at
        candles.on_tick(
            Tick(instrument="EUR_USD", bid=D(bid), ask=D(ask), venue_ns=at_ns, seen_ns=at_ns)
        )
    return candles


def starts(candles, granularity, alignment=NEW_YORK):
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


@pytest.mark.parametrize(
    ("granularity", "alignment", "expected"),
    [
        ("D", Alignment(9, "Asia/Tokyo"), "2024-03-12T00:00"),
        ("D", Alignment(0, "Asia/Kolkata"), "2024-03-12T18:30"),
        ("D", Alignment(17, "Europe/London"), "2024-03-12T17:00"),
        ("W", Alignment(0, "UTC", "Monday"), "2024-03-11T00:00"),
        ("W", Alignment(17, day="Wednesday"), "2024-03-06T22:00"),
        ("M", Alignment(0, "UTC"), "2024-03-01T00:00"),
        ("M", Alignment(6, "UTC"), "2024-03-01T06:00"),
    ],
)
def test_days_weeks_and_months_begin_wherever_they_are_aligned_to(granularity, alignment, expected):
    candles = store(("2024-03-12T22:47:11Z", "1.1", "1.2"))
    assert starts(candles, granularity, alignment) == [expected]


def test_the_days_on_which_clocks_change_are_whole():
    """New York went forward on 10 March 2024: that day of candles lasts 23 hours."""
    hours = [parse_time("2024-03-09T21:00:00Z") + h * 3600 * NS_PER_S for h in range(50)]
    candles = store(*((at, "1.1", "1.2") for at in hours))
    days = candles.bars("EUR_USD", "D")
    assert [format_time(d.start_ns)[:13] for d in days] == [
        "2024-03-08T22", "2024-03-09T22", "2024-03-10T21", "2024-03-11T21",
    ]  # fmt: skip
    assert [d.volume for d in days] == [1, 23, 24, 2]
    assert sum(b.volume for b in candles.bars("EUR_USD", "H12")) == 50


@pytest.mark.parametrize("granularity", ["S5", "M1", "M15", "H1", "H4", "D", "W", "M"])
def test_the_last_bars_are_the_same_whether_all_or_some_are_made(granularity):
    start = parse_time("2024-02-25T03:00:00Z")
    candles = store(*((start + i * 900 * NS_PER_S, "1.1", "1.2") for i in range(2500)))
    every = candles.bars("EUR_USD", granularity)
    assert len(every) > 1

    def shown(bars):
        return [(b.start_ns, b.volume, b.bid) for b in bars]

    for count in (1, 2, 7):
        assert shown(candles.bars("EUR_USD", granularity, count=count)) == shown(every[-count:])
    middle = every[len(every) // 2].start_ns
    some = candles.bars("EUR_USD", granularity, start_ns=middle)
    assert shown(some) == shown(b for b in every if b.start_ns >= middle)


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


def test_a_price_older_than_the_history_makes_no_second_candle():
    candles, noon = CandleStore(), parse_time("2024-03-12T12:00:00Z")
    minutes = [
        Bar(noon + i * MINUTE_NS, 9, [D("1.1")] * 4, [D("1.2")] * 4, [D("1.15")] * 4)
        for i in range(3)
    ]
    candles.put_history("EUR_USD", minutes, MINUTE_NS)
    for at_ns in (noon + MINUTE_NS, noon + 3 * MINUTE_NS):
        candles.on_tick(
            Tick(instrument="EUR_USD", bid=D(1), ask=D(2), venue_ns=at_ns, seen_ns=at_ns)
        )
    assert [b.volume for b in candles.bars("EUR_USD", "M1")] == [9, 9, 9, 1]


def test_an_unknown_instrument_has_no_candles():
    assert CandleStore().bars("EUR_USD", "M1") == []

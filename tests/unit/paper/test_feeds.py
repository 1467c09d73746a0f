"""Feeds: recorded files are read exactly or refused by line; the synthetic market is as told."""

import gzip
import math
import statistics
from decimal import Decimal
from itertools import pairwise

import pytest

from orchestrator.model.errors import FeedError
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, parse_time
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.feeds.synthetic import SyntheticFeed, market_open

D = Decimal

START = parse_time("2024-03-12T12:00:00Z")


def write(folder, name, *lines):
    path = folder / name
    text = "\n".join(lines) + "\n"
    if name.endswith(".gz"):
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


def everything(feed):
    ticks = []
    while (due := feed.next_ns()) is not None:
        ticks += feed.due(due)
    return ticks


def test_files_are_merged_by_time_and_prices_are_put_on_the_grid(tmp_path):
    feed = ReplayFeed([
        write(tmp_path, "USD_JPY_20140502.csv", "5,102.1,102.12", "9,102.2,102.3"),
        write(tmp_path, "EUR_USD_20140502.csv.gz", "1,1.3,1.30012", "5,1.31,1.3101"),
        write(tmp_path, "EUR_USD_20140501.csv", "86399999,1.29,1.2901"),
    ])  # fmt: skip
    ticks = everything(feed)
    midnight = parse_time("2014-05-02T00:00:00Z")
    assert feed.start_ns == midnight - 1_000_000
    assert [(t.instrument, (t.venue_ns - midnight) // 1_000_000, str(t.bid)) for t in ticks] == [
        ("EUR_USD", -1, "1.29000"), ("EUR_USD", 1, "1.30000"), ("USD_JPY", 5, "102.100"),
        ("EUR_USD", 5, "1.31000"), ("USD_JPY", 9, "102.200"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("7,1.1", "2 fields instead of 3"),
        ("x,1.1,1.2", "line 2"),
        ("7,abc,1.2", "not a number"),
        ("7,NaN,1.2", "not a bid and an ask"),
        ("7,1.3,1.2", "not a bid and an ask"),
        ("7,-1,1.2", "not a bid and an ask"),
        ("86400000,1.1,1.2", "outside the day"),
        ("1,1.1,1.2", "earlier than the line before"),
        ("7,1.1,1.2\x00", "line 2"),
    ],
)
def test_an_unreadable_line_is_named(tmp_path, line, why):
    path = write(tmp_path, "EUR_USD_20140502.csv", "5,1.10000,1.10010", line)
    with pytest.raises(FeedError, match=why) as caught:
        everything(ReplayFeed([path]))
    assert str(path) in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_cut_archive_is_named(tmp_path):
    path = write(tmp_path, "EUR_USD_20140502.csv.gz", *(f"{i},1.1,1.2" for i in range(5000)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FeedError, match="cannot be read"):
        everything(ReplayFeed([path]))


@pytest.mark.parametrize("name", ["ticks.csv", "EUR_USD_2014.csv", "EUR_USD_20149999.csv"])
def test_a_file_must_be_named_by_instrument_and_day(tmp_path, name):
    with pytest.raises(FeedError, match=name):
        ReplayFeed([write(tmp_path, name, "1,1.1,1.2")])


def test_an_empty_file_and_the_same_day_twice_are_refused(tmp_path):
    with pytest.raises(FeedError, match="no tick"):
        ReplayFeed([write(tmp_path, "EUR_USD_20140502.csv")])
    one = write(tmp_path, "EUR_USD_20140503.csv", "1,1.1,1.2")
    two = write(tmp_path, "EUR_USD_20140503.csv.gz", "2,1.1,1.2")
    with pytest.raises(FeedError, match="given twice"):
        everything(ReplayFeed([one, two]))


@pytest.mark.quotes
def test_a_recorded_day_is_read_whole(quotes_dir):
    ticks = everything(ReplayFeed([quotes_dir / "tick" / "EUR_USD_20140504.csv.gz"]))
    assert len(ticks) > 1000
    assert all(t.bid.as_tuple().exponent == -5 and t.bid < t.ask for t in ticks)


@pytest.fixture(scope="module")
def synthetic():
    return SyntheticFeed(START, 7)


def test_history_is_three_days_that_end_at_the_first_price(synthetic):
    history = {name: list(bars) for name, _, bars in synthetic.history()}
    assert len(history) == 11
    first = {t.instrument: t for t in SyntheticFeed(START, 7).due(START + 3 * NS_PER_S)[::-1]}
    for name, bars in history.items():
        assert len(bars) == 3 * DAY_NS // MINUTE_NS
        assert bars[-1].start_ns == START - MINUTE_NS
        assert all(b.bid[2] <= b.bid[0] <= b.bid[1] < b.ask[1] for b in bars[:500])
        assert all(a.start_ns < b.start_ns for a, b in pairwise(bars))
        assert abs(bars[-1].bid[3] - first[name].bid) < first[name].bid * D("0.0005")


def test_the_same_seed_gives_the_same_market():
    one, two, other = (SyntheticFeed(START, seed, history_ns=HOUR_NS) for seed in (5, 5, 6))
    ends = START + 60 * NS_PER_S
    assert one.due(ends) == two.due(ends)
    assert one.due(ends + 9 * NS_PER_S) != other.due(ends + 9 * NS_PER_S)


def test_every_instrument_speaks_every_two_seconds_and_the_cross_agrees():
    feed = SyntheticFeed(START, 3, history_ns=HOUR_NS)
    ticks = feed.due(START + 600 * NS_PER_S)
    assert all(a.venue_ns <= b.venue_ns for a, b in pairwise(ticks))
    last = {}
    for tick in ticks:
        before = last.get(tick.instrument)
        assert before is None or tick.venue_ns - before.venue_ns <= 2.3 * NS_PER_S
        assert 0 < tick.bid < tick.ask
        last[tick.instrument] = tick
    assert set(last) == set(feed.instruments)
    cross = last["EUR_USD"].mid / last["GBP_USD"].mid
    assert abs(cross - last["EUR_GBP"].mid) < D("0.0005")


def test_a_day_moves_about_as_much_as_it_should_and_neighbours_move_together(synthetic):
    logs = {name: [math.log(b.mid[3]) for b in bars][::30] for name, _, bars in synthetic.history()}
    moves = {n: [b - a for a, b in pairwise(v)] for n, v in logs.items()}
    day = statistics.pstdev(moves["EUR_USD"]) * math.sqrt(48) * 100
    assert 0.3 < day < 1.2
    assert statistics.correlation(moves["EUR_USD"], moves["GBP_USD"]) > 0.2
    assert statistics.correlation(moves["EUR_USD"], moves["USD_CHF"]) < -0.2


def test_fx_hours_close_the_market_with_one_last_untradeable_price():
    friday = parse_time("2024-03-15T20:58:30Z")  # 16:58:30 in New York
    feed = SyntheticFeed(friday, 1, hours="fx", history_ns=HOUR_NS)
    ticks = feed.due(friday + 300 * NS_PER_S)
    closing = [t for t in ticks if not t.tradeable]
    assert len(closing) == len(feed.instruments)
    assert ticks[-1] == closing[-1]
    assert feed.due(friday + 400 * NS_PER_S) == []
    assert not market_open(parse_time("2024-03-17T21:00:00Z"))
    assert market_open(parse_time("2024-03-17T21:05:00Z"))


def test_after_a_long_sleep_only_the_last_minute_is_told():
    feed = SyntheticFeed(START, 1, history_ns=HOUR_NS)
    ticks = feed.due(START + DAY_NS)
    assert ticks[0].venue_ns > START + DAY_NS - 61 * NS_PER_S


def test_a_bad_line_is_found_before_the_first_price(tmp_path):
    lines = [f"{i},1.10000,1.10010" for i in range(50)] + ["50;1.1;1.2", "51,1.1,1.2"]
    with pytest.raises(FeedError, match="line 51"):
        ReplayFeed([write(tmp_path, "EUR_USD_20140502.csv.gz", *lines)])


def hour(at, bid="1.1", ask="1.2"):
    return ",".join([at, *[bid] * 4, "0", *[ask] * 4, "0"])


def test_recorded_hours_become_history_up_to_the_first_tick(tmp_path):
    ticks = write(tmp_path, "EUR_USD_20140502.csv", "3600001,1.1,1.2")
    hours = write(
        tmp_path, "EUR_USD_2007_2014.csv.gz",
        hour("20140501 23:00"), hour("20140502 00:00"), hour("20140502 01:00"),
    )  # fmt: skip
    feed = ReplayFeed([hours, ticks])
    [(name, period, bars)] = feed.history()
    assert (name, period) == ("EUR_USD", 3600 * NS_PER_S)
    assert [b.start_ns for b in bars] == [
        parse_time("2014-05-01T23:00:00Z"), parse_time("2014-05-02T00:00:00Z"),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("lines", "why"),
    [
        ([hour("20140501 23:00"), "x"], "line 2: 1 fields instead of 11"),
        ([hour("20140501 23h")], "line 1: not a time and prices"),
        ([hour("20140501 23:00", "1.3")], "line 1: not a bid and an ask"),
        ([hour("20140501 23:00")] * 2, "line 2: not later"),
        ([hour("20140430 21:00"), hour("20140501 21:00")], "line 2: the lines are days"),
    ],
)
def test_unreadable_hours_are_named(tmp_path, lines, why):
    ticks = write(tmp_path, "EUR_USD_20140502.csv", "3600001,1.1,1.2")
    feed = ReplayFeed([write(tmp_path, "EUR_USD_2007_2014.csv", *lines), ticks])
    with pytest.raises(FeedError, match=why):
        list(feed.history())

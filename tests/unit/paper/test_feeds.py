"""Feeds: recorded files are read exactly or refused by line; the synthetic market is as told."""

import gzip
import math
import statistics
from decimal import Decimal
from itertools import pairwise

import pytest

from orchestrator.model.errors import FeedError
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, parse_time
from orchestrator.paper.feeds.assets import log_start
from orchestrator.paper.feeds.news import NewsDesk
from orchestrator.paper.feeds.replay import ReplayFeed
from orchestrator.paper.feeds.seasons import market_open
from orchestrator.paper.feeds.synthetic import SyntheticFeed
from orchestrator.paper.instruments import SPECS

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
        ("7,NaN,1.2", "not a number"),
        ("7,1.3,1.2", "not a bid and an ask"),
        ("7,-1,1.2", "not a number"),
        ("7,0.0000001,1.2", "not a bid and an ask"),
        ("7,1.1,1000000000", "not a bid and an ask"),
        ("7,1e0,1.2", "not a number"),
        ("1_0,1.1,1.2", "whole number"),
        ("+7,1.1,1.2", "whole number"),
        ("999999999999999999999,1.1,1.2", "outside the day"),
        ("86400000,1.1,1.2", "outside the day"),
        ("1,1.1,1.2", "earlier than the line before"),
        ("7,1.1,1.2\x00", "line 2"),
    ],
)
def test_an_unreadable_line_is_named(tmp_path, line, why):
    path = write(tmp_path, "EUR_USD_20140502.csv", "5,1.10000,1.10010", line)
    with pytest.raises(FeedError, match=why) as caught:
        ReplayFeed([path])
    assert str(path) in str(caught.value)
    assert "line 2" in str(caught.value)


def test_a_cut_archive_is_named_with_the_line_that_it_reaches(tmp_path):
    path = write(tmp_path, "EUR_USD_20140502.csv.gz", *(f"{i},1.1,1.2" for i in range(5000)))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(FeedError, match=r"line 4[0-9]{3}: cannot be read: the archive is cut"):
        ReplayFeed([path])
    path.write_bytes(b"no archive")
    with pytest.raises(FeedError, match="line 1: cannot be read"):
        ReplayFeed([path])


def test_an_empty_file_of_hours_and_hours_given_twice_are_refused(tmp_path):
    ticks = write(tmp_path, "EUR_USD_20140502.csv", "3600001,1.1,1.2")
    empty = tmp_path / "EUR_USD_2007_2014.csv"
    empty.write_text("")
    with pytest.raises(FeedError, match="holds no hour"):
        list(ReplayFeed([ticks, empty]).history())
    other = tmp_path / "EUR_USD_2015_2016.csv"
    other.write_text("")
    with pytest.raises(FeedError, match=r"2015_2016.csv: hours .* given twice"):
        ReplayFeed([ticks, empty, other])


def test_a_folder_or_a_missing_file_is_named(tmp_path):
    for name in ("EUR_USD_20140502.csv", "EUR_USD_20140503.csv"):
        with pytest.raises(FeedError, match=f"{name}: cannot be read"):
            ReplayFeed([tmp_path / name])
        (tmp_path / "EUR_USD_20140503.csv").mkdir(exist_ok=True)


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
        ReplayFeed([one, two])


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


def test_every_instrument_speaks_in_half_a_minute_and_never_says_the_same_twice():
    feed = SyntheticFeed(START, 3, history_ns=HOUR_NS)
    ticks = feed.due(START + 600 * NS_PER_S)
    assert all(a.venue_ns <= b.venue_ns for a, b in pairwise(ticks))
    assert all(0 < tick.bid < tick.ask for tick in ticks)
    for name in feed.instruments:
        said = [tick for tick in ticks if tick.instrument == name]
        assert said[0].venue_ns <= START + NS_PER_S
        for before, tick in pairwise(said):
            assert 0 < tick.venue_ns - before.venue_ns <= 30 * NS_PER_S
            assert (tick.bid, tick.ask) != (before.bid, before.ask)


def test_the_pace_is_uneven_as_recorded():
    afternoon = START + 5 * HOUR_NS  # an ordinary hour
    feed = SyntheticFeed(afternoon, 5, history_ns=HOUR_NS)
    ticks = feed.due(afternoon + HOUR_NS // 6) + feed.due(afternoon + HOUR_NS // 3)
    times = [tick.venue_ns for tick in ticks if tick.instrument == "EUR_USD"]
    waits = [(b - a) / NS_PER_S for a, b in pairwise(times)]
    assert 0.05 < statistics.median(waits) < 0.6
    assert 0.5 < statistics.mean(waits) < 4
    assert statistics.mean(waits) > 3 * statistics.median(waits)


@pytest.mark.parametrize(
    ("cross", "one", "other"),
    [
        ("EUR_GBP", "EUR_USD", "GBP_USD"),
        ("XAU_EUR", "XAU_USD", "EUR_USD"),
        ("EUR_DKK", "EUR_USD", "DKK_USD"),
    ],
)
def test_a_cross_agrees_with_what_it_is_made_of(cross, one, other):
    feed = SyntheticFeed(START, 3, history_ns=HOUR_NS, instruments=tuple(SPECS))
    last = {tick.instrument: tick.mid for tick in feed.due(START + 600 * NS_PER_S)}
    last["DKK_USD"] = 1 / last["USD_DKK"]
    assert abs(last[cross] / (last[one] / last[other]) - 1) < D("0.001")


def test_all_seventy_have_prices_near_their_start_that_fit_their_rules():
    feed = SyntheticFeed(START, 8, history_ns=HOUR_NS, instruments=tuple(SPECS))
    last = {tick.instrument: tick for tick in feed.due(START + 300 * NS_PER_S)}
    assert len(last) == 70
    for name, tick in last.items():
        spec, start = SPECS[name], math.exp(log_start(name))
        assert tick.bid.as_tuple().exponent == -spec.display_precision
        assert float(tick.mid) == pytest.approx(start, rel=0.02)
        assert spec.tick <= tick.spread < tick.mid / 100


def test_an_instrument_says_the_same_whichever_others_are_asked_for():
    few = SyntheticFeed(START, 3, history_ns=HOUR_NS, instruments=(InstrumentName("EUR_USD"),))
    all_of_them = SyntheticFeed(START, 3, history_ns=HOUR_NS, instruments=tuple(SPECS))
    until = START + 200 * NS_PER_S
    assert few.due(until) == [t for t in all_of_them.due(until) if t.instrument == "EUR_USD"]


def test_a_feed_says_the_same_however_often_it_is_asked():
    often, once = (SyntheticFeed(START, 3, history_ns=HOUR_NS) for _ in range(2))
    until, told = START + 200 * NS_PER_S, []
    while often.next_ns() <= until:
        told += often.due(often.next_ns())
    assert [*told, *often.due(until)] == once.due(until)


def test_the_week_opens_with_a_gap_and_wide_spreads():
    """Goal: what a weekend costs is there. Method: the same Friday and Sunday for several seeds."""
    friday = parse_time("2024-03-15T20:50:00Z")
    gaps, ratios = [], []
    for seed in range(8):
        feed = SyntheticFeed(friday, seed, hours="fx", history_ns=HOUR_NS)
        before = [t for t in feed.due(friday + 300 * NS_PER_S) if t.instrument == "EUR_USD"]
        sunday = parse_time("2024-03-17T21:05:00Z")
        assert feed.due(friday + 900 * NS_PER_S)[-1].tradeable is False
        assert feed.due(sunday - 1) == []
        assert sunday <= feed.next_ns() <= sunday + NS_PER_S
        after = [t for t in feed.due(sunday + 60 * NS_PER_S) if t.instrument == "EUR_USD"]
        assert all(t.tradeable for t in after)
        gaps.append(abs(math.log(after[0].mid / before[-1].mid)))
        ratios.append(after[0].spread / before[0].spread)
    assert 0.0002 < statistics.mean(gaps) < 0.006
    assert statistics.median(ratios) > 2


def test_a_jump_of_the_clock_ends_in_an_open_or_a_closed_market():
    friday = parse_time("2024-03-15T12:00:00Z")
    feed = SyntheticFeed(friday, 1, hours="fx", history_ns=HOUR_NS)
    feed.due(friday + 60 * NS_PER_S)
    closed = feed.due(friday + DAY_NS)
    assert closed
    assert not any(tick.tradeable for tick in closed)
    assert all(tick.tradeable for tick in feed.due(friday + 3 * DAY_NS))


def test_news_come_at_the_usual_hours_and_are_the_same_for_a_seed():
    def told(desk):
        return [news for day in days for news in desk.between(day, day + DAY_NS)]

    days = [parse_time("2024-03-11T04:00:00Z") + day * DAY_NS for day in range(28)]
    desk, again = (NewsDesk(4, every_day=False) for _ in range(2))
    news = told(desk)
    of_the_dollar = [n.at_ns % DAY_NS // MINUTE_NS for n in news if n.moves == "dollar"]
    assert 5 <= of_the_dollar.count(750) <= 20  # 8:30 in New York
    # Asked from the end to the beginning: the same.
    for one in reversed(news):
        assert one in again.between(one.at_ns, one.at_ns + 1)
    assert news != told(NewsDesk(5, every_day=False))


def test_news_move_the_price_and_widen_the_spread():
    desk = NewsDesk(11, every_day=False)
    at_ns = parse_time("2024-03-12T12:30:00Z")
    while not any(n.moves == "dollar" and abs(n.size) > 0.5
                  for n in desk.between(at_ns, at_ns + MINUTE_NS)):  # fmt: skip
        at_ns += DAY_NS
    feed = SyntheticFeed(at_ns - 300 * NS_PER_S, 11, hours="fx", history_ns=HOUR_NS)
    ticks = [t for t in feed.due(at_ns + 300 * NS_PER_S) if t.instrument == "EUR_USD"]
    calm = [t for t in ticks if t.venue_ns < at_ns - 60 * NS_PER_S]
    wild = [t for t in ticks if at_ns <= t.venue_ns < at_ns + 60 * NS_PER_S]
    assert max(t.spread for t in wild) > 2 * statistics.median(t.spread for t in calm)
    assert abs(wild[-1].mid / calm[-1].mid - 1) > D("0.0005")


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
        ([hour("20140501 23:00", "NaN")], "line 1: not a time and prices"),
        ([hour("20140501 23:00", "-1")], "line 1: not a time and prices"),
        ([hour("20140501 23:00", "0")], "line 1: not a bid and an ask"),
        (["20140501 23:00,1.1,1.0,1.1,1.1,0,1.2,1.2,1.2,1.2,0"], "line 1: the high and the low"),
        ([hour("20140501 23:00")] * 2, "line 2: not later"),
        ([hour("20140430 21:00"), hour("20140501 21:00")], "line 2: the lines are days"),
    ],
)
def test_unreadable_hours_are_named(tmp_path, lines, why):
    ticks = write(tmp_path, "EUR_USD_20140502.csv", "3600001,1.1,1.2")
    feed = ReplayFeed([write(tmp_path, "EUR_USD_2007_2014.csv", *lines), ticks])
    with pytest.raises(FeedError, match=why):
        list(feed.history())

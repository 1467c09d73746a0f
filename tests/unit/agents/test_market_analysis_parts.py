"""The parts of Market Analysis: regimes, the shipped strategies, calibration."""

from decimal import Decimal

import pytest

from orchestrator.agents.market_analysis.calibration import Calibration
from orchestrator.agents.market_analysis.candles import Bar, Candles
from orchestrator.agents.market_analysis.frame import Frame
from orchestrator.agents.market_analysis.regime import (
    QUIET,
    RANGE,
    TREND_DOWN,
    TREND_UP,
    UNKNOWN,
    VOLATILE,
    Regime,
)
from orchestrator.agents.market_analysis.strategies import (
    Context,
    MeanReversion,
    Pullback,
    SessionBreakout,
    TrendFollowing,
    fair,
)
from orchestrator.model.market import Candle
from orchestrator.model.money import InstrumentName, Price, Side
from orchestrator.model.time import DAY_NS, MINUTE_NS, london, parse_time

EUR_USD = InstrumentName("EUR_USD")
NOON = parse_time("2014-05-08T12:00:00Z")


def a_bar(close, *, index=0, start_ns=None, minutes=5, high=None, low=None, spread=0.0001):
    start_ns = NOON + index * minutes * MINUTE_NS if start_ns is None else start_ns
    return Bar(
        timeframe=f"M{minutes}", start_ns=start_ns, end_ns=start_ns + minutes * MINUTE_NS,
        open=close, high=close if high is None else high, low=close if low is None else low,
        close=close, spread=spread, ticks=10,
    )  # fmt: skip


def a_context(**changes):
    given = {"instrument": EUR_USD, "ready": True, "regime": RANGE, "atr": 0.0005, "adx": 30.0,
             "er": 0.5, "spread": 0.0001}  # fmt: skip
    return Context(**{**given, **changes})


# Regimes.


def test_a_regime_needs_two_bars_to_change_and_less_to_stay():
    regime = Regime()
    assert regime.value == UNKNOWN
    assert regime.update(15, 0.1, 0.001, 0.5) == RANGE
    assert regime.update(26, 0.4, 0.001, 0.5) == RANGE
    assert regime.update(26, 0.4, 0.001, 0.5) == TREND_UP
    assert [regime.update(21, 0.2, 0.001, 0.5) for _ in range(3)] == [TREND_UP] * 3
    assert [regime.update(19, 0.2, 0.001, 0.5) for _ in range(2)] == [TREND_UP, RANGE]


def test_a_flicker_at_a_threshold_changes_nothing():
    regime = Regime()
    regime.update(15, 0.1, 0.001, 0.5)
    seen = {regime.update(26 if i % 2 else 24, 0.4, 0.001, 0.5) for i in range(20)}
    assert seen == {RANGE}


@pytest.mark.parametrize(("numbers", "expected"), [
    ((30, 0.5, -0.001, 0.5), TREND_DOWN),
    ((30, 0.5, 0.001, 0.96), VOLATILE),  # a storm decides before a trend
    ((15, 0.1, 0.001, 0.05), QUIET),
    ((30, 0.5, 0.0, 0.5), RANGE),  # no move, no direction
    ((24.9, 0.5, 0.001, 0.5), RANGE),
    ((25, 0.29, 0.001, 0.5), RANGE),
])  # fmt: skip
def test_the_first_bar_names_the_regime(numbers, expected):
    assert Regime().update(*numbers) == expected


def test_a_steady_rise_is_a_trend_and_a_frame_is_ready_when_all_is_known():
    frame = Frame(EUR_USD)
    for index in range(60):
        price = 1.39 + index * 0.0003
        frame.update(a_bar(price, index=index, high=price + 0.0002, low=price - 0.0002))
        assert frame.context.ready == (index >= 27)  # 14 for the ranges, 14 for the mean of DX
    assert frame.regime == TREND_UP
    assert frame.context.plus_di > frame.context.minus_di
    assert frame.context.er == pytest.approx(1.0)
    assert frame.context.spread == pytest.approx(0.0001)


# Strategies.


def test_a_stop_is_never_narrower_than_eight_spreads():
    calm = a_context(atr=0.0001, spread=0.0002)
    assert calm.stop(2.0) == pytest.approx(0.0016)
    assert a_context(atr=0.001).stop(2.0) == pytest.approx(0.002)
    assert calm.stop(2.0, at_least=0.005) == 0.005


def rising(strategy, context, *, last, bars=60):
    """Feeds a slow rise, then one bar at `last`."""
    for index in range(bars):
        price = 1.39 + index * 0.00001
        strategy.on_bar(a_bar(price, index=index), context)
    return strategy.on_bar(a_bar(last, index=bars), context)


def test_trend_following_buys_the_break_of_the_channel():
    wish = rising(TrendFollowing(), a_context(), last=1.392)
    assert wish is not None
    assert wish.side is Side.BUY
    assert wish.stop_distance == pytest.approx(2.5 * 0.0005)
    assert wish.target_distance == pytest.approx(1.5 * wish.stop_distance)
    assert fair(1.5) < wish.confidence < fair(1.5) + 0.15


@pytest.mark.parametrize("context", [a_context(adx=17.0), a_context(regime=VOLATILE)])
def test_trend_following_keeps_out_without_strength_or_in_a_storm(context):
    assert rising(TrendFollowing(), context, last=1.392) is None


def test_trend_following_does_not_sell_against_its_averages():
    assert rising(TrendFollowing(), a_context(), last=1.3903) is None


def test_a_stronger_trend_is_claimed_with_more_confidence():
    weak = rising(TrendFollowing(), a_context(adx=20.0), last=1.392)
    strong = rising(TrendFollowing(), a_context(adx=45.0, er=0.9), last=1.392)
    assert weak.confidence < strong.confidence


def flat(strategy, context, last):
    for index in range(30):
        strategy.on_bar(a_bar(1.39 + (index % 2) * 0.0002, index=index), context)
    return strategy.on_bar(a_bar(last, index=30), context)


def test_mean_reversion_buys_the_stretch_below_and_sells_the_one_above():
    low = flat(MeanReversion(), a_context(adx=15.0, rsi=25.0), 1.388)
    high = flat(MeanReversion(), a_context(adx=15.0, rsi=75.0), 1.392)
    assert (low.side, high.side) == (Side.BUY, Side.SELL)
    assert low.confidence == pytest.approx(high.confidence)


@pytest.mark.parametrize("context", [
    a_context(adx=15.0, rsi=45.0),
    a_context(adx=35.0, rsi=25.0),
    a_context(adx=15.0, rsi=25.0, regime=TREND_DOWN),
    a_context(adx=15.0, rsi=25.0, regime=VOLATILE),
])  # fmt: skip
def test_mean_reversion_keeps_out_of_trends_storms_and_small_stretches(context):
    assert flat(MeanReversion(), context, 1.388) is None


def dip_and_rise(context, *, rise_after=1):
    strategy = Pullback()
    for index in range(60):
        strategy.on_bar(a_bar(1.39 + index * 0.0001, index=index), context)
    dip = a_bar(1.3945, index=60, high=1.3958, low=1.394)
    strategy.on_bar(Bar(**{**{f: getattr(dip, f) for f in dip.__struct_fields__}, "open": 1.3957}),
                    context)  # fmt: skip
    for index in range(1, rise_after):
        assert strategy.on_bar(a_bar(1.3957, index=60 + index), context) is None
    return strategy.on_bar(a_bar(1.3965, index=60 + rise_after), context)


def test_pullback_joins_the_trend_when_the_dip_ends_in_time():
    assert dip_and_rise(a_context()).side is Side.BUY
    assert dip_and_rise(a_context(), rise_after=3).side is Side.BUY
    assert dip_and_rise(a_context(), rise_after=4) is None


def test_pullback_does_not_join_against_the_coarser_trend():
    assert dip_and_rise(a_context(regimes=(("M15", TREND_DOWN),))) is None
    assert dip_and_rise(a_context(regimes=(("M15", TREND_UP),))).side is Side.BUY


def a_day(strategy, day, breakouts, context, *, low=1.390, high=1.392):
    """Bars of M5 for a UTC day; close outside the range at the times in `breakouts`."""
    start_ns, wishes = parse_time(f"{day}T00:00:00Z"), []
    for index in range(288):
        at_ns = start_ns + index * 5 * MINUTE_NS
        close = breakouts.get(index * 5, 1.391)
        bar = a_bar(close, start_ns=at_ns, high=max(high, close), low=min(low, close))
        wish = strategy.on_bar(bar, context)
        if wish is not None:
            wishes.append((index * 5, wish))
    return wishes


@pytest.mark.parametrize(("day", "open_utc"), [
    ("2014-01-08", 8 * 60),  # London on UTC
    ("2014-05-08", 7 * 60),  # London an hour ahead
    ("2014-03-19", 8 * 60),  # New York has changed its clocks already, London has not
])  # fmt: skip
def test_the_first_break_after_the_london_open_is_traded_once(day, open_utc):
    breakouts = {open_utc - 30: 1.3919, open_utc + 10: 1.393, open_utc + 20: 1.389}
    wishes = a_day(SessionBreakout(sessions=("london",)), day, breakouts, a_context())
    assert [(at, wish.side) for at, wish in wishes] == [(open_utc + 10, Side.BUY)]
    assert wishes[0][1].stop_distance >= 0.001


@pytest.mark.parametrize(("day", "open_utc"), [
    ("2014-01-08", 13 * 60 + 30), ("2014-05-08", 12 * 60 + 30), ("2014-03-19", 12 * 60 + 30),
])  # fmt: skip
def test_the_new_york_open_follows_its_own_clock(day, open_utc):
    strategy = SessionBreakout(sessions=("new_york",))
    wishes = a_day(strategy, day, {open_utc - 10: 1.391, open_utc: 1.389}, a_context())
    assert [(at, wish.side) for at, wish in wishes] == [(open_utc, Side.SELL)]


def test_no_break_is_traded_after_the_window_at_the_weekend_or_of_a_wide_range():
    late = {9 * 60 + 5: 1.393}
    london_only = ("london",)
    assert a_day(SessionBreakout(sessions=london_only), "2014-05-08", late, a_context()) == []
    early = {7 * 60 + 5: 1.393}
    assert a_day(SessionBreakout(sessions=london_only), "2014-05-10", early, a_context()) == []
    tight = a_context(atr=0.0002)
    assert a_day(SessionBreakout(sessions=london_only), "2014-05-08", early, tight) == []


def test_yesterdays_range_is_not_broken_today():
    strategy = SessionBreakout(sessions=("london",))
    start_ns = parse_time("2014-05-07T04:00:00Z")
    for index in range(36):
        strategy.on_bar(a_bar(1.391, start_ns=start_ns + index * 5 * MINUTE_NS), a_context())
    today = parse_time("2014-05-08T07:05:00Z")
    assert strategy.on_bar(a_bar(1.395, start_ns=today), a_context()) is None


def test_london_and_summer_time():
    assert london(parse_time("2014-01-08T08:00:00Z")) == (2, 8 * 3600)
    assert london(parse_time("2014-05-08T07:00:00Z")) == (3, 8 * 3600)


# Candles.


def a_candle(index, *, bid="1.39", ask="1.3901", high=None):
    b, a = Price(Decimal(bid)), Price(Decimal(ask))
    top = b if high is None else Price(Decimal(high))
    return Candle(
        instrument=EUR_USD, granularity="M1", start_ns=NOON + index * MINUTE_NS, volume=1,
        complete=True, bid_o=b, bid_h=top, bid_l=b, bid_c=b, ask_o=a, ask_h=a, ask_l=a, ask_c=a,
    )  # fmt: skip


@pytest.mark.parametrize("bad", [
    a_candle(1, bid="NaN"), a_candle(1, ask="Infinity"), a_candle(1, bid="0"),
    a_candle(1, bid="1.3902"), a_candle(1, high="1.38"), a_candle(-1),
])  # fmt: skip
def test_an_unusable_or_late_candle_is_ignored(bad):
    candles = Candles()
    candles.on_candle(a_candle(0))
    assert candles.on_candle(bad) == ()
    (bar,) = candles.on_candle(a_candle(2))
    assert (bar.start_ns, bar.close) == (NOON, pytest.approx(1.39005))


def test_the_running_minute_read_twice_counts_once():
    candles = Candles()
    candles.on_candle(a_candle(0))
    candles.on_candle(a_candle(0, high="1.3905"))
    (bar,) = candles.on_quote(NOON + MINUTE_NS, 1.39, 1.3901)
    assert bar.ticks == 1
    assert bar.high == pytest.approx((1.3905 + 1.3901) / 2)


# Calibration.


def taught(calibration, hits, *, regime=RANGE, claim=0.5, first=0, at_ns=NOON):
    for number, hit in enumerate(hits):
        calibration.learn(
            signal_id=f"{regime}{first + number}", strategy="s", regime=regime, claim=claim,
            hit=hit, at_ns=at_ns,
        )  # fmt: skip
    return calibration


def test_few_trades_change_little_and_many_much():
    few = taught(Calibration(), [False] * 3).confidence("s", RANGE, 0.5, NOON)
    many = taught(Calibration(), [False] * 300).confidence("s", RANGE, 0.5, NOON)
    assert 0.40 < few < 0.5
    assert many < 0.1


def test_claims_that_come_true_stay():
    exact = taught(Calibration(), [True, False] * 200)
    assert exact.confidence("s", RANGE, 0.5, NOON) == pytest.approx(0.5, abs=0.02)


def test_one_signal_on_two_accounts_teaches_once():
    once = taught(Calibration(), [False] * 20)
    twice = taught(taught(Calibration(), [False] * 20), [False] * 20)
    assert once.confidence("s", RANGE, 0.5, NOON) == twice.confidence("s", RANGE, 0.5, NOON)


def test_another_regime_learns_less_and_another_strategy_nothing():
    calibration = taught(Calibration(), [False] * 100)
    same, other = (calibration.confidence("s", r, 0.5, NOON) for r in (RANGE, TREND_UP))
    assert same < other < 0.5
    assert calibration.confidence("t", RANGE, 0.5, NOON) == 0.5


def test_time_heals():
    calibration = taught(Calibration(half_life_days=1), [False] * 100)
    later = [calibration.confidence("s", RANGE, 0.5, NOON + d * DAY_NS) for d in (0, 3, 20)]
    assert later[0] < later[1] < later[2] == pytest.approx(0.5, abs=0.01)


def test_a_confidence_stays_a_probability():
    calibration = taught(Calibration(prior_trades=1), [True] * 500, claim=0.05)
    assert calibration.confidence("s", RANGE, 0.9, NOON) == 0.95

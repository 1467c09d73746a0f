"""Each incremental indicator against its batch definition, and bars from ticks against candles."""

import math
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.agents.market_analysis.candles import Candles
from orchestrator.agents.market_analysis.indicators import (
    Adx,
    Atr,
    Bollinger,
    Donchian,
    EfficiencyRatio,
    Ema,
    PercentileRank,
    RollingStd,
    Rsi,
    Wilder,
)
from orchestrator.model.market import Candle
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import MINUTE_NS

PRICE = st.floats(min_value=0.5, max_value=2.0).map(lambda x: round(x, 5))
PRICES = st.lists(PRICE, min_size=1, max_size=60)
PERIOD = st.integers(min_value=1, max_value=12)
QUICK = settings(max_examples=40, deadline=None)


@st.composite
def bars(draw):
    """Arrays of high, low, close."""
    closes = draw(PRICES)
    up = draw(st.lists(st.integers(0, 50), min_size=len(closes), max_size=len(closes)))
    down = draw(st.lists(st.integers(0, 50), min_size=len(closes), max_size=len(closes)))
    close = np.array(closes)
    return close + np.array(up) * 1e-4, close - np.array(down) * 1e-4, close


def wilder_batch(values, period):
    """Wilder's average of a whole array, as in his book."""
    if len(values) < period:
        return None
    mean = float(np.mean(values[:period]))
    for value in values[period:]:
        mean = (mean * (period - 1) + float(value)) / period
    return mean


def ranges_batch(high, low, close):
    before = np.concatenate([[np.nan], close[:-1]])
    return np.nanmax(np.array([high - low, np.abs(high - before), np.abs(low - before)]), axis=0)


def same(ours, batch):
    if batch is None:
        return ours is None
    return ours is not None and ours == pytest.approx(batch, rel=1e-7, abs=1e-7)


@QUICK
@given(PRICES, PERIOD)
def test_ema_is_the_weighted_sum_of_all_values(prices, period):
    ours = Ema(period)
    for price in prices:
        ours.update(price)
    alpha = 2 / (period + 1)
    weights = np.array([alpha * (1 - alpha) ** i for i in range(len(prices))])
    weights[-1] = (1 - alpha) ** (len(prices) - 1)  # the first value carries all that is left
    batch = float(np.sum(weights * np.array(prices[::-1])))
    assert same(ours.value, batch if len(prices) >= period else None)


@QUICK
@given(PRICES, PERIOD)
def test_wilder_equals_its_recursion_on_the_whole_array(prices, period):
    ours = Wilder(period)
    for price in prices:
        ours.update(price)
    assert same(ours.value, wilder_batch(prices, period))


@QUICK
@given(bars(), PERIOD)
def test_atr_is_wilders_mean_of_true_ranges(series, period):
    ours = Atr(period)
    for high, low, close in zip(*series, strict=True):
        ours.update(float(high), float(low), float(close))
    assert same(ours.value, wilder_batch(ranges_batch(*series), period))


@QUICK
@given(bars(), st.integers(min_value=2, max_value=8))
def test_adx_equals_the_definition_on_arrays(series, period):
    high, low, close = series
    ours = Adx(period)
    for one in zip(high, low, close, strict=True):
        ours.update(*map(float, one))
    up, down = np.diff(high), -np.diff(low)
    plus = np.where((up > down) & (up > 0), up, 0.0)
    minus = np.where((down > up) & (down > 0), down, 0.0)
    ranges = ranges_batch(high, low, close)[1:]
    dx = []
    for end in range(period, len(ranges) + 1):
        mean = wilder_batch(ranges[:end], period)
        p = 100 * wilder_batch(plus[:end], period) / mean if mean > 0 else 0.0
        m = 100 * wilder_batch(minus[:end], period) / mean if mean > 0 else 0.0
        dx.append(100 * abs(p - m) / (p + m) if p + m > 0 else 0.0)
    assert same(ours.value, wilder_batch(dx, period))
    if ours.value is not None:
        assert 0 <= ours.value <= 100 + 1e-9


@QUICK
@given(PRICES, PERIOD)
def test_rsi_equals_the_definition_on_arrays(prices, period):
    ours = Rsi(period)
    for price in prices:
        ours.update(price)
    steps = np.diff(np.array(prices))
    gain = wilder_batch(np.maximum(steps, 0), period)
    loss = wilder_batch(np.maximum(-steps, 0), period)
    if gain is None:
        assert ours.value is None
        return
    assert same(ours.value, 100 - 100 / (1 + gain / loss) if loss > 0 else 100 if gain else 50)


@QUICK
@given(PRICES, PERIOD)
def test_windows_equal_numpy_on_the_last_values(prices, period):
    std, channel, bands = RollingStd(period), Donchian(period), Bollinger(period, 2.0)
    for price in prices:
        std.update(price)
        channel.update(price + 0.1, price - 0.1)
        bands.update(price)
    if len(prices) < period:
        assert std.value is None
        assert channel.value is None
        assert bands.value is None
        return
    last = np.array(prices[-period:])
    assert same(std.value, float(np.std(last)))
    assert channel.value == (min(last) - 0.1, max(last) + 0.1)
    assert same(bands.value[0], float(np.mean(last) - 2 * np.std(last)))
    assert same(bands.value[2], float(np.mean(last) + 2 * np.std(last)))


@QUICK
@given(PRICES, PERIOD)
def test_efficiency_is_net_move_over_way(prices, period):
    ours = EfficiencyRatio(period)
    for price in prices:
        ours.update(price)
    if len(prices) <= period:
        assert ours.value is None
        return
    last = np.array(prices[-period - 1 :])
    way = float(np.sum(np.abs(np.diff(last))))
    assert same(ours.value, abs(last[-1] - last[0]) / way if way > 0 else 0.0)
    assert 0 <= ours.value <= 1


@QUICK
@given(PRICES, st.integers(1, 20), st.integers(1, 20))
def test_percentile_counts_the_window(prices, window, least):
    ours = PercentileRank(window, least)
    for price in prices:
        ours.update(price)
    last = prices[-window:]
    below = sum(price < prices[-1] for price in last)
    equal = sum(price == prices[-1] for price in last)
    expected = (below + equal / 2) / len(last) if len(prices) >= min(least, window) else None
    assert same(ours.value, expected)


@pytest.mark.parametrize("kind", [Ema, Wilder, RollingStd, Donchian, EfficiencyRatio, Bollinger])
def test_a_period_of_nothing_is_refused(kind):
    with pytest.raises(ValueError, match="at least 1"):
        kind(0)


TICKS = st.lists(
    st.tuples(
        st.integers(min_value=0, max_value=400),  # seconds since the last tick
        st.integers(min_value=110_000, max_value=110_400),  # bid, in steps of 0.00001
        st.integers(min_value=1, max_value=40),  # spread, in steps
    ),
    min_size=1,
    max_size=80,
)
STEP = Decimal("0.00001")
START_NS = 1_399_500_000 * 1_000_000_000


def quotes(ticks):
    at_s = 0
    for gap_s, bid, spread in ticks:
        at_s += gap_s
        yield START_NS + at_s * 1_000_000_000, bid * STEP, (bid + spread) * STEP


def venue_candles(ticks):
    """The M1 candles a venue makes of these ticks: bid and ask each on their own."""
    minutes = {}
    for at_ns, bid, ask in quotes(ticks):
        minutes.setdefault(at_ns - at_ns % MINUTE_NS, []).append((bid, ask))
    last = max(minutes)
    for start_ns, seen in minutes.items():
        b, a = [Price(x[0]) for x in seen], [Price(x[1]) for x in seen]
        yield Candle(
            instrument=InstrumentName("EUR_USD"), granularity="M1", start_ns=start_ns,
            volume=len(seen), complete=start_ns != last,
            bid_o=b[0], bid_h=max(b), bid_l=min(b), bid_c=b[-1],
            ask_o=a[0], ask_h=max(a), ask_l=min(a), ask_c=a[-1],
        )  # fmt: skip


@QUICK
@given(TICKS, st.integers(0, 80))
def test_bars_from_ticks_equal_bars_from_the_venues_candles(ticks, cut):
    """The same sequence, to the last bit, whatever part of it was history, also mid-minute."""
    live, warm = Candles(("M1", "M5", "M15")), Candles(("M1", "M5", "M15"))
    from_ticks = [
        bar for at, b, a in quotes(ticks) for bar in live.on_quote(at, float(b), float(a))
    ]
    cut = min(cut, len(ticks))
    mixed = []
    if cut:
        for candle in venue_candles(ticks[:cut]):
            mixed += warm.on_candle(candle)
    for at, b, a in list(quotes(ticks))[cut:]:
        mixed += warm.on_quote(at, float(b), float(a))
    assert mixed == from_ticks


@QUICK
@given(TICKS)
def test_every_bar_is_aligned_ordered_and_consistent(ticks):
    candles = Candles(("M1", "M5", "M15"))
    closed = [bar for at, b, a in quotes(ticks) for bar in candles.on_quote(at, float(b), float(a))]
    ends = {"M1": 0, "M5": 0, "M15": 0}
    for bar in closed:
        assert bar.start_ns % (bar.end_ns - bar.start_ns) == 0
        assert bar.start_ns >= ends[bar.timeframe]
        ends[bar.timeframe] = bar.end_ns
        assert bar.low <= min(bar.open, bar.close) <= max(bar.open, bar.close) <= bar.high
        assert bar.spread > 0
        assert math.isfinite(bar.spread)
    counted = {name: sum(b.ticks for b in closed if b.timeframe == name) for name in ends}
    assert counted["M15"] <= counted["M5"] <= counted["M1"] <= len(ticks)

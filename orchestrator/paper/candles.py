"""Candles from ticks: S5, M1 and H1 are kept, every other granularity is made of them on demand.

Source: fact sheet, section 14 (alignment, periods without a price have no candle).
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Instant, trading_day

_S5 = 5 * NS_PER_S
KEPT_S5 = 17_280  # a day
KEPT_M1 = 14_400  # ten days
KEPT_H1 = 70_000  # eight years of recorded hours

_PLAIN = {
    "S5": _S5, "S10": 10 * NS_PER_S, "S15": 15 * NS_PER_S, "S30": 30 * NS_PER_S,
    "M1": MINUTE_NS, "M2": 2 * MINUTE_NS, "M4": 4 * MINUTE_NS, "M5": 5 * MINUTE_NS,
    "M10": 10 * MINUTE_NS, "M15": 15 * MINUTE_NS, "M30": 30 * MINUTE_NS, "H1": HOUR_NS,
}  # fmt: skip
_DAILY = {"H2": 2, "H3": 3, "H4": 4, "H6": 6, "H8": 8, "H12": 12, "D": 24}
GRANULARITIES = (*_PLAIN, *_DAILY, "W", "M")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS = frozenset(_WEEKDAYS)


class Bar:
    """A candle while it grows: prices of bid, ask and mid, and how many there were."""

    __slots__ = ("ask", "bid", "mid", "start_ns", "volume")

    def __init__(
        self,
        start_ns: Instant,
        volume: int,
        bid: list[Decimal],
        ask: list[Decimal],
        mid: list[Decimal],
    ) -> None:
        self.start_ns = start_ns
        self.volume = volume
        self.bid = bid  # open, high, low, close
        self.ask = ask
        self.mid = mid

    def add(self, bid: Decimal, ask: Decimal, mid: Decimal) -> None:
        self.volume += 1
        _grow(self.bid, bid)
        _grow(self.ask, ask)
        _grow(self.mid, mid)

    def merge(self, later: Bar) -> None:
        self.volume += later.volume
        _join(self.bid, later.bid)
        _join(self.ask, later.ask)
        _join(self.mid, later.mid)

    def at(self, start_ns: Instant) -> Bar:
        """A copy that starts a longer period."""
        return Bar(start_ns, self.volume, [*self.bid], [*self.ask], [*self.mid])


def _grow(ohlc: list[Decimal], price: Decimal) -> None:
    if price > ohlc[1]:
        ohlc[1] = price
    elif price < ohlc[2]:
        ohlc[2] = price
    ohlc[3] = price


def _join(ohlc: list[Decimal], later: list[Decimal]) -> None:
    ohlc[1] = max(ohlc[1], later[1])
    ohlc[2] = min(ohlc[2], later[2])
    ohlc[3] = later[3]


class _Series:
    """One instrument: the running S5 bar, and the finished bars of the three bases."""

    __slots__ = ("h1", "h1_now", "m1", "m1_now", "s5", "s5_now")

    def __init__(self) -> None:
        self.s5: deque[Bar] = deque(maxlen=KEPT_S5)
        self.m1: deque[Bar] = deque(maxlen=KEPT_M1)
        self.h1: deque[Bar] = deque(maxlen=KEPT_H1)
        self.s5_now: Bar | None = None
        self.m1_now: Bar | None = None
        self.h1_now: Bar | None = None

    def close_s5(self, bar: Bar) -> None:
        self.s5.append(bar)
        self.m1_now = self._carry(bar, self.m1_now, MINUTE_NS, self.close_m1)

    def close_m1(self, bar: Bar) -> None:
        self.m1.append(bar)
        self.h1_now = self._carry(bar, self.h1_now, HOUR_NS, self.h1.append)

    @staticmethod
    def _carry(bar: Bar, running: Bar | None, period: int, close: Callable[[Bar], None]) -> Bar:
        start = bar.start_ns - bar.start_ns % period
        if running is not None and running.start_ns == start:
            running.merge(bar)
            return running
        if running is not None:
            close(running)
        return bar.at(start)

    def base(self, period: int) -> Iterator[Bar]:
        """Bars of the finest kept base that divides the period, the running ones last."""
        if period % HOUR_NS == 0:
            yield from self.h1
            running = (self.h1_now, self.m1_now, self.s5_now)
        elif period % MINUTE_NS == 0:
            yield from self.m1
            running = (self.m1_now, self.s5_now)
        else:
            yield from self.s5
            running = (self.s5_now,)
        yield from (bar for bar in running if bar is not None)


class CandleStore:
    """Candles of every instrument, bounded."""

    def __init__(self) -> None:
        self._series: dict[InstrumentName, _Series] = {}

    def on_tick(self, tick: Tick) -> None:
        """Count a price into the running S5 bar."""
        series = self._series.get(tick.instrument)
        if series is None:
            series = self._series[tick.instrument] = _Series()
        bar, mid = series.s5_now, (tick.bid + tick.ask) / 2
        if bar is not None and tick.venue_ns - bar.start_ns < _S5:
            bar.add(tick.bid, tick.ask, mid)
            return
        if bar is not None:
            series.close_s5(bar)
        start = tick.venue_ns - tick.venue_ns % _S5
        series.s5_now = Bar(start, 1, [tick.bid] * 4, [tick.ask] * 4, [mid] * 4)

    def put_history(self, instrument: InstrumentName, bars: Iterable[Bar], period: int) -> None:
        """Finished bars from before the first tick, oldest first; M1 or H1."""
        series = self._series.setdefault(instrument, _Series())
        close = series.close_m1 if period == MINUTE_NS else series.h1.append
        for bar in bars:
            close(bar)

    def bars(
        self, instrument: InstrumentName, granularity: str, alignment: Alignment | None = None
    ) -> list[Bar]:
        """All bars that can be made, oldest first; the last may be running."""
        series = self._series.get(instrument)
        if series is None:
            return []
        period, start_of = _period(granularity, alignment or Alignment())
        made: list[Bar] = []
        for bar in series.base(period):
            start = start_of(bar.start_ns)
            if made and made[-1].start_ns == start:
                made[-1].merge(bar)
            else:
                made.append(bar.at(start))
        return made

    def bars_latest(self, instrument: InstrumentName, granularity: str, count: int) -> list[Bar]:
        return self.bars(instrument, granularity)[-count:]


class Alignment:
    """dailyAlignment, alignmentTimezone (New York or UTC) and weeklyAlignment."""

    def __init__(self, hour: int = 17, zone: str = "America/New_York", day: str = "Friday") -> None:
        self.hour = hour
        self.zone = zone
        self.weekday = _WEEKDAYS.index(day)

    def day_start(self, at_ns: Instant) -> Instant:
        """Start of the day of candles that holds this instant."""
        if self.zone == "UTC":
            shift = self.hour * HOUR_NS
            return at_ns - (at_ns - shift) % DAY_NS
        # trading_day cuts at 17:00 New York; another hour is the same cut, moved.
        shift = (17 - self.hour) * HOUR_NS
        return trading_day(at_ns + shift)[1] - shift

    def week_start(self, at_ns: Instant) -> Instant:
        day = self.day_start(at_ns)
        weekday = (day // DAY_NS + 3) % 7  # the day starts in the evening before, or at 0 UTC
        return self.day_start(day - (weekday - self.weekday) % 7 * DAY_NS + HOUR_NS)

    def month_start(self, at_ns: Instant) -> Instant:
        day = self.day_start(at_ns)
        date = dt.date(1970, 1, 1) + dt.timedelta(days=(day + 12 * HOUR_NS) // DAY_NS)
        first = (date.replace(day=1) - dt.date(1970, 1, 1)).days * DAY_NS
        return self.day_start(first + HOUR_NS)


def _period(granularity: str, alignment: Alignment) -> tuple[int, Callable[[Instant], Instant]]:
    plain = _PLAIN.get(granularity)
    if plain is not None:
        return plain, lambda at_ns: at_ns - at_ns % plain
    if granularity == "W":
        return DAY_NS, alignment.week_start
    if granularity == "M":
        return DAY_NS, alignment.month_start
    length = _DAILY[granularity] * HOUR_NS

    def start_of(at_ns: Instant) -> Instant:
        day = alignment.day_start(at_ns)
        return day + (at_ns - day) // length * length

    return length, start_of


def period_of(granularity: str) -> int:
    """Nominal length, for "is it complete" of what is not aligned to days."""
    plain = _PLAIN.get(granularity)
    if plain is not None:
        return plain
    return {"W": 7 * DAY_NS, "M": 28 * DAY_NS}.get(
        granularity, _DAILY.get(granularity, 24) * HOUR_NS
    )


def complete(bar: Bar, granularity: str, now: Instant) -> bool:
    """Whether the bar's period is over."""
    if granularity == "M":
        return now - bar.start_ns >= 31 * DAY_NS
    return now - bar.start_ns >= period_of(granularity)

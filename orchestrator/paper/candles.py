"""Candles from ticks: S5, M1 and H1 are kept, every other granularity is made of them on demand.

Source: fact sheet, section 14 (alignment, periods without a price have no candle).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Instant
from orchestrator.paper.alignment import NEW_YORK, Alignment, period_of
from orchestrator.paper.shelf import Bar, Shelf

_S5 = 5 * NS_PER_S
KEPT_S5 = 17_280  # a day
KEPT_M1 = 14_400  # ten days
KEPT_H1 = 70_000  # eight years of recorded hours


class _Series:
    """One instrument: the running S5 bar, and the finished bars of the three bases."""

    __slots__ = ("begins_ns", "h1", "h1_now", "m1", "m1_now", "s5", "s5_now")

    def __init__(self) -> None:
        self.s5 = Shelf(KEPT_S5)
        self.m1 = Shelf(KEPT_M1)
        self.h1 = Shelf(KEPT_H1)
        self.begins_ns: Instant = 0  # where the history ends
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

    def base(self, period: int) -> tuple[Shelf, int, tuple[Bar, ...]]:
        """The coarsest kept bars that divide the period, their length, and the running ones."""
        if period % HOUR_NS == 0:
            return self.h1, HOUR_NS, _there(self.h1_now, self.m1_now, self.s5_now)
        if period % MINUTE_NS == 0:
            return self.m1, MINUTE_NS, _there(self.m1_now, self.s5_now)
        return self.s5, _S5, _there(self.s5_now)


def _there(*bars: Bar | None) -> tuple[Bar, ...]:
    return tuple(bar for bar in bars if bar is not None)


class CandleStore:
    """Candles of every instrument, bounded."""

    def __init__(self) -> None:
        self._series: dict[InstrumentName, _Series] = {}

    def on_tick(self, tick: Tick) -> None:
        """Count a price into the running S5 bar."""
        series = self._series.get(tick.instrument)
        if series is None:
            series = self._series[tick.instrument] = _Series()
        if tick.venue_ns < series.begins_ns:
            return  # an old price of a live source: the history has its candle already
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
            series.begins_ns = bar.start_ns + period

    def bars(
        self,
        instrument: InstrumentName,
        granularity: str,
        alignment: Alignment = NEW_YORK,
        *,
        start_ns: Instant = 0,
        count: int | None = None,
    ) -> list[Bar]:
        """All bars from `start_ns` on (a bar's start), or the last `count`; the last may run."""
        series = self._series.get(instrument)
        if series is None:
            return []
        kept, length, running = series.base(alignment.base_of(granularity))
        skip = kept.place_of(start_ns)
        if count is not None:
            # A bar holds at most so many of those below it; a month of days, and an hour of winter.
            most = 32 * DAY_NS if granularity == "M" else period_of(granularity) + HOUR_NS
            skip = max(skip, len(kept) - (count + 1) * (most // length))
        made: list[Bar] = []
        sure_ns = alignment.shortest(granularity)
        for bar in itertools.chain(kept.bars(skip), running):
            if bar.start_ns < start_ns:
                continue
            if made and bar.start_ns < made[-1].start_ns + sure_ns:
                made[-1].merge(bar)
                continue
            start = alignment.start_of(granularity, bar.start_ns)
            if made and made[-1].start_ns == start:
                made[-1].merge(bar)
            else:
                made.append(bar.at(start))
        return made if count is None else made[-count:]

    def bars_latest(self, instrument: InstrumentName, granularity: str, count: int) -> list[Bar]:
        """The last bars with OANDA's own alignment."""
        return self.bars(instrument, granularity, count=count)


def complete(bar: Bar, granularity: str, now: Instant, alignment: Alignment = NEW_YORK) -> bool:
    """Whether the bar's period is over."""
    return bar.start_ns < alignment.start_of(granularity, now)

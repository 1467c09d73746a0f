"""Bars of several timeframes, built from ticks as they come or from the venue's M1 candles.

Bid and ask are kept apart until a bar closes, so that a bar built from ticks equals, to the last
bit, the one made from the venue's candle of the same ticks. A minute without ticks has no bar.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import msgspec

from orchestrator.model.time import MINUTE_NS, Instant

if TYPE_CHECKING:
    from collections.abc import Iterable
    from decimal import Decimal

    from orchestrator.model.market import Candle

MINUTES = {
    "M1": 1, "M2": 2, "M3": 3, "M4": 4, "M5": 5, "M10": 10, "M15": 15, "M30": 30,
    "H1": 60, "H2": 120, "H3": 180, "H4": 240, "H6": 360, "H8": 480, "H12": 720,
}  # fmt: skip
DEFAULT_TIMEFRAMES = ("M1", "M5", "M15")


class Bar(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """A finished bar of mid prices: statistics, hence floats.

    Each of open, high, low, close is the middle of that of bid and that of ask. `spread` is the
    mean of ask minus bid over these four. `ticks` counts prices. Aligned to UTC midnight.
    """

    timeframe: str
    start_ns: Instant
    end_ns: Instant
    open: float
    high: float
    low: float
    close: float
    spread: float
    ticks: int


Bars = tuple[Bar, ...]
_NO_BARS: Bars = ()


class _Running:
    """Bid and ask of a bar that is not finished."""

    __slots__ = ("ac", "ah", "al", "ao", "bc", "bh", "bl", "bo", "end_ns", "start_ns", "ticks")

    def __init__(self, start_ns: Instant, end_ns: Instant, ticks: int) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self.ticks = ticks
        self.bo = self.bh = self.bl = self.bc = 0.0
        self.ao = self.ah = self.al = self.ac = 0.0

    def merge(self, later: _Running) -> None:
        self.bh, self.bl, self.bc = max(self.bh, later.bh), min(self.bl, later.bl), later.bc
        self.ah, self.al, self.ac = max(self.ah, later.ah), min(self.al, later.al), later.ac
        self.ticks += later.ticks

    def copy(self, start_ns: Instant, end_ns: Instant) -> _Running:
        made = _Running(start_ns, end_ns, self.ticks)
        made.bo, made.bh, made.bl, made.bc = self.bo, self.bh, self.bl, self.bc
        made.ao, made.ah, made.al, made.ac = self.ao, self.ah, self.al, self.ac
        return made

    def bar(self, timeframe: str) -> Bar:
        return Bar(
            timeframe=timeframe,
            start_ns=self.start_ns,
            end_ns=self.end_ns,
            open=(self.bo + self.ao) / 2,
            high=(self.bh + self.ah) / 2,
            low=(self.bl + self.al) / 2,
            close=(self.bc + self.ac) / 2,
            spread=(self.ao + self.ah + self.al + self.ac - self.bo - self.bh - self.bl - self.bc)
            / 4,
            ticks=self.ticks,
        )


class _Higher:
    """A timeframe above M1, fed with finished minutes."""

    __slots__ = ("running", "step_ns", "timeframe")

    def __init__(self, timeframe: str) -> None:
        self.timeframe = timeframe
        self.step_ns = MINUTES[timeframe] * MINUTE_NS
        self.running: _Running | None = None

    def add(self, minute: _Running) -> None:
        if self.running is not None:
            self.running.merge(minute)
            return
        start_ns = minute.start_ns - minute.start_ns % self.step_ns
        self.running = minute.copy(start_ns, start_ns + self.step_ns)

    def close_by(self, now_ns: Instant) -> Bar | None:
        """The bar, if time has passed its end."""
        if self.running is None or now_ns < self.running.end_ns:
            return None
        bar = self.running.bar(self.timeframe)
        self.running = None
        return bar


class Candles:
    """The bars of one instrument: `M1` always, the others made from its minutes.

    A bar closes with the first price after its end, never by a clock, so the sequence depends on
    the prices alone. Closed bars come coarse first, so that who reads M1 sees a fresh M15.
    """

    def __init__(self, timeframes: Iterable[str] = DEFAULT_TIMEFRAMES) -> None:
        """ValueError for a timeframe that is not in MINUTES."""
        wanted = set(timeframes)
        unknown = sorted(wanted - MINUTES.keys())
        if unknown:
            raise ValueError(f"timeframe {unknown[0]!r} is not one of {', '.join(MINUTES)}")
        coarse_first = sorted(wanted - {"M1"}, key=MINUTES.__getitem__, reverse=True)
        self._higher = tuple(_Higher(name) for name in coarse_first)
        self._minute: _Running | None = None

    def on_quote(self, at_ns: Instant, bid: float, ask: float) -> Bars:
        """The bars that this price closes; a price of a bar already closed is ignored."""
        minute = self._minute
        if minute is None or at_ns >= minute.end_ns:
            return self._roll(_first(at_ns, bid, ask))
        if at_ns < minute.start_ns:
            return _NO_BARS
        if bid > minute.bh:
            minute.bh = bid
        elif bid < minute.bl:
            minute.bl = bid
        if ask > minute.ah:
            minute.ah = ask
        elif ask < minute.al:
            minute.al = ask
        minute.bc = bid
        minute.ac = ask
        minute.ticks += 1
        return _NO_BARS

    def on_candle(self, candle: Candle) -> Bars:
        """As `on_quote`, for an M1 candle of history, which may be the unfinished last one.

        A candle that is unusable, or older than the running minute, is ignored; one of the
        running minute is merged with it.
        """
        part = _from_candle(candle)
        minute = self._minute
        if part is None or (minute is not None and part.start_ns < minute.start_ns):
            return _NO_BARS
        if minute is not None and part.start_ns == minute.start_ns:
            _widen(minute, part)
            if candle.complete:  # it saw the end of a minute of which we missed the rest
                minute.bc, minute.ac = part.bc, part.ac
            return _NO_BARS
        return self._roll(part)

    @property
    def last_close(self) -> float | None:
        """The latest mid price, or None before the first."""
        return None if self._minute is None else (self._minute.bc + self._minute.ac) / 2

    def _roll(self, fresh: _Running) -> Bars:
        finished, self._minute = self._minute, fresh
        if finished is None:
            return _NO_BARS
        for higher in self._higher:
            higher.add(finished)
        closed = [higher.close_by(fresh.start_ns) for higher in self._higher]
        return (*(bar for bar in closed if bar is not None), finished.bar("M1"))


def _first(at_ns: Instant, bid: float, ask: float) -> _Running:
    start_ns = at_ns - at_ns % MINUTE_NS
    made = _Running(start_ns, start_ns + MINUTE_NS, 1)
    made.bo = made.bh = made.bl = made.bc = bid
    made.ao = made.ah = made.al = made.ac = ask
    return made


def _from_candle(candle: Candle) -> _Running | None:
    bids: tuple[Decimal, ...] = (candle.bid_o, candle.bid_h, candle.bid_l, candle.bid_c)
    asks: tuple[Decimal, ...] = (candle.ask_o, candle.ask_h, candle.ask_l, candle.ask_c)
    if not all(price.is_finite() and price > 0 for price in (*bids, *asks)):
        return None
    start_ns = candle.start_ns - candle.start_ns % MINUTE_NS
    made = _Running(start_ns, start_ns + MINUTE_NS, candle.volume)
    made.bo, made.bh, made.bl, made.bc = map(float, bids)
    made.ao, made.ah, made.al, made.ac = map(float, asks)
    consistent = made.bl <= min(made.bo, made.bc) and made.bh >= max(made.bo, made.bc)
    consistent = (
        consistent and made.al <= min(made.ao, made.ac) and made.ah >= max(made.ao, made.ac)
    )
    return made if consistent and made.bc < made.ac and math.isfinite(made.ah) else None


def _widen(minute: _Running, again: _Running) -> None:
    """The same minute once more: both saw a part of the same prices, so extremes join.

    The open is the candle's (it saw the start), the close stays ours (we heard it later).
    """
    minute.bo, minute.ao = again.bo, again.ao
    minute.bh, minute.bl = max(minute.bh, again.bh), min(minute.bl, again.bl)
    minute.ah, minute.al = max(minute.ah, again.ah), min(minute.al, again.al)
    minute.ticks = max(minute.ticks, again.ticks)

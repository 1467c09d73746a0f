"""Indicators that take one bar at a time; each is None until it has seen enough.

Inputs are finite floats. Windows are bounded by the period; nothing walks over history.
Sources: J. W. Wilder, New Concepts in Technical Trading Systems (1978) for ATR, ADX and RSI;
J. Bollinger for the bands; P. Kaufman, Trading Systems and Methods, for the efficiency ratio.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right, insort
from collections import deque


def _checked(period: int) -> int:
    if period < 1:
        raise ValueError(f"a period must be at least 1, not {period}")
    return period


class Ema:
    """Exponential moving average, alpha = 2 / (period + 1), started at the first value."""

    def __init__(self, period: int) -> None:
        self._period = _checked(period)
        self._alpha = 2.0 / (period + 1)
        self._seen = 0
        self._mean = 0.0

    @property
    def value(self) -> float | None:
        return self._mean if self._seen >= self._period else None

    def update(self, x: float) -> float | None:
        self._mean = x if self._seen == 0 else self._mean + self._alpha * (x - self._mean)
        self._seen += 1
        return self.value


class Wilder:
    """Wilder's smoothing: the mean of the first `period` values, then alpha = 1 / period."""

    def __init__(self, period: int) -> None:
        self._period = _checked(period)
        self._seen = 0
        self._mean = 0.0

    @property
    def value(self) -> float | None:
        return self._mean if self._seen >= self._period else None

    def update(self, x: float) -> float | None:
        self._seen = min(self._seen + 1, self._period)
        self._mean += (x - self._mean) / self._seen
        return self.value


def true_range(high: float, low: float, before: float | None) -> float:
    """The bar's range, a gap from the close before included."""
    if before is None:
        return high - low
    return max(high, before) - min(low, before)


class Atr:
    """Average true range, in price."""

    def __init__(self, period: int = 14) -> None:
        self._mean = Wilder(period)
        self._close: float | None = None

    @property
    def value(self) -> float | None:
        return self._mean.value

    def update(self, high: float, low: float, close: float) -> float | None:
        self._mean.update(true_range(high, low, self._close))
        self._close = close
        return self._mean.value


class Adx:
    """Average directional index, 0 ... 100, with both directional indicators."""

    def __init__(self, period: int = 14) -> None:
        self._range = Wilder(period)
        self._up = Wilder(period)
        self._down = Wilder(period)
        self._dx = Wilder(period)
        self._last: tuple[float, float, float] | None = None
        self.plus_di = 0.0
        self.minus_di = 0.0

    @property
    def value(self) -> float | None:
        return self._dx.value

    def update(self, high: float, low: float, close: float) -> float | None:
        last, self._last = self._last, (high, low, close)
        if last is None:
            return None
        up, down = high - last[0], last[1] - low
        self._up.update(up if up > down and up > 0 else 0.0)
        self._down.update(down if down > up and down > 0 else 0.0)
        mean_range = self._range.update(true_range(high, low, last[2]))
        if mean_range is None:
            return None
        self.plus_di = _percent(self._up.value, mean_range)
        self.minus_di = _percent(self._down.value, mean_range)
        apart, both = abs(self.plus_di - self.minus_di), self.plus_di + self.minus_di
        return self._dx.update(_percent(apart, both))


def _percent(part: float | None, whole: float) -> float:
    return 100.0 * part / whole if part is not None and whole > 0 else 0.0


class Rsi:
    """Relative strength index, 0 ... 100; 50 where nothing moved."""

    def __init__(self, period: int = 14) -> None:
        self._gain = Wilder(period)
        self._loss = Wilder(period)
        self._close: float | None = None

    @property
    def value(self) -> float | None:
        gain, loss = self._gain.value, self._loss.value
        if gain is None or loss is None:
            return None
        return 100.0 * gain / (gain + loss) if gain + loss > 0 else 50.0

    def update(self, close: float) -> float | None:
        before, self._close = self._close, close
        if before is None:
            return None
        self._gain.update(max(close - before, 0.0))
        self._loss.update(max(before - close, 0.0))
        return self.value


class RollingStd:
    """Mean and standard deviation (of the population) of the last `period` values."""

    def __init__(self, period: int = 20) -> None:
        self._window: deque[float] = deque(maxlen=_checked(period))
        self.mean: float | None = None

    @property
    def value(self) -> float | None:
        if self.mean is None:
            return None
        mean = self.mean
        return math.sqrt(math.fsum((x - mean) ** 2 for x in self._window) / len(self._window))

    def update(self, x: float) -> float | None:
        self._window.append(x)
        if len(self._window) == self._window.maxlen:
            # Summed afresh: a running sum of squares loses all its digits at prices like these.
            self.mean = math.fsum(self._window) / len(self._window)
        return self.value


class Bollinger:
    """Bands of `width` standard deviations around the mean of `period` closes."""

    def __init__(self, period: int = 20, width: float = 2.0) -> None:
        self._stats = RollingStd(period)
        self._width = width

    @property
    def value(self) -> tuple[float, float, float] | None:
        """(lower, middle, upper)."""
        middle, std = self._stats.mean, self._stats.value
        if middle is None or std is None:
            return None
        return middle - self._width * std, middle, middle + self._width * std

    def update(self, close: float) -> tuple[float, float, float] | None:
        self._stats.update(close)
        return self.value


class Donchian:
    """Lowest low and highest high of the last `period` bars."""

    def __init__(self, period: int = 20) -> None:
        self._highs: deque[float] = deque(maxlen=_checked(period))
        self._lows: deque[float] = deque(maxlen=period)

    @property
    def value(self) -> tuple[float, float] | None:
        """(lower, upper)."""
        if len(self._highs) < (self._highs.maxlen or 0):
            return None
        return min(self._lows), max(self._highs)

    def update(self, high: float, low: float) -> tuple[float, float] | None:
        self._highs.append(high)
        self._lows.append(low)
        return self.value


class EfficiencyRatio:
    """Net move over the way travelled in `period` steps: 1 is a straight line, 0 is noise."""

    def __init__(self, period: int = 20) -> None:
        self._closes: deque[float] = deque(maxlen=_checked(period) + 1)

    @property
    def net(self) -> float:
        """The signed move over the window, in price; 0 before the first step."""
        return self._closes[-1] - self._closes[0] if self._closes else 0.0

    @property
    def value(self) -> float | None:
        closes = self._closes
        if len(closes) < (closes.maxlen or 0):
            return None
        way = math.fsum(abs(closes[i] - closes[i - 1]) for i in range(1, len(closes)))
        return min(1.0, abs(self.net) / way) if way > 0 else 0.0

    def update(self, close: float) -> float | None:
        self._closes.append(close)
        return self.value


class PercentileRank:
    """Where the latest value stands among the last `window`: 0 lowest ... 1 highest.

    The share of values below it plus half of those equal. None before `least` values.
    """

    def __init__(self, window: int = 240, least: int = 60) -> None:
        self._window: deque[float] = deque(maxlen=_checked(window))
        self._sorted: list[float] = []
        self._least = min(least, window)
        self._rank: float | None = None

    @property
    def value(self) -> float | None:
        return self._rank

    def update(self, x: float) -> float | None:
        if len(self._window) == self._window.maxlen:
            del self._sorted[bisect_left(self._sorted, self._window[0])]
        self._window.append(x)
        insort(self._sorted, x)
        if len(self._sorted) >= self._least:
            below = bisect_left(self._sorted, x)
            equal = bisect_right(self._sorted, x) - below
            self._rank = (below + equal / 2) / len(self._sorted)
        return self._rank

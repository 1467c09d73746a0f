"""What kind of market it is: trend, range, volatile or quiet, with hysteresis.

Trend by strength (ADX) and straightness (efficiency ratio) together; volatile and quiet by where
the ATR stands among its own last hours. Entering a regime needs more than staying in it, and a
new regime must hold for some bars, so that the word does not flicker at a threshold.
"""

from __future__ import annotations

import msgspec

TREND_UP = "trend_up"
TREND_DOWN = "trend_down"
RANGE = "range"
VOLATILE = "volatile"
QUIET = "quiet"
UNKNOWN = "unknown"
TRENDS = (TREND_UP, TREND_DOWN)
REGIMES = (TREND_UP, TREND_DOWN, RANGE, VOLATILE, QUIET)


class Thresholds(msgspec.Struct, frozen=True, kw_only=True):
    """Each pair: to enter, and to stay. ADX in its points, ratios and percentiles 0 ... 1."""

    adx_enter: float = 25.0
    adx_stay: float = 20.0
    er_enter: float = 0.30
    er_stay: float = 0.15
    volatile_enter: float = 0.95
    volatile_stay: float = 0.85
    quiet_enter: float = 0.10
    quiet_stay: float = 0.20
    confirm_bars: int = 2


class Regime:
    """The regime of one instrument in one timeframe."""

    def __init__(self, thresholds: Thresholds | None = None) -> None:
        self._t = thresholds or Thresholds()
        self._candidate: str = UNKNOWN
        self._held = 0
        self.value: str = UNKNOWN

    def update(self, adx: float, er: float, net: float, atr_percentile: float) -> str:
        """One finished bar. `net` is the signed move of the efficiency ratio's window."""
        seen = self._seen(adx, er, net, atr_percentile)
        self._held = self._held + 1 if seen == self._candidate else 1
        self._candidate = seen
        if self.value == UNKNOWN or self._held >= self._t.confirm_bars:
            self.value = seen
        return self.value

    def _seen(self, adx: float, er: float, net: float, atr_percentile: float) -> str:
        t, now = self._t, self.value
        if atr_percentile >= (t.volatile_stay if now == VOLATILE else t.volatile_enter):
            return VOLATILE
        direction = TREND_UP if net > 0 else TREND_DOWN
        staying = now == direction
        strong = adx >= (t.adx_stay if staying else t.adx_enter)
        straight = er >= (t.er_stay if staying else t.er_enter)
        if strong and straight and net != 0:
            return direction
        if atr_percentile <= (t.quiet_stay if now == QUIET else t.quiet_enter):
            return QUIET
        return RANGE

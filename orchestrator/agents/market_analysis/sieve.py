"""Which ticks may enter a statistic: finite, in order, and near the last ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.model.time import NS_PER_S, Instant

if TYPE_CHECKING:
    from orchestrator.model.market import Tick

_AHEAD_NS_MAX = 5 * NS_PER_S  # as C05: the venue's time within 5 s of ours
_OFF_MAX = 0.05  # as M5
_NEW_LEVEL = 5  # as many ticks that agree with each other, and the price really has moved


class Sieve:
    """Drops what would poison candles for hours; the kernel's M5 counts the same ticks by itself.

    A tick stamped far in the future would close bars and make all later ones late. A price 5 %
    off is believed when five in a row agree on it: after a weekend or a peg's end it is true.
    """

    __slots__ = ("_agreeing", "_last_ns", "_level", "_other")

    def __init__(self) -> None:
        self._last_ns: Instant = 0
        self._level = 0.0
        self._other = 0.0
        self._agreeing = 0

    def pass_on(self, tick: Tick) -> tuple[float, float] | None:
        """(bid, ask) of a sane tick, else None."""
        if not (tick.bid.is_finite() and tick.ask.is_finite()):
            return None
        at_ns = tick.venue_ns
        bid, ask = float(tick.bid), float(tick.ask)
        if not 0.0 < bid < ask or at_ns < self._last_ns or at_ns - tick.seen_ns > _AHEAD_NS_MAX:
            return None
        mid = (bid + ask) / 2
        if not self._believed(mid):
            return None
        self._last_ns = at_ns
        self._level = mid
        return bid, ask

    def start_at(self, mid: float) -> None:
        """The last price of history; ticks are compared with it."""
        self._level = mid

    def _believed(self, mid: float) -> bool:
        if self._level == 0.0 or abs(mid - self._level) <= _OFF_MAX * self._level:
            self._agreeing = 0
            return True
        near = self._agreeing > 0 and abs(mid - self._other) <= _OFF_MAX * self._other
        self._agreeing = self._agreeing + 1 if near else 1
        self._other = mid
        if self._agreeing < _NEW_LEVEL:
            return False
        self._agreeing = 0
        return True

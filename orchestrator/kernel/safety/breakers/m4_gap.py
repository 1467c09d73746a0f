"""M4: a price that jumps, or runs away within a minute."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from orchestrator.kernel.safety.view import percent_text
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import ONE, ZERO, Price
from orchestrator.model.time import NS_PER_S, Instant

_BUCKET_NS = 10 * NS_PER_S
_BUCKETS = 6  # a minute, and the bucket that is being filled
_FAR = Decimal("1.03")
_HIGHER_THAN_ALL = Decimal("Infinity")


class Band:
    """Lowest and highest bid of the last 60 to 70 s, and what is too far from them.

    What is near (between `down` and `up`, its ask below `far`) has not run away, and cannot be a
    tick that is 5 % off the last one: three comparisons instead of the arithmetic of M4 and M5.
    """

    __slots__ = (
        "_buckets", "_down", "_far", "_fraction", "_until", "_up", "highest", "lowest", "near",
    )  # fmt: skip

    def __init__(self, limits: BreakerLimits) -> None:
        self._fraction = limits.flash_fraction
        self._buckets: deque[tuple[Instant, Decimal, Decimal]] = deque(maxlen=_BUCKETS)
        self._until: Instant = 0
        self.near = False  # as last asked
        self.lowest: Decimal = _HIGHER_THAN_ALL
        self.highest: Decimal = ZERO
        self._up = self._down = self._far = ZERO  # nothing is near nothing

    def is_near(self, bid: Price, ask: Price, at: Instant) -> bool:
        if at >= self._until:
            self._turn_over(at)
        self.near = self._down < bid < self._up and ask < self._far
        return self.near

    def ran_away(self, bid: Price) -> bool:
        """Asked after `is_near`: whether it is too far from a price of the last minute."""
        return self._up > 0 and not self._down < bid < self._up

    def add(self, bid: Price) -> None:
        """Take in a good bid, after `is_near`. What is between `lowest` and `highest` changes
        nothing and need not be given.
        """
        self.lowest, self.highest = min(self.lowest, bid), max(self.highest, bid)
        self._measure()

    def _turn_over(self, at: Instant) -> None:
        if self.highest > 0:
            self._buckets.append((self._until, self.lowest, self.highest))
        while self._buckets and at - self._buckets[0][0] >= _BUCKETS * _BUCKET_NS:
            self._buckets.popleft()
        self._until = at + _BUCKET_NS
        self.lowest, self.highest = _HIGHER_THAN_ALL, ZERO
        self._measure()

    def _measure(self) -> None:
        lowest = min((low for _, low, _ in self._buckets), default=self.lowest)
        highest = max((high for _, _, high in self._buckets), default=self.highest)
        lowest, highest = min(lowest, self.lowest), max(highest, self.highest)
        if highest == 0:
            self._up = self._down = self._far = ZERO
            return
        self._up = lowest * (ONE + self._fraction)
        self._down = highest * (ONE - self._fraction)
        self._far = self._up * _FAR


def m4_gap(moved: Decimal, last: Price, spread: Decimal, limits: BreakerLimits) -> str | None:
    """Tick-to-tick move > max(10 spreads, 0.3 %); `spread` is the last tick's."""
    limit = max(limits.gap_spreads * spread, limits.gap_fraction * last)
    return f"a jump of {moved} from {last}, limit {limit}" if moved > limit else None


def m4_flash(bid: Price, band: Band, limits: BreakerLimits) -> str | None:
    """A move of >= 1 % within 60 s; asked after `band.is_near`."""
    if not band.ran_away(bid):
        return None
    return f"{bid} is {percent_text(limits.flash_fraction)} or more off a price of the last minute"

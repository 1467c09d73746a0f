"""T4: after a start or an outage an instrument has to show that its price lives."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import NS_PER_S, Instant, seconds

_FRESH_NS = 5 * NS_PER_S  # as C05 asks of an order's price


class Warmth:
    """How far an instrument's warm-up has come; bounded, live view only."""

    __slots__ = ("_more_ns", "_needed", "over_ns")

    def __init__(self) -> None:
        self._needed = 0
        self._more_ns: Instant = 0
        self.over_ns: Instant | None = None  # fresh ticks have come; over from then on

    def begin(self, limits: BreakerLimits, *, outage_ns: Instant) -> None:
        """2 fresh ticks; after an outage > 60 s 30 s more. An outage is never made shorter."""
        self._needed, self.over_ns = limits.warm_ticks, None
        if outage_ns > seconds(limits.warm_outage_s):
            self._more_ns = seconds(limits.warm_more_s)

    def tick(self, venue_ns: Instant, seen_ns: Instant) -> None:
        """A good tick; an old price, as it is told at a stream's beginning, proves nothing."""
        if self._needed and abs(seen_ns - venue_ns) <= _FRESH_NS:
            self._needed -= 1
            if not self._needed:
                self.over_ns = seen_ns + self._more_ns

    def is_over(self, now: Instant) -> bool:
        return self.over_ns is not None and now >= self.over_ns

    def end(self) -> None:
        self._needed, self._more_ns, self.over_ns = 0, 0, None

"""M5: ticks that cannot be true are dropped and counted, and never value anything."""

from __future__ import annotations

from collections import deque

from orchestrator.kernel.safety.breakers.m4_gap import Band
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.market import Tick
from orchestrator.model.time import NS_PER_S, Instant, seconds

# After so long without a good tick the last one says nothing of where the price may be: else a
# gap over a weekend would be refused for ever.
_MEMORY_NS = 60 * NS_PER_S


def defect(  # noqa: PLR0911 -- a list of what can be wrong
    tick: Tick, last: Tick | None, limits: BreakerLimits, band: Band | None = None
) -> str | None:
    """What is wrong with a tick, or None. `last` is the last good one of the instrument.

    `band`: its last minute; what is near it need not be compared with the last tick (M4's file).
    """
    bid, ask = tick.bid, tick.ask
    if not (bid.is_finite() and ask.is_finite()):
        return f"{bid}/{ask} is not finite"
    if bid <= 0 or ask <= 0:
        return f"{bid}/{ask} is not above zero"
    if bid >= ask:
        return f"bid {bid} is not below ask {ask}"
    off = limits.bad_tick_off
    if ask - bid > off * bid:
        # Also of the first tick of a life, which has no last one: it would convert currencies.
        return f"ask {ask} is more than {off * 100} % off bid {bid}"
    near = band is not None and band.is_near(bid, ask, tick.seen_ns)
    if last is None:
        return None
    if tick.venue_ns < last.venue_ns:
        return "older than the last tick"
    if near:
        return None
    if tick.seen_ns - last.seen_ns > _MEMORY_NS:
        return None
    # Off in sides, not in mids: one multiplication less, and no looser.
    if abs(bid - last.bid) > off * last.bid or abs(ask - last.ask) > off * last.ask:
        return f"{bid}/{ask} is more than {off * 100} % off {last.bid}/{last.ask}"
    return None


class BadTicks:
    """Times of an instrument's bad ticks within the window; bounded, live view only."""

    __slots__ = ("_times", "said_ns")

    def __init__(self) -> None:
        self._times: deque[Instant] = deque(maxlen=64)
        self.said_ns: Instant = -NS_PER_S  # last TickDropped, at most one a second

    def count(self, at: Instant, limits: BreakerLimits) -> int:
        """Count one more; how many there were within the window."""
        self._times.append(at)
        oldest = at - seconds(limits.bad_ticks_window_s)
        while self._times[0] < oldest:
            self._times.popleft()
        return len(self._times)

"""What an agent may make of a quote, and of an outcome, before it learns from it."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.market import Candle, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import NS_PER_S, Instant

_AHEAD_NS_MAX = 5 * NS_PER_S  # SAFETY C05


def usable(bid: Decimal, ask: Decimal) -> bool:
    """Finite, positive, and bid below ask: anything else teaches nothing (SAFETY M5)."""
    return bid.is_finite() and ask.is_finite() and 0 < bid < ask


def usable_tick(tick: Tick) -> bool:
    return usable(tick.bid, tick.ask)


def mid_of(tick: Tick) -> float:
    """The middle of a usable tick, for statistics."""
    return (float(tick.bid) + float(tick.ask)) / 2


def close_mid(candle: Candle) -> float | None:
    """The middle of a candle's close; None when it is unusable or not complete."""
    bid, ask = candle.bid_c, candle.ask_c
    if not (candle.complete and bid.is_finite() and ask.is_finite() and 0 < bid <= ask):
        return None
    return (float(bid) + float(ask)) / 2


def teaches(outcome: TradeOutcome) -> bool:
    """Whether learning may use an outcome: not from an anomalous period, and a real number."""
    return not outcome.quarantined and outcome.r_multiple.is_finite()


class QuoteSieve:
    """Tells bad ticks of one instrument from good ones (SAFETY M5)."""

    __slots__ = ("_mid", "_off", "_off_max", "_venue_ns")

    def __init__(self, off_max: float = 0.05) -> None:
        """`off_max`: fraction of price by which a tick may differ from the one before."""
        self._off_max = off_max
        self._mid = 0.0
        self._off = 0.0  # the last price that was too far off to be believed
        self._venue_ns: Instant = 0

    def flaw(self, tick: Tick) -> str:
        """Why a tick cannot be believed, or ""."""
        if not usable_tick(tick):
            return f"{tick.bid}/{tick.ask} is no quote"
        if tick.venue_ns < self._venue_ns:
            return "older than the tick before it"
        if tick.venue_ns > tick.seen_ns + _AHEAD_NS_MAX:
            # Believed, it would make all later ticks look old.
            return "stamped in the future"
        mid = mid_of(tick)
        off = abs(mid / self._mid - 1) if self._mid else 0.0
        # The same far price a second time in a row: the market moved, the tick is not bad.
        seen_before = self._off and abs(mid / self._off - 1) <= self._off_max / 10
        if off > self._off_max and not seen_before:
            self._off = mid
            return f"{off:.2%} away from the tick before it"
        self._mid, self._off, self._venue_ns = mid, 0.0, tick.venue_ns
        return ""

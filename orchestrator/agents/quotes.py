"""What an agent may make of a quote, and of an outcome, before it learns from it."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.market import Candle, Tick
from orchestrator.model.outcomes import TradeOutcome


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

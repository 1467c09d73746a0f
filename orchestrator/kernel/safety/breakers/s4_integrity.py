"""S4: an assertion or invariant does not hold, or orders leave at a rate that nothing allows."""

from __future__ import annotations

from orchestrator.model.limits import CheckLimits

_TENS_A_MINUTE = 6


def s4_order_rate(orders_10_s: int, checks: CheckLimits) -> str | None:
    """Orders of all accounts in 10 s > 2 x the system's limit for that time."""
    limit = 2 * checks.orders_per_min_total / _TENS_A_MINUTE
    if orders_10_s <= limit:
        return None
    return f"{orders_10_s} orders in 10 s, twice the system's limit is {limit:g}"


def s4_doubled(intent_id: str, one: str, other: str) -> str:
    """INV-02: one intent, two orders."""
    return f"intent {intent_id} has orders {one} and {other}"

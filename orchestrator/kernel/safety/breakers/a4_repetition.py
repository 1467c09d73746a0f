"""A4: the same again and again: runaway orders, by our own count or by Pattern Detection's."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Severity


def a4_repetition(pattern: PatternSeen) -> str | None:
    """Only what is critical blocks; the rest is for people to read."""
    if pattern.severity is not Severity.CRITICAL:
        return None
    return f"{pattern.kind}: {pattern.text}"


def a4_rates(what: str, entries_hour: int, orders_10_s: int, limits: BreakerLimits) -> str | None:
    """20 entries an hour of `what` (strategy, instrument), or 10 orders of the account in 10 s."""
    if entries_hour >= limits.entries_per_h:
        return f"{entries_hour} entries of {what} in an hour, limit {limits.entries_per_h}"
    if orders_10_s >= limits.orders_in_10_s:
        return f"{orders_10_s} orders in 10 s, limit {limits.orders_in_10_s}"
    return None

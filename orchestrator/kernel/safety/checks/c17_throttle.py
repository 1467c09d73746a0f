"""C17: orders leave at a bounded rate, per account, in all, and per strategy and instrument."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.limits import CheckLimits
from orchestrator.model.signals import Proposal
from orchestrator.model.time import NS_PER_S, Instant, seconds


def c17_throttle(order: Proposal, view: View) -> str | None:
    """2/s (burst 5) and 60/min per account, 120/min in all, 1 per 5 s per strategy x instrument.

    The last is counted per account: the legs of one signal at several accounts are one decision.
    """
    checks = view.checks
    if view.now < view.bucket_ns - (checks.orders_burst - 1) * interval_ns(checks):
        return f"C17 over {checks.orders_per_s} orders/s (burst {checks.orders_burst})"
    if view.orders_last_minute >= checks.orders_per_min:
        return f"C17 {view.orders_last_minute} orders in a minute, limit {checks.orders_per_min}"
    if view.orders_last_minute_total >= checks.orders_per_min_total:
        count, limit = view.orders_last_minute_total, checks.orders_per_min_total
        return f"C17 {count} orders in a minute in all, limit {limit}"
    last = view.strategy_order_ns
    if last is not None and view.now - last < seconds(checks.strategy_interval_s):
        age, limit = seconds_text(view.now - last), checks.strategy_interval_s
        return f"C17 {order.strategy} ordered {order.instrument} {age} ago, limit {limit} s"
    return None


def interval_ns(checks: CheckLimits) -> int:
    """Nanoseconds between two orders at the steady rate."""
    return int(NS_PER_S / checks.orders_per_s)


def bucket_after(bucket_ns: Instant, now: Instant, checks: CheckLimits) -> Instant:
    """The bucket's theoretical arrival time after one more order (GCRA)."""
    return max(bucket_ns, now) + interval_ns(checks)

"""C03: the signal is within its time to live, and not from the future."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.signals import Proposal
from orchestrator.model.time import NS_PER_MS


def c03_freshness(order: Proposal, view: View) -> str | None:
    """Age at most its TTL, TTL at most 30 s, at most 1 s from the future."""
    ttl_ns = order.expires_ns - order.created_ns
    age_ns = view.now - order.created_ns
    if ttl_ns > view.checks.signal_ttl_ms_max * NS_PER_MS:
        limit = seconds_text(view.checks.signal_ttl_ms_max * NS_PER_MS)
        return f"C03 time to live is {seconds_text(ttl_ns)}, limit {limit}"
    if age_ns > ttl_ns:
        return f"C03 signal is {seconds_text(age_ns)} old, time to live {seconds_text(ttl_ns)}"
    if -age_ns > view.checks.future_ms_max * NS_PER_MS:
        return f"C03 signal is {seconds_text(-age_ns)} from the future"
    return None

"""C05: the price that the order trusts is fresh, and the venue's clock agrees with ours."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.signals import Proposal
from orchestrator.model.time import NS_PER_MS, seconds


def c05_price_age(order: Proposal, view: View) -> str | None:
    """Tick at most 5 s old, or 60 s with its stream alive; clocks within 5 s; bid < ask."""
    market, checks = view.market, view.checks
    if market is None:
        return f"C05 {order.instrument} has no price"
    age_ns = view.now - market.seen_ns
    alive = view.now - market.stream_ns <= seconds(checks.stream_silence_s_max)
    limit_s = checks.price_age_alive_s_max if alive else checks.price_age_s_max
    if age_ns > seconds(limit_s):
        return f"C05 tick is {seconds_text(age_ns)} old, limit {limit_s} s"
    if -age_ns > checks.future_ms_max * NS_PER_MS:
        return f"C05 tick is {seconds_text(-age_ns)} from the future"
    apart_ns = abs(market.seen_ns - market.venue_ns)
    if apart_ns > seconds(checks.venue_clock_s_max):
        limit = checks.venue_clock_s_max
        return f"C05 venue's time is {seconds_text(apart_ns)} off ours, limit {limit} s"
    if market.bid >= market.ask:
        return f"C05 bid {market.bid} is not below ask {market.ask}"
    return None

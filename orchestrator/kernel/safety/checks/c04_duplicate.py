"""C04: no order twice, and no like one within 10 s on the same account."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.signals import Proposal
from orchestrator.model.time import seconds


def c04_duplicate(order: Proposal, view: View) -> str | None:
    """(signal, account, leg) never seen; no like (strategy, instrument, side) just before."""
    if view.seen_before:
        return f"C04 {order.signal_id} leg {order.leg} was ordered before on this account"
    if view.alike_ns is None:
        return None
    age_ns = view.now - view.alike_ns
    if age_ns >= seconds(view.checks.duplicate_window_s):
        return None
    return (
        f"C04 a like order ({order.strategy}, {order.instrument}, {order.side}) was made "
        f"{seconds_text(age_ns)} ago, limit {view.checks.duplicate_window_s} s"
    )

"""C04: no order twice, and no like one within 10 s on the same account."""

from __future__ import annotations

from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.reducing import Reduction
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


def is_like(other: Reduction, wish: Reduction) -> bool:
    """Whether one may have been meant as the other: a double click."""
    return (other.account_id, other.kind, other.target, other.units, other.side) == (
        wish.account_id, wish.kind, wish.target, wish.units, wish.side,
    )  # fmt: skip


def c04_reducing(wish: Reduction, view: Reducible) -> str | None:
    """Only a part of a close can be asked once too often: all of it, a cancel, a stop cannot."""
    if wish.repeatable or view.like_ns is None:
        return None
    if any(is_like(each, wish) for each in view.flying):
        return f"C04 a like close ({wish.units} of {wish.target}) is not settled yet"
    age_ns = view.now - view.like_ns
    if age_ns >= seconds(view.like_window_s):
        return None
    return (
        f"C04 a like close ({wish.units} of {wish.target}) was asked {seconds_text(age_ns)} ago, "
        f"limit {view.like_window_s} s"
    )

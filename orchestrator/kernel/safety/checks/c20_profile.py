"""C20: the account's profile allows the order."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View
from orchestrator.model.signals import Proposal


def c20_profile(order: Proposal, view: View) -> str | None:
    """Its instruments, strategies, hours, news windows, and orders a trading day."""
    profile = view.profile
    objection = (
        _kinds(order, view)
        or profile.off(view.now)
        or profile.newsworthy(view.now, order.instrument)
    )
    if objection is None and profile.orders_a_day:
        if view.orders_today is None:
            objection = "the trading day's orders are unknown"
        elif view.orders_today >= profile.orders_a_day:
            objection = f"{view.orders_today} orders today, limit {profile.orders_a_day}"
    return f"C20 {objection} (profile {profile.name})" if objection else None


def _kinds(order: Proposal, view: View) -> str | None:
    profile = view.profile
    if profile.instruments and order.instrument not in profile.instruments:
        return f"{order.instrument} is not among its instruments"
    if profile.strategies and order.strategy not in profile.strategies:
        return f"strategy {order.strategy} is not among its strategies"
    return None

"""C08: the stop loss is neither too near nor too far."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, entry_price, percent_text
from orchestrator.model.signals import Proposal


def c08_stop(order: Proposal, view: View) -> str | None:
    """At least one step of price and 2 spreads away, at most 5 % of the price."""
    if view.market is None or view.spec is None:
        return f"C08 {order.instrument} has no price or no rules"
    price = entry_price(order.side, view.market)
    distance = abs(price - order.stop_price)
    nearest = max(view.spec.tick, view.checks.stop_spreads_min * view.market.spread)
    if distance < nearest:
        return f"C08 stop is {distance} away, at least {nearest}"
    if distance > view.checks.stop_distance_max * price:
        limit = percent_text(view.checks.stop_distance_max)
        return f"C08 stop is {distance} away, at most {limit} of {price}"
    if order.stop_price != view.spec.round_price(order.stop_price):
        return f"C08 stop {order.stop_price} is finer than {view.spec.tick}"
    return None

"""C06: the spread is not blown out, and small against the stop's distance."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, entry_price
from orchestrator.model.signals import Proposal


def c06_spread(order: Proposal, view: View) -> str | None:
    """Spread within M2's bounds (4 x its 1 h median, its cap) and 25 % of the stop's distance."""
    if view.market is None:
        return f"C06 {order.instrument} has no price"
    spread, median = view.market.spread, view.market.median_spread
    if median is not None and spread > view.breakers.spread_factor * median:
        return f"C06 spread {spread} is over {view.breakers.spread_factor} x its median {median}"
    cap = view.breakers.spread_caps.get(order.instrument)
    if cap is not None and spread > cap:
        return f"C06 spread {spread} is over its cap {cap}"
    distance = abs(entry_price(order.side, view.market) - order.stop_price)
    limit = view.checks.spread_of_stop_max * distance
    if spread > limit:
        return f"C06 spread {spread} is over {view.checks.spread_of_stop_max} of stop {distance}"
    return None

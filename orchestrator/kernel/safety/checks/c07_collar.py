"""C07: entry and reference prices stand near the market, and the order carries a bound."""

from __future__ import annotations

from orchestrator.kernel.safety.view import Market, View, entry_price, percent_text
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import InstrumentSpec, Price, Side
from orchestrator.model.signals import Proposal


def c07_collar(order: Proposal, view: View) -> str | None:
    """Entry price and the signal's reference within 1 % of mid."""
    if view.market is None:
        return f"C07 {order.instrument} has no price"
    mid = view.market.mid
    for word, price in (
        ("entry", entry_price(order.side, view.market)),
        ("reference", order.reference_price),
    ):
        off = abs(price - mid) / mid
        if off > view.checks.collar:
            limit = percent_text(view.checks.collar)
            return f"C07 {word} {price} is {percent_text(off)} off mid {mid}, limit {limit}"
    return None


def bound_of(side: Side, market: Market, spec: InstrumentSpec, limits: CheckLimits) -> Price:
    """`priceBound` = p +- max(3 spreads, 0.05 %), rounded towards p."""
    price = entry_price(side, market)
    room = max(limits.bound_spreads * market.spread, limits.bound_fraction * price)
    if side is Side.BUY:
        return spec.round_price_down(price + room)
    return spec.round_price_up(price - room)

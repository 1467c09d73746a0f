"""C02: every number is finite and has the right sign; stop and target stand on their sides."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.view import View, entry_price
from orchestrator.model.money import Side
from orchestrator.model.signals import Proposal


def c02_sanity(order: Proposal, view: View) -> str | None:
    """Finite, positive prices; units signed as the side; instrument known and tradeable."""
    objection = _numbers(order) or _instrument(order, view) or _sides(order, view)
    return f"C02 {objection}" if objection else None


def _numbers(order: Proposal) -> str | None:
    prices = [order.reference_price, order.stop_price]
    if order.target_price is not None:
        prices.append(order.target_price)
    for price in prices:
        if not price.is_finite() or price <= 0:
            return f"{price} is not a price"
    if not order.units.is_finite() or order.units == 0:
        return f"{order.units} units are no order"
    if (order.units > 0) is not (order.side is Side.BUY):
        return f"{order.units} units do not {order.side}"
    for part in (order.confidence, order.score):
        if not part.is_finite() or not Decimal(0) <= part <= 1:
            return f"{part} is not a fraction"
    return None


def _instrument(order: Proposal, view: View) -> str | None:
    if view.spec is None:
        return f"{order.instrument} is not known to the account"
    if view.market is not None and not view.market.tradeable:
        return f"{order.instrument} is not tradeable now"
    return None


def _sides(order: Proposal, view: View) -> str | None:
    if view.market is None:
        return f"{order.instrument} has no price"
    price, sign = entry_price(order.side, view.market), order.side.sign
    if (order.stop_price - price) * sign >= 0:
        return f"stop {order.stop_price} is not on the losing side of {price}"
    if order.target_price is not None and (order.target_price - price) * sign <= 0:
        return f"target {order.target_price} is not on the winning side of {price}"
    return None

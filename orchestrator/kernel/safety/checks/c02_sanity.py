"""C02: every number is finite and has the right sign; stop and target stand on their sides."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.kernel.safety.view import View, entry_price
from orchestrator.model.money import Side, step_of
from orchestrator.model.reducing import ReduceKind, Reduction
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


# -- what only reduces -----------------------------------------------------------------------------


def c02_reducing(wish: Reduction, view: Reducible) -> str | None:
    """Numbers finite, above 0 and on the instrument's grid; a close needs a tradeable market."""
    objection = _grid(wish, view)
    if objection is None and wish.kind is ReduceKind.TIGHTEN_STOP:
        objection = _new_stop(wish, view)
    elif objection is None and wish.kind.closes and view.market is not None:
        objection = None if view.market.tradeable else f"{wish.instrument} is not tradeable now"
    return f"C02 {objection}" if objection else None


def _grid(wish: Reduction, view: Reducible) -> str | None:
    if wish.kind is ReduceKind.CANCEL_ORDER or not wish.instrument:
        return None  # C21 and C22 say that there is no such trade
    if view.spec is None:
        return f"{wish.instrument} is not known to the account"
    for name, number, step in (
        ("units", wish.units, step_of(view.spec.trade_units_precision)),
        ("price", wish.price, view.spec.tick),
    ):
        if number is None:
            continue
        if not number.is_finite() or number <= 0:
            return f"{number} is no number for {name}"
        if number % step:
            return f"{number} {name} are finer than {wish.instrument} allows ({step})"
    return None


def _new_stop(wish: Reduction, view: Reducible) -> str | None:
    if wish.price is None:
        return "a stop needs a price"
    if view.trade is None or view.market is None:
        return None  # C22 says so; without a price to compare it the venue decides
    out, sign = (view.market.bid, 1) if view.trade.units > 0 else (view.market.ask, -1)
    if (wish.price - out) * sign >= 0:
        return f"stop {wish.price} is not on the losing side of {out}"
    return None

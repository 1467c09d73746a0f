"""Whether a fill may open what its plan opens; each refusal is one of OANDA's cancel reasons."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.conversion import Factors
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentSpec
from orchestrator.model.time import Instant, parse_time
from orchestrator.model.venue import OnFill, Order
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.charges import guaranteed_distance_of
from orchestrator.paper.exchange.plan import Plan


class Fill(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """All that the parts of one fill share."""

    order: Order
    spec: InstrumentSpec
    tick: Tick
    price: Decimal
    factors: Factors
    half_spread: Decimal
    wanted: Decimal
    commission: Decimal
    now_ns: Instant


def stop_price(wish: OnFill, opened_at: Decimal, units: Decimal, spec: InstrumentSpec) -> Decimal:
    """A given price, or the distance from the trade's open price (section 9)."""
    if wish.price is not None:
        return spec.round_price(wish.price)
    distance = wish.distance or ZERO
    return spec.round_price(opened_at - distance if units > 0 else opened_at + distance)


def beyond(price: Decimal, bound: Decimal, *, buying: bool) -> bool:
    return price > bound if buying else price < bound


def losing(fill: Fill, plan: Plan) -> str | None:
    """Stop loss and take profit on the losing side at fill: nothing opens (section 9)."""
    long = plan.opens > 0
    closing = fill.tick.bid if long else fill.tick.ask
    stop, target = fill.order.stop_loss_on_fill, fill.order.take_profit_on_fill
    if stop is not None:
        price = stop_price(stop, fill.price, plan.opens, fill.spec)
        if price <= 0 or (price >= closing if long else price <= closing):
            return "STOP_LOSS_ON_FILL_LOSS"
    sure = fill.order.guaranteed_stop_loss_on_fill
    if sure is not None:
        price = stop_price(sure, fill.price, plan.opens, fill.spec)
        away = closing - price if long else price - closing
        if price <= 0 or away < guaranteed_distance_of(fill.spec):
            return "GUARANTEED_STOP_LOSS_ON_FILL_LOSS"
    if target is None or target.price is None:
        return None
    at_once = closing >= target.price if long else closing <= target.price
    if at_once and (closing < fill.price if long else closing > fill.price):
        return "TAKE_PROFIT_ON_FILL_LOSS"  # it would fill at once, at a loss
    later = target.price < fill.price if long else target.price > fill.price
    return "LOSING_TAKE_PROFIT" if later else None


def _on_fill_wishes(order: Order) -> tuple[tuple[str, OnFill], ...]:
    kinds = (
        ("TAKE_PROFIT", order.take_profit_on_fill),
        ("STOP_LOSS", order.stop_loss_on_fill),
        ("TRAILING_STOP_LOSS", order.trailing_stop_loss_on_fill),
        ("GUARANTEED_STOP_LOSS", order.guaranteed_stop_loss_on_fill),
    )
    return tuple((kind, wish) for kind, wish in kinds if wish is not None)


def expired(batch: Batch, order: Order) -> str | None:
    for kind, wish in _on_fill_wishes(order):
        if wish.gtd_time is not None and parse_time(wish.gtd_time) <= batch.now_ns:
            return f"{kind}_ON_FILL_GTD_TIMESTAMP_IN_PAST"
    return None


def taken(books: Books, order: Order) -> str | None:
    for kind, wish in _on_fill_wishes(order):
        wanted = wish.client_extensions.id if wish.client_extensions else None
        holder = books.order_by_client_id.get(wanted) if wanted is not None else None
        if holder is not None and holder != order.id:
            return f"{kind}_ON_FILL_CLIENT_ORDER_ID_ALREADY_EXISTS"
    return None

"""The parts of a fill: what closed trades made and cost, the book, the orders that end with it."""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from orchestrator.model.money import ZERO, round_money
from orchestrator.model.time import format_time
from orchestrator.model.venue import (
    FullPrice,
    Order,
    PriceBucket,
    Trade,
    TradeReduce,
    Transaction,
)
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.charges import (
    NO_FINANCING,
    Financing,
    conversion_cost,
    financing_since,
)
from orchestrator.paper.exchange.depth import Depth
from orchestrator.paper.exchange.fill_judge import Fill
from orchestrator.paper.exchange.plan import Plan
from orchestrator.paper.exchange.valuation import in_home

_QUOTE_PL = Decimal("0.00001")


_NO_MONEY = round_money(ZERO)
_NO_QUOTE = ZERO.quantize(_QUOTE_PL)
_NOTHING_CLOSED: dict[str, Decimal] = {
    "pl_home_conversion_cost": _NO_MONEY,
    "base_financing_home_conversion_cost": _NO_MONEY,
    "guaranteed_execution_fee_home_conversion_cost": _NO_MONEY,
    "home_conversion_cost": _NO_MONEY,
    "base_financing": _NO_QUOTE,
    "quote_financing": _NO_QUOTE,
    "quote_guaranteed_execution_fee": _NO_QUOTE,
}


def spread_cost(units: Decimal, fill: Fill) -> Decimal:
    return round_money(abs(units) * fill.half_spread * fill.factors.value)


def reduction(books: Books, trade: Trade, units: Decimal, fill: Fill) -> TradeReduce:
    # Units carry the order's sign, so (exit - entry) x closed units of the trade is -units here.
    quote_pl = (fill.price - trade.price) * -units
    return TradeReduce(
        trade_id=trade.id,
        client_trade_id=trade.client_extensions.id if trade.client_extensions else None,
        units=units,
        price=fill.price,
        realized_pl=in_home(quote_pl, fill.factors),
        financing=round_money(accrued(books, trade, units, fill).home),
        guaranteed_execution_fee=guaranteed_fee(units, fill),
        half_spread_cost=spread_cost(units, fill),
    )


def accrued(books: Books, trade: Trade, units: Decimal, fill: Fill) -> Financing:
    if books.config.financing != "SECOND_BY_SECOND":
        return NO_FINANCING  # all of it is paid at the roll
    return financing_since(books, trade, units, fill.spec, fill.tick, fill.factors, fill.now_ns)


def quote_fee(units: Decimal, fill: Fill) -> Decimal:
    """The premium of a guaranteed stop, in quote money."""
    premium = fill.order.guaranteed_execution_premium
    return ZERO if premium is None else premium * abs(units)


def guaranteed_fee(units: Decimal, fill: Fill) -> Decimal:
    return round_money(quote_fee(units, fill) * fill.factors.loss)


def quote_side(books: Books, plan: Plan, fill: Fill) -> dict[str, Decimal]:
    """What newer servers add to a fill: its amounts in other money, and what converting cost.

    Undocumented; the costs are taken against the mid's factor (docs/paper-choices.md).
    """
    if not plan.closes:
        return _NOTHING_CLOSED
    paid = [accrued(books, trade, units, fill) for trade, units in plan.closes]
    fee = sum((quote_fee(units, fill) for _, units in plan.closes), ZERO)
    costs = {
        "pl_home_conversion_cost": sum(
            (
                conversion_cost((fill.price - trade.price) * -units, fill.factors)
                for trade, units in plan.closes
            ),
            round_money(ZERO),
        ),
        "base_financing_home_conversion_cost": sum((p.cost for p in paid), round_money(ZERO)),
        "guaranteed_execution_fee_home_conversion_cost": conversion_cost(-fee, fill.factors),
    }
    return costs | {
        "home_conversion_cost": sum(costs.values(), ZERO),
        "base_financing": _shown(sum((p.base for p in paid), ZERO)),
        "quote_financing": _shown(sum((p.quote for p in paid), ZERO)),
        "quote_guaranteed_execution_fee": _shown(fee),
    }


def _shown(amount: Decimal) -> Decimal:
    return amount.quantize(_QUOTE_PL, rounding=ROUND_HALF_UP) + ZERO


def quote_pl(plan: Plan, price: Decimal) -> Decimal:
    total = sum(((price - trade.price) * -units for trade, units in plan.closes), ZERO)
    return _shown(total)


def full_price(fill: Fill, depth: Depth) -> FullPrice:
    tick = fill.tick

    def buckets(*, buying: bool) -> tuple[PriceBucket, ...]:
        offers = depth.offers(tick, fill.spec, buying=buying)
        return tuple(PriceBucket(price=p, liquidity=str(units)) for p, units in offers)

    return FullPrice(
        closeout_bid=tick.bid,
        closeout_ask=tick.ask,
        timestamp=format_time(tick.venue_ns),
        bids=buckets(buying=False),
        asks=buckets(buying=True),
    )


def cancel_linked(
    batch: Batch, trade: Trade, orders: tuple[Order, ...], filled: Transaction
) -> None:
    for order in sorted(orders, key=lambda o: int(o.id)):
        if order.id not in batch.books.pending:
            continue  # the dependent order that closed the trade is filled, not cancelled
        batch.add(
            "ORDER_CANCEL",
            order_id=order.id,
            client_order_id=order.client_extensions.id if order.client_extensions else None,
            reason="LINKED_TRADE_CLOSED",
            closed_trade_id=trade.id,
            trade_close_transaction_id=filled.id,
        )

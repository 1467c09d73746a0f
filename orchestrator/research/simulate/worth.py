"""What the venue's books are worth at given quotes, worked out here anew: the judge's own sums."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.conversion import Factors, factors
from orchestrator.model.money import ZERO, Currency, InstrumentName
from orchestrator.model.venue import Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.instruments import SPECS
from orchestrator.research.simulate.knowledge import QuotesThen

_NO_STOP = Decimal("0.05")  # of what a trade without a stop is worth (SAFETY 6)


class Cost(msgspec.Struct, frozen=True):
    """What an order may cost, home currency."""

    risk: Decimal
    notional: Decimal
    margin: Decimal


class Worth(msgspec.Struct, frozen=True, kw_only=True):
    """An account, home currency. `risk`: of the open trades, to their stops."""

    balance: Decimal
    nav: Decimal
    margin: Decimal
    risk: Decimal
    count: int


def rate(quotes: QuotesThen, frm: Currency, to: Currency) -> Factors | None:
    return factors(frm, to, quotes.get)


def cost_of(
    books: Books, quotes: QuotesThen, name: InstrumentName, units: Decimal, stop: Decimal
) -> Cost | None:
    """|u| x (|p - s| + spread) and |u| x p at home (SAFETY 6); None where a quote is missing."""
    pair = quotes.get(name)
    worth = rate(quotes, SPECS[name].quote, books.currency)
    if pair is None or worth is None:
        return None
    bid, ask = pair
    price = ask if units > 0 else bid
    notional = abs(units) * price * worth.value
    return Cost(
        abs(units) * (abs(price - stop) + ask - bid) * worth.loss, notional,
        notional * max(SPECS[name].margin_rate, books.margin_rate),
    )  # fmt: skip


def worth_of(books: Books, quotes: QuotesThen, trades: list[Trade]) -> Worth | None:
    """Of these of its trades; None where a quote is missing."""
    unrealized = risk = ZERO
    sides: dict[InstrumentName, Decimal] = {}
    for trade in trades:
        pair = quotes.get(trade.instrument)
        worth = rate(quotes, SPECS[trade.instrument].quote, books.currency)
        if pair is None or worth is None:
            return None
        closing = pair[0] if trade.current_units > 0 else pair[1]
        made = (closing - trade.price) * trade.current_units
        unrealized += made * (worth.gain if made > 0 else worth.loss)
        risk += _risk(books, trade, pair, worth)
        sides[trade.instrument] = sides.get(trade.instrument, ZERO) + trade.current_units
    return Worth(
        balance=books.balance, nav=books.balance + unrealized, risk=risk, count=len(trades),
        margin=sum((_margin(books, quotes, *side) for side in sides.items()), ZERO),
    )  # fmt: skip


def _risk(books: Books, trade: Trade, pair: tuple[Decimal, Decimal], worth: Factors) -> Decimal:
    bid, ask = pair
    units = abs(trade.current_units)
    order = books.pending.get(trade.stop_loss_order_id or "")
    if order is None or order.price is None:
        return units * (bid + ask) / 2 * worth.value * _NO_STOP
    distance = bid - order.price if trade.current_units > 0 else order.price - ask
    return max(ZERO, units * (distance + ask - bid) * worth.loss)


def _margin(books: Books, quotes: QuotesThen, name: InstrumentName, units: Decimal) -> Decimal:
    worth = rate(quotes, SPECS[name].quote, books.currency)
    assert worth is not None, "the trades were valued before"
    bid, ask = quotes[name]
    rate_ = max(SPECS[name].margin_rate, books.margin_rate)
    return abs(units) * (ask if units > 0 else bid) * worth.value * rate_

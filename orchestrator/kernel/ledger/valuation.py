"""What the books are worth at live prices. None is "unknown", and unknown blocks new risk (K1).

Sources: fact sheet 10 and 11; SAFETY 6 for risk. All results are in home currency.
"""

from __future__ import annotations

from collections.abc import Mapping
from decimal import Decimal
from functools import lru_cache
from typing import TypeAlias

from orchestrator.kernel.ledger.book import Book, OpenTrade
from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.model.money import (
    ZERO,
    Currency,
    InstrumentName,
    InstrumentSpec,
    round_money,
)
from orchestrator.model.signals import Exposure
from orchestrator.model.venue import BOOKED_MAX

NO_STOP_RISK = Decimal("0.05")  # of notional, for a trade without a stop

Specs: TypeAlias = Mapping[InstrumentName, InstrumentSpec]
Spreads: TypeAlias = Mapping[InstrumentName, Decimal]  # usual spread of an instrument, in price


def _home(amount: Decimal) -> Decimal | None:
    """Rounded as money; an absurd amount (a price of 1E-15 somewhere) is unknown, not an error."""
    return round_money(amount) if abs(amount) < BOOKED_MAX else None


@lru_cache(maxsize=1024)
def currencies(name: InstrumentName) -> tuple[Currency, Currency]:
    """Base and quote currency by the instrument's name; ("", "") for a name that has none."""
    base, _, quote = name.partition("_")
    return (Currency(base), Currency(quote)) if quote else (Currency(""), Currency(""))


def closing_price(
    trade: OpenTrade, quotes: Quotes, usual_spreads: Spreads | None = None
) -> Decimal | None:
    """The price at which the trade could be closed: a long sells at the bid, a short buys.

    With `usual_spreads` (the roll, SAFETY B4): mid less half of the instrument's usual spread,
    so that the roll's wide spread moves no breaker; an instrument not in it keeps its own.
    """
    pair = quotes.bid_ask(trade.instrument)
    if pair is None:
        return None
    bid, ask = pair
    usual = None if usual_spreads is None else usual_spreads.get(trade.instrument)
    if usual is None:
        return bid if trade.units > 0 else ask
    mid = (bid + ask) / 2
    return mid - usual / 2 if trade.units > 0 else mid + usual / 2


def unrealized(
    trade: OpenTrade, quotes: Quotes, home: Currency, usual_spreads: Spreads | None = None
) -> Decimal | None:
    """Profit or loss of closing now, rounded as the venue rounds it."""
    price = closing_price(trade, quotes, usual_spreads)
    factors = quotes.factors(currencies(trade.instrument)[1], home)
    if price is None or factors is None or trade.price <= 0:
        return None
    quote_pl = (price - trade.price) * trade.units
    return _home(quote_pl * (factors.gain if quote_pl > 0 else factors.loss))


def unrealized_total(
    book: Book, quotes: Quotes, usual_spreads: Spreads | None = None
) -> Decimal | None:
    """Sum over all open trades."""
    total = ZERO
    for trade in book.trades.values():
        part = unrealized(trade, quotes, book.currency, usual_spreads)
        if part is None:
            return None
        total += part
    return total


def nav(book: Book, quotes: Quotes, usual_spreads: Spreads | None = None) -> Decimal | None:
    """Balance and all that is unrealised, at closing prices."""
    total = unrealized_total(book, quotes, usual_spreads)
    return None if total is None else book.balance + total


def notional(
    instrument: InstrumentName, units: Decimal, price: Decimal, home: Currency, quotes: Quotes
) -> Decimal | None:
    """N(u) = |u| x p x kappa_value(quote), SAFETY 6."""
    factors = quotes.factors(currencies(instrument)[1], home)
    return None if factors is None else _home(abs(units) * price * factors.value)


def margin_rate_of(book: Book, spec: InstrumentSpec) -> Decimal:
    """The larger of the instrument's and the account's rate."""
    return max(spec.margin_rate, book.margin_rate or ZERO)


def margin_used(book: Book, quotes: Quotes, specs: Specs) -> Decimal | None:
    """Net units (hedging: the larger side) x the price at which they would be opened x rate.

    Source: fact sheet, 11, and its recorded account (17.3): the opening side's price, not the mid.
    """
    total = ZERO
    for name, (long, short) in book.sides().items():
        spec, pair = specs.get(name), quotes.bid_ask(name)
        if spec is None or pair is None:
            return None
        units = long + short
        if book.hedging:
            units = long if long >= -short else short
        price = pair[1] if units > 0 else pair[0]
        value = notional(name, units, price, book.currency, quotes)
        if value is None:
            return None
        total += round_money(value * margin_rate_of(book, spec))
    return total


def exposures(book: Book, quotes: Quotes) -> tuple[Exposure, ...] | None:
    """Signed currency legs, home currency, by name: a long EUR_USD is long EUR and short USD."""
    legs: dict[Currency, Decimal] = {}
    for name, (long, short) in book.sides().items():
        pair = quotes.bid_ask(name)
        base, quote = currencies(name)
        factors = quotes.factors(quote, book.currency)
        if pair is None or factors is None:
            return None
        value = _home((long + short) * (pair[0] + pair[1]) / 2 * factors.value)
        if value is None:
            return None
        legs[base] = legs.get(base, ZERO) + value
        legs[quote] = legs.get(quote, ZERO) - value
    return tuple(Exposure(currency=name, amount=legs[name]) for name in sorted(legs))


def trade_risk(
    trade: OpenTrade, quotes: Quotes, home: Currency, no_stop: Decimal = NO_STOP_RISK
) -> Decimal | None:
    """Loss from now to the stop, spread included, never below 0; without a stop a part of N."""
    pair = quotes.bid_ask(trade.instrument)
    factors = quotes.factors(currencies(trade.instrument)[1], home)
    if pair is None or factors is None:
        return None
    bid, ask = pair
    units, stop = abs(trade.units), trade.worst_exit
    if stop is None:
        return _home(units * (bid + ask) / 2 * factors.value * no_stop)
    distance = bid - stop if trade.units > 0 else stop - ask
    return _home(max(ZERO, units * (distance + ask - bid) * factors.loss))


def open_risk(book: Book, quotes: Quotes, no_stop: Decimal = NO_STOP_RISK) -> Decimal | None:
    """R_open of the trades (SAFETY 6); what is in flight is the reservations' part."""
    total = ZERO
    for trade in book.trades.values():
        part = trade_risk(trade, quotes, book.currency, no_stop)
        if part is None:
            return None
        total += part
    return total

"""Home conversion: what one unit of a currency is worth in another, by live quotes.

Source: fact sheet, section 10. With HOME_QUOTE (USD_JPY in a USD account) gain = 1/ask and
loss = 1/bid; with QUOTE_HOME gain = bid and loss = ask; otherwise through one middle currency.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.money import ONE, Currency, InstrumentName

BidAsk = tuple[Decimal, Decimal]
QuoteOf = Callable[[InstrumentName], BidAsk | None]

CROSSES = (Currency("USD"), Currency("EUR"))


class Factors(msgspec.Struct, frozen=True, gc=False):
    """How many home units one unit of a currency is worth, for a gain, a loss, a value (mid)."""

    gain: Decimal
    loss: Decimal
    value: Decimal


SAME = Factors(ONE, ONE, ONE)


def _direct(frm: Currency, to: Currency, quote_of: QuoteOf) -> Factors | None:
    if frm == to:
        return SAME
    straight = quote_of(InstrumentName(f"{frm}_{to}"))
    if straight is not None:
        bid, ask = straight
        return Factors(bid, ask, (bid + ask) / 2)
    inverse = quote_of(InstrumentName(f"{to}_{frm}"))
    if inverse is not None:
        bid, ask = inverse
        return Factors(1 / ask, 1 / bid, 2 / (bid + ask))
    return None


def factors(frm: Currency, home: Currency, quote_of: QuoteOf) -> Factors | None:
    """None when no pair or chain of two pairs with a quote links the two currencies."""
    direct = _direct(frm, home, quote_of)
    if direct is not None:
        return direct
    for middle in CROSSES:
        first = _direct(frm, middle, quote_of)
        second = _direct(middle, home, quote_of) if first is not None else None
        if first is not None and second is not None:
            return Factors(
                first.gain * second.gain, first.loss * second.loss, first.value * second.value
            )
    return None


def links(
    frm: Currency, home: Currency, known: frozenset[InstrumentName]
) -> tuple[InstrumentName, ...]:
    """The instruments of `known` whose quotes `factors` needs; empty if same or impossible."""

    def pair(a: Currency, b: Currency) -> tuple[InstrumentName, ...] | None:
        if a == b:
            return ()
        for name in (InstrumentName(f"{a}_{b}"), InstrumentName(f"{b}_{a}")):
            if name in known:
                return (name,)
        return None

    direct = pair(frm, home)
    if direct is not None:
        return direct
    for middle in CROSSES:
        first, second = pair(frm, middle), pair(middle, home)
        if first is not None and second is not None:
            return first + second
    return ()

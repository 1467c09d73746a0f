"""What an account is worth now: unrealised results, net asset value and margin, in home money.

Source: fact sheet, sections 10 and 11, and vector 3 of section 17.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

import msgspec

from orchestrator.model.conversion import Factors
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentName, InstrumentSpec, round_money
from orchestrator.model.venue import Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.quotes import FILL_DIGITS, Quotes, mid_rounded, rounded

_PERCENT = Decimal("0.00001")


class Valued(msgspec.Struct, frozen=True, gc=False):
    """A trade's unrealised result, at the closing side and at the mid."""

    unrealized_pl: Decimal
    at_mid: Decimal


class InstrumentValue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """One instrument of an account; `closeout_*` at the mid."""

    long_pl: Decimal
    short_pl: Decimal
    position_value: Decimal
    margin_used: Decimal
    closeout_pl: Decimal
    closeout_value: Decimal
    closeout_margin: Decimal


class AccountValue(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """An account at the latest prices."""

    unrealized_pl: Decimal
    nav: Decimal
    position_value: Decimal
    margin_used: Decimal
    margin_available: Decimal
    closeout_pl: Decimal
    closeout_nav: Decimal
    closeout_value: Decimal
    closeout_margin: Decimal
    closeout_percent: Decimal
    call_percent: Decimal
    withdrawal_limit: Decimal
    instruments: dict[InstrumentName, InstrumentValue]


def in_home(amount: Decimal, found: Factors) -> Decimal:
    """Quote money in home money: the gain factor for a gain, the loss factor for a loss."""
    # Plus zero: what rounds to nothing has no sign.
    return round_money(amount * (found.gain if amount >= 0 else found.loss)) + ZERO


def trade_value(trade: Trade, tick: Tick, spec: InstrumentSpec, found: Factors) -> Valued:
    """Long trades close at the bid, short ones at the ask."""
    closing = tick.bid if trade.current_units > 0 else tick.ask
    return Valued(
        in_home((closing - trade.price) * trade.current_units, found),
        in_home((mid_rounded(tick, spec) - trade.price) * trade.current_units, found),
    )


def margin_rate(books: Books, spec: InstrumentSpec, own: Decimal | None = None) -> Decimal:
    """The larger of the instrument's and the account's, or of one that it might choose."""
    return max(books.margin_rate if own is None else own, spec.margin_rate)


def counted_units(books: Books, long_units: Decimal, short_units: Decimal) -> Decimal:
    """Signed units that need margin: the net, or the larger side of a hedging account."""
    if not books.config.hedging:
        return long_units + short_units
    return long_units if long_units >= -short_units else short_units


def units_value(units: Decimal, tick: Tick, found: Factors) -> Decimal:
    """Home value of signed units at the opening side's price."""
    return round_money(abs(units) * (tick.ask if units > 0 else tick.bid) * found.value)


def instrument_value(
    books: Books,
    spec: InstrumentSpec,
    tick: Tick,
    found: Factors,
    own_rate: Decimal | None = None,
) -> InstrumentValue:
    """All open trades of one instrument."""
    long_units = short_units = long_pl = short_pl = at_mid = ZERO
    for trade in books.trades_in.get(spec.name, {}).values():
        valued = trade_value(trade, tick, spec, found)
        at_mid += valued.at_mid
        if trade.current_units > 0:
            long_units += trade.current_units
            long_pl += valued.unrealized_pl
        else:
            short_units += trade.current_units
            short_pl += valued.unrealized_pl
    units = counted_units(books, long_units, short_units)
    value = units_value(units, tick, found)
    closeout_value = round_money(abs(units) * mid_rounded(tick, spec) * found.value)
    rate = margin_rate(books, spec, own_rate)
    return InstrumentValue(
        long_pl=long_pl,
        short_pl=short_pl,
        position_value=value,
        margin_used=round_money(value * rate),
        closeout_pl=at_mid,
        closeout_value=closeout_value,
        closeout_margin=round_money(closeout_value * rate),
    )


def account_value(
    books: Books,
    specs: dict[InstrumentName, InstrumentSpec],
    quotes: Quotes,
    own_rate: Decimal | None = None,
) -> AccountValue:
    """Everything of an account; an instrument without a price or a rate counts with zero."""
    parts: dict[InstrumentName, InstrumentValue] = {}
    for name in books.trades_in:
        tick, spec = quotes.get(name), specs[name]
        found = quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
        if tick is not None and found is not None:
            used = rounded(found, FILL_DIGITS)
            parts[name] = instrument_value(books, spec, tick, used, own_rate)
    return _sum(books.balance, parts)


def _sum(balance: Decimal, parts: dict[InstrumentName, InstrumentValue]) -> AccountValue:
    every = tuple(parts.values())
    unrealized = sum((p.long_pl + p.short_pl for p in every), ZERO)
    margin = sum((p.margin_used for p in every), ZERO)
    closeout_pl = sum((p.closeout_pl for p in every), ZERO)
    closeout_margin = sum((p.closeout_margin for p in every), ZERO)
    nav, closeout_nav = balance + unrealized, balance + closeout_pl
    available = max(ZERO, nav - margin)
    return AccountValue(
        unrealized_pl=unrealized,
        nav=nav,
        position_value=sum((p.position_value for p in every), ZERO),
        margin_used=margin,
        margin_available=available,
        closeout_pl=closeout_pl,
        closeout_nav=closeout_nav,
        closeout_value=sum((p.closeout_value for p in every), ZERO),
        closeout_margin=closeout_margin,
        closeout_percent=_percent(closeout_margin / 2, closeout_nav),
        call_percent=_percent(closeout_margin, closeout_nav),
        withdrawal_limit=max(ZERO, min(balance, available)),
        instruments=parts,
    )


def _percent(part: Decimal, whole: Decimal) -> Decimal:
    if not part:
        return ZERO.quantize(_PERCENT)
    if whole <= 0:  # nothing left to divide by: as far over the limit as can be said
        return Decimal("9.99999")
    return min(Decimal("9.99999"), part / whole).quantize(_PERCENT, rounding=ROUND_HALF_UP)

"""What holding and trading cost: financing, commission, the premium of guaranteed stops.

Source: fact sheet, sections 5 (`InstrumentCommission`), 9 and 10.
"""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.conversion import Factors
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentSpec, round_money
from orchestrator.model.time import NS_PER_S, Instant, parse_time
from orchestrator.model.venue import Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.config import Commission

# Days charged at the roll that ends a New York weekday (Monday is 0): Wednesday pays the weekend.
DAYS_CHARGED = (1, 1, 3, 1, 1, 0, 0)
_YEAR_DAYS = Decimal(365)
_YEAR_NS = Decimal(365 * 86_400 * NS_PER_S)

_PREMIUM_PIPS = 2
_GUARANTEED_DISTANCE_PIPS = 10


def premium_of(spec: InstrumentSpec) -> Decimal:
    """What a guaranteed stop costs when it fills, in quote money a unit."""
    return (_PREMIUM_PIPS * spec.pip).quantize(spec.tick)


def guaranteed_distance_of(spec: InstrumentSpec) -> Decimal:
    """How near to the market a guaranteed stop may stand."""
    return (_GUARANTEED_DISTANCE_PIPS * spec.pip).quantize(spec.tick)


def commission_of(terms: Commission | None, units: Decimal) -> Decimal:
    """Of one fill, in home money; at least the minimum."""
    if terms is None or not units:
        return ZERO
    return round_money(max(terms.minimum, abs(units) / terms.units_traded * terms.amount))


class Financing(msgspec.Struct, frozen=True, gc=False):
    """Paid (positive) or owed: in base, in quote, in home money, and what converting it cost."""

    base: Decimal
    quote: Decimal
    home: Decimal
    cost: Decimal


NO_FINANCING = Financing(ZERO, ZERO, ZERO, ZERO)


def conversion_cost(quote_amount: Decimal, found: Factors) -> Decimal:
    """What is lost against a conversion at the mid: the gain or loss factor is always worse."""
    factor = found.gain if quote_amount >= 0 else found.loss
    return round_money(abs(quote_amount) * abs(found.value - factor))


def _financing(base: Decimal, tick: Tick, found: Factors) -> Financing:
    quote = base * (tick.bid + tick.ask) / 2
    home = round_money(quote * (found.gain if quote >= 0 else found.loss)) + ZERO
    return Financing(base, quote, home, conversion_cost(quote, found))


def _yearly(trade: Trade, units: Decimal, spec: InstrumentSpec) -> Decimal:
    """In units of the base."""
    rate = spec.financing_long_rate if trade.current_units > 0 else spec.financing_short_rate
    return abs(units) * rate


def financing_of_days(
    trade: Trade, spec: InstrumentSpec, tick: Tick, found: Factors, days: int
) -> Financing:
    """What a trade is paid, or pays (negative), at the roll in a division that charges by days."""
    return _financing(_yearly(trade, trade.current_units, spec) * days / _YEAR_DAYS, tick, found)


def financing_since(
    books: Books,
    trade: Trade,
    units: Decimal,
    spec: InstrumentSpec,
    tick: Tick,
    found: Factors,
    now: Instant,
) -> Financing:
    """What so many units of a trade accrued since it was opened, or last paid, by the second."""
    since = books.financed_ns.get(trade.id) or parse_time(trade.open_time)
    held = Decimal(max(0, now - since))
    return _financing(_yearly(trade, units, spec) * held / _YEAR_NS, tick, found)

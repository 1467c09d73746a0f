"""What holding and trading cost: financing, commission, the premium of guaranteed stops.

Source: fact sheet, sections 5 (`InstrumentCommission`), 9 and 10.
"""

from __future__ import annotations

from decimal import Decimal

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


def _yearly(trade: Trade, units: Decimal, spec: InstrumentSpec, tick: Tick, f: Factors) -> Decimal:
    rate = spec.financing_long_rate if trade.current_units > 0 else spec.financing_short_rate
    return abs(units) * (tick.bid + tick.ask) / 2 * f.value * rate


def financing_of_days(
    trade: Trade, spec: InstrumentSpec, tick: Tick, found: Factors, days: int
) -> Decimal:
    """What a trade is paid, or pays (negative), at the roll in a division that charges by days."""
    whole = _yearly(trade, trade.current_units, spec, tick, found)
    return round_money(whole * days / _YEAR_DAYS)


def financing_since(
    books: Books,
    trade: Trade,
    units: Decimal,
    spec: InstrumentSpec,
    tick: Tick,
    found: Factors,
    now: Instant,
) -> Decimal:
    """What so many units of a trade accrued since it was opened, or last paid, by the second."""
    since = books.financed_ns.get(trade.id) or parse_time(trade.open_time)
    held = Decimal(max(0, now - since))
    return round_money(_yearly(trade, units, spec, tick, found) * held / _YEAR_NS)

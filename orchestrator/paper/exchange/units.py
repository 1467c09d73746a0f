"""How many units an account could still trade, for each way of filling a position.

Source: fact sheet, section 5 (`unitsAvailable` of a price) and 11.
"""

from __future__ import annotations

from decimal import ROUND_DOWN, Decimal

from orchestrator.model.conversion import Factors
from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, step_of
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.quotes import FILL_DIGITS, rounded
from orchestrator.paper.exchange.valuation import account_value, margin_rate

_MODES = ("default", "reduceFirst", "reduceOnly", "openOnly")


def units_available(
    exchange: Exchange, books: Books, tick: Tick, found: Factors
) -> dict[str, dict[str, Decimal]]:
    """Of each mode, the largest long and short order; the spread's cost is not taken off."""
    spec, used = exchange.specs[tick.instrument], rounded(found, FILL_DIGITS)
    value = account_value(books, exchange.specs, exchange.quotes)
    units = [t.current_units for t in books.trades_in.get(tick.instrument, {}).values()]
    held_long = sum((u for u in units if u > 0), ZERO)
    held_short = -sum((u for u in units if u < 0), ZERO)
    rate, step = margin_rate(books, spec), step_of(spec.trade_units_precision)

    def side(price: Decimal, same: Decimal, opposing: Decimal) -> tuple[Decimal, ...]:
        each = price * used.value * rate
        fresh = value.margin_available / each
        # A hedging account needs margin for its larger side alone: the smaller may grow for free.
        opens = fresh + max(ZERO, opposing - same) if books.config.hedging else fresh
        if opposing and not books.config.hedging:
            opens = ZERO
        # Closing what opposes frees its margin, and as much may then be opened the other way.
        first = opposing + (value.margin_available + opposing * each) / each if opposing else fresh
        default = opens if books.config.hedging else first
        most = spec.maximum_order_units
        modes = (default, first, opposing, opens)
        return tuple(min(most, m).quantize(step, rounding=ROUND_DOWN) for m in modes)

    long = side(tick.ask, held_long, held_short)
    short = side(tick.bid, held_short, held_long)
    return {mode: {"long": a, "short": b} for mode, a, b in zip(_MODES, long, short, strict=True)}

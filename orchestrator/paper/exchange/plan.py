"""Which trades an order closes, oldest first, and what it opens."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.venue import Order, Trade
from orchestrator.paper.exchange.books import Books


class Plan(msgspec.Struct, frozen=True, gc=False):
    """Which trades give up how many units (signed as the order), and what opens."""

    closes: tuple[tuple[Trade, Decimal], ...]
    opens: Decimal


def plan_of(books: Books, order: Order, name: InstrumentName, units: Decimal) -> Plan | str:
    """Which trades the order closes, oldest first, and what it opens; or why it cannot."""
    of_trade = order.trade_close or order.delayed_trade_close
    if order.trade_id is not None or of_trade is not None:
        trade_id = order.trade_id or (of_trade.trade_id if of_trade else None)
        trade = books.trades.get(trade_id or "")
        return Plan(_use((trade,) if trade else (), units), ZERO)
    opposing = tuple(
        t for t in books.trades_in.get(name, {}).values() if (t.current_units > 0) != (units > 0)
    )
    mode = order.position_fill or "DEFAULT"
    closes_side = order.long_position_closeout or order.short_position_closeout
    if mode == "DEFAULT" and not closes_side:
        mode = "OPEN_ONLY" if books.config.hedging else "REDUCE_FIRST"
    if mode == "OPEN_ONLY":
        blocked = bool(opposing) and not books.config.hedging
        return "FIFO_VIOLATION" if blocked else Plan((), units)
    closes = _use(opposing, units)
    if mode == "REDUCE_ONLY" or closes_side:
        return Plan(closes, ZERO) if closes else "POSITION_CLOSEOUT_FAILED"
    return Plan(closes, units - sum((u for _, u in closes), ZERO))


def _use(trades: tuple[Trade, ...], units: Decimal) -> tuple[tuple[Trade, Decimal], ...]:
    used: list[tuple[Trade, Decimal]] = []
    left = units
    for trade in trades:
        if not left:
            break
        part = -trade.current_units if abs(trade.current_units) <= abs(left) else left
        used.append((trade, part))
        left -= part
    return tuple(used)


def sides_after(books: Books, name: InstrumentName, plan: Plan) -> tuple[Decimal, Decimal]:
    """Long and short units of the instrument once the plan is done."""
    units = [t.current_units for t in books.trades_in.get(name, {}).values()]
    long = sum((u for u in units if u > 0), ZERO)
    short = sum((u for u in units if u < 0), ZERO)
    for trade, part in plan.closes:
        if trade.current_units > 0:
            long += part
        else:
            short += part
    return (long + plan.opens, short) if plan.opens > 0 else (long, short + plan.opens)

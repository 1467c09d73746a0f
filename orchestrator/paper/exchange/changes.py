"""What happened to an account since one of its transactions, and what prices make of it now.

Source: fact sheet, section 5 (AccountChanges, AccountChangesState) and 15 (how clients use them).
"""

from __future__ import annotations

from collections.abc import Sequence
from decimal import Decimal

import msgspec

from orchestrator.model.money import InstrumentName
from orchestrator.model.venue import Order, Position, Trade, Transaction, Wire
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.triggers import buys, watched
from orchestrator.paper.exchange.valuation import AccountValue, account_value
from orchestrator.paper.exchange.views import account_of, position_of, trade_summary

# Of the summary, what the state repeats: prices move it, or money was booked.
_OF_SUMMARY = (
    "balance", "pl", "resettablePL", "financing", "commission", "dividendAdjustment",
    "guaranteedExecutionFees", "unrealizedPL", "NAV", "marginUsed", "marginAvailable",
    "positionValue", "marginCloseoutUnrealizedPL", "marginCloseoutNAV",
    "marginCloseoutMarginUsed", "marginCloseoutPercent", "marginCloseoutPositionValue",
    "withdrawalLimit", "marginCallMarginUsed", "marginCallPercent",
)  # fmt: skip


class Forgotten(LookupError):
    """The window reaches back to what the venue no longer remembers."""


class Changes(Wire, frozen=True, kw_only=True, gc=False, omit_defaults=False):
    """`AccountChanges`: every list is always there."""

    orders_created: tuple[Order, ...]
    orders_cancelled: tuple[Order, ...]
    orders_filled: tuple[Order, ...]
    orders_triggered: tuple[Order, ...]
    trades_opened: tuple[Trade, ...]
    trades_reduced: tuple[Trade, ...]
    trades_closed: tuple[Trade, ...]
    positions: tuple[Position, ...]
    transactions: tuple[Transaction, ...]


def changes_of(exchange: Exchange, books: Books, made: Sequence[Transaction]) -> Changes:
    """The changes that these transactions, the account's last ones, brought.

    An order or trade stands in one list only, by what it is now: an order that was created and
    filled in the window is "filled", a trade that was opened and closed in it is "closed".
    """
    fills = [tx for tx in made if tx.type == "ORDER_FILL"]
    created = [tx.id for tx in made if tx.type.endswith("_ORDER")]
    opened = dict.fromkeys(tx.trade_opened.trade_id for tx in fills if tx.trade_opened)
    reduced = dict.fromkeys(tx.trade_reduced.trade_id for tx in fills if tx.trade_reduced)
    closed = dict.fromkeys(part.trade_id for tx in fills for part in tx.trades_closed or ())
    cancels = [tx.order_id or "" for tx in made if tx.type == "ORDER_CANCEL"]
    trades = books.trades

    def summaries(found: Sequence[Trade]) -> tuple[Trade, ...]:
        return tuple(trade_summary(exchange, books, trade) for trade in found)

    return Changes(
        orders_created=tuple(books.pending[i] for i in created if i in books.pending),
        orders_cancelled=_finished(books, cancels),
        orders_filled=_finished(books, [tx.order_id or "" for tx in fills]),
        orders_triggered=(),
        trades_opened=summaries([trades[i] for i in opened if i in trades]),
        trades_reduced=summaries([trades[i] for i in reduced if i in trades and i not in opened]),
        trades_closed=summaries(_closed(books, list(closed))),
        positions=_positions(exchange, books, made),
        transactions=tuple(made),
    )


def _finished(books: Books, ids: Sequence[str]) -> tuple[Order, ...]:
    try:
        return tuple(books.finished_orders[i] for i in ids)
    except KeyError as error:
        raise Forgotten(f"order {error.args[0]}") from error


def _closed(books: Books, ids: Sequence[str]) -> list[Trade]:
    try:
        return [books.closed_trades[i] for i in ids]
    except KeyError as error:
        raise Forgotten(f"trade {error.args[0]}") from error


def _positions(
    exchange: Exchange, books: Books, made: Sequence[Transaction]
) -> tuple[Position, ...]:
    touched: dict[InstrumentName, None] = {}
    for tx in made:
        if tx.type in {"ORDER_FILL", "DIVIDEND_ADJUSTMENT"} and tx.instrument is not None:
            touched[tx.instrument] = None
        if tx.type == "RESET_RESETTABLE_PL":
            touched |= dict.fromkeys(books.positions)
        for part in tx.position_financings or ():
            touched[part.instrument] = None
    value = account_value(books, exchange.specs, exchange.quotes)
    return tuple(position_of(books, value, name) for name in touched if name in books.positions)


def state_of(exchange: Exchange, books: Books) -> dict[str, object]:
    """`AccountChangesState` at the latest prices."""
    account = account_of(exchange, books, full=False)
    summary: dict[str, object] = msgspec.to_builtins(account, builtin_types=(Decimal,))
    value = account_value(books, exchange.specs, exchange.quotes)
    return {name: summary[name] for name in _OF_SUMMARY if name in summary} | {
        "orders": [_order(exchange, books, o) for o in books.pending.values() if _moves(o)],
        "trades": [_trade(trade_summary(exchange, books, t)) for t in books.trades.values()],
        "positions": [_position(books, value, name) for name in books.trades_in],
    }


def _moves(order: Order) -> bool:
    return order.type == "TRAILING_STOP_LOSS" and order.trailing_stop_value is not None


def _order(exchange: Exchange, books: Books, order: Order) -> dict[str, object]:
    tick = exchange.quotes.get(books.instrument_of(order))
    shown: dict[str, object] = {"id": order.id, "trailingStopValue": order.trailing_stop_value}
    if tick is not None and order.trailing_stop_value is not None:
        buying = buys(order, books.trades.get(order.trade_id or ""))
        price = watched(order, tick, buying=buying)
        shown["triggerDistance"] = abs(price - order.trailing_stop_value)
        shown["isTriggerDistanceExact"] = True
    return shown


def _trade(trade: Trade) -> dict[str, object]:
    return {
        "id": trade.id, "unrealizedPL": trade.unrealized_pl, "marginUsed": trade.margin_used,
    }  # fmt: skip


def _position(books: Books, value: AccountValue, name: InstrumentName) -> dict[str, object]:
    position = position_of(books, value, name)
    shown: dict[str, object] = {
        "instrument": name,
        "netUnrealizedPL": position.unrealized_pl,
        "longUnrealizedPL": position.long.unrealized_pl,
        "shortUnrealizedPL": position.short.unrealized_pl,
    }
    if position.margin_used is not None:
        shown["marginUsed"] = position.margin_used
    return shown

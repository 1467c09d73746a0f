"""The venue's own view of an account becomes our books: the base line that transactions follow."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from orchestrator.kernel.ledger.book import Book, OpenTrade, PendingOrder
from orchestrator.model.money import InstrumentName, Price, Units
from orchestrator.model.orders import Intent
from orchestrator.model.time import Instant, parse_time
from orchestrator.model.venue import Account, Order, Trade

IntentOf: TypeAlias = Callable[[str], Intent | None]

UNKNOWN_INSTRUMENT = InstrumentName("")  # valued by nobody: it makes every sum unknown (K1)


def adopt(account: Account, intent_of: IntentOf) -> Book:
    """ValueError for a summary: without trades and orders the books would lie."""
    if account.trades is None or account.orders is None:
        raise ValueError(f"account {account.id} was read without its trades and orders")
    book = Book(
        account_id=account.id,
        currency=account.currency,
        balance=account.balance,
        last_id=int(account.last_transaction_id),
        margin_rate=account.margin_rate,
        hedging=account.hedging_enabled,
    )
    for order in account.orders:
        book.orders[order.id] = _pending(order)
    for trade in account.trades:
        book.trades[trade.id] = _trade(trade, account, intent_of)
    for order in account.orders:
        _tie(book, order)
    return book


def explain(trade: OpenTrade, intent: Intent) -> None:
    """Write the intent behind a trade of ours into it."""
    wish = intent.proposal
    trade.ours = True
    trade.intent_id, trade.signal_id = intent.intent_id, intent.signal_id
    trade.strategy, trade.regime = wish.strategy, wish.regime
    trade.reference_price, trade.initial_stop = wish.reference_price, wish.stop_price


def at_of(text: str) -> Instant:
    """A venue's time; 0 where it cannot be read, since no time of theirs is worth a halt."""
    try:
        return parse_time(text)
    except ValueError:
        return 0


def _pending(order: Order) -> PendingOrder:
    return PendingOrder(
        order_id=order.id,
        type=order.type,
        instrument=order.instrument,
        units=None if order.units is None else Units(order.units),
        price=None if order.price is None else Price(order.price),
        trade_id=order.trade_id,
        client_id=(order.client_extensions and order.client_extensions.id) or "",
        create_ns=at_of(order.create_time),
    )


def _trade(trade: Trade, account: Account, intent_of: IntentOf) -> OpenTrade:
    client_id = (trade.client_extensions and trade.client_extensions.id) or ""
    intent = intent_of(client_id) if client_id else None
    held = OpenTrade(
        trade_id=trade.id,
        instrument=trade.instrument,
        units=Units(trade.current_units),
        initial_units=Units(trade.initial_units or trade.current_units),
        price=Price(trade.price),
        opened_ns=at_of(trade.open_time),
        ours=False,
    )
    if (
        intent is not None
        and intent.account_id == account.id
        and intent.instrument == trade.instrument
    ):
        explain(held, intent)
    return held


def _tie(book: Book, order: Order) -> None:
    """A dependent order found in the account is written into its trade."""
    trade = book.trades.get(order.trade_id or "")
    if trade is None:
        return
    price = None if order.price is None else Price(order.price)
    if order.type == "TAKE_PROFIT":
        trade.target_order_id, trade.target_price = order.id, price
    elif order.type == "TRAILING_STOP_LOSS":
        value = order.trailing_stop_value
        trade.trailing_order_id = order.id
        trade.trailing_price = None if value is None else Price(value)
    elif order.type in {"STOP_LOSS", "GUARANTEED_STOP_LOSS"}:
        trade.stop_order_id, trade.stop_price = order.id, price
        if trade.initial_stop is None:
            trade.initial_stop = price

"""Transactions into the books: the venue's log is the truth, its figures win (SAFETY K3)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

from orchestrator.kernel.ledger.adopt import IntentOf, at_of
from orchestrator.kernel.ledger.book import NO_CHANGES, Book, Changes, PendingOrder
from orchestrator.kernel.ledger.fills import apply_fill, book_money
from orchestrator.kernel.ledger.ties import intent_behind, tie, untie
from orchestrator.model.money import ZERO, Price, Units
from orchestrator.model.venue import Transaction

_ENTRY_REASONS = ("CLIENT_ORDER", "REPLACEMENT")


def apply_transaction(book: Book, tx: Transaction, intent_of: IntentOf) -> Changes:
    """Change the books by one transaction. One that was applied already changes nothing.

    Types that do not touch orders, trades or money, and types unknown to us, move only `last_id`.
    Another account's transaction is not applied at all: the books stay behind, and A7 sees it.
    """
    if tx.account_id not in {"", book.account_id}:
        told = f"transaction {tx.id} is of {tx.account_id}, the books of {book.account_id}"
        return Changes(problems=(told,))
    if tx.number <= book.last_id:
        return NO_CHANGES
    book.last_id = tx.number
    if tx.type in _HANDLERS:
        return _HANDLERS[tx.type](book, tx, intent_of)
    return NO_CHANGES


def pass_hole(book: Book, number: int) -> None:
    """An id that the venue does not have (O8): the books step over it."""
    if number == book.last_id + 1:
        book.last_id = number


def _order_created(book: Book, tx: Transaction, intent_of: IntentOf) -> Changes:
    order = PendingOrder(
        order_id=tx.id,
        type=tx.type.removesuffix("_ORDER"),
        instrument=tx.instrument,
        units=None if tx.units is None else Units(tx.units),
        price=None if tx.price is None else Price(tx.price),
        trade_id=tx.trade_id,
        client_id=(tx.client_extensions and tx.client_extensions.id) or "",
        create_ns=at_of(tx.time),
    )
    book.orders[tx.id] = order
    return Changes(
        orders_created=(tx.id,),
        protected=tie(book, order, tx),
        strangers=(order.client_id,) if _is_strange(book, order, tx, intent_of) else (),
    )


def _is_strange(book: Book, order: PendingOrder, tx: Transaction, intent_of: IntentOf) -> bool:
    """Whether somebody else wants to open a trade (A9)."""
    wanted = order.is_entry and tx.reason in _ENTRY_REASONS
    return wanted and intent_behind(book, intent_of, tx, order.client_id) is None


def _order_cancelled(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    order = book.orders.pop(tx.order_id or "", None)
    if order is None:
        return Changes(problems=(f"transaction {tx.id} cancels the unknown order {tx.order_id}",))
    return Changes(orders_cancelled=(order.order_id,), unprotected=untie(book, order))


def _financed(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    return _booked(book, tx, tx.financing or ZERO)


def _dividend(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    return _booked(book, tx, tx.dividend_adjustment or ZERO)


def _booked(book: Book, tx: Transaction, amount: Decimal) -> Changes:
    return Changes(realized=amount, problems=book_money(book, tx, amount))


def _transferred(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    amount = tx.amount or ZERO
    return Changes(transfer=amount, problems=book_money(book, tx, amount))


def _configured(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    if tx.margin_rate is not None:
        book.margin_rate = tx.margin_rate
    return NO_CHANGES


def _renamed(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    order = book.orders.get(tx.order_id or "")
    if order is not None and tx.client_extensions_modify is not None:
        order.client_id = tx.client_extensions_modify.id or order.client_id
    return NO_CHANGES


_HANDLERS: dict[str, Callable[[Book, Transaction, IntentOf], Changes]] = {
    "MARKET_ORDER": _order_created,
    "FIXED_PRICE_ORDER": _order_created,
    "LIMIT_ORDER": _order_created,
    "STOP_ORDER": _order_created,
    "MARKET_IF_TOUCHED_ORDER": _order_created,
    "TAKE_PROFIT_ORDER": _order_created,
    "STOP_LOSS_ORDER": _order_created,
    "GUARANTEED_STOP_LOSS_ORDER": _order_created,
    "TRAILING_STOP_LOSS_ORDER": _order_created,
    "ORDER_FILL": apply_fill,
    "ORDER_CANCEL": _order_cancelled,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": _renamed,
    "DAILY_FINANCING": _financed,
    "DIVIDEND_ADJUSTMENT": _dividend,
    "TRANSFER_FUNDS": _transferred,
    "CLIENT_CONFIGURE": _configured,
}

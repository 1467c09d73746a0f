"""An account as it stood some transactions ago: what a read that lags behind would see."""

from __future__ import annotations

from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.entries import apply
from orchestrator.paper.state import read_transactions

_CREATION = 3  # CREATE, CLIENT_CONFIGURE, TRANSFER_FUNDS: there was no account before


def books_before(books: Books, behind: int) -> Books:
    """The books without their last `behind` transactions."""
    past = Books(books.config)
    for transaction in read_transactions(books.history[: max(_CREATION, books.last_id - behind)]):
        apply(past, transaction)
    for order_id in tuple(past.pending):
        order = books.pending.get(order_id) or books.finished_orders.get(order_id)
        if order is not None:
            past.recall(order_id, order.trailing_stop_value, order.initial_market_price)
    return past

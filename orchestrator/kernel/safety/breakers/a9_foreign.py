"""A9: somebody else trades on the account."""

from __future__ import annotations

from orchestrator.kernel.ledger.adopt import IntentOf
from orchestrator.kernel.ledger.book import Book


def a9_foreign(book: Book, intent_of: IntentOf) -> str | None:
    """What is open of strangers: trades and entry orders that no intent of ours explains."""
    trades = [trade.trade_id for trade in book.trades.values() if not trade.ours]
    orders = [
        order.order_id
        for order in book.orders.values()
        if order.is_entry and intent_of(order.client_id) is None
    ]
    if not trades and not orders:
        return None
    return f"foreign trades {', '.join(trades[:5]) or '-'}, orders {', '.join(orders[:5]) or '-'}"

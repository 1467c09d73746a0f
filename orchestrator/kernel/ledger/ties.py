"""What ties orders to trades, and both to the intents behind them."""

from __future__ import annotations

from orchestrator.kernel.ledger.adopt import IntentOf
from orchestrator.kernel.ledger.book import Book, OpenTrade, PendingOrder
from orchestrator.model.money import Price
from orchestrator.model.orders import Intent
from orchestrator.model.venue import Transaction

_STOPS = ("STOP_LOSS", "GUARANTEED_STOP_LOSS")


def intent_behind(book: Book, intent_of: IntentOf, tx: Transaction, *names: str) -> Intent | None:
    """The first of these client ids that is an intent of ours for this account and instrument."""
    for name in names:
        intent = intent_of(name) if name else None
        if intent is not None and intent.account_id == book.account_id:
            return intent if tx.instrument in {None, intent.instrument} else None
    return None


def tie(book: Book, order: PendingOrder, tx: Transaction) -> tuple[str, ...]:
    """Tie a dependent order to its trade; the trade's id if that protects it now."""
    trade = book.trades.get(order.trade_id or "")
    if trade is None:
        return ()
    if order.type == "TAKE_PROFIT":
        trade.target_order_id, trade.target_price = order.order_id, order.price
        return ()
    if order.type == "TRAILING_STOP_LOSS":
        trade.trailing_order_id, trade.trailing_price = order.order_id, None
        return (trade.trade_id,)
    if order.type not in _STOPS:
        return ()
    if order.price is None:
        order.price = _price_by_distance(trade, tx)
    trade.stop_order_id, trade.stop_price = order.order_id, order.price
    if trade.initial_stop is None:
        trade.initial_stop = order.price
    return (trade.trade_id,)


def untie(book: Book, order: PendingOrder) -> tuple[str, ...]:
    """Untie a dependent order that is gone; the trade's id if it stands without a stop now."""
    trade = book.trades.get(order.trade_id or "")
    if trade is None:
        return ()
    if trade.target_order_id == order.order_id:
        trade.target_order_id = trade.target_price = None
    elif trade.stop_order_id == order.order_id:
        trade.stop_order_id = trade.stop_price = None
    elif trade.trailing_order_id == order.order_id:
        trade.trailing_order_id = trade.trailing_price = None
    return () if trade.protected else (trade.trade_id,)


def _price_by_distance(trade: OpenTrade, tx: Transaction) -> Price | None:
    """An on-fill stop given by distance counts from the trade's price (fact sheet, 9)."""
    if tx.distance is None or tx.reason != "ON_FILL" or trade.price <= 0:
        return None
    return Price(trade.price - tx.distance if trade.units > 0 else trade.price + tx.distance)

"""How each transaction changes the books: the only way in, so that replaying rebuilds them."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orchestrator.model.money import ZERO, round_money
from orchestrator.model.time import parse_time, trading_day
from orchestrator.model.venue import Order, Transaction
from orchestrator.paper.exchange.books import DEPENDENT_FIELDS, Books

_encode = msgspec.json.Encoder(decimal_format="string").encode
_replace = msgspec.structs.replace


def apply(books: Books, transaction: Transaction) -> bytes:
    """Change the books as the transaction says; returns it encoded. No hole in the ids."""
    assert transaction.number == books.last_id + 1, f"id {transaction.id} after {books.last_id}"
    kind = transaction.type
    handler = _HANDLERS.get(kind)
    if handler is not None:
        handler(books, transaction)
    elif kind.endswith("_ORDER"):
        _on_order(books, transaction)
    books.last_id += 1
    encoded = _encode(transaction)
    books.history.append(encoded)
    books.kinds.append(kind)
    return encoded


def order_of(tx: Transaction) -> Order:
    """The order that a create transaction stands for."""
    return Order(
        id=tx.id,
        type=tx.type.removesuffix("_ORDER"),
        create_time=tx.time,
        client_extensions=tx.client_extensions,
        instrument=tx.instrument,
        units=tx.units,
        price=tx.price,
        price_bound=tx.price_bound,
        distance=tx.distance,
        time_in_force=tx.time_in_force,
        gtd_time=tx.gtd_time,
        position_fill=tx.position_fill,
        trigger_condition=tx.trigger_condition,
        take_profit_on_fill=tx.take_profit_on_fill,
        stop_loss_on_fill=tx.stop_loss_on_fill,
        trailing_stop_loss_on_fill=tx.trailing_stop_loss_on_fill,
        guaranteed_stop_loss_on_fill=tx.guaranteed_stop_loss_on_fill,
        guaranteed_execution_premium=tx.guaranteed_execution_premium,
        trade_client_extensions=tx.trade_client_extensions,
        trade_id=tx.trade_id,
        client_trade_id=tx.client_trade_id,
        trade_close=tx.trade_close,
        long_position_closeout=tx.long_position_closeout,
        short_position_closeout=tx.short_position_closeout,
        margin_closeout=tx.margin_closeout,
        delayed_trade_close=tx.delayed_trade_close,
        trade_state=tx.trade_state,
        replaces_order_id=tx.replaces_order_id,
    )


def _on_order(books: Books, tx: Transaction) -> None:
    order = order_of(tx)
    field = DEPENDENT_FIELDS.get(order.type)
    if field is not None:
        trade = books.trades[order.trade_id or ""]
        books.put_trade(_replace(trade, **{field: order.id}))
    books.put_pending(order)
    if tx.client_extensions and tx.client_extensions.id:
        books.order_by_client_id[tx.client_extensions.id] = order.id
    if tx.time_in_force == "GTD" and tx.gtd_time:
        books.expiries[order.id] = parse_time(tx.gtd_time)
    elif tx.time_in_force == "GFD":
        books.expiries[order.id] = trading_day(parse_time(tx.time))[2]


def _on_fill(books: Books, tx: Transaction) -> None:
    order = books.pending[tx.order_id or ""]
    for part in tx.trades_closed or ():
        books.reduce_trade(part, tx)
    if tx.trade_reduced is not None:
        books.reduce_trade(tx.trade_reduced, tx)
    if tx.trade_opened is not None:
        books.open_trade(tx, order.trade_state or "OPEN")
    books.balance = tx.account_balance if tx.account_balance is not None else books.balance
    books.pl += tx.pl or ZERO
    books.financing += tx.financing or ZERO
    books.commission += tx.commission or ZERO
    books.guaranteed_fees += tx.guaranteed_execution_fee or ZERO
    if tx.commission and tx.instrument is not None:
        books.positions[tx.instrument].commission += tx.commission
    books.last_fill_time = tx.time
    filled = _replace(
        order,
        state="FILLED",
        filling_transaction_id=tx.id,
        filled_time=tx.time,
        trade_opened_id=tx.trade_opened.trade_id if tx.trade_opened else None,
        trade_reduced_id=tx.trade_reduced.trade_id if tx.trade_reduced else None,
        trade_closed_ids=tuple(t.trade_id for t in tx.trades_closed) if tx.trades_closed else None,
    )
    books.drop_order(order, filled)


def _on_cancel(books: Books, tx: Transaction) -> None:
    order = books.pending[tx.order_id or ""]
    cancelled = _replace(
        order,
        state="CANCELLED",
        cancelling_transaction_id=tx.id,
        cancelled_time=tx.time,
        replaced_by_order_id=tx.replaced_by_order_id,
    )
    books.drop_order(order, cancelled)


def _on_create(books: Books, tx: Transaction) -> None:
    books.created_time = tx.time


def _on_configure(books: Books, tx: Transaction) -> None:
    books.alias = books.alias if tx.alias is None else tx.alias
    books.margin_rate = books.margin_rate if tx.margin_rate is None else tx.margin_rate


def _on_funds(books: Books, tx: Transaction) -> None:
    books.balance += tx.amount or ZERO


def _on_financing(books: Books, tx: Transaction) -> None:
    books.balance += tx.financing or ZERO
    books.financing += tx.financing or ZERO
    for position in tx.position_financings or ():
        for part in position.open_trade_financings:
            trade = books.trades[part.trade_id]
            paid = round_money((trade.financing or ZERO) + part.financing)
            books.put_trade(_replace(trade, financing=paid))
            books.financed_ns[trade.id] = parse_time(tx.time)
            totals = books.positions[position.instrument]
            totals.side_of(trade.initial_units).financing += part.financing


def _on_call_enter(books: Books, tx: Transaction) -> None:
    books.margin_call_time = tx.time


def _on_call_extend(books: Books, tx: Transaction) -> None:
    books.extensions = tx.extension_number or books.extensions + 1
    books.extension_time = tx.time


def _on_call_exit(books: Books, _tx: Transaction) -> None:
    books.margin_call_time = books.extension_time = None
    books.extensions = 0


def _on_close(books: Books, _tx: Transaction) -> None:
    books.closed = True


def _on_reopen(books: Books, _tx: Transaction) -> None:
    books.closed = False


def _on_reset(books: Books, tx: Transaction) -> None:
    books.pl_at_reset, books.reset_time = books.pl, tx.time
    for totals in books.positions.values():
        for side in (totals.long, totals.short):
            side.pl_at_reset = side.pl


def _on_dividend(books: Books, tx: Transaction) -> None:
    books.balance += tx.dividend_adjustment or ZERO
    books.dividends += tx.dividend_adjustment or ZERO
    for part in tx.open_trade_dividend_adjustments or ():
        books.pay_dividend(part.trade_id, part.dividend_adjustment)


def _on_delayed(books: Books, tx: Transaction) -> None:
    for trade_id in trade_ids_of(tx):
        trade = books.trades.get(trade_id)
        if trade is not None:
            books.put_trade(_replace(trade, state="CLOSE_WHEN_TRADEABLE"))
            books.delayed[trade_id] = tx.id


def trade_ids_of(tx: Transaction) -> list[str]:
    """The trades of a DELAYED_TRADE_CLOSURE, whose `tradeIDs` is a text (OANDA's definition)."""
    ids = tx.trade_ids or ()
    return [part for part in ids.split(",") if part] if isinstance(ids, str) else [*ids]


def _on_order_extensions(books: Books, tx: Transaction) -> None:
    order = books.pending.get(tx.order_id or "")
    if order is not None:
        books.rename_order(order, tx)


def _on_trade_extensions(books: Books, tx: Transaction) -> None:
    trade = books.trades.get(tx.trade_id or "")
    if trade is not None:
        books.rename_trade(trade, tx.trade_client_extensions_modify)


_HANDLERS: dict[str, Callable[[Books, Transaction], None]] = {
    "CREATE": _on_create,
    "CLIENT_CONFIGURE": _on_configure,
    "TRANSFER_FUNDS": _on_funds,
    "ORDER_FILL": _on_fill,
    "ORDER_CANCEL": _on_cancel,
    "DAILY_FINANCING": _on_financing,
    "MARGIN_CALL_ENTER": _on_call_enter,
    "MARGIN_CALL_EXTEND": _on_call_extend,
    "MARGIN_CALL_EXIT": _on_call_exit,
    "CLOSE": _on_close,
    "REOPEN": _on_reopen,
    "RESET_RESETTABLE_PL": _on_reset,
    "DIVIDEND_ADJUSTMENT": _on_dividend,
    "DELAYED_TRADE_CLOSURE": _on_delayed,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": _on_order_extensions,
    "TRADE_CLIENT_EXTENSIONS_MODIFY": _on_trade_extensions,
}

"""Transactions into the books: the venue's log is the truth, its figures win (SAFETY K3)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.kernel.ledger.adopt import UNKNOWN_INSTRUMENT, IntentOf, at_of, explain
from orchestrator.kernel.ledger.book import NO_CHANGES, Book, Changes, OpenTrade, PendingOrder
from orchestrator.model.money import ZERO, Price, Units
from orchestrator.model.outcomes import TradeClosed, TradeOpened

if TYPE_CHECKING:
    from collections.abc import Callable
    from decimal import Decimal

    from orchestrator.model.orders import Intent
    from orchestrator.model.venue import TradeOpen, TradeReduce, Transaction

_STOPS = ("STOP_LOSS", "GUARANTEED_STOP_LOSS")
_ENTRY_REASONS = ("CLIENT_ORDER", "REPLACEMENT")


def apply_transaction(book: Book, tx: Transaction, intent_of: IntentOf) -> Changes:
    """Change the books by one transaction. One that was applied already changes nothing.

    Types that do not touch orders, trades or money, and types unknown to us, move only `last_id`.
    """
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
    client_id = (tx.client_extensions and tx.client_extensions.id) or ""
    order = PendingOrder(
        order_id=tx.id,
        type=tx.type.removesuffix("_ORDER"),
        instrument=tx.instrument,
        units=None if tx.units is None else Units(tx.units),
        price=None if tx.price is None else Price(tx.price),
        trade_id=tx.trade_id,
        client_id=client_id,
        create_ns=at_of(tx.time),
    )
    book.orders[tx.id] = order
    protected = _link(book, order, tx)
    foreign = (
        order.is_entry
        and tx.reason in _ENTRY_REASONS
        and _intent(book, intent_of, tx, client_id) is None
    )
    return Changes(
        orders_created=(tx.id,),
        protected=protected,
        strangers=(client_id,) if foreign else (),
    )


def _link(book: Book, order: PendingOrder, tx: Transaction) -> tuple[str, ...]:
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


def _price_by_distance(trade: OpenTrade, tx: Transaction) -> Price | None:
    """An on-fill stop given by distance counts from the trade's price (fact sheet, 9)."""
    if tx.distance is None or tx.reason != "ON_FILL" or trade.price <= 0:
        return None
    return Price(trade.price - tx.distance if trade.units > 0 else trade.price + tx.distance)


def _unlink(book: Book, order: PendingOrder) -> tuple[str, ...]:
    """Untie a dependent order that is gone; the trade's id if it stands without a stop now."""
    trade = book.trades.get(order.trade_id or "")
    if trade is None:
        return ()
    if trade.target_order_id == order.order_id:
        trade.target_order_id = trade.target_price = None
        return ()
    if trade.stop_order_id == order.order_id:
        trade.stop_order_id = trade.stop_price = None
    elif trade.trailing_order_id == order.order_id:
        trade.trailing_order_id = trade.trailing_price = None
    else:
        return ()
    return () if trade.protected else (trade.trade_id,)


def _order_cancelled(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    order = book.orders.pop(tx.order_id or "", None)
    if order is None:
        return Changes(problems=(f"transaction {tx.id} cancels the unknown order {tx.order_id}",))
    return Changes(orders_cancelled=(order.order_id,), unprotected=_unlink(book, order))


def _order_filled(book: Book, tx: Transaction, intent_of: IntentOf) -> Changes:
    problems: list[str] = []
    order = book.orders.pop(tx.order_id or "", None)
    closed = [_trade_closed(book, tx, part, problems) for part in tx.trades_closed or ()]
    if tx.trade_reduced is not None:
        closed.append(_trade_reduced(book, tx, tx.trade_reduced, problems))
    opened: tuple[TradeOpened, ...] = ()
    if tx.trade_opened is not None:
        opened = (_trade_opened(book, tx, tx.trade_opened, order, intent_of, problems),)
    result = (
        (tx.pl or ZERO)
        + (tx.financing or ZERO)
        - (tx.commission or ZERO)
        - (tx.guaranteed_execution_fee or ZERO)
    )
    _book_money(book, tx, result, problems)
    _check_sums(tx, problems)
    return Changes(
        opened=opened,
        closed=tuple(closed),
        realized=result,
        unprotected=() if order is None else _unlink(book, order),
        problems=tuple(problems),
    )


def _trade_opened(
    book: Book,
    tx: Transaction,
    part: TradeOpen,
    order: PendingOrder | None,
    intent_of: IntentOf,
    problems: list[str],
) -> TradeOpened:
    names = (
        order.client_id if order is not None else "",
        tx.client_order_id or "",
        (part.client_extensions and part.client_extensions.id) or "",
    )
    intent = _intent(book, intent_of, tx, *names)
    price = part.price or tx.price or tx.full_vwap
    if tx.instrument is None or price is None:
        problems.append(f"transaction {tx.id} opens a trade without instrument or price")
    if part.trade_id in book.trades:
        problems.append(f"transaction {tx.id} opens trade {part.trade_id}, which is open already")
    trade = OpenTrade(
        trade_id=part.trade_id,
        instrument=tx.instrument or (intent.instrument if intent else UNKNOWN_INSTRUMENT),
        units=Units(part.units),
        initial_units=Units(part.units),
        price=Price(price or ZERO),
        opened_ns=at_of(tx.time),
        ours=intent is not None,
    )
    if intent is not None:
        explain(trade, intent)
    book.trades[trade.trade_id] = trade
    return TradeOpened(
        account_id=book.account_id,
        trade_id=trade.trade_id,
        instrument=trade.instrument,
        units=trade.units,
        price=trade.price,
        opened_ns=trade.opened_ns,
        ours=trade.ours,
        intent_id=trade.intent_id,
        signal_id=trade.signal_id,
        strategy=trade.strategy,
        regime=trade.regime,
        stop_price=intent.proposal.stop_price if intent else None,
        target_price=intent.proposal.target_price if intent else None,
        reference_price=trade.reference_price,
        half_spread_cost=part.half_spread_cost or tx.half_spread_cost or ZERO,
    )


def _trade_closed(
    book: Book, tx: Transaction, part: TradeReduce, problems: list[str]
) -> TradeClosed:
    trade = book.trades.pop(part.trade_id, None)
    if trade is not None and abs(part.units) != abs(trade.units):
        problems.append(
            f"transaction {tx.id} closes {part.units} of trade {part.trade_id}, "
            f"we hold {trade.units}"
        )
    return _closed_fact(book, tx, part, trade, ZERO, problems)


def _trade_reduced(
    book: Book, tx: Transaction, part: TradeReduce, problems: list[str]
) -> TradeClosed:
    trade = book.trades.get(part.trade_id)
    remaining = ZERO
    if trade is not None:
        taken = min(abs(part.units), abs(trade.units))
        remaining = trade.units - taken if trade.units > 0 else trade.units + taken
        trade.units = Units(remaining)
        if not remaining:
            problems.append(f"transaction {tx.id} reduces trade {part.trade_id} to nothing")
            del book.trades[part.trade_id]
    return _closed_fact(book, tx, part, trade, remaining, problems)


def _closed_fact(
    book: Book,
    tx: Transaction,
    part: TradeReduce,
    trade: OpenTrade | None,
    remaining: Decimal,
    problems: list[str],
) -> TradeClosed:
    if trade is None:
        problems.append(f"transaction {tx.id} closes the unknown trade {part.trade_id}")
    instrument = trade.instrument if trade is not None else tx.instrument
    return TradeClosed(
        account_id=book.account_id,
        trade_id=part.trade_id,
        instrument=instrument or UNKNOWN_INSTRUMENT,
        units=Units(-part.units),  # the venue gives them the sign of the closing order
        remaining=Units(remaining),
        price=Price(part.price or tx.price or tx.full_vwap or ZERO),
        realized_pl=part.realized_pl or ZERO,
        financing=part.financing or ZERO,
        closed_ns=at_of(tx.time),
        reason=tx.reason or "",
        ours=trade is not None and trade.ours,
        signal_id=trade.signal_id if trade is not None else "",
        strategy=trade.strategy if trade is not None else "",
    )


def _check_sums(tx: Transaction, problems: list[str]) -> None:
    parts = [*(tx.trades_closed or ()), *((tx.trade_reduced,) if tx.trade_reduced else ())]
    units = sum((part.units for part in parts), ZERO)
    if tx.trade_opened is not None:
        units += tx.trade_opened.units
    if tx.units is not None and units != tx.units:
        problems.append(f"transaction {tx.id} fills {tx.units} units, its parts {units}")
    pl = sum((part.realized_pl or ZERO for part in parts), ZERO)
    if tx.pl is not None and pl != tx.pl:
        problems.append(f"transaction {tx.id} realises {tx.pl}, its parts {pl}")


def _book_money(book: Book, tx: Transaction, change: Decimal, problems: list[str]) -> None:
    """The balance by our sum must be the venue's; where it is not, the venue's is taken."""
    expected = book.balance + change
    book.balance = expected if tx.account_balance is None else tx.account_balance
    if book.balance != expected:
        problems.append(
            f"transaction {tx.id}: the venue's balance is {book.balance}, ours would be {expected}"
        )


def _financed(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    return _booked(book, tx, tx.financing or ZERO)


def _dividend(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    return _booked(book, tx, tx.dividend_adjustment or ZERO)


def _booked(book: Book, tx: Transaction, amount: Decimal) -> Changes:
    problems: list[str] = []
    _book_money(book, tx, amount, problems)
    return Changes(realized=amount, problems=tuple(problems))


def _transferred(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    problems: list[str] = []
    amount = tx.amount or ZERO
    _book_money(book, tx, amount, problems)
    return Changes(transfer=amount, problems=tuple(problems))


def _configured(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    if tx.margin_rate is not None:
        book.margin_rate = tx.margin_rate
    return NO_CHANGES


def _renamed(book: Book, tx: Transaction, _intent_of: IntentOf) -> Changes:
    order = book.orders.get(tx.order_id or "")
    if order is not None and tx.client_extensions_modify is not None:
        order.client_id = tx.client_extensions_modify.id or order.client_id
    return NO_CHANGES


def _intent(book: Book, intent_of: IntentOf, tx: Transaction, *names: str) -> Intent | None:
    """Our intent behind an order or trade; a name of ours on another instrument is not ours."""
    for name in names:
        intent = intent_of(name) if name else None
        if intent is not None and intent.account_id == book.account_id:
            return intent if tx.instrument in (None, intent.instrument) else None
    return None


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
    "ORDER_FILL": _order_filled,
    "ORDER_CANCEL": _order_cancelled,
    "ORDER_CLIENT_EXTENSIONS_MODIFY": _renamed,
    "DAILY_FINANCING": _financed,
    "DIVIDEND_ADJUSTMENT": _dividend,
    "TRANSFER_FUNDS": _transferred,
    "CLIENT_CONFIGURE": _configured,
}

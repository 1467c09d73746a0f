"""An ORDER_FILL into the books: trades closed, reduced and opened, and the money that it moved."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.ledger.adopt import UNKNOWN_INSTRUMENT, IntentOf, at_of, explain
from orchestrator.kernel.ledger.book import Book, Changes, OpenTrade, PendingOrder
from orchestrator.kernel.ledger.ties import intent_behind, untie
from orchestrator.model.money import ZERO, Price, Units
from orchestrator.model.orders import Intent
from orchestrator.model.outcomes import TradeClosed, TradeOpened
from orchestrator.model.venue import TradeOpen, TradeReduce, Transaction


class _Fill(msgspec.Struct):
    """The work on one fill: what it is applied to, and what was found wrong with it."""

    book: Book
    tx: Transaction
    intent_of: IntentOf
    problems: list[str]

    def object(self, text: str) -> None:
        self.problems.append(f"transaction {self.tx.id} {text}")


def apply_fill(book: Book, tx: Transaction, intent_of: IntentOf) -> Changes:
    """The fill's order goes; trades are closed first, then reduced, then opened."""
    fill = _Fill(book, tx, intent_of, [])
    order = book.orders.pop(tx.order_id or "", None)
    closed = [_close(fill, part) for part in tx.trades_closed or ()]
    if tx.trade_reduced is not None:
        closed.append(_reduce(fill, tx.trade_reduced))
    opened = () if tx.trade_opened is None else (_open(fill, tx.trade_opened, order),)
    result = _result(tx)
    _check_sums(fill)
    return Changes(
        opened=opened,
        closed=tuple(closed),
        realized=result,
        unprotected=() if order is None else untie(book, order),
        problems=(*fill.problems, *book_money(book, tx, result)),
    )


def book_money(book: Book, tx: Transaction, change: Decimal) -> tuple[str, ...]:
    """The balance by our sum must be the venue's; where it is not, the venue's is taken."""
    expected = book.balance + change
    book.balance = expected if tx.account_balance is None else tx.account_balance
    if book.balance == expected:
        return ()
    told = f"the venue's balance is {book.balance}, ours would be {expected}"
    return (f"transaction {tx.id}: {told}",)


def _result(tx: Transaction) -> Decimal:
    """Balance after less balance before (fact sheet, 10)."""
    earned = (tx.pl or ZERO) + (tx.financing or ZERO)
    return earned - (tx.commission or ZERO) - (tx.guaranteed_execution_fee or ZERO)


def _open(fill: _Fill, part: TradeOpen, order: PendingOrder | None) -> TradeOpened:
    tx, book = fill.tx, fill.book
    intent = _intent(fill, part, order)
    price = part.price or tx.price or tx.full_vwap
    if tx.instrument is None or price is None:
        fill.object(f"opens trade {part.trade_id} without instrument or price")
    if part.trade_id in book.trades:
        fill.object(f"opens trade {part.trade_id}, which is open already")
    trade = OpenTrade(
        trade_id=part.trade_id,
        instrument=tx.instrument or UNKNOWN_INSTRUMENT,
        units=Units(part.units),
        initial_units=Units(part.units),
        price=Price(price or ZERO),
        opened_ns=at_of(tx.time),
        ours=False,
    )
    if intent is not None:
        explain(trade, intent)
    book.trades[trade.trade_id] = trade
    return _opened_fact(fill, part, trade, intent)


def _intent(fill: _Fill, part: TradeOpen, order: PendingOrder | None) -> Intent | None:
    names = (
        "" if order is None else order.client_id,
        fill.tx.client_order_id or "",
        (part.client_extensions and part.client_extensions.id) or "",
    )
    return intent_behind(fill.book, fill.intent_of, fill.tx, *names)


def _opened_fact(
    fill: _Fill, part: TradeOpen, trade: OpenTrade, intent: Intent | None
) -> TradeOpened:
    return TradeOpened(
        account_id=fill.book.account_id,
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
        stop_price=None if intent is None else intent.proposal.stop_price,
        target_price=None if intent is None else intent.proposal.target_price,
        reference_price=trade.reference_price,
        half_spread_cost=part.half_spread_cost or fill.tx.half_spread_cost or ZERO,
    )


def _close(fill: _Fill, part: TradeReduce) -> TradeClosed:
    trade = fill.book.trades.pop(part.trade_id, None)
    if trade is not None and part.units != -trade.units:
        fill.object(f"closes {part.units} of trade {part.trade_id}, we hold {trade.units}")
    return _closed_fact(fill, part, trade, ZERO)


def _reduce(fill: _Fill, part: TradeReduce) -> TradeClosed:
    trade = fill.book.trades.get(part.trade_id)
    if trade is None:
        return _closed_fact(fill, part, None, ZERO)
    remaining = trade.units + part.units
    if part.units * trade.units >= 0 or remaining * trade.units <= 0:
        fill.object(f"reduces trade {part.trade_id} by {part.units}, we hold {trade.units}")
    if remaining:
        trade.units = Units(remaining)
    else:
        del fill.book.trades[part.trade_id]
    return _closed_fact(fill, part, trade, remaining)


def _closed_fact(
    fill: _Fill, part: TradeReduce, trade: OpenTrade | None, remaining: Decimal
) -> TradeClosed:
    tx = fill.tx
    if trade is None:
        fill.object(f"closes the unknown trade {part.trade_id}")
    instrument = tx.instrument if trade is None else trade.instrument
    return TradeClosed(
        account_id=fill.book.account_id,
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
        signal_id="" if trade is None else trade.signal_id,
        strategy="" if trade is None else trade.strategy,
    )


def _check_sums(fill: _Fill) -> None:
    tx = fill.tx
    parts = [*(tx.trades_closed or ()), *((tx.trade_reduced,) if tx.trade_reduced else ())]
    units = sum((part.units for part in parts), ZERO)
    if tx.trade_opened is not None:
        units += tx.trade_opened.units
    if tx.units is not None and units != tx.units:
        fill.object(f"fills {tx.units} units, its parts {units}")
    pl = sum((part.realized_pl or ZERO for part in parts), ZERO)
    if tx.pl is not None and pl != tx.pl:
        fill.object(f"realises {tx.pl}, its parts {pl}")

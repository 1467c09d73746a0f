"""Accounts, trades, orders and positions as clients read them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, InstrumentName, round_money
from orchestrator.model.venue import Account, Order, Position, PositionSide, Trade
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.quotes import FILL_DIGITS, rounded
from orchestrator.paper.exchange.totals import PositionTotals
from orchestrator.paper.exchange.valuation import (
    AccountValue,
    account_value,
    margin_rate,
    trade_value,
    units_value,
)

_replace = msgspec.structs.replace
_NOTHING = round_money(ZERO)


def account_of(exchange: Exchange, books: Books, *, full: bool) -> Account:
    """The account at the latest prices: its summary, and in the full form what it holds."""
    value = account_value(books, exchange.specs, exchange.quotes)
    return Account(
        id=books.account_id,
        currency=books.currency,
        balance=round_money(books.balance),
        last_transaction_id=str(books.last_id),
        alias=books.alias,
        created_by_user_id=1,
        created_time=books.created_time,
        guaranteed_stop_loss_order_mode="ALLOWED" if books.config.guaranteed else "DISABLED",
        pl=round_money(books.pl),
        resettable_pl=round_money(books.pl - books.pl_at_reset),
        resettable_pl_time=books.reset_time,
        financing=round_money(books.financing),
        commission=round_money(books.commission),
        dividend_adjustment=round_money(books.dividends),
        guaranteed_execution_fees=round_money(books.guaranteed_fees),
        margin_rate=books.margin_rate,
        margin_call_enter_time=books.margin_call_time,
        margin_call_extension_count=books.extensions or None,
        last_margin_call_extension_time=books.extension_time,
        open_trade_count=len(books.trades),
        open_position_count=len(books.trades_in),
        pending_order_count=len(books.pending),
        hedging_enabled=books.config.hedging,
        last_order_fill_timestamp=books.last_fill_time,
        unrealized_pl=round_money(value.unrealized_pl),
        nav=round_money(value.nav),
        margin_used=round_money(value.margin_used),
        margin_available=round_money(value.margin_available),
        position_value=round_money(value.position_value),
        margin_closeout_unrealized_pl=round_money(value.closeout_pl),
        margin_closeout_nav=round_money(value.closeout_nav),
        margin_closeout_margin_used=round_money(value.closeout_margin),
        margin_closeout_percent=value.closeout_percent,
        margin_closeout_position_value=round_money(value.closeout_value),
        withdrawal_limit=round_money(value.withdrawal_limit),
        margin_call_margin_used=round_money(value.closeout_margin),
        margin_call_percent=value.call_percent,
        trades=_summaries(exchange, books) if full else None,
        positions=positions_of(exchange, books, value) if full else None,
        orders=tuple(books.pending.values()) if full else None,
    )


def _summaries(exchange: Exchange, books: Books) -> tuple[Trade, ...]:
    return tuple(trade_summary(exchange, books, trade) for trade in books.trades.values())


def trade_summary(exchange: Exchange, books: Books, trade: Trade) -> Trade:
    """A trade with its unrealised result and margin, dependents by id."""
    if trade.state == "CLOSED":
        return trade
    spec, tick = exchange.specs[trade.instrument], exchange.quotes.get(trade.instrument)
    found = exchange.quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
    if tick is None or found is None:
        return _replace(trade, unrealized_pl=_NOTHING, margin_used=_NOTHING)
    used = rounded(found, FILL_DIGITS)
    value = units_value(trade.current_units, tick, used)
    return _replace(
        trade,
        unrealized_pl=trade_value(trade, tick, spec, used).unrealized_pl,
        margin_used=round_money(value * margin_rate(books, spec)),
    )


def trade_full(exchange: Exchange, books: Books, trade: Trade) -> Trade:
    """A trade with its dependent orders inside."""
    return _replace(
        trade_summary(exchange, books, trade),
        take_profit_order=_order(books, trade.take_profit_order_id),
        stop_loss_order=_order(books, trade.stop_loss_order_id),
        trailing_stop_loss_order=_order(books, trade.trailing_stop_loss_order_id),
        guaranteed_stop_loss_order=_order(books, trade.guaranteed_stop_loss_order_id),
        take_profit_order_id=None,
        stop_loss_order_id=None,
        trailing_stop_loss_order_id=None,
        guaranteed_stop_loss_order_id=None,
    )


def _order(books: Books, order_id: str | None) -> Order | None:
    """Of a closed trade also what became of the order."""
    key = order_id or ""
    return books.pending.get(key) or books.finished_orders.get(key)


def positions_of(
    exchange: Exchange, books: Books, value: AccountValue | None = None
) -> tuple[Position, ...]:
    """Every instrument that was ever traded, flat ones included."""
    worth = value or account_value(books, exchange.specs, exchange.quotes)
    return tuple(position_of(books, worth, name) for name in books.positions)


def position_of(books: Books, value: AccountValue, name: InstrumentName) -> Position:
    """One position; KeyError when the instrument was never traded."""
    totals: PositionTotals = books.positions[name]
    here = value.instruments.get(name)
    long_pl, short_pl = (here.long_pl, here.short_pl) if here else (ZERO, ZERO)
    trades = tuple(books.trades_in.get(name, {}).values())
    pl = round_money(totals.long.pl + totals.short.pl)
    return Position(
        instrument=name,
        long=_side(tuple(t for t in trades if t.current_units > 0), totals, long_pl, long=True),
        short=_side(tuple(t for t in trades if t.current_units < 0), totals, short_pl, long=False),
        pl=pl,
        unrealized_pl=round_money(long_pl + short_pl),
        margin_used=round_money(here.margin_used) if here else None,
        resettable_pl=round_money(pl - totals.long.pl_at_reset - totals.short.pl_at_reset),
        financing=round_money(totals.long.financing + totals.short.financing),
        commission=round_money(totals.commission),
        dividend_adjustment=round_money(totals.long.dividends + totals.short.dividends),
        guaranteed_execution_fees=round_money(
            totals.long.guaranteed_fees + totals.short.guaranteed_fees
        ),
    )


def _side(
    trades: tuple[Trade, ...], totals: PositionTotals, unrealized: Decimal, *, long: bool
) -> PositionSide:
    side = totals.long if long else totals.short
    units = sum((t.current_units for t in trades), ZERO)
    average = None
    if units:
        whole = sum((t.price * t.current_units for t in trades), ZERO)
        average = (whole / units).quantize(trades[0].price)
    return PositionSide(
        units=units,
        average_price=average,
        trade_ids=tuple(t.id for t in trades) or None,
        pl=round_money(side.pl),
        unrealized_pl=round_money(unrealized),
        resettable_pl=round_money(side.pl - side.pl_at_reset),
        financing=round_money(side.financing),
        dividend_adjustment=round_money(side.dividends),
        guaranteed_execution_fees=round_money(side.guaranteed_fees),
    )

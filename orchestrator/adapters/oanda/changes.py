"""A snapshot of an account, brought up to date by what changed since. Pure.

Source: fact sheet, sections 5 (AccountChanges, AccountChangesState) and 15.1. The lists say what
became of orders, trades and positions; the transactions say what the lists leave out (which order
hangs on which trade, names, configuration, financing); the state says what prices make of it.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeVar

import msgspec

from orchestrator.adapters.oanda.wire import UNREADABLE
from orchestrator.model.money import ZERO, InstrumentName
from orchestrator.model.venue import (
    Account,
    Order,
    Position,
    PositionSide,
    Trade,
    Transaction,
    Wire,
)

_LINKS = {
    "TAKE_PROFIT_ORDER": "take_profit_order_id",
    "STOP_LOSS_ORDER": "stop_loss_order_id",
    "TRAILING_STOP_LOSS_ORDER": "trailing_stop_loss_order_id",
    "GUARANTEED_STOP_LOSS_ORDER": "guaranteed_stop_loss_order_id",
}


class OrderState(Wire, frozen=True, kw_only=True, gc=False):
    """`DynamicOrderState`: of trailing stops."""

    id: str
    trailing_stop_value: Decimal | None = None


class TradeState(Wire, frozen=True, kw_only=True, gc=False):
    """`CalculatedTradeState`."""

    id: str
    unrealized_pl: Decimal | None = None
    margin_used: Decimal | None = None


class PositionState(Wire, frozen=True, kw_only=True, gc=False):
    """`CalculatedPositionState`."""

    instrument: InstrumentName
    net_unrealized_pl: Decimal | None = None
    long_unrealized_pl: Decimal | None = None
    short_unrealized_pl: Decimal | None = None
    margin_used: Decimal | None = None


class State(Wire, frozen=True, kw_only=True, gc=False):
    """`AccountChangesState`. Its money fields are read apart: any that the account has too."""

    orders: tuple[OrderState, ...] = ()
    trades: tuple[TradeState, ...] = ()
    positions: tuple[PositionState, ...] = ()


class Changes(Wire, frozen=True, kw_only=True, gc=False):
    """`AccountChanges`."""

    orders_created: tuple[Order, ...] = ()
    orders_cancelled: tuple[Order, ...] = ()
    orders_filled: tuple[Order, ...] = ()
    orders_triggered: tuple[Order, ...] = ()
    trades_opened: tuple[Trade, ...] = ()
    trades_reduced: tuple[Trade, ...] = ()
    trades_closed: tuple[Trade, ...] = ()
    positions: tuple[Position, ...] = ()
    transactions: tuple[Transaction, ...] = ()


class ChangesAnswer(Wire, frozen=True, kw_only=True, gc=False):
    """GET accounts/{id}/changes."""

    changes: Changes
    state: msgspec.Raw
    last_transaction_id: str


_state = msgspec.json.Decoder(State)
_money = msgspec.json.Decoder(dict[str, msgspec.Raw])
_decimal = msgspec.json.Decoder(Decimal | None)
# What the state may repeat of the summary: its money. Names as the venue spells them.
_MONEY_FIELDS = {
    wire.encode_name: wire.name
    for wire in msgspec.structs.fields(Account)
    if wire.type == Decimal | None and wire.name != "margin_rate"
} | {"balance": "balance"}

_T = TypeVar("_T", Order, Trade)


def applied(known: Account, answer: ChangesAnswer) -> Account:
    """The account as the venue has it now.

    ValueError when that cannot be told: a summary, changes that do not follow on `known`, or
    that speak of what nobody knows. Then the account must be read anew.
    """
    if known.orders is None or known.trades is None or known.positions is None:
        raise ValueError(f"account {known.id} is known by its summary only")
    last = _follows(known, answer)
    desk = _Desk(known)
    desk.put_changes(answer.changes)
    try:
        state, money = _state.decode(answer.state), _money_of(answer.state)
    except UNREADABLE as error:
        raise ValueError(f"unreadable state: {error}") from error
    desk.value(state)
    return desk.account(last, money)


def _follows(known: Account, answer: ChangesAnswer) -> int:
    """The last transaction id; ValueError unless the transactions go on from `known` unbroken."""
    text = answer.last_transaction_id
    last = int(text) if text.isascii() and text.isdigit() else -1
    begun = int(known.last_transaction_id)
    numbers = [tx.number for tx in answer.changes.transactions]
    if last < begun or numbers != list(range(begun + 1, last + 1)):
        raise ValueError(f"changes after {begun} are {_span(numbers)}, the last is {text[:20]!r}")
    for tx in answer.changes.transactions:
        if tx.account_id not in {"", known.id}:
            raise ValueError(f"transaction {tx.id} belongs to another account")
    return last


def _span(numbers: list[int]) -> str:
    return f"{len(numbers)} transactions from {numbers[0]} to {numbers[-1]}" if numbers else "none"


def _money_of(state: bytes | msgspec.Raw) -> dict[str, Decimal]:
    found: dict[str, Decimal] = {}
    for spelt, raw in _money.decode(state).items():
        name = _MONEY_FIELDS.get(spelt)
        amount = _decimal.decode(raw) if name is not None else None
        if name is not None and amount is not None:
            if not amount.is_finite():
                raise ValueError(f"{spelt} is {amount}")
            found[name] = amount
    return found


class _Desk:
    """The account taken apart, while the changes are put in."""

    def __init__(self, known: Account) -> None:
        self._known = known
        self._orders = {order.id: order for order in known.orders or ()}
        self._trades = {trade.id: trade for trade in known.trades or ()}
        self._positions = {position.instrument: position for position in known.positions or ()}
        self._fields: dict[str, object] = {}

    def put_changes(self, changes: Changes) -> None:
        self._orders |= {order.id: order for order in changes.orders_created}
        fresh = {trade.id: trade for trade in (*changes.trades_opened, *changes.trades_reduced)}
        self._trades |= fresh
        for transaction in changes.transactions:
            self._hear(transaction, fresh)
        gone = (*changes.orders_cancelled, *changes.orders_filled, *changes.orders_triggered)
        for order in gone:
            self._orders.pop(order.id, None)
        for trade in changes.trades_closed:
            self._trades.pop(trade.id, None)
        self._positions |= {position.instrument: position for position in changes.positions}

    def _hear(self, tx: Transaction, fresh: dict[str, Trade]) -> None:
        match tx.type:
            case "ORDER_FILL":
                self._fields["last_order_fill_timestamp"] = tx.time
                self._unlink(tx.order_id)
            case "ORDER_CANCEL":
                self._unlink(tx.order_id)
            case "CLIENT_CONFIGURE":
                self._configure(tx)
            case "ORDER_CLIENT_EXTENSIONS_MODIFY" | "TRADE_CLIENT_EXTENSIONS_MODIFY":
                self._rename(tx)
            case "DAILY_FINANCING":
                self._finance(tx, fresh)
            case kind if kind in _LINKS and tx.trade_id:
                _change(self._trades, tx.trade_id, **{_LINKS[kind]: tx.id})
            case _:
                self._hear_of_the_venue(tx, fresh)

    def _hear_of_the_venue(self, tx: Transaction, fresh: dict[str, Trade]) -> None:
        """What nobody asked for; anything else changes only money, which the state tells."""
        match tx.type:
            case "MARGIN_CALL_ENTER":
                self._fields["margin_call_enter_time"] = tx.time
            case "MARGIN_CALL_EXTEND":
                self._fields["margin_call_extension_count"] = tx.extension_number
                self._fields["last_margin_call_extension_time"] = tx.time
            case "MARGIN_CALL_EXIT":
                self._fields["margin_call_enter_time"] = None
                self._fields["margin_call_extension_count"] = None
                self._fields["last_margin_call_extension_time"] = None
            case "RESET_RESETTABLE_PL":
                self._fields["resettable_pl_time"] = tx.time
            case "DELAYED_TRADE_CLOSURE":
                ids = tx.trade_ids or ()
                for trade_id in ids.split(",") if isinstance(ids, str) else ids:
                    _change(self._trades, trade_id, state="CLOSE_WHEN_TRADEABLE")
            case "DIVIDEND_ADJUSTMENT":
                self._pay_dividend(tx, fresh)
            case _:
                pass

    def _pay_dividend(self, tx: Transaction, fresh: dict[str, Trade]) -> None:
        for part in tx.open_trade_dividend_adjustments or ():
            trade = self._trades.get(part.trade_id)
            if trade is not None and trade.id not in fresh:
                paid = (trade.dividend_adjustment or ZERO) + part.dividend_adjustment
                _change(self._trades, trade.id, dividend_adjustment=paid)

    def _unlink(self, order_id: str | None) -> None:
        order = self._orders.get(order_id or "")
        # A dependent order that came and went between the two is linked in no trade.
        candidates = [order.trade_id] if order is not None and order.trade_id else [*self._trades]
        for trade_id in candidates:
            trade = self._trades.get(trade_id)
            for name in _LINKS.values():
                if trade is not None and getattr(trade, name) == order_id:
                    _change(self._trades, trade_id, **{name: None})

    def _configure(self, tx: Transaction) -> None:
        if tx.alias is not None:
            self._fields["alias"] = tx.alias
        if tx.margin_rate is not None:
            self._fields["margin_rate"] = tx.margin_rate

    def _rename(self, tx: Transaction) -> None:
        if tx.type.startswith("ORDER") and tx.order_id:
            if tx.client_extensions_modify is not None:
                _change(self._orders, tx.order_id, client_extensions=tx.client_extensions_modify)
            if tx.trade_client_extensions_modify is not None:
                names = tx.trade_client_extensions_modify
                _change(self._orders, tx.order_id, trade_client_extensions=names)
        elif tx.trade_id:
            _change(self._trades, tx.trade_id, client_extensions=tx.trade_client_extensions_modify)

    def _finance(self, tx: Transaction, fresh: dict[str, Trade]) -> None:
        for position in tx.position_financings or ():
            for part in position.open_trade_financings:
                trade = self._trades.get(part.trade_id)
                if trade is not None and trade.id not in fresh:  # a fresh summary has it already
                    paid = (trade.financing or ZERO) + part.financing
                    _change(self._trades, trade.id, financing=paid)

    def value(self, state: State) -> None:
        for order in state.orders:
            if order.trailing_stop_value is not None:
                value = order.trailing_stop_value
                _must(self._orders, order.id, trailing_stop_value=value)
        for trade in state.trades:
            worth = {"unrealized_pl": trade.unrealized_pl, "margin_used": trade.margin_used}
            _must(self._trades, trade.id, **{k: v for k, v in worth.items() if v is not None})
        for position in state.positions:
            self._value_position(position)

    def _value_position(self, state: PositionState) -> None:
        position = self._positions.get(state.instrument)
        if position is None:
            raise ValueError(f"the state of a position in {state.instrument}, which nobody knows")
        self._positions[state.instrument] = msgspec.structs.replace(
            position,
            unrealized_pl=state.net_unrealized_pl,
            margin_used=state.margin_used,
            long=_side(position.long, state.long_unrealized_pl),
            short=_side(position.short, state.short_unrealized_pl),
        )

    def account(self, last: int, money: dict[str, Decimal]) -> Account:
        fields = self._fields | money
        return msgspec.structs.replace(
            self._known,
            last_transaction_id=str(last),
            orders=tuple(self._orders.values()),
            trades=tuple(self._trades.values()),
            positions=tuple(self._positions.values()),
            open_trade_count=len(self._trades),
            open_position_count=len({trade.instrument for trade in self._trades.values()}),
            pending_order_count=len(self._orders),
            **fields,
        )


def _side(side: PositionSide, unrealized_pl: Decimal | None) -> PositionSide:
    return msgspec.structs.replace(side, unrealized_pl=unrealized_pl)


def _change(things: dict[str, _T], key: str, **fields: object) -> None:
    """Of what is still there; what is gone needs no change."""
    if key in things:
        things[key] = msgspec.structs.replace(things[key], **fields)


def _must(things: dict[str, _T], key: str, **fields: object) -> None:
    if key not in things:
        raise ValueError(f"the state of {key}, which nobody knows")
    _change(things, key, **fields)

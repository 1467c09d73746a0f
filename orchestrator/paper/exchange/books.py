"""One account's books: balance, orders, trades, positions; `entries.apply` alone changes them."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, AccountId, InstrumentName, round_money
from orchestrator.model.venue import (
    ClientExtensions,
    Order,
    Trade,
    TradeReduce,
    Transaction,
)
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.exchange.totals import PositionTotals

REMEMBERED = 10_000  # finished orders and trades that can still be asked for, each

DEPENDENT_FIELDS = {
    "TAKE_PROFIT": "take_profit_order_id",
    "STOP_LOSS": "stop_loss_order_id",
    "TRAILING_STOP_LOSS": "trailing_stop_loss_order_id",
    "GUARANTEED_STOP_LOSS": "guaranteed_stop_loss_order_id",
}

_replace = msgspec.structs.replace


class Books:
    """Balance, orders, trades, positions and the history of one account."""

    def __init__(self, config: AccountConfig) -> None:
        self.config = config
        self.account_id: AccountId = config.account_id
        self.currency = config.currency
        self.margin_rate = config.margin_rate
        self.alias = ""
        self.created_time = "0"
        self.balance = ZERO
        self.pl = ZERO
        self.pl_at_reset = ZERO
        self.reset_time = "0"
        self.financing = ZERO
        self.dividends = ZERO
        self.commission = ZERO
        self.guaranteed_fees = ZERO
        self.financed_ns: dict[str, int] = {}  # trade -> when its financing was last paid
        self.last_id = 0
        self.last_fill_time: str | None = None
        self.margin_call_time: str | None = None
        self.extensions = 0  # of the margin call that stands
        self.extension_time: str | None = None
        self.closed = False
        self.delayed: dict[str, str] = {}  # trade -> the DELAYED_TRADE_CLOSURE that waits for it
        self.pending: dict[str, Order] = {}
        self.order_by_client_id: dict[str, str] = {}
        self.trades: dict[str, Trade] = {}
        self.trade_by_client_id: dict[str, str] = {}
        self.finished_orders: dict[str, Order] = {}
        self.closed_trades: dict[str, Trade] = {}
        self.positions: dict[InstrumentName, PositionTotals] = {}
        # What a price of an instrument may touch: open trades, and pending orders, by instrument.
        self.trades_in: dict[InstrumentName, dict[str, Trade]] = {}
        self.orders_in: dict[InstrumentName, dict[str, Order]] = {}
        self.expiries: dict[str, int] = {}  # order id -> market time, GTD and GFD
        # Told of what no transaction carries: where a trailing or touched order stands.
        self.on_note: Callable[[Books, Order], None] | None = None
        self.history: list[bytes] = []  # transaction n, encoded, at n - 1
        self.kinds: list[str] = []

    # --- asked by everyone -----------------------------------------------------------------

    def trade(self, specifier: str) -> Trade | None:
        """An open trade by id, or by "@" + client id."""
        if specifier.startswith("@"):
            specifier = self.trade_by_client_id.get(specifier[1:], "")
        return self.trades.get(specifier)

    def pending_order(self, specifier: str) -> Order | None:
        if specifier.startswith("@"):
            specifier = self.order_by_client_id.get(specifier[1:], "")
        return self.pending.get(specifier)

    def instrument_of(self, order: Order) -> InstrumentName:
        """A dependent order's instrument is its trade's."""
        if order.instrument is not None:
            return order.instrument
        trade_id = order.trade_id or ""
        trade = self.trades.get(trade_id) or self.closed_trades.get(trade_id)
        return trade.instrument if trade is not None else InstrumentName("")

    def dependents(self, trade: Trade) -> tuple[Order, ...]:
        """The pending take profit, stop loss, trailing and guaranteed stop of a trade."""
        ids: list[str | None] = [getattr(trade, field) for field in DEPENDENT_FIELDS.values()]
        found = (self.pending.get(i or "") for i in ids)
        return tuple(order for order in found if order is not None)

    # --- what no transaction carries -------------------------------------------------------

    def move_trailing_stop(self, order: Order, value: Decimal) -> Order:
        """Moving a trailing stop makes no transaction (fact sheet, section 9)."""
        return self._noted(_replace(order, trailing_stop_value=value))

    def note_creation(self, order: Order, tick: Tick | None) -> Order:
        """A market-if-touched order remembers where the market was (section 8)."""
        if order.type != "MARKET_IF_TOUCHED" or tick is None:
            return order
        buying = order.units is not None and order.units > 0
        return self._noted(_replace(order, initial_market_price=tick.ask if buying else tick.bid))

    def _noted(self, order: Order) -> Order:
        self.put_pending(order)
        if self.on_note is not None:
            self.on_note(self, order)
        return order

    def recall(self, order_id: str, trailing: Decimal | None, initial: Decimal | None) -> None:
        """After a rebuild: where a pending order stood, as it was noted."""
        order = self.pending.get(order_id)
        # A note can outlive its batch, if the crash came between them: the id is another order's.
        if order is not None and order.type == "TRAILING_STOP_LOSS":
            self.put_pending(_replace(order, trailing_stop_value=trailing))
        elif order is not None and order.type == "MARKET_IF_TOUCHED":
            self.put_pending(_replace(order, initial_market_price=initial))

    def note_missing(self, order: Order, tick: Tick) -> Order:
        """After a rebuild, what no transaction carries starts anew from the first price."""
        missing = order.type == "MARKET_IF_TOUCHED" and order.initial_market_price is None
        return self.note_creation(order, tick) if missing else order

    # --- parts of entries.apply, called by its handlers and nobody else ------------------------

    def put_pending(self, order: Order) -> None:
        self.pending[order.id] = order
        if order.type != "MARKET":
            self.orders_in.setdefault(self.instrument_of(order), {})[order.id] = order

    def put_trade(self, trade: Trade) -> None:
        self.trades[trade.id] = trade
        self.trades_in.setdefault(trade.instrument, {})[trade.id] = trade

    def _drop_trade(self, trade: Trade) -> None:
        del self.trades[trade.id]
        self.financed_ns.pop(trade.id, None)
        self.delayed.pop(trade.id, None)
        here = self.trades_in[trade.instrument]
        del here[trade.id]
        if not here:
            del self.trades_in[trade.instrument]
        client_id = trade.client_extensions.id if trade.client_extensions else None
        if client_id and self.trade_by_client_id.get(client_id) == trade.id:
            del self.trade_by_client_id[client_id]

    def drop_order(self, order: Order, finished: Order) -> None:
        self.pending.pop(order.id, None)
        self.expiries.pop(order.id, None)
        if order.type != "MARKET":
            self._drop_from_instrument(order)
        client_id = order.client_extensions.id if order.client_extensions else None
        if client_id and self.order_by_client_id.get(client_id) == order.id:
            del self.order_by_client_id[client_id]
        _remember(self.finished_orders, order.id, finished)
        self._unlink(order)

    def _drop_from_instrument(self, order: Order) -> None:
        name = self.instrument_of(order)
        here = self.orders_in.get(name)
        if here is not None:
            here.pop(order.id, None)
            if not here:
                del self.orders_in[name]

    def _unlink(self, order: Order) -> None:
        field = DEPENDENT_FIELDS.get(order.type)
        trade = self.trades.get(order.trade_id or "") if field else None
        if field and trade is not None and getattr(trade, field) == order.id:
            self.put_trade(_replace(trade, **{field: None}))

    def open_trade(self, tx: Transaction, state: str) -> None:
        opened, instrument = tx.trade_opened, tx.instrument
        assert opened is not None
        assert instrument is not None
        self.put_trade(
            Trade(
                id=opened.trade_id,
                instrument=instrument,
                price=opened.price or tx.price or ZERO,
                open_time=tx.time,
                state=state,
                initial_units=opened.units,
                initial_margin_required=opened.initial_margin_required,
                current_units=opened.units,
                realized_pl=round_money(ZERO),
                financing=round_money(ZERO),
                dividend_adjustment=round_money(ZERO),
                client_extensions=opened.client_extensions,
            )
        )
        if opened.client_extensions and opened.client_extensions.id:
            self.trade_by_client_id[opened.client_extensions.id] = opened.trade_id
        self.positions.setdefault(instrument, PositionTotals())

    def pay_dividend(self, trade_id: str, amount: Decimal) -> None:
        trade = self.trades[trade_id]
        paid = round_money((trade.dividend_adjustment or ZERO) + amount)
        self.put_trade(_replace(trade, dividend_adjustment=paid))
        self.positions[trade.instrument].side_of(trade.initial_units).dividends += amount

    def reduce_trade(self, part: TradeReduce, tx: Transaction) -> None:
        trade = self.trades[part.trade_id]
        realized, financing = part.realized_pl or ZERO, part.financing or ZERO
        closed_before = abs(trade.initial_units) - abs(trade.current_units)
        closed_now = abs(part.units)
        price = part.price or tx.price or ZERO
        average = ((trade.average_close_price or ZERO) * closed_before + price * closed_now) / (
            closed_before + closed_now
        )
        remaining = trade.current_units + part.units
        side = self.positions[trade.instrument].side_of(trade.initial_units)
        side.pl += realized
        side.financing += financing
        side.guaranteed_fees += part.guaranteed_execution_fee or ZERO
        reduced = _replace(
            trade,
            current_units=remaining,
            realized_pl=round_money((trade.realized_pl or ZERO) + realized),
            financing=round_money((trade.financing or ZERO) + financing),
            average_close_price=average.quantize(price),
            closing_transaction_ids=(*(trade.closing_transaction_ids or ()), tx.id),
            state=trade.state if remaining else "CLOSED",
            close_time=None if remaining else tx.time,
        )
        if remaining:
            self.put_trade(reduced)
        else:
            self._drop_trade(trade)
            _remember(self.closed_trades, trade.id, reduced)

    def rename_trade(self, trade: Trade, extensions: ClientExtensions | None) -> None:
        old = trade.client_extensions.id if trade.client_extensions else None
        if old:
            self.trade_by_client_id.pop(old, None)
        if extensions and extensions.id:
            self.trade_by_client_id[extensions.id] = trade.id
        self.put_trade(_replace(trade, client_extensions=extensions))

    def rename_order(self, order: Order, tx: Transaction) -> None:
        changed = order
        if tx.client_extensions_modify is not None:
            old = order.client_extensions.id if order.client_extensions else None
            if old:
                self.order_by_client_id.pop(old, None)
            if tx.client_extensions_modify.id:
                self.order_by_client_id[tx.client_extensions_modify.id] = order.id
            changed = _replace(changed, client_extensions=tx.client_extensions_modify)
        if tx.trade_client_extensions_modify is not None:
            changed = _replace(changed, trade_client_extensions=tx.trade_client_extensions_modify)
        self.put_pending(changed)


_Kept = Order | Trade


def _remember(kept: dict[str, Order] | dict[str, Trade], key: str, value: _Kept) -> None:
    kept[key] = value  # pyright: ignore[reportArgumentType]  # callers pair the types
    if len(kept) > REMEMBERED:
        del kept[next(iter(kept))]

"""Filling one order: what it closes and opens, at which price, and what follows from it.

Source: fact sheet, sections 8 to 11. Everything is written through a Batch.
"""

from __future__ import annotations

from decimal import ROUND_HALF_UP, Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentName, InstrumentSpec, round_money
from orchestrator.model.time import format_time
from orchestrator.model.venue import (
    FullPrice,
    Order,
    PriceBucket,
    Trade,
    TradeOpen,
    TradeReduce,
    Transaction,
)
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.fill_judge import Fill, beyond, expired, losing, stop_price, taken
from orchestrator.paper.exchange.plan import Plan, plan_of, sides_after
from orchestrator.paper.exchange.quotes import FILL_DIGITS, Quotes, half_spread, rounded
from orchestrator.paper.exchange.valuation import (
    account_value,
    counted_units,
    in_home,
    margin_rate,
    units_value,
)
from orchestrator.paper.instruments import LIQUIDITY

_QUOTE_PL = Decimal("0.00001")


class Matching:
    """Fills orders against the latest quotes."""

    def __init__(self, specs: dict[InstrumentName, InstrumentSpec], quotes: Quotes) -> None:
        self._specs = specs
        self._quotes = quotes

    def execute(self, batch: Batch, order: Order, reason: str) -> Transaction:
        """Fill the order, or cancel it with the reason why not."""
        outcome = self._try(batch, order, reason)
        return outcome if isinstance(outcome, Transaction) else cancel(batch, order, outcome)

    def _try(self, batch: Batch, order: Order, reason: str) -> Transaction | str:
        books = batch.books
        name = books.instrument_of(order)
        tick, spec = self._quotes.get(name), self._specs[name]
        if tick is None or not tick.tradeable:
            return "MARKET_HALTED"
        found = self._quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
        units = signed_units(books, order)
        if found is None or not units:
            return "MARKET_HALTED" if found is None else "POSITION_CLOSEOUT_FAILED"
        buying = units > 0
        price = tick.ask if buying else tick.bid
        if order.price_bound is not None and beyond(price, order.price_bound, buying=buying):
            return "BOUNDS_VIOLATION"
        plan = plan_of(books, order, name, units)
        if isinstance(plan, str):
            return plan
        fill = Fill(
            order=order,
            spec=spec,
            tick=tick,
            price=price,
            factors=rounded(found, FILL_DIGITS),
            half_spread=half_spread(tick, spec, buying=buying),
        )
        objection = self._objection(batch, fill, plan) if plan.opens else None
        return objection or self._write(batch, fill, plan, reason)

    # --- may the new trade be opened? --------------------------------------------------------

    def _objection(self, batch: Batch, fill: Fill, plan: Plan) -> str | None:
        order, books = fill.order, batch.books
        wanted = order.trade_client_extensions.id if order.trade_client_extensions else None
        if wanted is not None and wanted in books.trade_by_client_id:
            return "CLIENT_TRADE_ID_ALREADY_EXISTS"
        return (
            losing(fill, plan)
            or expired(batch, order)
            or taken(books, order)
            or self._size(books, fill, plan)
            or self._margin(books, fill, plan)
        )

    def _size(self, books: Books, fill: Fill, plan: Plan) -> str | None:
        limit = fill.spec.maximum_position_size
        after = abs(sum(sides_after(books, fill.spec.name, plan), ZERO))
        return "POSITION_SIZE_EXCEEDED" if limit and after > limit else None

    def _margin(self, books: Books, fill: Fill, plan: Plan) -> str | None:
        """After the fill, margin used must not exceed NAV (section 11)."""
        value = account_value(books, self._specs, self._quotes)
        closing = fill.tick.bid if plan.opens > 0 else fill.tick.ask
        nav = value.nav + in_home((closing - fill.price) * plan.opens, fill.factors)
        units = counted_units(books, *sides_after(books, fill.spec.name, plan))
        needed = round_money(
            units_value(units, fill.tick, fill.factors) * margin_rate(books, fill.spec)
        )
        here = value.instruments.get(fill.spec.name)
        used = value.margin_used - (here.margin_used if here else ZERO) + needed
        return "INSUFFICIENT_MARGIN" if used > nav else None

    # --- writing it --------------------------------------------------------------------------

    def _write(self, batch: Batch, fill: Fill, plan: Plan, reason: str) -> Transaction:
        books, order = batch.books, fill.order
        parts = tuple(_reduction(trade, units, fill) for trade, units in plan.closes)
        whole = tuple(
            part
            for part, (trade, _) in zip(parts, plan.closes, strict=True)
            if trade.current_units + part.units == 0
        )
        partly = next((part for part in parts if part not in whole), None)
        opened = self._opening(batch, fill, plan.opens) if plan.opens else None
        pl = sum((part.realized_pl or ZERO for part in parts), ZERO)
        cost = sum((part.half_spread_cost or ZERO for part in parts), ZERO)
        linked = [(trade, books.dependents(trade)) for trade, _ in plan.closes]
        filled = batch.add(
            "ORDER_FILL",
            order_id=order.id,
            client_order_id=order.client_extensions.id if order.client_extensions else None,
            instrument=fill.spec.name,
            units=sum((units for _, units in plan.closes), ZERO) + plan.opens,
            requested_units=signed_units(books, order),
            gain_quote_home_conversion_factor=fill.factors.gain,
            loss_quote_home_conversion_factor=fill.factors.loss,
            price=fill.price,
            full_vwap=fill.price,
            full_price=_full_price(fill.tick),
            reason=reason,
            pl=round_money(pl),
            quote_pl=_quote_pl(plan, fill.price),
            financing=round_money(ZERO),
            commission=round_money(ZERO),
            guaranteed_execution_fee=round_money(ZERO),
            account_balance=round_money(books.balance + pl),
            half_spread_cost=round_money(
                cost + (opened.half_spread_cost or ZERO if opened else ZERO)
            ),
            trade_opened=opened,
            trades_closed=whole or None,
            trade_reduced=partly,
        )
        for trade, orders in linked:
            if trade.id not in books.trades:
                _cancel_linked(batch, trade, orders, filled)
        if opened is not None:
            self._dependents(batch, fill, opened, filled)
        return filled

    def _opening(self, batch: Batch, fill: Fill, units: Decimal) -> TradeOpen:
        value = units_value(units, fill.tick, fill.factors)
        return TradeOpen(
            trade_id=str(batch.books.last_id + 1),
            units=units,
            price=fill.price,
            guaranteed_execution_fee=round_money(ZERO),
            half_spread_cost=_spread_cost(units, fill),
            initial_margin_required=round_money(value * margin_rate(batch.books, fill.spec)),
            client_extensions=fill.order.trade_client_extensions,
        )

    def _dependents(self, batch: Batch, fill: Fill, opened: TradeOpen, filled: Transaction) -> None:
        """Take profit, stop loss, trailing stop, in this order (section 9)."""
        order = fill.order
        kinds = (
            ("TAKE_PROFIT_ORDER", order.take_profit_on_fill),
            ("STOP_LOSS_ORDER", order.stop_loss_on_fill),
            ("TRAILING_STOP_LOSS_ORDER", order.trailing_stop_loss_on_fill),
        )
        for kind, wish in kinds:
            if wish is None:
                continue
            client = opened.client_extensions.id if opened.client_extensions else None
            made = batch.add(
                kind,
                trade_id=opened.trade_id,
                client_trade_id=client,
                price=None
                if kind.startswith("TRAILING")
                else stop_price(wish, fill.price, opened.units, fill.spec),
                distance=wish.distance,
                time_in_force=wish.time_in_force or "GTC",
                gtd_time=wish.gtd_time,
                trigger_condition="DEFAULT",
                reason="ON_FILL",
                client_extensions=wish.client_extensions,
                order_fill_transaction_id=filled.id,
            )
            self.start_trailing(batch.books, batch.books.pending[made.id])

    def start_trailing(self, books: Books, order: Order) -> Order:
        """Give a trailing stop its first value: bid - distance (long), ask + distance (short)."""
        tick = self._quotes.get(books.instrument_of(order))
        if order.type != "TRAILING_STOP_LOSS" or tick is None or order.distance is None:
            return order
        trade = books.trades[order.trade_id or ""]
        long = trade.current_units > 0
        value = tick.bid - order.distance if long else tick.ask + order.distance
        return books.move_trailing_stop(order, value)


def cancel(batch: Batch, order: Order, reason: str, replaced_by: str | None = None) -> Transaction:
    """ORDER_CANCEL."""
    return batch.add(
        "ORDER_CANCEL",
        order_id=order.id,
        client_order_id=order.client_extensions.id if order.client_extensions else None,
        reason=reason,
        replaced_by_order_id=replaced_by,
    )


def signed_units(books: Books, order: Order) -> Decimal:
    """An order's units; a dependent order closes whatever its trade still has."""
    if order.units is not None:
        return order.units
    trade = books.trades.get(order.trade_id or "")
    return -trade.current_units if trade is not None else ZERO


def _spread_cost(units: Decimal, fill: Fill) -> Decimal:
    return round_money(abs(units) * fill.half_spread * fill.factors.value)


def _reduction(trade: Trade, units: Decimal, fill: Fill) -> TradeReduce:
    # Units carry the order's sign, so (exit - entry) x closed units of the trade is -units here.
    quote_pl = (fill.price - trade.price) * -units
    return TradeReduce(
        trade_id=trade.id,
        client_trade_id=trade.client_extensions.id if trade.client_extensions else None,
        units=units,
        price=fill.price,
        realized_pl=in_home(quote_pl, fill.factors),
        financing=round_money(ZERO),
        guaranteed_execution_fee=round_money(ZERO),
        half_spread_cost=_spread_cost(units, fill),
    )


def _quote_pl(plan: Plan, price: Decimal) -> Decimal:
    total = sum(((price - trade.price) * -units for trade, units in plan.closes), ZERO)
    return total.quantize(_QUOTE_PL, rounding=ROUND_HALF_UP)


def _full_price(tick: Tick) -> FullPrice:
    return FullPrice(
        closeout_bid=tick.bid,
        closeout_ask=tick.ask,
        timestamp=format_time(tick.venue_ns),
        bids=(PriceBucket(price=tick.bid, liquidity=str(LIQUIDITY)),),
        asks=(PriceBucket(price=tick.ask, liquidity=str(LIQUIDITY)),),
    )


def _cancel_linked(
    batch: Batch, trade: Trade, orders: tuple[Order, ...], filled: Transaction
) -> None:
    for order in sorted(orders, key=lambda o: int(o.id)):
        if order.id not in batch.books.pending:
            continue  # the dependent order that closed the trade is filled, not cancelled
        batch.add(
            "ORDER_CANCEL",
            order_id=order.id,
            client_order_id=order.client_extensions.id if order.client_extensions else None,
            reason="LINKED_TRADE_CLOSED",
            closed_trade_id=trade.id,
            trade_close_transaction_id=filled.id,
        )

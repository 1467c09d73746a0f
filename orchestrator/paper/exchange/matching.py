"""Filling one order: what it closes and opens, at which price, and what follows from it.

Source: fact sheet, sections 8 to 11. Everything is written through a Batch.
"""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, InstrumentName, InstrumentSpec, round_money
from orchestrator.model.venue import (
    BOOKED_MAX,
    ConversionFactor,
    HomeConversionFactors,
    Order,
    TradeOpen,
    Transaction,
)
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.charges import commission_of, premium_of
from orchestrator.paper.exchange.depth import Depth
from orchestrator.paper.exchange.fill_judge import Fill, expired, losing, stop_price, taken
from orchestrator.paper.exchange.fill_parts import (
    cancel_linked,
    full_price,
    quote_pl,
    quote_side,
    reduction,
    spread_cost,
)
from orchestrator.paper.exchange.plan import Plan, plan_of, sides_after
from orchestrator.paper.exchange.quotes import FILL_DIGITS, Quotes, half_spread, rounded
from orchestrator.paper.exchange.restrictions import Restrictions
from orchestrator.paper.exchange.valuation import (
    account_value,
    counted_units,
    in_home,
    margin_rate,
    units_value,
)

_AT_ITS_PRICE = frozenset({"LIMIT", "TAKE_PROFIT"})
_WAITS = "WAITS"
_FIXED = "FIXED_PRICE"
# What the venue does by itself: it gets out at any size, and nothing holds it up.
_OWN = frozenset(
    {
        "MARKET_ORDER_MARGIN_CLOSEOUT", "MARKET_ORDER_DELAYED_TRADE_CLOSE",
        "FIXED_PRICE_ORDER_PLATFORM_ACCOUNT_MIGRATION",
    }
)  # fmt: skip


class Matching:
    """Fills orders against the latest quotes."""

    def __init__(
        self,
        specs: dict[InstrumentName, InstrumentSpec],
        quotes: Quotes,
        depth: Depth,
        restrictions: Restrictions,
    ) -> None:
        self._specs = specs
        self._restrictions = restrictions
        self._quotes = quotes
        self._depth = depth

    def execute(self, batch: Batch, order: Order, reason: str) -> Transaction | None:
        """Fill the order, or cancel it with the reason why not; None: it goes on waiting."""
        outcome = self._try(batch, order, reason)
        if outcome == _WAITS:
            return None
        return outcome if isinstance(outcome, Transaction) else cancel(batch, order, outcome)

    def _try(self, batch: Batch, order: Order, reason: str) -> Transaction | str:
        books = batch.books
        name = books.instrument_of(order)
        tick, spec = self._quotes.get(name), self._specs[name]
        if tick is None or not (tick.tradeable or order.type == _FIXED):
            return "MARKET_HALTED"
        found = self._quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
        wanted = signed_units(books, order)
        if found is None or not wanted:
            return "MARKET_HALTED" if found is None else "POSITION_CLOSEOUT_FAILED"
        offer = self._offer(order, spec, tick, wanted, reason)
        if isinstance(offer, str):
            return offer
        units, price = offer
        plan = plan_of(books, order, name, units)
        if isinstance(plan, str):
            return plan
        if reason not in _OWN:
            forbidden = self._restrictions.fill(
                books, name, buying=units > 0, opens=bool(plan.opens)
            )
            if forbidden is not None:
                return forbidden
        done = sum((u for _, u in plan.closes), ZERO) + plan.opens
        fill = Fill(
            order=order,
            spec=spec,
            tick=tick,
            price=price,
            factors=rounded(found, FILL_DIGITS),
            half_spread=half_spread(tick, spec, buying=units > 0),
            wanted=wanted,
            commission=commission_of(books.config.commission, done),
            now_ns=batch.now_ns,
        )
        asked = plan.opens and reason not in _OWN
        objection = self._objection(batch, fill, plan) if asked else None
        return objection or self._write(batch, fill, plan, reason)

    def _offer(
        self, order: Order, spec: InstrumentSpec, tick: Tick, wanted: Decimal, reason: str
    ) -> tuple[Decimal, Decimal] | str:
        """Units and average price that the book has for an order, or why it cannot be filled."""
        if order.type in {"GUARANTEED_STOP_LOSS", _FIXED} and order.price is not None:
            return wanted, order.price  # exactly there, whatever the market does
        if reason in _OWN:
            return wanted, tick.ask if wanted > 0 else tick.bid
        bound, at_price = order.price_bound, order.type in _AT_ITS_PRICE
        units, price = self._depth.walk(tick, spec, wanted, order.price if at_price else bound)
        if units == wanted or (units and order.time_in_force == "IOC"):
            return units, price
        if at_price and order.time_in_force not in {"FOK", "IOC"}:
            return _WAITS  # until the book has all of it at that price or better
        beyond = bound is not None and self._depth.walk(tick, spec, wanted, None)[0] == wanted
        return "BOUNDS_VIOLATION" if beyond else "INSUFFICIENT_LIQUIDITY"

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
        nav -= fill.commission
        units = counted_units(books, *sides_after(books, fill.spec.name, plan))
        needed = round_money(
            units_value(units, fill.tick, fill.factors) * margin_rate(books, fill.spec)
        )
        here = value.instruments.get(fill.spec.name)
        used = value.margin_used - (here.margin_used if here else ZERO) + needed
        return "INSUFFICIENT_MARGIN" if used > nav else None

    # --- writing it --------------------------------------------------------------------------

    def _write(self, batch: Batch, fill: Fill, plan: Plan, reason: str) -> Transaction | str:
        books, order = batch.books, fill.order
        parts = tuple(reduction(books, trade, units, fill) for trade, units in plan.closes)
        whole = tuple(
            part
            for part, (trade, _) in zip(parts, plan.closes, strict=True)
            if trade.current_units + part.units == 0
        )
        partly = next((part for part in parts if part not in whole), None)
        opened = self._opening(batch, fill, plan.opens) if plan.opens else None
        pl = sum((part.realized_pl or ZERO for part in parts), ZERO)
        cost = sum((part.half_spread_cost or ZERO for part in parts), ZERO)
        financing = sum((part.financing or ZERO for part in parts), ZERO)
        fee = sum((part.guaranteed_execution_fee or ZERO for part in parts), ZERO)
        balance = books.balance + pl + financing - fill.commission - fee
        if any(abs(amount) >= BOOKED_MAX for amount in (pl, cost, financing, fee, balance)):
            return "INTERNAL_SERVER_ERROR"  # no books hold such figures: nothing is done
        linked = [(trade, books.dependents(trade)) for trade, _ in plan.closes]
        filled = batch.add(
            "ORDER_FILL",
            order_id=order.id,
            client_order_id=order.client_extensions.id if order.client_extensions else None,
            instrument=fill.spec.name,
            units=sum((units for _, units in plan.closes), ZERO) + plan.opens,
            requested_units=fill.wanted,
            gain_quote_home_conversion_factor=fill.factors.gain,
            loss_quote_home_conversion_factor=fill.factors.loss,
            home_conversion_factors=self._home_factors(books, fill),
            price=fill.price,
            full_vwap=fill.price,
            full_price=full_price(fill, self._depth),
            reason=reason,
            pl=round_money(pl),
            quote_pl=quote_pl(plan, fill.price),
            financing=round_money(financing),
            commission=round_money(fill.commission),
            guaranteed_execution_fee=round_money(fee),
            account_balance=round_money(balance),
            half_spread_cost=round_money(
                cost + (opened.half_spread_cost or ZERO if opened else ZERO)
            ),
            trade_opened=opened,
            trades_closed=whole or None,
            trade_reduced=partly,
            **quote_side(books, plan, fill),
        )
        for trade, orders in linked:
            if trade.id not in books.trades:
                cancel_linked(batch, trade, orders, filled)
        if opened is not None:
            self._dependents(batch, fill, opened, filled)
        return filled

    def _home_factors(self, books: Books, fill: Fill) -> HomeConversionFactors:
        """Of the quote currency as it was used, and of the base currency beside it."""
        charge = books.config.conversion_charge
        base = self._quotes.factors(fill.spec.base, books.currency, charge)
        known = rounded(base, FILL_DIGITS) if base is not None else None
        return HomeConversionFactors(
            gain_quote_home=ConversionFactor(factor=fill.factors.gain),
            loss_quote_home=ConversionFactor(factor=fill.factors.loss),
            gain_base_home=ConversionFactor(factor=known.gain) if known is not None else None,
            loss_base_home=ConversionFactor(factor=known.loss) if known is not None else None,
        )

    def _opening(self, batch: Batch, fill: Fill, units: Decimal) -> TradeOpen:
        value = units_value(units, fill.tick, fill.factors)
        return TradeOpen(
            trade_id=str(batch.books.last_id + 1),
            units=units,
            price=fill.price,
            guaranteed_execution_fee=round_money(ZERO),
            half_spread_cost=spread_cost(units, fill),
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
            ("GUARANTEED_STOP_LOSS_ORDER", order.guaranteed_stop_loss_on_fill),
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
                guaranteed_execution_premium=premium_of(fill.spec)
                if kind.startswith("GUARANTEED")
                else None,
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

"""What prices and the passing of time do to accounts: triggers, expiry, financing, margin."""

from __future__ import annotations

import msgspec

from orchestrator.model.market import Tick
from orchestrator.model.money import ZERO, AccountId, InstrumentName, round_money
from orchestrator.model.time import NS_PER_S, Instant, new_york, trading_day
from orchestrator.model.venue import (
    CloseoutReason,
    DelayedTradeClose,
    PositionFinancing,
    TradeFinancing,
)
from orchestrator.paper.exchange.batch import Batch
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.charges import (
    DAYS_CHARGED,
    financing_of_days,
    financing_since,
)
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.matching import cancel
from orchestrator.paper.exchange.triggers import FILL_REASONS, hit, trailing_value
from orchestrator.paper.exchange.valuation import account_value

_MARGIN_EVERY_NS = 10 * NS_PER_S
_QUARTER = 0.25


def next_roll(now: Instant) -> Instant:
    """The next 17:00 in New York."""
    return trading_day(now)[2]


class _Calm(msgspec.Struct, frozen=True, gc=False):
    """Margin needs no look while the account is unchanged and prices stay inside the bands."""

    last_id: int
    until_ns: Instant
    bands: dict[InstrumentName, tuple[float, float]]


class Clockwork:
    """Drives an exchange by its prices and by time; market time never goes back."""

    def __init__(self, exchange: Exchange, now: Instant) -> None:
        self._exchange = exchange
        self._calm: dict[AccountId, _Calm] = {}
        self._roll_ns = next_roll(now)
        self._second = 0

    def begin(self, now: Instant) -> None:
        """Nothing before this is due any more: the accounts have lived through it."""
        self._roll_ns = next_roll(now)

    def on_tick(self, tick: Tick) -> None:
        """A new price: triggers and margin of whoever holds or wants the instrument."""
        exchange, name = self._exchange, tick.instrument
        exchange.quotes.put(tick)
        if tick.venue_ns // NS_PER_S != self._second:
            self.on_time(tick.venue_ns)
        if not tick.tradeable:
            return
        for books in exchange.accounts.values():
            if books.delayed:
                self._close_delayed(books, tick)
            if name in books.orders_in:
                self._trigger(books, tick)
            if name in books.trades_in:
                self._watch_margin(books, tick)

    def on_time(self, now: Instant) -> None:
        """Expiries and the daily roll; called at least once in each market second."""
        now = max(now, self._exchange.now_ns)
        self._second = now // NS_PER_S
        for books in self._exchange.accounts.values():
            if books.expiries:
                self._expire(books, now)
        while now >= self._roll_ns:  # more than one when the clock was set forward
            for books in self._exchange.accounts.values():
                self._finance(books, self._roll_ns)
                self._extend(books, self._roll_ns)
            self._roll_ns = next_roll(self._roll_ns)

    # --- resting orders ----------------------------------------------------------------------

    def _trigger(self, books: Books, tick: Tick) -> None:
        exchange = self._exchange
        for pending in tuple(books.orders_in[tick.instrument].values()):
            order = books.pending.get(pending.id)
            if order is None:
                continue  # cancelled by the fill of one before it
            order = books.note_missing(order, tick)
            trade = books.trades.get(order.trade_id or "")
            if order.type == "TRAILING_STOP_LOSS" and trade is not None:
                value = trailing_value(order, trade, tick)
                order = order if value is None else books.move_trailing_stop(order, value)
            if hit(order, trade, tick):
                batch = exchange.own_batch(books, tick.venue_ns)
                exchange.matching.execute(batch, order, FILL_REASONS[order.type])
                exchange.finish(batch)

    def _expire(self, books: Books, now: Instant) -> None:
        for order_id in [key for key, at_ns in books.expiries.items() if at_ns <= now]:
            batch = self._exchange.own_batch(books, now)
            cancel(batch, books.pending[order_id], "TIME_IN_FORCE_EXPIRED")
            self._exchange.finish(batch)

    # --- margin ------------------------------------------------------------------------------

    def _watch_margin(self, books: Books, tick: Tick) -> None:
        calm = self._calm.get(books.account_id)
        if calm is not None and calm.last_id == books.last_id and tick.venue_ns < calm.until_ns:
            low, high = calm.bands.get(tick.instrument, (0.0, 0.0))
            if low < float(tick.bid) and float(tick.ask) < high:
                return
        self.check_margin(books, tick.venue_ns)

    def check_margin(self, books: Books, now: Instant) -> None:
        """Margin call and closeout (section 11); remembers how far prices may move unlooked-at."""
        exchange = self._exchange
        value = account_value(books, exchange.specs, exchange.quotes)
        called = value.call_percent >= 1
        if called != (books.margin_call_time is not None):
            batch = exchange.own_batch(books, now)
            batch.add("MARGIN_CALL_ENTER" if called else "MARGIN_CALL_EXIT")
            exchange.finish(batch)
        if value.closeout_percent >= 1:
            self._closeout(books, now)
        # To the call, or its end, and to the closeout: a quarter of the nearer one may pass unseen.
        to_call = abs(float(value.closeout_nav - value.closeout_margin))
        to_closeout = abs(float(value.closeout_nav - value.closeout_margin / 2))
        held = float(value.closeout_value)
        slack = _QUARTER * min(to_call, to_closeout) / held if held else 1.0
        bands = {name: self._band(name, slack) for name in books.trades_in}
        self._calm[books.account_id] = _Calm(books.last_id, now + _MARGIN_EVERY_NS, bands)

    def _band(self, name: InstrumentName, slack: float) -> tuple[float, float]:
        tick = self._exchange.quotes.get(name)
        if tick is None:
            return 0.0, 0.0
        return float(tick.bid) * (1 - slack), float(tick.ask) * (1 + slack)

    def _extend(self, books: Books, at_ns: Instant) -> None:
        """A margin call that stands at the roll is extended (docs/paper-choices.md)."""
        if books.margin_call_time is None:
            return
        batch = self._exchange.own_batch(books, at_ns)
        batch.add("MARGIN_CALL_EXTEND", extension_number=books.extensions + 1)
        self._exchange.finish(batch)

    def _close_delayed(self, books: Books, tick: Tick) -> None:
        """Trades that should have been closed while their instrument could not be traded."""
        exchange = self._exchange
        for trade in tuple(books.trades_in.get(tick.instrument, {}).values()):
            source = books.delayed.get(trade.id)
            if source is None:
                continue
            batch = exchange.own_batch(books, tick.venue_ns)
            client = trade.client_extensions.id if trade.client_extensions else None
            what = DelayedTradeClose(
                trade_id=trade.id, client_trade_id=client, source_transaction_id=source
            )
            exchange.market_close(
                batch, trade.instrument, -trade.current_units, "DELAYED_TRADE_CLOSE",
                delayed_trade_close=what,
            )  # fmt: skip
            exchange.finish(batch)

    def _closeout(self, books: Books, now: Instant) -> None:
        exchange = self._exchange
        for name in tuple(books.trades_in):
            tick = exchange.quotes.get(name)
            if tick is None or not tick.tradeable:
                late = tuple(i for i in books.trades_in[name] if i not in books.delayed)
                if late:
                    exchange.admin.delay_closure(books, late, "MARGIN_CLOSEOUT", now)
                continue
            units = [t.current_units for t in books.trades_in[name].values()]
            for side in (
                sum((u for u in units if u > 0), ZERO),
                sum((u for u in units if u < 0), ZERO),
            ):
                if side:
                    batch = exchange.own_batch(books, now)
                    closeout = CloseoutReason(reason="MARGIN_CHECK_VIOLATION")
                    exchange.market_close(batch, name, -side, margin_closeout=closeout)
                    exchange.finish(batch)

    # --- financing ---------------------------------------------------------------------------

    def _finance(self, books: Books, at_ns: Instant) -> None:
        """DAILY_FINANCING at 17:00 New York, for what is open then (section 10)."""
        mode = books.config.financing
        days = DAYS_CHARGED[new_york(at_ns - NS_PER_S)[0]]
        if mode == "NO_FINANCING" or (mode == "DAILY" and not days):
            return
        parts = tuple(self._position_financing(books, n, days, at_ns) for n in books.trades_in)
        if not parts:
            return
        total = sum((part.financing for part in parts), ZERO)
        batch: Batch = self._exchange.own_batch(books, at_ns)
        batch.add(
            "DAILY_FINANCING",
            financing=total,
            account_balance=round_money(books.balance + total),
            account_financing_mode=mode,
            position_financings=parts,
        )
        self._exchange.finish(batch)

    def _position_financing(
        self, books: Books, name: InstrumentName, days: int, at_ns: Instant
    ) -> PositionFinancing:
        exchange = self._exchange
        spec, tick = exchange.specs[name], exchange.quotes.get(name)
        found = exchange.quotes.factors(spec.quote, books.currency, books.config.conversion_charge)
        trades: list[TradeFinancing] = []
        for trade in books.trades_in[name].values():
            amount = ZERO
            if tick is not None and found is not None:
                amount = (
                    financing_of_days(trade, spec, tick, found, days)
                    if books.config.financing == "DAILY"
                    else financing_since(
                        books, trade, trade.current_units, spec, tick, found, at_ns
                    )
                ).home
            trades.append(TradeFinancing(trade_id=trade.id, financing=round_money(amount)))
        return PositionFinancing(
            instrument=name,
            financing=sum((t.financing for t in trades), ZERO),
            open_trade_financings=tuple(trades),
        )

"""One account's books: balance, open trades and pending orders at one transaction id."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ZERO, AccountId, Currency, InstrumentName, Price, Units
from orchestrator.model.outcomes import TradeClosed, TradeOpened
from orchestrator.model.time import Instant


class OpenTrade(msgspec.Struct, kw_only=True):
    """A trade that is open at the venue; units are signed, positive bought.

    `stop_price` is what a STOP_LOSS order at the venue says, never what was only wished for.
    `trailing_price` is the last known value of a trailing stop: the venue moves it without a
    transaction, always in the trade's favour, so the value known is the worst that it can be.
    `price` 0 means that the venue did not tell it: the trade's value is then unknown.
    """

    trade_id: str
    instrument: InstrumentName
    units: Units
    initial_units: Units
    price: Price
    opened_ns: Instant
    ours: bool
    intent_id: str = ""
    signal_id: str = ""
    strategy: str = ""
    regime: str = ""
    stop_order_id: str | None = None
    stop_price: Price | None = None
    trailing_order_id: str | None = None
    trailing_price: Price | None = None
    target_order_id: str | None = None
    target_price: Price | None = None
    reference_price: Price | None = None
    initial_stop: Price | None = None

    @property
    def protected(self) -> bool:
        """Whether a stop loss of any kind stands at the venue (INV-09)."""
        return self.stop_order_id is not None or self.trailing_order_id is not None

    @property
    def worst_exit(self) -> Price | None:
        """The nearest price at which a stop will close the trade; None without one."""
        stops = [p for p in (self.stop_price, self.trailing_price) if p is not None]
        if not stops:
            return None
        return max(stops) if self.units > 0 else min(stops)


class PendingOrder(msgspec.Struct, kw_only=True):
    """An order that rests at the venue; `type` as OANDA spells it (LIMIT, STOP_LOSS, ...)."""

    order_id: str
    type: str
    instrument: InstrumentName | None = None
    units: Units | None = None
    price: Price | None = None
    trade_id: str | None = None
    client_id: str = ""
    create_ns: Instant = 0

    @property
    def is_entry(self) -> bool:
        """Whether it can open a trade; dependent orders only close theirs."""
        return self.trade_id is None


class Book(msgspec.Struct, kw_only=True):
    """An account's books at `last_id`. Changed only by `apply_transaction` and `pass_hole`."""

    account_id: AccountId
    currency: Currency
    balance: Decimal
    last_id: int
    trades: dict[str, OpenTrade] = msgspec.field(default_factory=dict[str, OpenTrade])
    orders: dict[str, PendingOrder] = msgspec.field(default_factory=dict[str, PendingOrder])
    margin_rate: Decimal | None = None
    hedging: bool = False

    def sides(self) -> dict[InstrumentName, tuple[Decimal, Decimal]]:
        """Long and short units (short is negative) of each instrument with an open trade."""
        found: dict[InstrumentName, tuple[Decimal, Decimal]] = {}
        for trade in self.trades.values():
            long, short = found.get(trade.instrument, (ZERO, ZERO))
            if trade.units > 0:
                found[trade.instrument] = (long + trade.units, short)
            else:
                found[trade.instrument] = (long, short + trade.units)
        return found


class Changes(msgspec.Struct, frozen=True, kw_only=True):
    """What one transaction did to the books.

    `transfer`: a fund movement, by which E0 and P shift. `realized`: what trading, financing,
    dividends and fees booked to the balance. `protected`: trades whose stop was seen.
    `unprotected`: trades that stand without a stop now that an order of theirs is gone.
    `strangers`: client ids ("" where there is none) of entry orders that no intent of ours
    explains (A9; of our own form: R6). `problems`: sentences about what does not add up; the
    venue's figure was taken.
    """

    opened: tuple[TradeOpened, ...] = ()
    closed: tuple[TradeClosed, ...] = ()
    transfer: Decimal = ZERO
    realized: Decimal = ZERO
    protected: tuple[str, ...] = ()
    unprotected: tuple[str, ...] = ()
    orders_created: tuple[str, ...] = ()
    orders_cancelled: tuple[str, ...] = ()
    strangers: tuple[str, ...] = ()
    problems: tuple[str, ...] = ()


NO_CHANGES = Changes()

"""What a check may see: one account, one instrument and the totals, at one instant."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.covariance import Book, Covariance
from orchestrator.kernel.safety.exposure import Exposed
from orchestrator.model.conversion import Factors
from orchestrator.model.limits import AccountLimits, BreakerLimits, CheckLimits
from orchestrator.model.money import AccountId, InstrumentSpec, Price, Side, Units
from orchestrator.model.orders import Reservation
from orchestrator.model.profiles import PLAIN, Profile
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import Proposal
from orchestrator.model.time import Instant, Session


class Funds(msgspec.Struct, frozen=True, kw_only=True):
    """An account's money, home currency. `open_risk` counts trades and reservations."""

    balance: Decimal
    nav: Decimal
    margin_used: Decimal
    margin_reserved: Decimal
    equity_start: Decimal  # E0
    peak: Decimal  # P
    open_risk: Decimal
    open_count: int  # trades and reservations

    @property
    def day_loss(self) -> Decimal:
        """L of SAFETY B4: never below zero."""
        return max(Decimal(0), self.equity_start - self.nav)

    @property
    def fallen(self) -> Decimal:
        """How far below its peak the account stands, never below zero."""
        return max(Decimal(0), self.peak - self.nav)


class Totals(msgspec.Struct, frozen=True, kw_only=True):
    """All accounts together in the reporting currency.

    `rate` is what one unit of this account's home currency is worth there. The total peak is the
    sum of the accounts' peaks, which is never below the peak of the sum: the stricter of the two.
    """

    rate: Decimal
    nav: Decimal
    equity_start: Decimal
    peak: Decimal
    day_loss: Decimal
    open_risk: Decimal
    open_count: int
    accounts: int


class Market(msgspec.Struct, frozen=True, kw_only=True):
    """The last good tick of one instrument, and how alive its stream is."""

    bid: Price
    ask: Price
    venue_ns: Instant
    seen_ns: Instant
    stream_ns: Instant  # last sign of life of the pricing stream
    tradeable: bool
    median_spread: Decimal | None

    @property
    def spread(self) -> Decimal:
        return self.ask - self.bid

    @property
    def mid(self) -> Decimal:
        return (self.bid + self.ask) / 2


class Neighbour(msgspec.Struct, frozen=True, kw_only=True):
    """Another account of the owner; `sides` on which it holds or orders the instrument, by what."""

    account_id: AccountId
    exposures: Book = {}
    sides: tuple[tuple[Side, str], ...] = ()


class Resting(msgspec.Struct, frozen=True):
    """An entry order of ours, at any account, that waits at its price."""

    account_id: AccountId
    order_id: str
    side: Side
    price: Price


class View(msgspec.Struct, frozen=True, kw_only=True):
    """All that the checks of one order need; None means unknown, and unknown refuses (K1)."""

    now: Instant
    limits: AccountLimits
    total_limits: AccountLimits
    checks: CheckLimits
    breakers: BreakerLimits
    mode: SystemMode
    blocks: tuple[str, ...] = ()  # breakers in scope, account disabled, stopped, not reconciled
    configured: bool = True
    live: bool = False
    live_allowed: bool = False
    account_seen_ns: Instant | None = None
    session: str = Session.OPEN
    spec: InstrumentSpec | None = None
    market: Market | None = None
    factors: Factors | None = None
    funds: Funds | None = None
    totals: Totals | None = None
    scale: Decimal = Decimal(1)
    margin_rate: Decimal = Decimal(1)
    position_units: Units = Units(Decimal(0))  # held and in flight at its worst, same side
    seen_before: bool = False
    alike_ns: Instant | None = None  # last order of this strategy, instrument and side
    median_units: Decimal | None = None  # of the last orders, from the tenth on
    strategy_order_ns: Instant | None = None  # last order of this strategy and instrument
    bucket_ns: Instant = 0  # the token bucket's theoretical arrival time
    orders_last_minute: int = 0
    orders_last_minute_total: int = 0
    exposed: Exposed | None = None  # held and in flight, without the order
    gross_total: Decimal | None = None  # of all accounts, reporting currency
    hedging: bool = False
    currency_book: Book | None = None
    covariance: Covariance | None = None
    neighbours: tuple[Neighbour, ...] | None = ()
    resting: tuple[Resting, ...] = ()
    profile: Profile = PLAIN
    orders_today: int | None = 0


def entry_price(side: Side, market: Market) -> Price:
    """p: the ask to buy, the bid to sell."""
    return market.ask if side is Side.BUY else market.bid


def risk_of(order: Proposal, market: Market, factors: Factors) -> Decimal:
    """risk(u), home currency: |u| x (|p - s| + spread) x loss factor (SAFETY 6)."""
    distance = abs(entry_price(order.side, market) - order.stop_price)
    return risk_at(order.units, distance, market, factors)


def risk_at(units: Decimal, distance: Decimal, market: Market, factors: Factors) -> Decimal:
    """risk(u) of a stop `distance` away from p."""
    return abs(units) * (distance + market.spread) * factors.loss


def notional_of(order: Proposal, market: Market, factors: Factors) -> Decimal:
    """N(u), home currency: |u| x p x value factor."""
    return notional_at(order.units, order.side, market, factors)


def notional_at(units: Decimal, side: Side, market: Market, factors: Factors) -> Decimal:
    """N(u) of an order of this side."""
    return abs(units) * entry_price(side, market) * factors.value


def reservation_of(order: Proposal, view: View) -> Reservation | None:
    """What the order may cost at its worst; None where that cannot be known."""
    if view.market is None or view.factors is None:
        return None
    notional = notional_of(order, view.market, view.factors)
    return Reservation(
        risk=risk_of(order, view.market, view.factors),
        notional=notional,
        margin=notional * view.margin_rate,
    )


def seconds_text(ns: int) -> str:
    """`5800000000` -> `5.8 s`, for the texts of objections."""
    tenths = (abs(ns) + 50_000_000) // 100_000_000
    return f"{'-' if ns < 0 else ''}{tenths // 10}.{tenths % 10} s"


def money_text(amount: Decimal) -> str:
    """Two decimals, for texts only; what is not finite is shown as it is."""
    return f"{amount:.2f}" if amount.is_finite() else str(amount)


def percent_text(fraction: Decimal) -> str:
    return f"{fraction * 100:.2f} %"

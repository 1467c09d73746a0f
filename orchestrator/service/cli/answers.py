"""The API's answers as far as the command line shows them: unknown fields are ignored."""

from __future__ import annotations

from decimal import Decimal
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """Base. Times are RFC 3339 texts in UTC, or None; decimals are exact."""


class Listed(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """A page of a list; `next` is the cursor of the following page."""

    items: tuple[T, ...]
    next: str | None = None


class Component(Answer, frozen=True, kw_only=True):
    name: str
    ok: bool
    text: str = ""


class Health(Answer, frozen=True, kw_only=True):
    """Without a token the service tells only the first three."""

    status: str
    mode: str = "unknown"
    environment: str = "unknown"
    version: str = ""
    node: str = ""
    uptime_s: float = 0.0
    market_time_at: str | None = None
    market_speed: float = 1.0
    market_hours: str = ""
    stop_id: str | None = None
    components: tuple[Component, ...] = ()
    loop_lag_ms: float = 0.0
    rss_mb: float = 0.0


class MarketSpan(Answer, frozen=True, kw_only=True):
    instrument: str
    minutes: int
    ticks: int
    first_at: str | None = None
    last_at: str | None = None


class Exported(Answer, frozen=True, kw_only=True):
    """What an export came to: rows in the file, and what no market can have quoted."""

    file: str
    rows: int
    left_out: int


class Agent(Answer, frozen=True, kw_only=True):
    agent_id: str
    role: str = ""
    name: str = ""
    version: str = ""
    state: str = "unknown"
    where: str = ""
    since_at: str | None = None
    reason: str = ""
    handled: int = 0
    errors: int = 0
    error_rate: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    last_error: str = ""
    last_check_at: str | None = None
    restarts: int = 0
    instance: int = 1
    lease_ms: int | None = None
    round_trip_us: float = 0.0
    availability: float = 0.0
    hears: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


class Position(Answer, frozen=True, kw_only=True):
    account_id: str
    instrument: str
    units: Decimal
    average_price: Decimal | None = None
    unrealized_pl: Decimal | None = None
    trades: int = 0
    currency: str = ""


class Trade(Answer, frozen=True, kw_only=True):
    """An open trade, or one of the history: the closing fields are then filled."""

    account_id: str
    trade_id: str
    instrument: str
    units: Decimal
    state: str = "open"
    price: Decimal | None = None
    stop_price: Decimal | None = None
    target_price: Decimal | None = None
    unrealized_pl: Decimal | None = None
    realized_pl: Decimal | None = None
    financing: Decimal | None = None
    close_price: Decimal | None = None
    close_reason: str = ""
    opened_at: str | None = None
    closed_at: str | None = None
    ours: bool = True
    intent_id: str = ""
    signal_id: str = ""
    strategy: str = ""


class Order(Answer, frozen=True, kw_only=True):
    """`kind` pending: waits at the venue; intent: an order of ours, in any state of its life."""

    account_id: str
    order_id: str
    kind: str = "pending"
    state: str = "pending"
    type: str = ""
    instrument: str = ""
    units: Decimal | None = None
    price: Decimal | None = None
    trade_id: str = ""
    client_id: str = ""
    strategy: str = ""
    signal_id: str = ""
    reason: str = ""
    written_at: str | None = None
    latency_us: int = 0


class Reduction(Answer, frozen=True, kw_only=True):
    """A close, cancel or tighter stop by hand."""

    command_id: str
    kind: str
    state: str
    account_id: str = ""
    instrument: str = ""
    target: str = ""
    units: Decimal | None = None
    price: Decimal | None = None
    actor: str = ""
    why: str = ""
    reason: str = ""
    transaction_id: int = 0
    written_at: str | None = None


class Exposure(Answer, frozen=True, kw_only=True):
    currency: str
    amount: Decimal


class Account(Answer, frozen=True, kw_only=True):
    account_id: str
    currency: str = ""
    enabled: bool = True
    mode: str = "unknown"
    reconciled: bool = False
    balance: Decimal | None = None
    nav: Decimal | None = None
    unrealized_pl: Decimal | None = None
    margin_used: Decimal | None = None
    open_trades: int = 0
    pending_orders: int = 0
    day_pl: Decimal | None = None
    day_loss_fraction: Decimal | None = None
    drawdown_fraction: Decimal | None = None
    equity_start: Decimal | None = None
    peak: Decimal | None = None
    last_transaction_id: int = 0
    blocked_by: tuple[str, ...] = ()
    limits: dict[str, str] = {}
    exposures: tuple[Exposure, ...] = ()
    positions: tuple[Position, ...] = ()


class Tightening(Answer, frozen=True, kw_only=True):
    limit: str
    by: str = ""
    why: str = ""
    subject: str = ""
    scale: Decimal | None = None
    value: Decimal | None = None
    until_at: str | None = None


class AccountLimits(Answer, frozen=True, kw_only=True):
    account_id: str
    profile: str = ""
    limits: dict[str, str] = {}
    in_force: dict[str, str] = {}
    tightened: tuple[Tightening, ...] = ()


class Override(Answer, frozen=True, kw_only=True):
    override_id: str
    limit: str = ""
    subject: str = ""
    value: Decimal | None = None
    loosens: bool = False
    actor: str = ""
    role: str = ""
    reason: str = ""
    since_at: str | None = None
    until_at: str | None = None
    uses_left: int | None = None


class Breaker(Answer, frozen=True, kw_only=True):
    breaker: str
    name: str = ""
    scope: str = ""
    subject: str = ""
    state: str = "unknown"
    effect: str = ""
    reset: str = ""
    since_at: str | None = None
    until_at: str | None = None
    evidence: str = ""


class AccountReceipt(Answer, frozen=True, kw_only=True):
    account_id: str
    orders_cancelled: tuple[str, ...] = ()
    trades_closed: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    pending_orders: tuple[str, ...] = ()
    realized_pl: str = "0"
    verified_at: str | None = None
    problem: str = ""


class StopReceipt(Answer, frozen=True, kw_only=True):
    stop_id: str
    state: str
    actor: str = ""
    reason: str = ""
    gate_closed_at: str | None = None
    took_us: int = 0
    persisted: bool = False
    liquidate: bool = True
    already_stopped: bool = False
    last_order_first_byte_at: str | None = None
    accounts: tuple[AccountReceipt, ...] = ()


class Done(Answer, frozen=True, kw_only=True):
    text: str = ""
    mode: str = ""
    open_trades: tuple[Trade, ...] = ()
    pending_orders: tuple[Order, ...] = ()
    items: tuple[str, ...] = ()


class SignalTaken(Answer, frozen=True, kw_only=True):
    signal_id: str
    accounts: tuple[str, ...] = ()


class Ended(Answer, frozen=True, kw_only=True):
    account_id: str = ""
    outcome: str = ""
    stage: str = ""
    reason: str = ""


class EndedRow(Answer, frozen=True, kw_only=True):
    ended: Ended
    at_at: str | None = None


class Feature(Answer, frozen=True, kw_only=True):
    name: str
    value: Decimal


class Signal(Answer, frozen=True, kw_only=True):
    strategy: str = ""
    instrument: str = ""
    side: str = ""
    reference_price: Decimal | None = None
    stop_distance: Decimal | None = None
    target_distance: Decimal | None = None
    confidence: Decimal | None = None
    regime: str = ""
    created_at: str | None = None
    ttl_ms: int = 0
    source: str = ""
    features: tuple[Feature, ...] = ()
    note: str = ""


class SignalRow(Answer, frozen=True, kw_only=True):
    signal_id: str
    at_at: str | None = None
    signal: Signal | None = None
    accounts: tuple[str, ...] = ()
    outcomes: tuple[EndedRow, ...] = ()


class Moment(Answer, frozen=True, kw_only=True):
    at_at: str | None = None
    account_id: str = ""
    what: str = ""
    who: str = ""
    text: str = ""


class Found(Answer, frozen=True, kw_only=True):
    kind: str = ""
    signal_id: str = ""
    account_id: str = ""


class Explanation(Answer, frozen=True, kw_only=True):
    ref: str
    found: Found
    signal: SignalRow
    timeline: tuple[Moment, ...] = ()
    trades: tuple[Trade, ...] = ()
    also: tuple[Found, ...] = ()


class Event(Answer, frozen=True, kw_only=True):
    """A record of the journal; `data` is the fact, as it was written."""

    seq: int
    ts: str | None = None
    type: str
    subject: str = ""
    corr: str = ""
    actor: str = ""
    data: dict[str, object] | str = {}


class Performance(Answer, frozen=True, kw_only=True):
    account_id: str
    currency: str = ""
    strategy: str = ""
    trades: int = 0
    wins: int = 0
    losses: int = 0
    net: Decimal | None = None
    win_rate: Decimal | None = None
    profit_factor: Decimal | None = None
    expectancy: Decimal | None = None
    mean_r: Decimal | None = None
    best: Decimal | None = None
    worst: Decimal | None = None

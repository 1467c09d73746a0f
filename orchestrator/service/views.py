"""What the service shows of itself: frozen views, made on request, never kept."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName, Price, Side, Units
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.model.safety import AccountMode, BreakerView, Scope, StopReceipt, SystemMode
from orchestrator.model.signals import Exposure, Role
from orchestrator.model.time import Instant


class View(msgspec.Struct, frozen=True, kw_only=True):
    """Base of views; decimals and instants stay exact here, the API renders them."""


class ComponentHealth(View, frozen=True, kw_only=True):
    """One part of the service: "venue", "store", "gate", "agents", "loop" ..."""

    name: str
    ok: bool
    text: str


class Health(View, frozen=True, kw_only=True):
    """`GET /health`. `status`: ok | degraded | stopped | starting."""

    status: str
    mode: SystemMode
    environment: str  # paper | practice | live
    version: str
    node: str
    uptime_s: float
    market_time_ns: Instant
    market_speed: float
    market_hours: str  # open | quiet | closed | always
    stop_id: str | None
    components: tuple[ComponentHealth, ...] = ()
    loop_lag_ms: float = 0.0
    rss_mb: float = 0.0
    role: str = "leader"  # leader | standby
    leader: str = ""  # where the leader's API is; "" where there is one node only, or none leads


class AgentView(View, frozen=True, kw_only=True):
    """One agent. Latencies are of its last 1,000 questions or messages."""

    agent_id: str
    role: Role
    name: str
    version: str
    state: str  # starting | healthy | degraded | unhealthy | stopped
    where: str  # in-process | process | remote
    since_ns: Instant
    reason: str = ""
    handled: int = 0
    errors: int = 0
    error_rate: float = 0.0
    p50_us: float = 0.0
    p99_us: float = 0.0
    last_error: str = ""
    last_check_ns: Instant = 0
    restarts: int = 0
    instance: int = 1
    lease_ms: int | None = None  # how long it still holds, of one elsewhere
    round_trip_us: float = 0.0  # the last health check's
    availability: float = 0.0  # the part of its time that it worked
    hears: tuple[str, ...] = ()
    says: tuple[str, ...] = ()


class PositionView(View, frozen=True, kw_only=True):
    account_id: AccountId
    instrument: InstrumentName
    units: Units  # net, signed
    average_price: Price | None
    unrealized_pl: Decimal | None
    trades: int
    currency: str


class OpenTradeView(View, frozen=True, kw_only=True):
    account_id: AccountId
    trade_id: str
    instrument: InstrumentName
    units: Units
    price: Price
    stop_price: Price | None
    target_price: Price | None
    unrealized_pl: Decimal | None
    opened_ns: Instant
    ours: bool
    intent_id: str
    signal_id: str
    strategy: str


class OrderView(View, frozen=True, kw_only=True):
    """An order pending at the venue (dependents included)."""

    account_id: AccountId
    order_id: str
    type: str
    instrument: str
    units: Decimal | None
    price: Decimal | None
    trade_id: str
    client_id: str


class ReductionView(View, frozen=True, kw_only=True):
    """A person's close, cancel or tighter stop. `why` is theirs, `reason` the kernel's or venue's.

    `units` None: all. `side` of what is closed: buy for long. `transaction_id` 0: none decided yet.
    """

    command_id: str
    kind: ReduceKind
    state: ReductionState
    account_id: AccountId
    instrument: InstrumentName
    target: str
    units: Decimal | None
    side: Side | None
    price: Price | None
    actor: str
    why: str
    reason: str
    transaction_id: int
    written_ns: Instant
    since_ns: Instant
    persisted: bool = True


class AccountStatus(View, frozen=True, kw_only=True):
    """An account; money in its home currency, fractions of 1. None: not known now."""

    account_id: AccountId
    currency: str
    enabled: bool
    mode: AccountMode
    reconciled: bool
    balance: Decimal
    nav: Decimal | None
    unrealized_pl: Decimal | None
    margin_used: Decimal | None
    open_trades: int
    pending_orders: int
    day_pl: Decimal | None
    day_loss_fraction: Decimal | None
    drawdown_fraction: Decimal | None
    equity_start: Decimal | None
    peak: Decimal | None
    last_transaction_id: int
    blocked_by: tuple[str, ...] = ()
    limits: dict[str, str] = {}
    exposures: tuple[Exposure, ...] = ()
    positions: tuple[PositionView, ...] = ()


class TighteningView(View, frozen=True, kw_only=True):
    """Who has tightened what, and why: `limit` times `scale`, or set to `value`."""

    limit: str
    by: str  # breaker ID, profile NAME, agent ROLE, or a person
    why: str
    subject: str
    scale: Decimal | None = None
    value: Decimal | None = None
    until_ns: Instant | None = None


class AccountLimitsView(View, frozen=True, kw_only=True):
    """An account's limits; fractions are of its money (0.02 = 2 %).

    `limits`: by the settings, its profile's counted in. `in_force`: with the overrides that stand.
    """

    account_id: AccountId
    profile: str
    limits: dict[str, str]
    in_force: dict[str, str]
    tightened: tuple[TighteningView, ...] = ()


class OverrideView(View, frozen=True, kw_only=True):
    """An override that stands (SAFETY B5). `uses_left` None: it tightens, and has no end by use."""

    override_id: str
    limit: str
    scope: Scope
    subject: str
    value: Decimal
    loosens: bool
    actor: str
    role: str
    reason: str
    since_ns: Instant
    until_ns: Instant | None
    uses_left: int | None


class Refused(View, frozen=True, kw_only=True):
    """A command that was not done: `status` is the HTTP status that fits (404, 409, 422, 503)."""

    status: int
    title: str
    detail: str
    items: tuple[str, ...] = ()


class Done(View, frozen=True, kw_only=True):
    """A command that was done, and is durable."""

    text: str
    mode: SystemMode
    open_trades: tuple[OpenTradeView, ...] = ()
    pending_orders: tuple[OrderView, ...] = ()
    items: tuple[str, ...] = ()


class SignalTaken(View, frozen=True, kw_only=True):
    """A signal was accepted into the path; its outcomes come later (`explain SIGNAL_ID`)."""

    signal_id: str
    accounts: tuple[AccountId, ...]


__all__ = [
    "AccountStatus", "AgentView", "BreakerView", "ComponentHealth", "Done", "Health",
    "OpenTradeView", "OrderView", "PositionView", "Refused", "SignalTaken", "StopReceipt", "View",
]  # fmt: skip

"""Modes, breakers and stops: the words in which the kernel says what is allowed."""

from __future__ import annotations

from enum import StrEnum

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId
from orchestrator.model.time import Instant


class SystemMode(StrEnum):
    """SAFETY 3."""

    STARTING = "starting"
    RECONCILING = "reconciling"
    READY = "ready"
    RUNNING = "running"
    DRAINING = "draining"
    STOPPED = "stopped"


class AccountMode(StrEnum):
    """The strictest active rule wins: open < reduce < halt."""

    OPEN = "open"
    REDUCE = "reduce"
    HALT = "halt"


class Effect(StrEnum):
    """What a tripped breaker does (SAFETY B1)."""

    SCALE = "scale"
    BLOCK = "block"
    HALT = "halt"
    FLATTEN = "flatten"
    STOP = "stop"


class BreakerState(StrEnum):
    ARMED = "armed"
    TRIPPED = "tripped"
    PROBING = "probing"
    LATCHED = "latched"


class Scope(StrEnum):
    SYSTEM = "system"
    ACCOUNT = "account"
    INSTRUMENT = "instrument"


class BreakerView(Message, frozen=True, kw_only=True, gc=False, tag="breaker_view"):
    """A breaker as people see it. `subject`: "system", an account id, or an instrument."""

    breaker: str  # "A1", "M2", ...
    name: str  # "daily loss"
    scope: Scope
    subject: str
    state: BreakerState
    effect: Effect
    reset: str  # auto | cooldown | day | manual
    who: str = ""  # operator | admin: who may reset it; "" nobody, before its own time
    since_ns: Instant = 0
    until_ns: Instant | None = None  # earliest automatic reset, when it has one
    evidence: str = ""


class StopState(StrEnum):
    """Where an emergency stop stands (SAFETY 5)."""

    NONE = "none"
    STOPPED = "stopped"
    LIQUIDATING = "liquidating"
    NOT_FLAT = "stopped_not_flat"
    WAITING_MARKET = "waiting_market"
    FLAT = "stopped_flat"


class AccountReceipt(Message, frozen=True, kw_only=True, gc=False, tag="account_receipt"):
    """What a stop did at one account, verified by reading the venue again."""

    account_id: AccountId
    orders_cancelled: tuple[str, ...] = ()
    trades_closed: tuple[str, ...] = ()
    still_open: tuple[str, ...] = ()
    pending_orders: tuple[str, ...] = ()
    realized_pl: str = "0"
    verified_ns: Instant | None = None
    problem: str = ""


class StopReceipt(Message, frozen=True, kw_only=True, gc=False, tag="stop_receipt"):
    """The receipt of an emergency stop. `accounts` empty in the request means all."""

    stop_id: str
    state: StopState
    actor: str
    reason: str
    gate_closed_at: Instant
    took_us: int
    persisted: bool
    liquidate: bool
    already_stopped: bool = False
    last_order_first_byte_at: Instant | None = None
    accounts: tuple[AccountReceipt, ...] = ()
    node: str = ""  # which node says so; "" where there is one only
    shared: bool | None = None  # whether the other nodes can read it; None where there are none


class Severity(StrEnum):
    INFO = "info"
    WARNING = "warning"
    CRITICAL = "critical"


class Alert(Message, frozen=True, kw_only=True, gc=False, tag="alert"):
    """Something a person should know within a second of its cause. `key` de-duplicates."""

    key: str
    severity: Severity
    title: str
    text: str
    at_ns: Instant
    subject: str = ""

"""What the kernel hears. Ticks and stream items are in `market`; these are the rest."""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from orchestrator.model.base import Message
from orchestrator.model.market import Beat, History, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentSpec, Side
from orchestrator.model.orders import WriteOutcome
from orchestrator.model.outcomes import PatternSeen, RiskAdvice
from orchestrator.model.reducing import ReduceKind
from orchestrator.model.safety import Scope
from orchestrator.model.signals import Answer, Role, Signal
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Transaction


class Started(Message, frozen=True, kw_only=True, gc=False, tag="e.started"):
    """The service came up: a new life with a new epoch. Intents of earlier lives become UNKNOWN."""

    version: str
    node: str
    epoch: int
    config_digest: str
    unclean: bool
    latched_stop_id: str | None = None  # a latch file was found
    breakers_lost: str = ""  # why the breakers' state could not be read: all trip (B3)


class SpecsSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.specs"):
    """The venue's instruments for an account (rules may differ by account)."""

    account_id: AccountId
    specs: tuple[InstrumentSpec, ...]


class AccountSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.account"):
    """The venue's own view of an account at a transaction id: adopts it, or reconciles with it."""

    account: Account


class TransactionsSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.transactions"):
    """Transactions from a stream, an answer or a read; the one door into the ledger (O8).

    `complete_to`: a `sinceid`/`idrange` read proved that there are no others up to this id.
    """

    account_id: AccountId
    transactions: tuple[Transaction, ...]
    last_transaction_id: int
    source: str  # "stream" | "answer" | "gap_fill"
    complete_to: int = 0


class HistoriesSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.histories"):
    """Candles of the past, before the first live price: what C16 knows after a start."""

    histories: tuple[History, ...]


class SignalSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.signal"):
    signal: Signal


class StageAnswered(Message, frozen=True, kw_only=True, gc=False, tag="e.answer"):
    """A stage's answer to the act `AskStage` of the same `ask_id`; `error` where it has none."""

    ask_id: int
    agent_id: str
    agent_version: str
    answer: Answer | None
    error: str = ""
    latency_us: int = 0


class SendFinished(Message, frozen=True, kw_only=True, gc=False, tag="e.sent"):
    """What became of an intent's request. `first_byte_ns` 0 when none was written."""

    intent_id: str
    outcome: WriteOutcome
    first_byte_ns: Instant = 0
    latency_us: int = 0


class StorageTrouble(Message, frozen=True, kw_only=True, gc=False, tag="e.storage"):
    """A durable write failed (ok false), or succeeded again (ok true, counted by S5)."""

    ok: bool
    reason: str = ""


class StorageSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.storage_seen"):
    """How the store does (S5): the 99th percentile of flushes over 10 s, and the disk's room.

    None where it is not known.
    """

    flush_ms: int | None = None
    free_mb: int | None = None


class BusSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.bus"):
    """The broker's condition (S6): silent for so long (0: reachable), and its delivery lag."""

    silent_ms: int
    lag_ms: int = 0


class ClockSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.clock"):
    """UTC against the monotonic clock since the last look, and against the venue's (S7).

    `venue_off_ms` None while it is not known.
    """

    stepped_ms: int
    venue_off_ms: int | None = None


class LoopSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.loop"):
    """How late the event loop came to a timer (S8)."""

    lag_ms: int


class MemorySeen(Message, frozen=True, kw_only=True, gc=False, tag="e.memory"):
    """What the process holds (S11): resident memory, and file descriptors of those allowed."""

    rss_mb: int
    files: int = 0
    files_max: int = 0


class AuditTrouble(Message, frozen=True, kw_only=True, gc=False, tag="e.audit"):
    """An append, checkpoint or verification of the audit trail failed (`ok` false): S12 latches.

    `ok` true: a verification or checkpoint after that worked; S12 stays, but an admin may reset.
    """

    ok: bool
    reason: str = ""


class CredentialsSeen(Message, frozen=True, kw_only=True, gc=False, tag="e.credentials"):
    """The venue refused our credentials (401, 403), or took those that were read anew (A10)."""

    account_id: AccountId
    ok: bool
    reason: str = ""


class ReadFailed(Message, frozen=True, kw_only=True, gc=False, tag="e.read_failed"):
    """A read that the kernel asked for (FetchTransactions, FetchAccount) failed; asked again."""

    account_id: AccountId
    reason: str


class RoleHealth(Message, frozen=True, kw_only=True, gc=False, tag="e.role_health"):
    """Whether a role has a healthy instance."""

    role: Role
    healthy: bool
    reason: str = ""


class StartTrading(Message, frozen=True, kw_only=True, gc=False, tag="c.start"):
    actor: str
    reason: str = ""


class StopTrading(Message, frozen=True, kw_only=True, gc=False, tag="c.stop"):
    """Drain: no new signals; positions stay with their stops unless `close_positions`."""

    actor: str
    reason: str = ""
    close_positions: bool = False


class Drained(Message, frozen=True, kw_only=True, gc=False, tag="c.drained"):
    """Nothing is in flight any more, or the time to drain is over."""


class EmergencyStop(Message, frozen=True, kw_only=True, gc=False, tag="c.emergency_stop"):
    """The gate is closed already when the kernel hears this."""

    stop_id: str
    actor: str
    reason: str
    liquidate: bool = True
    accounts: tuple[AccountId, ...] = ()
    gate_closed_ns: Instant = 0


class LiquidationSeen(Message, frozen=True, kw_only=True, gc=False, tag="c.liquidation"):
    """A step of the liquidator, for the record: text is a sentence."""

    stop_id: str
    account_id: AccountId
    state: str  # StopState's value for this account
    text: str


class Resume(Message, frozen=True, kw_only=True, gc=False, tag="c.resume"):
    """A person reopens after a stop. `open_trades` lists what the caller knows to be still open.

    `epoch`: a new one from the store (E3), so that no intent of before the stop is current.
    """

    stop_id: str
    actor: str
    reason: str
    open_trades: tuple[str, ...] = ()
    epoch: int = 0


class EnableAccount(Message, frozen=True, kw_only=True, gc=False, tag="c.enable"):
    account_id: AccountId
    enabled: bool
    actor: str
    reason: str = ""


class TripBreaker(Message, frozen=True, kw_only=True, gc=False, tag="c.trip"):
    breaker: str
    subject: str
    actor: str
    reason: str = ""


class ResetBreaker(Message, frozen=True, kw_only=True, gc=False, tag="c.reset"):
    """`rebase`: A2 only: the peak begins anew at the NAV of now (SAFETY 4)."""

    breaker: str
    subject: str
    actor: str
    reason: str = ""
    rebase: bool = False


class SetOverride(Message, frozen=True, kw_only=True, gc=False, tag="c.override"):
    """A person moves one named limit, or asks for the early reset of a breaker (SAFETY B5).

    `limit`: a name of the limits, or a breaker's id (then without `value`). `subject`: "system",
    an account or an instrument, as `scope` says. `until_ns` and `uses_max`: for what loosens.
    """

    override_id: str
    limit: str
    scope: Scope
    subject: str
    value: Decimal | None
    actor: str
    role: str
    reason: str
    until_ns: Instant | None = None
    uses_max: int = 1


class EndOverride(Message, frozen=True, kw_only=True, gc=False, tag="c.end_override"):
    """A person ends an override before its time."""

    override_id: str
    actor: str
    role: str
    reason: str


class ReduceRisk(Message, frozen=True, kw_only=True, gc=False, tag="c.reduce"):
    """A person closes, cancels or tightens (SAFETY 3, `reduce`); fields as in `Reduction`.

    One `command_id` is carried out once at an account, however often it is heard.
    """

    command_id: str
    kind: ReduceKind
    account_id: AccountId
    target: str
    units: Decimal | None = None
    side: Side | None = None
    price: Decimal | None = None
    actor: str
    reason: str = ""


class Noted(Message, frozen=True, kw_only=True, gc=False, tag="c.noted"):
    """An operator's action or refusal that changes no state of the kernel, for the record."""

    actor: str
    action: str
    text: str


Event: TypeAlias = (
    Tick | StreamBeat | StreamUp | StreamDown | Beat
    | HistoriesSeen | Started | SpecsSeen | AccountSeen | TransactionsSeen | SignalSeen
    | StageAnswered | SendFinished | StorageTrouble | StorageSeen | BusSeen | ClockSeen
    | LoopSeen | MemorySeen | AuditTrouble | CredentialsSeen | ReadFailed | RoleHealth
    | PatternSeen | RiskAdvice
    | StartTrading | StopTrading | Drained | EmergencyStop | LiquidationSeen | Resume
    | EnableAccount | TripBreaker | ResetBreaker | SetOverride | EndOverride | ReduceRisk | Noted
)  # fmt: skip

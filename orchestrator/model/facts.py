"""What happened, past tense: the only things that change the kernel's state, and the journal.

No field of a fact is a float (SAFETY D1). `subject` is whom it concerns, `corr` the signal's id.
"""

from __future__ import annotations

from decimal import Decimal
from typing import TypeAlias

from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentSpec
from orchestrator.model.orders import Intent, IntentState
from orchestrator.model.outcomes import (
    AnomalySeen,
    ChangeProposed,
    PatternSeen,
    RiskAdvice,
    TradeClosed,
    TradeOpened,
    TradeOutcome,
)
from orchestrator.model.reducing import Reduction, ReductionState
from orchestrator.model.safety import Alert, BreakerState, Effect, Scope, SystemMode
from orchestrator.model.signals import Answer, Outcome, Question, Role, Signal
from orchestrator.model.time import Instant
from orchestrator.model.venue import Account, Transaction


class ServiceStarted(Message, frozen=True, kw_only=True, gc=False, tag="service.started"):
    version: str
    node: str
    epoch: int
    config_digest: str
    unclean: bool


class ServiceStopped(Message, frozen=True, kw_only=True, gc=False, tag="service.stopped"):
    """An orderly end of a life; a journal that ends otherwise was cut off (unclean)."""

    reason: str


class ModeChanged(Message, frozen=True, kw_only=True, gc=False, tag="mode.changed"):
    """`wanted_running`: whether a restart should go on trading by itself (R1)."""

    mode: SystemMode
    wanted_running: bool
    actor: str
    reason: str


class SpecsLearned(Message, frozen=True, kw_only=True, gc=False, tag="specs.learned"):
    """Said only when an account's rules differ from what was known."""

    account_id: AccountId
    specs: tuple[InstrumentSpec, ...]


class AccountAdopted(Message, frozen=True, kw_only=True, gc=False, tag="account.adopted"):
    """First sight of an account: the ledger's base line at `account.last_transaction_id`."""

    account: Account


class AccountReconciled(Message, frozen=True, kw_only=True, gc=False, tag="account.reconciled"):
    account_id: AccountId
    last_transaction_id: int
    differences: tuple[str, ...] = ()  # empty: equal to the last digit


class AccountSwitched(Message, frozen=True, kw_only=True, gc=False, tag="account.switched"):
    account_id: AccountId
    enabled: bool
    actor: str
    reason: str


class TransactionApplied(Message, frozen=True, kw_only=True, gc=False, tag="transaction.applied"):
    """One venue transaction entered the ledger, once, in id order (O8, INV-05)."""

    account_id: AccountId
    transaction: Transaction
    source: str


class TransactionHole(Message, frozen=True, kw_only=True, gc=False, tag="transaction.hole"):
    """Two reads showed that this id does not exist."""

    account_id: AccountId
    transaction_id: int


class DayStarted(Message, frozen=True, kw_only=True, gc=False, tag="day.started"):
    """A trading day began for an account: E0 (SAFETY B4)."""

    account_id: AccountId
    day: str
    equity: Decimal


class PeakRaised(Message, frozen=True, kw_only=True, gc=False, tag="peak.raised"):
    """P has moved; said in steps of at least 0.01 % so that ticks write nothing.

    `high`: the highest NAV so far, where the account's profile measures P otherwise.
    """

    account_id: AccountId
    peak: Decimal
    high: Decimal | None = None


class ProfileTaken(Message, frozen=True, kw_only=True, gc=False, tag="profile.taken"):
    """An account has a (new) profile: from where its drawdown and its target are measured."""

    account_id: AccountId
    profile: str
    start: Decimal
    peak: Decimal
    high: Decimal


class RiskAdvised(Message, frozen=True, kw_only=True, gc=False, tag="risk.advised"):
    """An agent's advice to risk less was taken (SAFETY B6)."""

    advice: RiskAdvice


class SignalAccepted(Message, frozen=True, kw_only=True, gc=False, tag="signal.accepted"):
    """A signal entered its path for these accounts."""

    signal: Signal
    accounts: tuple[AccountId, ...]


class StageDecided(Message, frozen=True, kw_only=True, gc=False, tag="stage.decided"):
    """One stage answered (or failed to): who, what, why, how fast. account "" for allocation."""

    signal_id: str
    account_id: AccountId
    stage: Role
    agent_id: str
    agent_version: str
    passed: bool
    reason: str
    question: Question
    answer: Answer | None
    latency_us: int


class ChecksDecided(Message, frozen=True, kw_only=True, gc=False, tag="checks.decided"):
    """The kernel's pre-trade checks of one proposal: every objection, the first decides."""

    signal_id: str
    account_id: AccountId
    passed: bool
    checks: tuple[str, ...]  # ids that were evaluated
    objections: tuple[str, ...]


class IntentWritten(Message, frozen=True, kw_only=True, gc=False, tag="intent.written"):
    intent: Intent


class IntentMoved(Message, frozen=True, kw_only=True, gc=False, tag="intent.moved"):
    """A step of an order's life (SAFETY 7)."""

    intent_id: str
    signal_id: str
    account_id: AccountId
    state: IntentState
    reason: str = ""
    order_id: str = ""
    trade_id: str = ""
    first_byte_ns: Instant = 0
    latency_us: int = 0


class SignalEnded(Message, frozen=True, kw_only=True, gc=False, tag="signal.ended"):
    """The one outcome of a signal at one account (INV-14). `stage` that rejected it, or ""."""

    signal_id: str
    account_id: AccountId
    outcome: Outcome
    stage: str
    reason: str


class BreakerTripped(Message, frozen=True, kw_only=True, gc=False, tag="breaker.tripped"):
    breaker: str
    scope: Scope
    subject: str
    effect: Effect
    evidence: str
    latched: bool = False
    until_ns: Instant | None = None
    scale: Decimal | None = None
    actor: str = "kernel"
    cooldown_s: int = 0  # for so long, then probing (B2)


class BreakerMoved(Message, frozen=True, kw_only=True, gc=False, tag="breaker.moved"):
    """A tripped breaker began to probe (B2), or its cool-down begins anew after a restart.

    `scale`: what multiplies risk while it probes.
    """

    breaker: str
    scope: Scope
    subject: str
    state: BreakerState  # probing | tripped
    until_ns: Instant
    reason: str
    scale: Decimal | None = None
    actor: str = "kernel"


class BreakerReset(Message, frozen=True, kw_only=True, gc=False, tag="breaker.reset"):
    breaker: str
    scope: Scope
    subject: str
    actor: str
    reason: str


class OverrideSet(Message, frozen=True, kw_only=True, gc=False, tag="override.set"):
    """A person has moved a limit (SAFETY B5). `was`: the limit in force before, without overrides.

    For the early reset of a breaker `limit` is its id, and there are no values.
    """

    override_id: str
    limit: str
    scope: Scope
    subject: str
    value: Decimal
    was: Decimal
    loosens: bool
    actor: str
    role: str
    reason: str
    until_ns: Instant | None
    uses_max: int


class OverrideUsed(Message, frozen=True, kw_only=True, gc=False, tag="override.used"):
    """An order that would not have passed without it, or the reset that it was for."""

    override_id: str
    limit: str
    account_id: AccountId
    intent_id: str
    signal_id: str
    uses_left: int


class OverrideEnded(Message, frozen=True, kw_only=True, gc=False, tag="override.ended"):
    override_id: str
    limit: str
    subject: str
    actor: str
    reason: str


class TickDropped(Message, frozen=True, kw_only=True, gc=False, tag="tick.dropped"):
    """A bad tick (M5): dropped, counted, never valued."""

    instrument: str
    reason: str
    at_ns: Instant


class Stopped(Message, frozen=True, kw_only=True, gc=False, tag="stop.raised"):
    stop_id: str
    actor: str
    reason: str
    liquidate: bool
    accounts: tuple[AccountId, ...]
    gate_closed_ns: Instant
    repeated: bool = False


class StopStep(Message, frozen=True, kw_only=True, gc=False, tag="stop.step"):
    stop_id: str
    account_id: AccountId
    state: str
    text: str


class Resumed(Message, frozen=True, kw_only=True, gc=False, tag="stop.resumed"):
    stop_id: str
    actor: str
    reason: str
    epoch: int


class OperatorActed(Message, frozen=True, kw_only=True, gc=False, tag="operator.acted"):
    """Someone asked for something; `refused` says why it was not done, or "" when it was."""

    actor: str
    action: str
    text: str
    refused: str = ""
    role: str = ""


class ReductionWritten(Message, frozen=True, kw_only=True, gc=False, tag="reduction.written"):
    """A person's close, cancel or tighter stop passed its checks, and is about to be sent."""

    reduction: Reduction


class ReductionMoved(Message, frozen=True, kw_only=True, gc=False, tag="reduction.moved"):
    """What became of it. `transaction_id`: the one that decided (0: none)."""

    reduction_id: str
    account_id: AccountId
    state: ReductionState
    reason: str = ""
    transaction_id: int = 0
    first_byte_ns: Instant = 0
    latency_us: int = 0


class AlertRaised(Message, frozen=True, kw_only=True, gc=False, tag="alert.raised"):
    alert: Alert


class AlertSent(Message, frozen=True, kw_only=True, gc=False, tag="alert.sent"):
    """An alert was handed to a channel, for so many `times` it came; `failure`: why it was not."""

    key: str
    channel: str
    times: int = 1
    failure: str = ""


class ConfigurationUsed(Message, frozen=True, kw_only=True, gc=False, tag="configuration.used"):
    """The settings of this and later lives, when they differ from the last ones on record.

    Without secrets; `digest` is of what decides, as in `ServiceStarted`.
    """

    digest: str
    values: tuple[str, ...]  # NAME=value


class AgentChanged(Message, frozen=True, kw_only=True, gc=False, tag="agent.changed"):
    """An agent registered, or its health changed. Written by the service, not by the kernel."""

    agent_id: str
    role: Role
    state: str  # starting | healthy | degraded | unhealthy | stopped
    version: str
    reason: str


Fact: TypeAlias = (
    ServiceStarted | ServiceStopped | ModeChanged | SpecsLearned | AccountAdopted
    | AccountReconciled
    | AccountSwitched | TransactionApplied | TransactionHole | DayStarted | PeakRaised
    | SignalAccepted | StageDecided | ChecksDecided | IntentWritten | IntentMoved | SignalEnded
    | BreakerTripped | BreakerMoved | BreakerReset | TickDropped | Stopped | StopStep | Resumed
    | ProfileTaken | RiskAdvised | OverrideSet | OverrideUsed | OverrideEnded
    | ReductionWritten | ReductionMoved
    | OperatorActed | AlertRaised | AlertSent | ConfigurationUsed | AgentChanged
    | TradeOpened | TradeClosed | TradeOutcome
    | AnomalySeen | PatternSeen | ChangeProposed
)  # fmt: skip


def subject_of(fact: Fact) -> str:
    """Whom a fact concerns: intent, account, breaker's subject, instrument, or "system"."""
    if isinstance(fact, IntentWritten):
        return fact.intent.intent_id
    if isinstance(fact, AccountAdopted):
        return fact.account.id
    if isinstance(fact, ReductionWritten):
        return fact.reduction.reduction_id
    for name in (
        "intent_id",
        "reduction_id",
        "account_id",
        "subject",
        "agent_id",
        "instrument",
        "strategy",
    ):
        value = getattr(fact, name, "")
        if value:
            return str(value)
    return "system"


def corr_of(fact: Fact) -> str:
    """The signal's id that a fact belongs to, or ""."""
    if isinstance(fact, SignalAccepted):
        return fact.signal.signal_id
    if isinstance(fact, IntentWritten):
        return fact.intent.signal_id
    return str(getattr(fact, "signal_id", ""))


def actor_of(fact: Fact) -> str:
    """Who did it: a person, an agent, or "kernel"."""
    if isinstance(fact, ReductionWritten):
        return fact.reduction.actor
    return str(getattr(fact, "actor", "") or getattr(fact, "agent_id", "") or "kernel")

"""What the kernel must remember over a crash: changed by facts alone, stored as one snapshot."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.ledger.day import DayBook
from orchestrator.kernel.safety.board import Board
from orchestrator.kernel.safety.overrides import Override
from orchestrator.model.limits import KernelPlan
from orchestrator.model.money import AccountId, InstrumentName, InstrumentSpec, Side
from orchestrator.model.orders import Intent, IntentState
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.reducing import Reduction, ReductionState
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import Signal
from orchestrator.model.time import Instant


class IntentRecord(msgspec.Struct, kw_only=True):
    """An intent and where it stands. Ended ones keep no body: only their name is watched (O7)."""

    intent: Intent
    state: IntentState = IntentState.WRITTEN
    since_ns: Instant = 0
    reason: str = ""
    order_id: str = ""
    trade_id: str = ""


class ReductionRecord(msgspec.Struct, kw_only=True):
    """A person's close, cancel or tighter stop, and where it stands."""

    reduction: Reduction
    state: ReductionState = ReductionState.WRITTEN
    since_ns: Instant = 0
    reason: str = ""
    transaction_id: int = 0


class SignalRecord(msgspec.Struct, kw_only=True):
    """A signal on its path; `open` are the accounts where it has not ended."""

    signal: Signal
    open: list[AccountId]


class Recent(msgspec.Struct, kw_only=True):
    """An order of the last minute, for C04 and C17."""

    at_ns: Instant
    intent_id: str
    strategy: str
    instrument: InstrumentName
    side: Side


class AccountRecord(msgspec.Struct, kw_only=True):
    """One account. `enabled` None: as the settings say; else a person has switched it."""

    enabled: bool | None = None
    stopped: bool = False
    reconciled: bool = False
    differences: tuple[str, ...] = ()
    epoch_seen: int = 0  # the highest that an order of our form bears, whoever's life made it (R6)
    specs: dict[InstrumentName, InstrumentSpec] = msgspec.field(
        default_factory=dict[InstrumentName, InstrumentSpec]
    )
    book: Book | None = None
    day: DayBook | None = None
    bucket_ns: Instant = 0
    recent: list[Recent] = msgspec.field(default_factory=list[Recent])
    sizes: dict[str, list[Decimal]] = msgspec.field(default_factory=dict[str, list[Decimal]])
    # Entries of the last hour by strategy and instrument (A4).
    entries: dict[str, list[Instant]] = msgspec.field(default_factory=dict[str, list[int]])
    # Losing trades in a row, stop-outs, and results so far of trades that are closed in part (A3).
    losing_run: int = 0
    stop_outs: list[Instant] = msgspec.field(default_factory=list[int])
    parts: dict[str, Decimal] = msgspec.field(default_factory=dict[str, Decimal])
    # Realised return by the hour since 1970, of the last hours with any (S3).
    returns: dict[int, Decimal] = msgspec.field(default_factory=dict[int, Decimal])


class StopRecord(msgspec.Struct, kw_only=True):
    """The standing emergency stop. `accounts` empty: the whole system."""

    stop_id: str
    actor: str
    reason: str
    liquidate: bool
    accounts: tuple[AccountId, ...]
    at_ns: Instant


class State(msgspec.Struct, kw_only=True):
    """Everything durable. `generation` moves with every breaker, limit and mode (G2)."""

    mode: SystemMode = SystemMode.STARTING
    wanted_running: bool = False
    epoch: int = 0
    generation: int = 0
    stop: StopRecord | None = None
    unclean: list[Instant] = msgspec.field(default_factory=list[int])  # starts after a crash (S10)
    accounts: dict[AccountId, AccountRecord] = msgspec.field(
        default_factory=dict[AccountId, AccountRecord]
    )
    signals: dict[str, SignalRecord] = msgspec.field(default_factory=dict[str, SignalRecord])
    seen: dict[str, Instant] = msgspec.field(default_factory=dict[str, int])
    intents: dict[str, IntentRecord] = msgspec.field(default_factory=dict[str, IntentRecord])
    ended: dict[str, IntentRecord] = msgspec.field(default_factory=dict[str, IntentRecord])
    board: Board = msgspec.field(default_factory=Board)
    advice: dict[str, RiskAdvice] = msgspec.field(default_factory=dict[str, RiskAdvice])
    reductions: dict[str, ReductionRecord] = msgspec.field(
        default_factory=dict[str, ReductionRecord]
    )
    reduced: dict[str, ReductionRecord] = msgspec.field(default_factory=dict[str, ReductionRecord])
    overrides: dict[str, Override] = msgspec.field(default_factory=dict[str, Override])

    def intent_of(self, intent_id: str) -> Intent | None:
        """Open or watched; None for a name that no intent of ours bears."""
        record = self.intents.get(intent_id) or self.ended.get(intent_id)
        return record.intent if record is not None else None


def entry_key(strategy: str, instrument: InstrumentName | str) -> str:
    """What A4 and C09 count by."""
    return f"{strategy}|{instrument}"


def first_state(plan: KernelPlan) -> State:
    """Before the first fact: the configured accounts, nothing known of them."""
    return welcome(State(), plan)


def welcome(state: State, plan: KernelPlan) -> State:
    """Accounts that the settings have added since the snapshot."""
    for account in plan.accounts:
        state.accounts.setdefault(account.account_id, AccountRecord())
    return state

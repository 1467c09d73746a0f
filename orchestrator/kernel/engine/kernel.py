"""The kernel: one event in, facts and acts out; pure, synchronous, readable from top to bottom."""

from __future__ import annotations

import hashlib
from decimal import Decimal
from functools import lru_cache
from typing import assert_never

import msgspec

from orchestrator.kernel.engine import (
    accounts,
    exposing,
    holding,
    hours,
    house,
    leverage,
    losses,
    operators,
    overriding,
    path,
    prices,
    probing,
    profiling,
    reducing,
    scene,
    sending,
    tightening,
)
from orchestrator.kernel.engine.applying import apply_fact
from orchestrator.kernel.engine.integrity import broken
from orchestrator.kernel.engine.state import (
    ReductionRecord,
    State,
    StopRecord,
    first_state,
    welcome,
)
from orchestrator.kernel.engine.tightening import Tightening
from orchestrator.kernel.engine.turn import InForce, Turn, World
from orchestrator.kernel.ledger import valuation
from orchestrator.kernel.ledger.book import Book
from orchestrator.kernel.ledger.day import DayBook
from orchestrator.kernel.ledger.quotes import Quotes
from orchestrator.kernel.orders.identity import reduction_id
from orchestrator.kernel.safety.checks.c01_state import OPEN_MODES
from orchestrator.kernel.safety.overrides import Override
from orchestrator.model.acts import Act
from orchestrator.model.events import (
    AccountSeen,
    AuditTrouble,
    BusSeen,
    ClockSeen,
    CredentialsSeen,
    Drained,
    EmergencyStop,
    EnableAccount,
    EndOverride,
    Event,
    HistoriesSeen,
    LiquidationSeen,
    LoopSeen,
    MemorySeen,
    Noted,
    ReadFailed,
    ReduceRisk,
    ResetBreaker,
    Resume,
    RoleHealth,
    SendFinished,
    SetOverride,
    SignalSeen,
    SpecsSeen,
    StageAnswered,
    Started,
    StartTrading,
    StopTrading,
    StorageSeen,
    StorageTrouble,
    TransactionsSeen,
    TripBreaker,
)
from orchestrator.model.facts import Fact, OperatorActed, StopStep
from orchestrator.model.limits import AccountLimits, AccountPlan, KernelPlan
from orchestrator.model.market import Beat, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import AccountId, InstrumentName, Price, Side
from orchestrator.model.orders import (
    Answered,
    Intent,
    IntentState,
    Rejected,
    Reservation,
    WriteOutcome,
)
from orchestrator.model.outcomes import PatternSeen, RiskAdvice
from orchestrator.model.safety import AccountMode, BreakerView, SystemMode
from orchestrator.model.signals import AccountView, Exposure
from orchestrator.model.time import NS_PER_MS, NS_PER_S, Instant
from orchestrator.model.venue import Transaction

# Events of a signal's path: what they say clears the views, if it changes what views show.
_CHANGES_NO_VIEW = frozenset((SignalSeen, StageAnswered))
_FLATTEN_AGAIN_NS = 30 * NS_PER_S


class Step(msgspec.Struct, frozen=True):
    """What one event came to: facts to make durable, then acts to perform, both in order."""

    facts: tuple[Fact, ...]
    acts: tuple[Act, ...]


class _Snapshot(msgspec.Struct, frozen=True, kw_only=True):
    """`shape`: a digest of the state's own definition, down to its last field."""

    shape: str
    state: State


@lru_cache(maxsize=1)
def _shape_of_state() -> str:
    definition = msgspec.json.encode(msgspec.json.schema(State), order="sorted")
    return hashlib.sha256(definition).hexdigest()[:16]


class InFlight(msgspec.Struct, frozen=True, kw_only=True):
    """An intent that is not settled, for people to see."""

    intent: Intent
    state: IntentState
    since_ns: Instant
    reason: str


class DayView(msgspec.Struct, frozen=True, kw_only=True):
    """An account's day, home currency; None where it is unknown."""

    day: str
    equity_start: Decimal
    peak: Decimal
    nav: Decimal | None
    loss: Decimal | None
    day_loss_fraction: Decimal | None
    drawdown_fraction: Decimal | None


class Kernel:
    """Decides; never acts. State changes only by facts, in `step` as in `apply`."""

    def __init__(self, plan: KernelPlan) -> None:
        self._world = World(plan, first_state(plan))
        self._viewed_ns: Instant = 0

    # -- the one way in --------------------------------------------------------------------------

    def step(self, event: Event, now: Instant) -> Step:
        """Decide on one event at one instant of the market's clock."""
        if now != self._viewed_ns or type(event) not in _CHANGES_NO_VIEW:
            self._world.forget()
            self._viewed_ns = now
        turn = Turn(self._world, now)
        try:
            if self._world.state.overrides:
                overriding.end_due(turn)
            self._hear(turn, event)
        except Exception as exc:  # noqa: BLE001 -- K9: a bug here stops trading, with its evidence
            text = f"{type(event).__name__}: {type(exc).__name__}: {exc}"
            broken(turn, text[:500])
        return Step(tuple(turn.facts), tuple(turn.acts))

    def _hear(self, turn: Turn, event: Event) -> None:  # noqa: C901, PLR0912, PLR0915 -- one table
        match event:
            # The market.
            case Tick():
                prices.on_tick(turn, event)
            case StreamBeat(stream="prices"):
                turn.live.prices_ns = max(turn.live.prices_ns, event.seen_ns)
            case StreamBeat():
                accounts.on_stream_beat(turn, event)
            case StreamUp():
                if event.stream == "prices":
                    prices.on_stream_up(turn)
                else:
                    accounts.on_stream_up(turn, event.account_id)
            case StreamDown():
                pass  # its silence is what counts: M1 and A7 judge that
            case Beat():
                self._beat(turn)
            case HistoriesSeen():
                turn.live.covariance.teach(event.histories)
            # A signal's path.
            case SignalSeen():
                path.on_signal(turn, event.signal)
            case StageAnswered():
                path.on_answer(turn, event)
            case SendFinished():
                self._sent(turn, event)
            # The venue's word.
            case SpecsSeen():
                accounts.on_specs(turn, event)
            case AccountSeen():
                accounts.on_account(turn, event)
                operators.keep_mode(turn)
            case TransactionsSeen():
                accounts.take(
                    turn, event.account_id, event.transactions, event.last_transaction_id,
                    event.source, event.complete_to,
                )  # fmt: skip
                operators.keep_mode(turn)
            case ReadFailed():
                sending.read_failed(turn, event.account_id)
            # The house's own condition.
            case Started():
                operators.on_started(turn, event)
            case StorageTrouble():
                house.on_storage(turn, event)
            case StorageSeen():
                house.on_storage_seen(turn, event)
            case BusSeen():
                house.on_bus(turn, event)
            case ClockSeen():
                house.on_clock(turn, event)
            case LoopSeen():
                house.on_loop(turn, event)
            case MemorySeen():
                house.on_memory(turn, event)
            case AuditTrouble():
                house.on_audit(turn, event)
            case CredentialsSeen():
                house.on_credentials(turn, event)
            case RoleHealth():
                house.on_role(turn, event)
            case PatternSeen():
                operators.on_pattern(turn, event)
            case RiskAdvice():
                tightening.on_advice(turn, event)
            case Drained():
                operators.on_drained(turn)
            # People.
            case StartTrading():
                operators.on_start(turn, event)
            case StopTrading():
                operators.on_stop(turn, event)
            case EmergencyStop():
                operators.on_emergency_stop(turn, event)
            case Resume():
                operators.on_resume(turn, event)
            case EnableAccount():
                operators.on_enable(turn, event)
            case TripBreaker():
                operators.on_trip(turn, event)
            case ResetBreaker():
                operators.on_reset(turn, event)
            case SetOverride():
                overriding.on_set(turn, event)
            case EndOverride():
                overriding.on_end(turn, event)
            case ReduceRisk():
                reducing.on_reduce(turn, event)
            case LiquidationSeen():
                turn.say(StopStep(
                    stop_id=event.stop_id, account_id=event.account_id, state=event.state,
                    text=event.text,
                ))  # fmt: skip
            case Noted():
                turn.say(OperatorActed(actor=event.actor, action=event.action, text=event.text))
            case _:
                assert_never(event)

    def _beat(self, turn: Turn) -> None:
        """Each second of market time: what time alone brings about."""
        path.keep_signals(turn)
        hours.keep_hours(turn)
        losses.keep_day(turn)
        profiling.keep(turn)
        prices.keep_prices(turn)
        accounts.keep_accounts(turn)
        leverage.judge_margins(turn, turn.world.account_ids)
        leverage.keep_correlations(turn)
        sending.keep_orders(turn)
        reducing.keep(turn)
        holding.keep_calm(turn)
        probing.keep_cooling(turn)
        operators.keep_mode(turn)
        if turn.now - turn.live.reflatten_ns >= _FLATTEN_AGAIN_NS:
            turn.live.reflatten_ns = turn.now
            losses.flatten_again(turn)
            losses.liquidate_again(turn)

    def _sent(self, turn: Turn, event: SendFinished) -> None:
        """The answer's transactions go through the door first: they may settle the intent."""
        reduction = reducing.record_of(self._world, event.intent_id)
        if reduction is not None:
            reducing.note_sent(turn, event)
            transactions, last_id = _told_by(event.outcome)
            if transactions:
                accounts.take(turn, reduction.reduction.account_id, transactions, last_id, "answer")
            reducing.on_sent(turn, event)
            return
        is_news = sending.note_sent(turn, event)
        intent = turn.state.intent_of(event.intent_id)
        transactions, last_id = _told_by(event.outcome)
        if intent is not None and transactions:
            accounts.take(turn, intent.account_id, transactions, last_id, "answer")
        if is_news:
            sending.on_sent(turn, event)

    # -- recovery --------------------------------------------------------------------------------

    def apply(self, fact: Fact, at: Instant) -> None:
        """Take over one fact of the journal; decides nothing."""
        self._world.forget()
        apply_fact(self._world.state, fact, at, self._world.plan.checks)

    def snapshot(self) -> bytes:
        """The durable state, as JSON."""
        return msgspec.json.encode(_Snapshot(shape=_shape_of_state(), state=self._world.state))

    def restore(self, data: bytes) -> None:
        """Replace all state by a snapshot's; ValueError if it cannot be read, or is of another
        version's shape: its missing fields would silently take their defaults.
        """
        plan, saved = self._world.plan, msgspec.json.decode(data, type=_Snapshot)
        if saved.shape != _shape_of_state():
            raise ValueError("a snapshot of another version's state")
        self._world = World(plan, welcome(saved.state, plan))

    # -- the gate --------------------------------------------------------------------------------

    def may_send(self, intent_id: str, now: Instant) -> str | None:  # noqa: PLR0911 -- a list
        """The kernel's part of G2, asked with the socket in hand: why not, or None."""
        state = self._world.state
        reduction = state.reductions.get(intent_id)
        if reduction is not None:
            return reducing.may_send(Turn(self._world, now), reduction)
        record = state.intents.get(intent_id)
        if record is None or record.state is not IntentState.WRITTEN:
            return f"intent {intent_id} is not waiting to be sent"
        intent = record.intent
        account = self._world.record(intent.account_id)
        if account is None or account.stopped:
            return "the emergency stop stands"
        if not self._world.enabled(intent.account_id):
            return f"account {intent.account_id} is disabled"
        if state.mode not in OPEN_MODES:
            return f"system is {state.mode}"
        if now > intent.expires_ns:
            return "its time to live is over"
        if intent.epoch != state.epoch:
            return f"intent of epoch {intent.epoch}, now {state.epoch}"
        age_ns = now - intent.checked_ns
        fresh = 0 <= age_ns <= self._world.plan.checks.recheck_ms * NS_PER_MS
        over = state.overrides and overriding.lapsed(self._world, intent_id, now)
        if fresh and intent.generation == state.generation and not over:
            return None
        return path.may_send(Turn(self._world, now), intent)

    # -- views -----------------------------------------------------------------------------------

    @property
    def mode(self) -> SystemMode:
        return self._world.state.mode

    @property
    def wanted_running(self) -> bool:
        return self._world.state.wanted_running

    @property
    def epoch(self) -> int:
        return self._world.state.epoch

    def epoch_seen(self, account_id: AccountId) -> int:
        """The highest epoch that the venue's log tells of there; 0: none (R6)."""
        record = self._world.record(account_id)
        return 0 if record is None else record.epoch_seen

    @property
    def generation(self) -> int:
        """Moves with every breaker, limit, switch and mode."""
        return self._world.state.generation

    @property
    def account_ids(self) -> tuple[AccountId, ...]:
        """The configured accounts, in the order of the settings."""
        return self._world.account_ids

    @property
    def instruments(self) -> tuple[InstrumentName, ...]:
        return self._world.plan.instruments

    def known_instruments(self) -> frozenset[InstrumentName]:
        """Every instrument whose rules the venue has told for some account."""
        records = self._world.state.accounts.values()
        return frozenset(name for record in records for name in record.specs)

    def limits_of(self, account_id: AccountId) -> AccountLimits:
        """In force now; the totals' own for an account that is not configured."""
        return self._world.limits(account_id)

    def tightenings(self, account_id: AccountId, now: Instant) -> tuple[Tightening, ...]:
        """What tightens the account's limits just now, by whom and why."""
        self._world.now_ns = now
        return tightening.tightenings(self._world, account_id)

    @property
    def plan(self) -> KernelPlan:
        return self._world.plan

    def account_plan(self, account_id: AccountId) -> AccountPlan:
        """As the settings have it; KeyError for an account that is not configured."""
        return self._world.plans[account_id]

    def in_force(self, account_id: AccountId) -> InForce:
        """The account's numbers with the overrides that stand."""
        return self._world.in_force(account_id)

    def overrides(self) -> tuple[Override, ...]:
        """Those that stand; to be read only."""
        return tuple(each for each in self._world.state.overrides.values() if not each.ended)

    @property
    def stop_id(self) -> str | None:
        stop = self._world.state.stop
        return stop.stop_id if stop is not None else None

    @property
    def standing_stop(self) -> StopRecord | None:
        """The emergency stop in force as the journal has it; to be read only."""
        return self._world.state.stop

    @property
    def stopped_accounts(self) -> tuple[AccountId, ...]:
        """Accounts whose gate a standing stop has closed; all of them for a stop of the system."""
        state = self._world.state
        return tuple(name for name, record in state.accounts.items() if record.stopped)

    @property
    def storage_blocked(self) -> bool:
        return self._world.state.board.get("S5") is not None

    @property
    def audit_blocked(self) -> bool:
        """Whether the trail is not trusted (S12)."""
        return self._world.state.board.get("S12") is not None

    @property
    def quotes(self) -> Quotes:
        return self._world.live.quotes

    @property
    def books(self) -> dict[AccountId, Book]:
        """To be read only: the books of every adopted account."""
        accounts_ = self._world.state.accounts
        return {name: record.book for name, record in accounts_.items() if record.book is not None}

    def breakers(self, now: Instant) -> tuple[BreakerView, ...]:  # noqa: ARG002 -- all views take it
        world = self._world
        return world.state.board.views(world.account_ids, world.plan.instruments)

    def refused_accounts(self) -> tuple[AccountId, ...]:
        """Those whose credentials the venue refuses (A10)."""
        board = self._world.state.board
        return tuple(name for name in self._world.account_ids if board.get("A10", name) is not None)

    def enabled(self, account_id: AccountId) -> bool:
        return self._world.enabled(account_id)

    def reconciled(self, account_id: AccountId) -> bool:
        record = self._world.record(account_id)
        return record is not None and record.reconciled

    def reduction(self, account_id: AccountId, command_id: str) -> ReductionRecord | None:
        """A person's close, cancel or tighter stop, not settled or of the last day."""
        return reducing.record_of(self._world, reduction_id(command_id, account_id))

    def reductions(self) -> tuple[ReductionRecord, ...]:
        """The oldest of what has ended first, then what is on its way; to be read only."""
        state = self._world.state
        return (*state.reduced.values(), *state.reductions.values())

    def account_mode(self, account_id: AccountId, now: Instant) -> AccountMode:  # noqa: ARG002
        return scene.account_mode(self._world, account_id)

    def account_blocks(self, account_id: AccountId, now: Instant) -> tuple[str, ...]:  # noqa: ARG002
        return scene.blocks(self._world, account_id)

    def account_view(
        self,
        account_id: AccountId,
        now: Instant,  # noqa: ARG002
        instrument: InstrumentName | None = None,
        side: Side | None = None,
        stop_distance: Price | None = None,
        strategy: str = "",
    ) -> AccountView | None:
        wish = None
        if instrument is not None:
            wish = scene.Wish(
                instrument=instrument, side=side, stop_distance=stop_distance, strategy=strategy
            )
        return scene.account_view(self._world, account_id, wish)

    def in_flight(self) -> tuple[InFlight, ...]:
        return tuple(
            InFlight(
                intent=record.intent, state=record.state, since_ns=record.since_ns,
                reason=record.reason,
            )
            for record in self._world.state.intents.values()
        )  # fmt: skip

    def signals_in_flight(self) -> int:
        return len(self._world.state.signals)

    def reservations(self, account_id: AccountId) -> tuple[Reservation, ...]:
        found = exposing.reservations(self._world, account_id)
        return tuple(record.intent.reservation for record in found)

    def intent(self, intent_id: str) -> Intent | None:
        """An open intent, or an ended one of the last day (its body is gone then)."""
        return self._world.state.intent_of(intent_id)

    def margin_used(self, account_id: AccountId) -> Decimal | None:
        """Of the open trades, home currency; None while prices or rules are missing."""
        record = self._world.record(account_id)
        if record is None or record.book is None:
            return None
        return valuation.margin_used(record.book, self._world.live.quotes, record.specs)

    def exposures(self, account_id: AccountId) -> tuple[Exposure, ...]:
        """Signed currency legs of trades and of what is in flight; empty while unknown."""
        return exposing.exposures_of(self._world, account_id)

    def nav(self, account_id: AccountId) -> Decimal | None:
        return scene.nav_of(self._world, account_id)

    def day_values(self, account_id: AccountId) -> DayView | None:
        """None until the account's first trading day has begun."""
        record = self._world.record(account_id)
        if record is None or record.day is None:
            return None
        day, nav = record.day, scene.nav_of(self._world, account_id)
        return _day_view(day, nav)

    @property
    def ticks_dropped(self) -> int:
        return self._world.live.ticks_dropped

    @property
    def answers_ignored(self) -> int:
        """Answers to no open question: late, doubled or invented."""
        return self._world.live.answers_ignored


def _day_view(day: DayBook, nav: Decimal | None) -> DayView:
    return DayView(
        day=day.day, equity_start=day.equity_start, peak=day.peak, nav=nav,
        loss=None if nav is None else day.loss(nav),
        day_loss_fraction=None if nav is None else day.loss_fraction(nav),
        drawdown_fraction=None if nav is None else day.drawdown_fraction(nav),
    )  # fmt: skip


def _told_by(outcome: WriteOutcome) -> tuple[tuple[Transaction, ...], int]:
    if isinstance(outcome, (Answered, Rejected)):
        return outcome.transactions, outcome.last_transaction_id
    return (), 0

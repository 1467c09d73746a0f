"""The only place where durable state changes: one fact, one change (STYLE 3)."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.kernel.engine.state import (
    AccountRecord,
    IntentRecord,
    Recent,
    ReductionRecord,
    SignalRecord,
    State,
    StopRecord,
    entry_key,
)
from orchestrator.kernel.ledger.adopt import adopt, at_of
from orchestrator.kernel.ledger.apply import apply_transaction, pass_hole
from orchestrator.kernel.ledger.book import NO_CHANGES, Changes
from orchestrator.kernel.ledger.day import DayBook
from orchestrator.kernel.orders.identity import epoch_of
from orchestrator.kernel.orders.life import is_terminal
from orchestrator.kernel.safety.checks.c17_throttle import bucket_after
from orchestrator.kernel.safety.limits import LIMITS
from orchestrator.kernel.safety.overrides import made
from orchestrator.model.facts import (
    AccountAdopted,
    AccountReconciled,
    AccountSwitched,
    BreakerMoved,
    BreakerReset,
    BreakerTripped,
    DayStarted,
    Fact,
    IntentMoved,
    IntentWritten,
    ModeChanged,
    OverrideEnded,
    OverrideSet,
    OverrideUsed,
    PeakRaised,
    ProfileTaken,
    ReductionMoved,
    ReductionWritten,
    Resumed,
    RiskAdvised,
    ServiceStarted,
    SignalAccepted,
    SignalEnded,
    SpecsLearned,
    Stopped,
    TransactionApplied,
    TransactionHole,
)
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import ZERO, AccountId
from orchestrator.model.orders import IntentState
from orchestrator.model.outcomes import TradeClosed
from orchestrator.model.reducing import ReductionState
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, Instant

_SEEN_MAX = 100_000
_ENDED_MAX = 10_000
_SIZES_KEPT = 50
_SIZE_KEYS_MAX = 500
_ENTRIES_KEPT = 1_000
_UNCLEAN_KEPT = 50
_STOP_OUTS_KEPT = 50
_PARTS_MAX = 1_000
_RETURNS_KEPT = 500

# Ends by which the venue has answered an order: what probing waits for (SAFETY B2).
_ANSWERED = (IntentState.FILLED, IntentState.CANCELLED, IntentState.REJECTED)


def apply_fact(state: State, fact: Fact, at: Instant, checks: CheckLimits) -> Changes:
    """Facts that change no state of the kernel (decisions, alerts, outcomes) pass through."""
    handler = _HANDLERS.get(type(fact))
    if handler is None:
        return NO_CHANGES
    return handler(state, fact, at, checks) or NO_CHANGES


def account_of(state: State, account_id: AccountId) -> AccountRecord:
    return state.accounts.setdefault(account_id, AccountRecord())


def _started(state: State, fact: ServiceStarted, at: Instant, _checks: CheckLimits) -> None:
    if fact.unclean:
        state.unclean.append(at)
        del state.unclean[:-_UNCLEAN_KEPT]
    state.epoch = fact.epoch
    state.generation += 1
    for account in state.accounts.values():
        account.reconciled = False
        account.differences = ()


def _mode(state: State, fact: ModeChanged, _at: Instant, _checks: CheckLimits) -> None:
    state.mode = fact.mode
    state.wanted_running = fact.wanted_running
    state.generation += 1


def _specs(state: State, fact: SpecsLearned, _at: Instant, _checks: CheckLimits) -> None:
    account_of(state, fact.account_id).specs = {spec.name: spec for spec in fact.specs}
    state.generation += 1


def _adopted(state: State, fact: AccountAdopted, _at: Instant, _checks: CheckLimits) -> None:
    account_of(state, fact.account.id).book = adopt(fact.account, state.intent_of)


def _reconciled(state: State, fact: AccountReconciled, _at: Instant, _checks: CheckLimits) -> None:
    account = account_of(state, fact.account_id)
    account.reconciled = not fact.differences
    account.differences = fact.differences
    state.generation += 1


def _switched(state: State, fact: AccountSwitched, _at: Instant, _checks: CheckLimits) -> None:
    account_of(state, fact.account_id).enabled = fact.enabled
    state.generation += 1


def _transaction(
    state: State, fact: TransactionApplied, at: Instant, _checks: CheckLimits
) -> Changes:
    account = account_of(state, fact.account_id)
    if account.book is None:
        return NO_CHANGES
    changes = apply_transaction(account.book, fact.transaction, state.intent_of)
    account.epoch_seen = max(account.epoch_seen, epoch_of(fact.transaction.client_extensions))
    if account.day is not None:
        account.day.realized += changes.realized
        account.day.traded = account.day.traded or bool(changes.opened)
        if changes.transfer:
            account.day.shift(changes.transfer)
    if changes.realized:
        _returned(account, changes.realized, at_of(fact.transaction.time) or at)
    if changes.transfer or changes.strangers or not all(trade.ours for trade in changes.opened):
        # No reservation has counted it: what waits to be sent is checked again (INV-04, G2).
        state.generation += 1
    return changes


def _returned(account: AccountRecord, realized: Decimal, at: Instant) -> None:
    """The hour's realised return, for S3."""
    before = (account.book.balance if account.book is not None else ZERO) - realized
    if before <= 0:
        return
    hour = at // HOUR_NS
    account.returns[hour] = account.returns.get(hour, ZERO) + realized / before
    while len(account.returns) > _RETURNS_KEPT:
        del account.returns[next(iter(account.returns))]


def _closed(state: State, fact: TradeClosed, at: Instant, _checks: CheckLimits) -> None:
    """A3: a trade counts when its last part is closed, by all that its parts have brought."""
    if not fact.ours:
        return
    account = account_of(state, fact.account_id)
    result = account.parts.pop(fact.trade_id, ZERO) + fact.realized_pl + fact.financing
    if fact.remaining:
        account.parts[fact.trade_id] = result
        while len(account.parts) > _PARTS_MAX:
            del account.parts[next(iter(account.parts))]
        return
    account.losing_run = account.losing_run + 1 if result < 0 else 0
    if result < 0 and "STOP_LOSS" in fact.reason:
        account.stop_outs.append(fact.closed_ns or at)
        del account.stop_outs[:-_STOP_OUTS_KEPT]


def _hole(state: State, fact: TransactionHole, _at: Instant, _checks: CheckLimits) -> None:
    book = account_of(state, fact.account_id).book
    if book is not None:
        pass_hole(book, fact.transaction_id)


def _day(state: State, fact: DayStarted, _at: Instant, _checks: CheckLimits) -> None:
    account = account_of(state, fact.account_id)
    if account.day is None:
        account.day = DayBook(day=fact.day, equity_start=fact.equity, peak=fact.equity)
    else:
        account.day.start_day(fact.day, fact.equity)
    state.generation += 1


def _peak(state: State, fact: PeakRaised, _at: Instant, _checks: CheckLimits) -> None:
    day = account_of(state, fact.account_id).day
    if day is not None:
        # Set, not raised: a person who resets A2 may have rebased it.
        day.peak = fact.peak
        day.high = fact.peak if fact.high is None else fact.high


def _profile(state: State, fact: ProfileTaken, _at: Instant, _checks: CheckLimits) -> None:
    day = account_of(state, fact.account_id).day
    if day is not None:
        day.profile, day.start = fact.profile, fact.start
        day.peak, day.high = fact.peak, fact.high
    state.generation += 1


def _advised(state: State, fact: RiskAdvised, at: Instant, _checks: CheckLimits) -> None:
    advice = fact.advice
    for key in [key for key, old in state.advice.items() if old.until_ns <= at]:
        del state.advice[key]
    state.advice[
        "|".join((advice.source, advice.account_id, advice.instrument, advice.strategy))
    ] = advice
    state.generation += 1


def _accepted(state: State, fact: SignalAccepted, at: Instant, _checks: CheckLimits) -> None:
    _see(state, fact.signal.signal_id, at)
    if fact.accounts:
        state.signals[fact.signal.signal_id] = SignalRecord(
            signal=fact.signal, open=list(fact.accounts)
        )


def _see(state: State, signal_id: str, at: Instant) -> None:
    state.seen[signal_id] = at
    _forget(state.seen, lambda seen_ns: at - seen_ns > DAY_NS, _SEEN_MAX)


def _forget(memory: dict[str, Any], old: Callable[[Any], bool], bound: int) -> None:
    """Drop from the front, which is the oldest, what is too old or too much."""
    while memory:
        first = next(iter(memory))
        if len(memory) <= bound and not old(memory[first]):
            return
        del memory[first]


def _ended(state: State, fact: SignalEnded, at: Instant, _checks: CheckLimits) -> None:
    if fact.signal_id not in state.seen:
        _see(state, fact.signal_id, at)
    record = state.signals.get(fact.signal_id)
    if record is None:
        return
    if fact.account_id in record.open:
        record.open.remove(fact.account_id)
    if not record.open:
        del state.signals[fact.signal_id]


def _written(state: State, fact: IntentWritten, at: Instant, checks: CheckLimits) -> None:
    intent = fact.intent
    state.intents[intent.intent_id] = IntentRecord(intent=intent, since_ns=at)
    account = account_of(state, intent.account_id)
    account.bucket_ns = bucket_after(account.bucket_ns, at, checks)
    if account.day is not None:
        account.day.orders += 1
    order = intent.proposal
    account.recent = [past for past in account.recent if at - past.at_ns < MINUTE_NS]
    account.recent.append(
        Recent(
            at_ns=at, intent_id=intent.intent_id, strategy=order.strategy,
            instrument=order.instrument, side=order.side,
        )
    )  # fmt: skip
    key = entry_key(order.strategy, order.instrument)
    _entered(account, key, at)
    sizes = account.sizes.setdefault(key, [])
    sizes.append(abs(order.units))
    del sizes[:-_SIZES_KEPT]
    while len(account.sizes) > _SIZE_KEYS_MAX:
        del account.sizes[next(iter(account.sizes))]


def _entered(account: AccountRecord, key: str, at: Instant) -> None:
    entries = [past for past in account.entries.pop(key, ()) if at - past < HOUR_NS]
    account.entries[key] = [*entries[-_ENTRIES_KEPT:], at]  # the last that entered stands last
    while len(account.entries) > _SIZE_KEYS_MAX:
        del account.entries[next(iter(account.entries))]


def _moved(state: State, fact: IntentMoved, at: Instant, _checks: CheckLimits) -> None:
    record = state.intents.get(fact.intent_id) or state.ended.get(fact.intent_id)
    if record is None:
        return
    if record.state is not fact.state:
        record.state, record.since_ns = fact.state, at
        if fact.state is IntentState.UNKNOWN:
            state.generation += 1  # what waits to be sent there is checked again (O5, G2)
    record.reason = fact.reason or record.reason
    record.order_id = fact.order_id or record.order_id
    record.trade_id = fact.trade_id or record.trade_id
    if not is_terminal(fact.state) or fact.intent_id not in state.intents:
        return
    del state.intents[fact.intent_id]
    record.intent = msgspec.structs.replace(record.intent, body="")
    state.ended[fact.intent_id] = record
    if fact.state in _ANSWERED:
        state.board.probed(fact.account_id, record.intent.instrument)
    _forget(state.ended, lambda old: at - old.since_ns > DAY_NS, _ENDED_MAX)


def _reducing(state: State, fact: ReductionWritten, at: Instant, _checks: CheckLimits) -> None:
    wish = fact.reduction
    state.reductions[wish.reduction_id] = ReductionRecord(reduction=wish, since_ns=at)


def _reduced(state: State, fact: ReductionMoved, at: Instant, _checks: CheckLimits) -> None:
    name = fact.reduction_id
    record = state.reductions.get(name) or state.reduced.get(name)
    if record is None:
        return
    record.state, record.since_ns = fact.state, at
    record.reason = fact.reason or record.reason
    record.transaction_id = fact.transaction_id or record.transaction_id
    if fact.state is ReductionState.UNKNOWN:
        state.generation += 1  # what waits to be sent there is checked again (O5, G2)
        return
    if name in state.reductions:
        del state.reductions[name]
        state.reduced[name] = record
        _forget(state.reduced, lambda old: at - old.since_ns > DAY_NS, _ENDED_MAX)


def _tripped(state: State, fact: BreakerTripped, at: Instant, _checks: CheckLimits) -> None:
    state.board.trip(fact, at)
    state.generation += 1


def _breaker_moved(state: State, fact: BreakerMoved, _at: Instant, _checks: CheckLimits) -> None:
    state.board.move(fact)
    state.generation += 1


def _reset(state: State, fact: BreakerReset, _at: Instant, _checks: CheckLimits) -> None:
    state.board.reset(fact)
    if fact.breaker == "A3" and fact.actor != "kernel":
        # A person has looked at the losses: they count no more.
        account = account_of(state, AccountId(fact.subject))
        account.losing_run = 0
        account.stop_outs.clear()
    state.generation += 1


def _stopped(state: State, fact: Stopped, at: Instant, _checks: CheckLimits) -> None:
    """A second stop may add accounts and liquidation, never take away (SAFETY 5.4)."""
    standing = state.stop
    accounts = fact.accounts
    if standing is not None:
        whole = not standing.accounts or not fact.accounts
        accounts = () if whole else tuple(sorted({*standing.accounts, *fact.accounts}))
    state.stop = StopRecord(
        stop_id=standing.stop_id if standing else fact.stop_id,
        actor=standing.actor if standing else fact.actor,
        reason=standing.reason if standing else fact.reason,
        liquidate=fact.liquidate or (standing is not None and standing.liquidate),
        accounts=accounts,
        at_ns=standing.at_ns if standing else at,
    )
    for account_id, account in state.accounts.items():
        account.stopped = not accounts or account_id in accounts
    state.generation += 1


def _resumed(state: State, fact: Resumed, _at: Instant, _checks: CheckLimits) -> None:
    state.stop = None
    state.epoch = max(state.epoch, fact.epoch)
    state.generation += 1
    for account in state.accounts.values():
        account.stopped = False


def _override_set(state: State, fact: OverrideSet, at: Instant, _checks: CheckLimits) -> None:
    _drop_over(state, at)
    if fact.limit in LIMITS:
        state.overrides[fact.override_id] = made(fact, at)
    state.generation += 1


def _override_used(state: State, fact: OverrideUsed, _at: Instant, _checks: CheckLimits) -> None:
    override = state.overrides.get(fact.override_id)
    if override is not None:
        override.used_by.append(fact.intent_id)


def _override_ended(state: State, fact: OverrideEnded, at: Instant, _checks: CheckLimits) -> None:
    override = state.overrides.get(fact.override_id)
    if override is None:
        return
    if override.loosens and not override.uses_left:
        override.ended = True  # kept for the orders that used it, until its time is over
    else:
        del state.overrides[fact.override_id]
    _drop_over(state, at)
    state.generation += 1


def _drop_over(state: State, at: Instant) -> None:
    for name, override in list(state.overrides.items()):
        if override.ended and not override.holds(at, own=override.used_by[0]):
            del state.overrides[name]


_HANDLERS: dict[type[Any], Callable[[State, Any, Instant, CheckLimits], Changes | None]] = {
    ServiceStarted: _started,
    ModeChanged: _mode,
    SpecsLearned: _specs,
    AccountAdopted: _adopted,
    AccountReconciled: _reconciled,
    AccountSwitched: _switched,
    TransactionApplied: _transaction,
    TradeClosed: _closed,
    TransactionHole: _hole,
    DayStarted: _day,
    PeakRaised: _peak,
    SignalAccepted: _accepted,
    SignalEnded: _ended,
    IntentWritten: _written,
    IntentMoved: _moved,
    BreakerTripped: _tripped,
    BreakerMoved: _breaker_moved,
    BreakerReset: _reset,
    Stopped: _stopped,
    ProfileTaken: _profile,
    RiskAdvised: _advised,
    OverrideSet: _override_set,
    OverrideUsed: _override_used,
    OverrideEnded: _override_ended,
    Resumed: _resumed,
    ReductionWritten: _reducing,
    ReductionMoved: _reduced,
}

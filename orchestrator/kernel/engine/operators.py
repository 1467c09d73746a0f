"""What people and the house ask for: start, drain, stop, resume, switches, breakers by hand."""

from __future__ import annotations

from orchestrator.kernel.engine import (
    conditions,
    losses,
    path,
    prices,
    probing,
    reducing,
    scene,
    sending,
)
from orchestrator.kernel.engine.probing import COOLDOWNS
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.orders.reading import Reading, Settling
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers import TABLE, Row
from orchestrator.kernel.safety.breakers.a4_repetition import a4_repetition
from orchestrator.kernel.safety.breakers.s10_crash_loop import s10_crash_loop
from orchestrator.kernel.safety.resuming import Standing, refusals
from orchestrator.model.acts import FetchAccount, FetchTransactions, Liquidate
from orchestrator.model.events import (
    EmergencyStop,
    EnableAccount,
    ResetBreaker,
    Resume,
    Started,
    StartTrading,
    StopTrading,
    TripBreaker,
)
from orchestrator.model.facts import (
    AccountSwitched,
    BreakerReset,
    BreakerTripped,
    ModeChanged,
    OperatorActed,
    PeakRaised,
    Resumed,
    ServiceStarted,
    Stopped,
)
from orchestrator.model.money import AccountId
from orchestrator.model.orders import IntentState
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Effect, Scope, Severity, SystemMode
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S

_RECONCILE_NS = 30 * NS_PER_S  # after that the accounts that are reconciled trade alone (R3)
_STOPPABLE = (SystemMode.RUNNING, SystemMode.READY, SystemMode.RECONCILING, SystemMode.STARTING)


def _acted(turn: Turn, actor: str, action: str, text: str, refused: str = "") -> None:
    turn.say(OperatorActed(actor=actor, action=action, text=text, refused=refused))


def set_mode(
    turn: Turn, mode: SystemMode, actor: str, reason: str, *, wanted: bool | None = None
) -> None:
    running = turn.state.wanted_running if wanted is None else wanted
    if turn.state.mode is not mode or turn.state.wanted_running is not running:
        turn.say(ModeChanged(mode=mode, wanted_running=running, actor=actor, reason=reason))


def whole_stop(turn: Turn) -> bool:
    """Whether a stop of the whole system stands."""
    return turn.state.stop is not None and not turn.state.stop.accounts


# -- a new life ------------------------------------------------------------------------------------


def on_started(turn: Turn, event: Started) -> None:
    """Start and recovery are one path (SAFETY 8): nothing is resent, nothing is forgotten."""
    turn.live.started_ns = turn.now
    turn.say(ServiceStarted(
        version=event.version, node=event.node, epoch=event.epoch,
        config_digest=event.config_digest, unclean=event.unclean,
    ))  # fmt: skip
    if event.unclean:
        _crash_loop(turn)
    if event.breakers_lost:
        _trip_all(turn, event.breakers_lost)
    for record in list(turn.state.intents.values()):
        if record.state in (IntentState.WRITTEN, IntentState.SENDING):
            lost = Reading(state=IntentState.UNKNOWN, reason="crash: left by an earlier life")
            sending.move(turn, record, IntentState.UNKNOWN, lost)
        turn.live.settling[record.intent.intent_id] = Settling(
            ended_ns=turn.now, highest=record.intent.watermark
        )
    reducing.begin_life(turn)
    _end_signals(turn, Outcome.FAILED, "", "crash: the service was restarted")
    _forget_signs(turn)
    probing.restart(turn)
    prices.warm_up(turn, "the service started", 0)
    losses.keep_roll(turn)
    if event.latched_stop_id is not None and turn.state.stop is None:
        turn.say(Stopped(
            stop_id=event.latched_stop_id, actor="latch", reason="a latched stop was found",
            liquidate=True, accounts=(), gate_closed_ns=turn.now,
        ))  # fmt: skip
    if whole_stop(turn):
        set_mode(turn, SystemMode.STOPPED, "kernel", "an emergency stop stands", wanted=False)
    else:
        set_mode(turn, SystemMode.RECONCILING, "kernel", f"started, epoch {event.epoch}")
    _read_everything(turn)
    _liquidate_standing(turn)


def _crash_loop(turn: Turn) -> None:
    evidence = s10_crash_loop(turn.state.unclean, turn.now, turn.world.plan.breakers)
    if evidence is not None and turn.state.board.get("S10") is None:
        turn.trip("S10", Scope.SYSTEM, evidence, latched=True)


def _trip_all(turn: Turn, why: str) -> None:
    """B3: what cannot be read is taken for tripped; each ends by its own rule."""
    evidence = f"its state could not be read: {why}"
    for breaker, row in TABLE.items():
        if breaker == probing.RESUMED:
            continue  # no breaker of the table: what follows a resume
        for subject in _subjects(turn, row.scope):
            if turn.state.board.get(breaker, subject) is not None:
                continue
            cooldown = COOLDOWNS.get(breaker)
            turn.say(
                BreakerTripped(
                    breaker=breaker, scope=row.scope, subject=subject, effect=Effect.BLOCK,
                    evidence=evidence, latched=row.reset == "manual",
                    cooldown_s=0 if cooldown is None else cooldown(turn.world.plan.breakers),
                )
            )  # fmt: skip
    probing.restart(turn)
    turn.alert("breakers:lost", Severity.CRITICAL, "All breakers tripped", evidence)


def _subjects(turn: Turn, scope: Scope) -> tuple[str, ...]:
    names: dict[Scope, tuple[str, ...]] = {
        Scope.SYSTEM: (SYSTEM,),
        Scope.ACCOUNT: turn.world.account_ids,
        Scope.INSTRUMENT: turn.world.plan.instruments,
    }
    return names[scope]


def _forget_signs(turn: Turn) -> None:
    """The house is judged anew: this life has just written its first fact."""
    for breaker in ("S5", "S6", "S7", "S8", "S9", "S11"):
        trip = turn.state.board.get(breaker)
        if trip is not None and not trip.latched:
            turn.reset(breaker, Scope.SYSTEM, SYSTEM, "judged anew after the start")


def _read_everything(turn: Turn) -> None:
    for account_id in turn.world.account_ids:
        record, live = turn.world.record(account_id), turn.live.account(account_id)
        if record is not None and record.book is not None:
            live.reading_ns = turn.now
            turn.do(FetchTransactions(account_id=account_id, since=record.book.last_id))
        live.asked_ns = turn.now
        turn.do(FetchAccount(account_id=account_id))


def _end_signals(turn: Turn, outcome: Outcome, stage: str, reason: str) -> None:
    """End every signal where no order of it is on its way; those are settled by the log."""
    for signal_id, record in list(turn.state.signals.items()):
        idle = path.idle_accounts(turn, signal_id, record)
        path.end_all(turn, signal_id, idle, outcome, stage, reason)


def keep_mode(turn: Turn) -> None:
    """Reconciling ends when every enabled account is known, or its time is over."""
    if turn.state.mode is not SystemMode.RECONCILING:
        return
    known = all(
        record.reconciled
        for account_id, record in turn.state.accounts.items()
        if turn.world.enabled(account_id)
    )
    if not known and turn.now - turn.live.started_ns < _RECONCILE_NS:
        return
    reason = "all accounts reconciled" if known else "not all accounts could be reconciled in time"
    set_mode(turn, SystemMode.READY, "kernel", reason)
    if turn.state.wanted_running:
        set_mode(turn, SystemMode.RUNNING, "kernel", "it was running before")


# -- start and drain -------------------------------------------------------------------------------


def on_start(turn: Turn, event: StartTrading) -> None:
    mode, action = turn.state.mode, "start"
    if whole_stop(turn) or mode is SystemMode.STOPPED:
        stop = turn.state.stop
        name = stop.stop_id if stop is not None else "unknown"
        refused = f"emergency stop {name} stands: resume first"
        _acted(turn, event.actor, action, event.reason, refused)
        return
    _acted(turn, event.actor, action, event.reason)
    if mode in (SystemMode.STARTING, SystemMode.RECONCILING):
        set_mode(turn, mode, event.actor, "to run once reconciled", wanted=True)
    else:
        set_mode(turn, SystemMode.RUNNING, event.actor, event.reason or "started", wanted=True)


def on_stop(turn: Turn, event: StopTrading) -> None:
    """Drain: no new signals; those on their way end by themselves, orders settle."""
    _acted(turn, event.actor, "stop", event.reason)
    if turn.state.mode is SystemMode.RUNNING:
        set_mode(turn, SystemMode.DRAINING, event.actor, event.reason or "stopped", wanted=False)
    elif turn.state.mode is not SystemMode.STOPPED:
        set_mode(turn, turn.state.mode, event.actor, event.reason or "stopped", wanted=False)
    if event.close_positions:
        turn.do(Liquidate(
            stop_id="stop", accounts=turn.world.account_ids, reason=f"stop by {event.actor}"
        ))  # fmt: skip


def on_drained(turn: Turn) -> None:
    if turn.state.mode is not SystemMode.DRAINING:
        return
    _end_signals(turn, Outcome.EXPIRED, "", "the time to drain is over")
    set_mode(turn, SystemMode.READY, "kernel", "drained")


# -- emergency stop and resume ---------------------------------------------------------------------


def on_emergency_stop(turn: Turn, event: EmergencyStop) -> None:
    """The gate is closed already; this makes it last (SAFETY 5)."""
    standing = turn.state.stop
    accounts = tuple(name for name in event.accounts if name in turn.world.plans)
    if event.accounts and not accounts:
        refused = "no such account: all are stopped"
        _acted(turn, event.actor, "emergency-stop", event.reason, refused)
    turn.say(Stopped(
        stop_id=standing.stop_id if standing is not None else event.stop_id, actor=event.actor,
        reason=event.reason, liquidate=event.liquidate, accounts=accounts,
        gate_closed_ns=event.gate_closed_ns or turn.now, repeated=standing is not None,
    ))  # fmt: skip
    if whole_stop(turn):
        set_mode(turn, SystemMode.STOPPED, event.actor, event.reason, wanted=False)
    for signal_id, record in list(turn.state.signals.items()):
        idle = path.idle_accounts(turn, signal_id, record)
        stopped = [name for name in idle if turn.state.accounts[name].stopped]
        path.end_all(turn, signal_id, stopped, Outcome.REJECTED, path.GATE, "emergency stop")
    _liquidate_standing(turn)
    turn.alert(
        f"stop:{turn.state.stop.stop_id if turn.state.stop else event.stop_id}", Severity.CRITICAL,
        "Emergency stop", f"by {event.actor}: {event.reason}",
    )  # fmt: skip


def _liquidate_standing(turn: Turn) -> None:
    stop = turn.state.stop
    if stop is None or not stop.liquidate:
        return
    turn.do(Liquidate(
        stop_id=stop.stop_id, accounts=stop.accounts or turn.world.account_ids, reason=stop.reason
    ))  # fmt: skip


def on_resume(turn: Turn, event: Resume) -> None:
    stop = turn.state.stop
    stopped = [name for name in turn.world.account_ids if turn.state.accounts[name].stopped]
    standing = Standing(
        stop_id=stop.stop_id if stop is not None else None,
        unreconciled=tuple(
            name
            for name in turn.world.account_ids
            if turn.world.enabled(name) and not turn.state.accounts[name].reconciled
        ),
        unsettled=tuple(
            name
            for name, record in turn.state.intents.items()
            if record.state is IntentState.UNKNOWN or record.intent.account_id in stopped
        ),
        open_trades=tuple(
            (name, trade_id)
            for name in stopped
            if (book := turn.state.accounts[name].book) is not None
            for trade_id in book.trades
        ),
    )
    found = refusals(standing, event.stop_id, event.actor, event.reason, event.open_trades)
    _acted(turn, event.actor, "resume", event.reason, "; ".join(found))
    if found or stop is None:
        return
    turn.say(Resumed(
        stop_id=stop.stop_id, actor=event.actor, reason=event.reason,
        epoch=max(event.epoch, turn.state.epoch),
    ))  # fmt: skip
    for trip in list(turn.state.board.trips.values()):
        if trip.effect is Effect.STOP:
            turn.say(
                BreakerReset(
                    breaker=trip.breaker,
                    scope=trip.scope,
                    subject=trip.subject,
                    actor=event.actor,
                    reason=f"resumed: {event.reason}",
                )
            )
    probing.after_resume(turn, stopped, f"resumed by {event.actor}")
    if turn.state.mode is SystemMode.STOPPED:
        set_mode(turn, SystemMode.READY, event.actor, "resumed", wanted=False)


# -- switches and breakers by hand -----------------------------------------------------------------


def on_enable(turn: Turn, event: EnableAccount) -> None:
    word = "enable" if event.enabled else "disable"
    if event.account_id not in turn.world.plans:
        _acted(turn, event.actor, word, event.account_id, "no such account")
        return
    _acted(turn, event.actor, word, f"{event.account_id} {event.reason}".strip())
    if turn.world.enabled(event.account_id) is not event.enabled:
        turn.say(AccountSwitched(
            account_id=event.account_id, enabled=event.enabled, actor=event.actor,
            reason=event.reason,
        ))  # fmt: skip


def on_trip(turn: Turn, event: TripBreaker) -> None:
    """By hand a breaker only ever blocks, and stays until a person resets it."""
    row = TABLE.get(event.breaker)
    problem = _no_subject(turn, row, event.subject)
    _acted(turn, event.actor, "trip", f"{event.breaker} {event.subject}", problem)
    if problem or row is None:
        return
    standing = turn.state.board.get(event.breaker, event.subject)
    if standing is not None and standing.effect in (Effect.FLATTEN, Effect.STOP):
        return  # it does more than a block already
    turn.trip(
        event.breaker, row.scope, f"by {event.actor}: {event.reason or 'no reason given'}",
        subject=event.subject, latched=True, actor=event.actor or "person",
    )  # fmt: skip


def _no_subject(turn: Turn, row: Row | None, subject: str) -> str:
    """Why there is no such breaker; "" when there is."""
    if row is None:
        return f"no such breaker; there are {', '.join(TABLE)}"
    names = _subjects(turn, row.scope)
    return "" if subject in names else f"{subject!r} is not one of {', '.join(names)}"


def on_reset(turn: Turn, event: ResetBreaker) -> None:
    """Only where the table allows, or what a person has tripped."""
    row = TABLE.get(event.breaker)
    problem = _no_subject(turn, row, event.subject)
    trip = turn.state.board.get(event.breaker, event.subject)
    if not problem and trip is None:
        problem = "it is not tripped"
    elif not problem and row is not None and trip is not None:
        if trip.effect is Effect.STOP:
            problem = "an emergency stop ends by a resume only"
        elif not trip.by_hand and not row.by_person:
            problem = f"{event.breaker} resets by itself ({row.reset}), nobody may reset it"
        elif not trip.by_hand and not (event.breaker == "A2" and event.rebase):
            still = conditions.still(turn, event.breaker, event.subject)
            problem = f"{event.breaker} still holds: {still}" if still else ""
    _acted(turn, event.actor, "reset", f"{event.breaker} {event.subject} {event.reason}", problem)
    if problem or row is None:
        return
    turn.say(BreakerReset(
        breaker=event.breaker, scope=row.scope, subject=event.subject, actor=event.actor,
        reason=event.reason,
    ))  # fmt: skip
    if event.breaker == "A2" and event.rebase:
        _rebase(turn, AccountId(event.subject))


def _rebase(turn: Turn, account_id: AccountId) -> None:
    """The peak begins anew from here: else the same drawdown would trip at the next price."""
    nav = scene.nav_of(turn.world, account_id)
    if nav is not None:
        turn.say(PeakRaised(account_id=account_id, peak=nav))


# -- what is seen of our own flow ------------------------------------------------------------------


def on_pattern(turn: Turn, pattern: PatternSeen) -> None:
    """Written down; what is critical blocks the account, or all where it names none (B6)."""
    turn.say(pattern)
    evidence = a4_repetition(pattern)
    if evidence is None:
        return
    named = pattern.account_id in turn.world.plans
    for account_id in (pattern.account_id,) if named else turn.world.account_ids:
        if turn.state.board.get("A4", account_id) is None:
            turn.trip("A4", Scope.ACCOUNT, evidence, subject=account_id, latched=True)

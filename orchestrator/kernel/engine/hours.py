"""What the clock alone forbids: closed sessions, the weekend, hours, news and holidays (T1-T3)."""

from __future__ import annotations

from orchestrator.kernel.engine.holding import hold
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers.t1_session import session_of, t1_session
from orchestrator.kernel.safety.breakers.t2_weekend import t2_weekend
from orchestrator.kernel.safety.breakers.t3_windows import t3_account, t3_everywhere
from orchestrator.model.safety import Effect, Scope


def keep_hours(turn: Turn) -> None:
    """On each beat."""
    _keep_session(turn)
    _keep_windows(turn)
    plan, now = turn.world.plan, turn.now
    for account in plan.accounts:
        weekend = t2_weekend(plan.calendar, now, plan.breakers, flat=account.profile.weekend_flat)
        effect, evidence = weekend if weekend is not None else (Effect.BLOCK, None)
        hold(turn, "T2", evidence, account.account_id, effect=effect)
        off = t3_account(account.profile, now)
        effect, evidence = off if off is not None else (Effect.BLOCK, None)
        hold(turn, "T3", evidence, account.account_id, effect=effect)


def _keep_session(turn: Turn) -> None:
    """T1; said again when quiet becomes closed."""
    evidence = t1_session(session_of(turn.world.plan.calendar, turn.now))
    trip = turn.state.board.get("T1")
    changed = trip is not None and not trip.latched and trip.evidence != evidence
    if changed and evidence is not None:
        turn.trip("T1", Scope.SYSTEM, evidence)
    else:
        hold(turn, "T1", evidence)


def _keep_windows(turn: Turn) -> None:
    """T3 for everybody: on all instruments, or on those of the currencies that a window names."""
    windows, now = turn.world.plan.windows, turn.now
    if not windows:
        return
    hold(turn, "T3", t3_everywhere(windows, now, None), SYSTEM, scope=Scope.SYSTEM)
    for name in turn.world.plan.instruments:
        hold(turn, "T3", t3_everywhere(windows, now, name), name, scope=Scope.INSTRUMENT)

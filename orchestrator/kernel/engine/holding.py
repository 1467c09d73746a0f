"""Breakers that hold as long as their cause: tripped by evidence, reset when it is long gone."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.board import SYSTEM, key_of
from orchestrator.kernel.safety.breakers import TABLE, stronger
from orchestrator.model.acts import Liquidate
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import AccountId
from orchestrator.model.safety import Effect, Scope
from orchestrator.model.time import seconds

# For so long the condition has to be false; what is not here is over at once.
_CLEAR_S: dict[str, Callable[[BreakerLimits], int]] = {
    "A6": lambda limits: limits.margin_clear_s,
    "M1": lambda limits: limits.stale_clear_s,
    "M7": lambda limits: limits.market_wide_clear_s,
    "S3": lambda limits: limits.exposure_clear_s,
    "S6": lambda limits: limits.bus_clear_s,
    "S7": lambda limits: limits.clock_clear_s,
    "S8": lambda limits: limits.loop_clear_s,
    "S9": lambda limits: limits.roles_clear_s,
    "S11": lambda limits: limits.memory_clear_s,
}


def hold(
    turn: Turn,
    breaker: str,
    evidence: str | None,
    subject: str = SYSTEM,
    *,
    effect: Effect | None = None,
    scope: Scope | None = None,
) -> None:
    """What is true now of one breaker: `evidence` says why it has to hold, None that it has not.

    A stronger effect than the standing one is added to it; a person's own trip stays a person's.
    """
    row, trip = TABLE[breaker], turn.state.board.get(breaker, subject)
    key = key_of(breaker, subject)
    if evidence is None:
        if trip is not None and not trip.latched:
            turn.live.calm_ns.setdefault(key, turn.now)
            _end(turn, key)
        return
    turn.live.calm_ns.pop(key, None)
    wanted = effect or row.effect
    if trip is not None and not stronger(wanted, trip.effect):
        return
    turn.trip(
        breaker, (scope or row.scope) if trip is None else trip.scope, evidence, subject=subject,
        effect=wanted, latched=trip is not None and trip.latched,
        actor="kernel" if trip is None else trip.actor,
    )  # fmt: skip
    if wanted is Effect.FLATTEN:
        accounts = (AccountId(subject),) if row.scope is Scope.ACCOUNT else turn.world.account_ids
        turn.do(Liquidate(stop_id=key, accounts=accounts, reason=f"{breaker}: {evidence}"))


def keep_calm(turn: Turn) -> None:
    """On each beat: whose cause is gone for long enough."""
    for key in tuple(turn.live.calm_ns):
        _end(turn, key)


def _end(turn: Turn, key: str) -> None:
    trip, since = turn.state.board.trips.get(key), turn.live.calm_ns[key]
    if trip is None or trip.latched:
        del turn.live.calm_ns[key]
        return
    clear = _CLEAR_S.get(trip.breaker)
    clear_s = 0 if clear is None else clear(turn.world.plan.breakers)
    if turn.now - since < seconds(clear_s):
        return
    words = f"its cause is gone for {clear_s} s" if clear_s else "its cause is gone"
    turn.reset(trip.breaker, trip.scope, trip.subject, words)

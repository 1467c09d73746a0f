"""Cool-downs, and the probing that follows them: one small order at a time (SAFETY B2, E3)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from orchestrator.kernel.engine.turn import Turn, World
from orchestrator.kernel.safety.board import SYSTEM, Trip
from orchestrator.kernel.safety.breakers import TABLE, stronger
from orchestrator.kernel.safety.breakers.m2_spread import m2_spread
from orchestrator.kernel.safety.breakers.m3_volatility import m3_volatility
from orchestrator.model.facts import BreakerMoved, BreakerTripped
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.orders import Intent
from orchestrator.model.safety import BreakerState, Effect, Scope
from orchestrator.model.time import Instant, seconds

RESUMED = "E3"

# How long each cools down at first.
COOLDOWNS: dict[str, Callable[[BreakerLimits], int]] = {
    "A3": lambda limits: limits.losing_cooldown_s,
    "A5": lambda limits: limits.rejects_cooldown_s,
    "M2": lambda limits: limits.spread_cooldown_s,
    "M3": lambda limits: limits.volatility_cooldown_s,
    "M4": lambda limits: limits.gap_cooldown_s,
    "M5": lambda limits: limits.bad_tick_cooldown_s,
}

# -- tripping --------------------------------------------------------------------------------------


def cool(
    turn: Turn,
    breaker: str,
    evidence: str,
    subject: str = SYSTEM,
    *,
    effect: Effect = Effect.BLOCK,
) -> None:
    """Trip for a time. What trips again while it probes waits twice as long, up to 30 min."""
    limits, trip = turn.world.plan.breakers, turn.state.board.get(breaker, subject)
    cooldown_s = COOLDOWNS[breaker](limits)
    standing = trip is not None and (not trip.probing or effect is Effect.SCALE)
    if trip is not None and standing and not stronger(effect, trip.effect):
        return
    if trip is not None and trip.probing:
        cooldown_s = longer(trip.cooldown_s, cooldown_s, limits)
        evidence = f"{evidence}; while it was probing"
    kept = trip is not None and trip.latched
    turn.trip(
        breaker, TABLE[breaker].scope, evidence, subject=subject, effect=effect,
        cooldown_s=cooldown_s, latched=kept, actor=trip.actor if trip and kept else "kernel",
        scale=limits.volatility_scale if effect is Effect.SCALE else None,
    )  # fmt: skip


def longer(last_s: int, usual_s: int, limits: BreakerLimits) -> int:
    """Twice the last cool-down, at most 30 min; one that is longer by its rule stays as it is."""
    return max(usual_s, min(2 * last_s, limits.cooldown_s_max))


def after_resume(turn: Turn, accounts: Iterable[AccountId], reason: str) -> None:
    """E3: after an emergency stop its accounts probe for 5 min."""
    for account_id in accounts:
        turn.say(
            BreakerTripped(
                breaker=RESUMED, scope=Scope.ACCOUNT, subject=account_id, effect=Effect.BLOCK,
                evidence=reason,
            )
        )  # fmt: skip
        trip = turn.state.board.get(RESUMED, account_id)
        assert trip is not None, "it has just tripped"
        _probe(turn, trip, reason)


def restart(turn: Turn) -> None:
    """A new life: cool-downs and probing begin anew, in full."""
    for trip in tuple(turn.state.board.trips.values()):
        if trip.probing:
            _probe(turn, trip, "probing begins anew after a restart")
        elif trip.cooldown_s and not trip.latched:
            turn.say(
                BreakerMoved(
                    breaker=trip.breaker, scope=trip.scope, subject=trip.subject,
                    state=BreakerState.TRIPPED, until_ns=turn.now + seconds(trip.cooldown_s),
                    reason="its cool-down begins anew after a restart", scale=trip.scale,
                )
            )  # fmt: skip


# -- time goes on ----------------------------------------------------------------------------------


def keep_cooling(turn: Turn) -> None:
    """On each beat: ends of cool-downs whose condition is false, and of probing."""
    for trip in tuple(turn.state.board.trips.values()):
        if trip.probing:
            _perhaps_armed(turn, trip)
        elif trip.cooldown_s and not trip.latched and _is_over(trip, turn.now):
            still = _STILL.get(trip.breaker)
            if still is not None and still(turn, InstrumentName(trip.subject)):
                continue
            if trip.effect is Effect.SCALE:
                turn.reset(trip.breaker, trip.scope, trip.subject, "cooled down")
            else:
                _probe(turn, trip, f"cooled down for {trip.cooldown_s} s")


def _is_over(trip: Trip, now: Instant) -> bool:
    return trip.until_ns is not None and now >= trip.until_ns


def _perhaps_armed(turn: Turn, trip: Trip) -> None:
    limits = turn.world.plan.breakers
    if trip.breaker != RESUMED and trip.probes >= limits.probe_orders:
        reason = f"{trip.probes} orders went well"
    elif _is_over(trip, turn.now):
        reason = f"probed for {limits.probe_s} s"
    else:
        return
    turn.reset(trip.breaker, trip.scope, trip.subject, reason)


def _probe(turn: Turn, trip: Trip, reason: str) -> None:
    limits = turn.world.plan.breakers
    turn.say(
        BreakerMoved(
            breaker=trip.breaker, scope=trip.scope, subject=trip.subject,
            state=BreakerState.PROBING, until_ns=turn.now + seconds(limits.probe_s),
            reason=reason, scale=limits.probe_scale,
        )
    )  # fmt: skip


# -- what still holds ------------------------------------------------------------------------------


def _no_fresh_price(turn: Turn, name: InstrumentName) -> bool:
    seen = turn.live.quotes.seen_ns(name)
    return seen is None or turn.now - seen > seconds(turn.world.plan.breakers.stale_tick_s)


def _still_wide(turn: Turn, name: InstrumentName) -> bool:
    tick, ring = turn.live.quotes.tick(name), turn.live.rings.get(name)
    if tick is None or ring is None or _no_fresh_price(turn, name):
        return True
    return m2_spread(tick.ask - tick.bid, ring, turn.world.plan.breakers) is not None


def _still_wild(turn: Turn, name: InstrumentName) -> bool:
    pulse = turn.live.pulses.get(name)
    wild = pulse is None or m3_volatility(pulse.volatility, turn.world.plan.breakers) is not None
    return wild or _no_fresh_price(turn, name)


# Of the others nothing can be said while they block: their next trip comes with the next trouble.
_STILL: dict[str, Callable[[Turn, InstrumentName], bool]] = {
    "M2": _still_wide,
    "M3": _still_wild,
    "M4": _no_fresh_price,
    "M5": _no_fresh_price,
}


def still_troubled(turn: Turn, breaker: str, name: InstrumentName) -> str | None:
    """What is still so of a breaker that cools down; None also for one that does not."""
    still = _STILL.get(breaker)
    return f"{TABLE[breaker].name} of {name}" if still is not None and still(turn, name) else None


# -- one order in flight ---------------------------------------------------------------------------


def busy(
    world: World, account_id: AccountId, instrument: InstrumentName | None, own: str = ""
) -> Iterator[str]:
    """Why a breaker that probes lets no order through now: another one is in flight."""
    for trip in world.state.board.in_scope(account_id, instrument):
        if trip.probing and _in_flight(world, trip, own):
            name = TABLE[trip.breaker].name
            yield f"{trip.breaker} {name}: probing, and one order is in flight"


def _in_flight(world: World, trip: Trip, own: str) -> bool:
    return any(
        name != own and _concerns(trip, record.intent)
        for name, record in world.state.intents.items()
    )


def _concerns(trip: Trip, intent: Intent) -> bool:
    if trip.scope is Scope.ACCOUNT:
        return intent.account_id == trip.subject
    return trip.scope is Scope.SYSTEM or intent.proposal.instrument == trip.subject

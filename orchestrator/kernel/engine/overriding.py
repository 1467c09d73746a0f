"""Overrides in the engine: set and ended by people, used by orders, over by the clock (B5)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from decimal import Decimal
from typing import assert_never

from orchestrator.kernel.engine.turn import Turn, World
from orchestrator.kernel.safety.board import SYSTEM
from orchestrator.kernel.safety.breakers import TABLE
from orchestrator.kernel.safety.limits import LIMITS, value_of
from orchestrator.kernel.safety.overrides import (
    KEPT_MAX,
    OPERATORS,
    Override,
    loosens,
    refusals,
    untouchable,
)
from orchestrator.model.events import EndOverride, SetOverride
from orchestrator.model.facts import (
    BreakerReset,
    OperatorActed,
    OverrideEnded,
    OverrideSet,
    OverrideUsed,
)
from orchestrator.model.money import ZERO, AccountId
from orchestrator.model.safety import Effect, Scope, Severity
from orchestrator.model.signals import Proposal
from orchestrator.model.time import format_time

# -- set and ended by people -----------------------------------------------------------------------


def on_set(turn: Turn, wish: SetOverride) -> None:
    """Refused with every reason, or in force at once; both are written down."""
    found = list(_reset_refusals(turn, wish) if wish.limit in TABLE else _set_refusals(turn, wish))
    if wish.override_id in turn.state.overrides:
        found.append(f"override {wish.override_id} stands already")
    if len(turn.state.overrides) >= KEPT_MAX:
        found.append(f"{KEPT_MAX} overrides stand: end one first")
    value = "" if wish.value is None else f" {wish.value}"
    text = f"{wish.limit}{value} for {wish.subject}: {wish.reason}"
    turn.say(OperatorActed(
        actor=wish.actor, action="override", text=text, refused="; ".join(found), role=wish.role,
    ))  # fmt: skip
    if found:
        return
    if wish.limit in TABLE:
        _reset(turn, wish)
    else:
        _set(turn, wish)


def _bases(turn: Turn, wish: SetOverride) -> tuple[Decimal, ...]:
    """The limit as the settings have it, at each account that the override reaches."""
    if wish.limit not in LIMITS:
        return ()
    plan = turn.world.plan
    reached = (
        [plan.total, *(each.limits for each in plan.accounts)]
        if wish.scope is not Scope.ACCOUNT
        else [each.limits for each in plan.accounts if each.account_id == wish.subject]
    )
    return tuple(value_of(limits, plan.checks, wish.limit) for limits in reached)


def _subjects(turn: Turn, scope: Scope) -> tuple[str, ...]:
    match scope:
        case Scope.SYSTEM:
            return (SYSTEM,)
        case Scope.ACCOUNT:
            return turn.world.account_ids
        case Scope.INSTRUMENT:
            return turn.world.plan.instruments
        case _:
            assert_never(scope)


def _set_refusals(turn: Turn, wish: SetOverride) -> tuple[str, ...]:
    return refusals(wish, _bases(turn, wish), _subjects(turn, wish.scope), turn.now)


def _set(turn: Turn, wish: SetOverride) -> None:
    assert wish.value is not None, "an override without a value was refused"
    bases = _bases(turn, wish)
    rule = LIMITS[wish.limit]
    was = max(bases) if rule.higher_is_looser else min(bases)
    looser = loosens(wish, bases)
    turn.say(OverrideSet(
        override_id=wish.override_id, limit=wish.limit, scope=wish.scope, subject=wish.subject,
        value=wish.value, was=was, loosens=looser, actor=wish.actor, role=wish.role,
        reason=wish.reason, until_ns=wish.until_ns, uses_max=wish.uses_max if looser else 0,
    ))  # fmt: skip
    if looser:
        until = "" if wish.until_ns is None else f" until {format_time(wish.until_ns)}"
        turn.alert(
            f"override:{wish.override_id}", Severity.WARNING, f"{wish.limit} loosened",
            f"{was} to {wish.value} for {wish.subject}{until} by {wish.actor}: {wish.reason}",
            wish.subject,
        )  # fmt: skip


def on_end(turn: Turn, wish: EndOverride) -> None:
    """Ending what loosens tightens: an operator may. Ending what tightens needs an admin."""
    standing = turn.state.overrides.get(wish.override_id)
    refused = ""
    if standing is None or standing.ended:
        refused = f"no override {wish.override_id} stands"
    elif wish.role not in OPERATORS or (wish.role != "admin" and not standing.loosens):
        refused = "ending what tightens loosens: it needs the role admin"
    elif not wish.reason.strip() or not wish.actor.strip():
        refused = "actor and reason are needed"
    turn.say(OperatorActed(
        actor=wish.actor, action="override end", text=f"{wish.override_id} {wish.reason}",
        refused=refused, role=wish.role,
    ))  # fmt: skip
    if not refused and standing is not None:
        _end(turn, standing, wish.actor, wish.reason)


def _end(turn: Turn, override: Override, actor: str, reason: str) -> None:
    turn.say(OverrideEnded(
        override_id=override.override_id, limit=override.limit, subject=override.subject,
        actor=actor, reason=reason,
    ))  # fmt: skip


# -- the early reset of a breaker ------------------------------------------------------------------


def _reset_refusals(turn: Turn, wish: SetOverride) -> Iterator[str]:
    """B5 for a breaker: by an admin, never those that nobody may reset early."""
    forbidden = untouchable(wish.limit)
    trip = turn.state.board.get(wish.limit, wish.subject)
    if forbidden:
        yield forbidden
    if not wish.actor.strip() or not wish.reason.strip():
        yield "actor and reason are needed"
    if wish.role != "admin":
        yield "resetting early needs the role admin"
    if wish.value is not None:
        yield "a breaker has no value: it can only be reset"
    if trip is None:
        yield f"{wish.limit} is not tripped for {wish.subject!r}"
    elif trip.scope is not wish.scope or trip.scope is Scope.SYSTEM:
        yield "an early reset has one scope: the account or instrument of the breaker"
    elif trip.effect is Effect.STOP:
        yield "an emergency stop ends by a resume only"


def _reset(turn: Turn, wish: SetOverride) -> None:
    """Once, at once; a condition that still holds trips it anew."""
    turn.say(OverrideSet(
        override_id=wish.override_id, limit=wish.limit, scope=wish.scope, subject=wish.subject,
        value=ZERO, was=ZERO, loosens=True, actor=wish.actor, role=wish.role, reason=wish.reason,
        until_ns=turn.now, uses_max=1,
    ))  # fmt: skip
    turn.say(BreakerReset(
        breaker=wish.limit, scope=wish.scope, subject=wish.subject, actor=wish.actor,
        reason=f"override {wish.override_id}: {wish.reason}",
    ))  # fmt: skip
    account = wish.subject if wish.scope is Scope.ACCOUNT else ""
    turn.say(OverrideUsed(
        override_id=wish.override_id, limit=wish.limit, account_id=AccountId(account),
        intent_id="", signal_id="", uses_left=0,
    ))  # fmt: skip
    turn.say(OverrideEnded(
        override_id=wish.override_id, limit=wish.limit, subject=wish.subject, actor="kernel",
        reason="done",
    ))  # fmt: skip
    turn.alert(
        f"override:{wish.override_id}", Severity.WARNING, f"{wish.limit} reset early",
        f"for {wish.subject} by {wish.actor}: {wish.reason}", wish.subject,
    )  # fmt: skip


# -- use and end -----------------------------------------------------------------------------------


def loosening(world: World, order: Proposal) -> list[Override]:
    """What stands ready to loosen a limit for this order."""
    return [
        override
        for override in world.state.overrides.values()
        if override.loosens
        and not override.ended
        and override.reaches(order.account_id, order.instrument)
    ]


def needed(ready: Iterable[Override], objections: Iterable[str]) -> list[Override]:
    """Those without whose limit the order was refused."""
    checks = {text.split(" ", 1)[0] for text in objections}
    return [override for override in ready if LIMITS[override.limit].check in checks]


def use(turn: Turn, overrides: Iterable[Override], order: Proposal, intent_id: str) -> None:
    for override in overrides:
        turn.say(OverrideUsed(
            override_id=override.override_id, limit=override.limit, account_id=order.account_id,
            intent_id=intent_id, signal_id=order.signal_id, uses_left=override.uses_left - 1,
        ))  # fmt: skip
        if not override.uses_left:
            _end(turn, override, "kernel", "used up")


def end_due(turn: Turn) -> None:
    """Before anything else is decided: what is over by the clock."""
    for override in list(turn.state.overrides.values()):
        if override.until_ns is not None and turn.now >= override.until_ns and not override.ended:
            _end(turn, override, "kernel", "its time is over")


def lapsed(world: World, intent_id: str, now: int) -> bool:
    """Whether an order leaned on an override that is over since."""
    return any(
        intent_id in override.used_by and not override.holds(now, own=intent_id)
        for override in world.state.overrides.values()
    )

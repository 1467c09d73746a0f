"""Limits moved by people (SAFETY B5): tightened at once and without end, loosened for a while.

The strictest wins: an override that loosens does not reach past a tightening that stands.
"""

from __future__ import annotations

from collections.abc import Iterable
from decimal import Decimal
from typing import TypeVar

import msgspec

from orchestrator.kernel.safety.limits import LIMITS, NEVER, NEVER_CHECKS, OF_ACCOUNT, OF_CHECKS
from orchestrator.model.events import SetOverride
from orchestrator.model.facts import OverrideSet
from orchestrator.model.limits import AccountLimits, CheckLimits
from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.safety import Scope
from orchestrator.model.time import MINUTE_NS, Instant

LASTS_MAX_NS = 60 * MINUTE_NS
USES_MAX = 100
KEPT_MAX = 100
_FINEST = Decimal("1E-9")
OPERATORS = ("operator", "admin")
_L = TypeVar("_L", AccountLimits, CheckLimits)


class Override(msgspec.Struct, kw_only=True):
    """One that was set. `ended`: used up, and kept only for the orders that used it."""

    override_id: str
    limit: str
    scope: Scope
    subject: str
    value: Decimal
    loosens: bool
    actor: str
    role: str
    reason: str
    since_ns: Instant
    until_ns: Instant | None
    uses_max: int
    used_by: list[str] = msgspec.field(default_factory=list[str])
    ended: bool = False

    def reaches(self, account_id: AccountId | None, instrument: InstrumentName | None) -> bool:
        return (
            self.scope is Scope.SYSTEM
            or (self.scope is Scope.ACCOUNT and self.subject == account_id)
            or (self.scope is Scope.INSTRUMENT and self.subject == instrument)
        )

    def holds(self, now: Instant, own: str = "") -> bool:
        """`own`: an order that used it already keeps it until its end."""
        if self.until_ns is not None and now >= self.until_ns:
            return False
        return not self.loosens or not self.ended or own in self.used_by

    @property
    def uses_left(self) -> int:
        return max(0, self.uses_max - len(self.used_by))


def made(fact: OverrideSet, at: Instant) -> Override:
    return Override(
        override_id=fact.override_id, limit=fact.limit, scope=fact.scope, subject=fact.subject,
        value=fact.value, loosens=fact.loosens, actor=fact.actor, role=fact.role,
        reason=fact.reason, since_ns=at, until_ns=fact.until_ns, uses_max=fact.uses_max,
    )  # fmt: skip


def moved(base: _L, overrides: Iterable[Override]) -> _L:
    """Limits with these overrides in force; all of them must hold and reach."""
    names = OF_ACCOUNT if isinstance(base, AccountLimits) else OF_CHECKS
    found: dict[str, Decimal] = {}
    ordered = sorted(overrides, key=lambda each: not each.loosens)  # tightenings come last
    for override in ordered:
        if override.limit not in names:
            continue
        rule, standing = LIMITS[override.limit], found.get(override.limit)
        if standing is None:
            standing = Decimal(getattr(base, override.limit))
        if rule.looser(override.value, standing) is override.loosens:
            found[override.limit] = override.value
    if not found:
        return base
    changes = {name: int(v) if LIMITS[name].whole else v for name, v in found.items()}
    return msgspec.structs.replace(base, **changes)


# -- what is refused -------------------------------------------------------------------------------


def refusals(
    wish: SetOverride, bases: tuple[Decimal, ...], subjects: tuple[str, ...], now: Instant
) -> tuple[str, ...]:
    """Why an override is not set; empty: it may be. `bases`: the limit in force where it reaches.

    `subjects`: the accounts or instruments that its scope may name.
    """
    found = list(_person(wish))
    forbidden = untouchable(wish.limit)
    rule = LIMITS.get(wish.limit)
    if forbidden:
        return (*found, forbidden)
    if rule is None:
        return (*found, f"no limit {wish.limit!r}; there are {', '.join(LIMITS)}")
    if wish.subject not in subjects:
        found.append(f"{wish.subject!r} is not one of {', '.join(subjects)}")
    value = wish.value
    if value is None or not value.is_finite() or value < 0 or 0 < value < _FINEST:
        return (*found, f"{value} is no value of {wish.limit}")
    if rule.whole and value != value.to_integral_value():
        found.append(f"{wish.limit} is a whole number")
    if value != rule.loosest and rule.looser(value, rule.loosest):
        found.append(f"{wish.limit} is never beyond {rule.loosest}, by settings or override")
    if loosens(wish, bases):
        found.extend(_loosening(wish, now, overridable=rule.overridable))
    elif value in bases and len(set(bases)) == 1:
        found.append(f"{wish.limit} is {value} there already")
    elif wish.until_ns is not None and wish.until_ns <= now:
        found.append("its end is not in the future")
    return tuple(found)


def loosens(wish: SetOverride, bases: Iterable[Decimal]) -> bool:
    """Whether it would allow more anywhere in its scope."""
    rule, value = LIMITS[wish.limit], wish.value
    return value is not None and any(rule.looser(value, base) for base in bases)


def untouchable(name: str) -> str:
    """Why a name can never be overridden (SAFETY B5); "" when it may."""
    what = NEVER_CHECKS.get(name.upper())
    if name.upper() in NEVER or name.upper().startswith("INV"):
        what = name.upper()
    if name.lower() in {"gate", "stop", "emergency_stop", "intent", "durable_intent"}:
        what = name
    return f"{what} cannot be overridden by anybody (SAFETY B5)" if what else ""


def _person(wish: SetOverride) -> Iterable[str]:
    if not wish.actor.strip():
        yield "no actor is named"
    if wish.role not in OPERATORS:
        yield f"role {wish.role!r} may not move limits: operator or admin"
    if not wish.reason.strip():
        yield "no reason is given"


def _loosening(wish: SetOverride, now: Instant, *, overridable: bool) -> Iterable[str]:
    if not overridable:
        yield f"{wish.limit} can be tightened, and loosened by nobody (SAFETY B5: A1)"
    if wish.role in OPERATORS and wish.role != "admin":
        yield "loosening a limit needs the role admin"
    if wish.scope is Scope.SYSTEM:
        yield "loosening needs one scope: an account or an instrument"
    if wish.until_ns is None or not now < wish.until_ns <= now + LASTS_MAX_NS:
        yield "loosening needs an end within 60 minutes"
    if not 1 <= wish.uses_max <= USES_MAX:
        yield f"loosening needs a number of uses, 1 to {USES_MAX}"

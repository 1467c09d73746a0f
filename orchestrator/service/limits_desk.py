"""Limits and overrides as the desk shows and takes them."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine import Kernel
from orchestrator.kernel.safety.limits import LIMITS, value_of
from orchestrator.model.events import SetOverride
from orchestrator.model.money import AccountId
from orchestrator.model.safety import Scope
from orchestrator.model.time import MINUTE_NS, Instant
from orchestrator.service.seams import new_id
from orchestrator.service.views import AccountLimitsView, OverrideView, TighteningView

_SYSTEM = "system"


class OverrideWish(msgspec.Struct, frozen=True, kw_only=True):
    """What a person asks for. `value` None: the early reset of the breaker `limit`.

    `minutes` None: without end, which only tightening has.
    """

    limit: str
    subject: str
    value: Decimal | None
    minutes: int | None
    uses: int
    reason: str


def limits_of(kernel: Kernel, account_id: AccountId, now: Instant) -> AccountLimitsView:
    plan = kernel.account_plan(account_id)
    force, checks = kernel.in_force(account_id), kernel.plan.checks
    return AccountLimitsView(
        account_id=account_id, profile=plan.profile.name,
        limits={name: _text(value_of(plan.limits, checks, name)) for name in LIMITS},
        in_force={name: _text(value_of(force.limits, force.checks, name)) for name in LIMITS},
        tightened=tuple(
            TighteningView(
                limit=each.limit, by=each.by, why=each.why, subject=each.subject,
                scale=each.scale, value=each.value, until_ns=each.until_ns,
            )
            for each in kernel.tightenings(account_id, now)
        ),
    )  # fmt: skip


def _text(value: Decimal) -> str:
    return f"{value.normalize():f}"


def overrides_of(kernel: Kernel) -> tuple[OverrideView, ...]:
    return tuple(
        OverrideView(
            override_id=each.override_id, limit=each.limit, scope=each.scope,
            subject=each.subject, value=each.value, loosens=each.loosens, actor=each.actor,
            role=each.role, reason=each.reason, since_ns=each.since_ns, until_ns=each.until_ns,
            uses_left=each.uses_left if each.loosens else None,
        )
        for each in kernel.overrides()
    )  # fmt: skip


def command_of(
    kernel: Kernel, wish: OverrideWish, actor: str, role: str, now: Instant
) -> SetOverride:
    """The kernel judges it; only the scope is read off the subject's name here."""
    scope = Scope.ACCOUNT
    if wish.subject == _SYSTEM:
        scope = Scope.SYSTEM
    elif wish.subject in kernel.instruments:
        scope = Scope.INSTRUMENT
    return SetOverride(
        override_id=new_id("override"), limit=wish.limit, scope=scope, subject=wish.subject,
        value=wish.value, actor=actor, role=role, reason=wish.reason, uses_max=wish.uses,
        until_ns=None if wish.minutes is None else now + wish.minutes * MINUTE_NS,
    )  # fmt: skip

"""A11: a rule of the account's profile is met: its target, its last day, its hours."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.safety.view import money_text
from orchestrator.model.money import ONE
from orchestrator.model.profiles import Profile
from orchestrator.model.safety import Effect
from orchestrator.model.time import Instant

# While a target waits for its days, what was won is not to be lost again.
WAITING_SCALE = Decimal("0.25")


class Course(msgspec.Struct, frozen=True, kw_only=True):
    """How far an account has come since its start. `days`: earlier ones with a trade."""

    start: Decimal
    balance: Decimal
    nav: Decimal
    days: int
    trading_days: int  # today's included


class Rule(msgspec.Struct, frozen=True):
    """What a profile asks for. `lasting`: only a person resets it."""

    evidence: str
    effect: Effect
    lasting: bool


def goal_of(profile: Profile, course: Course) -> Decimal | None:
    """The home money at which the target is reached; None where there is none."""
    return None if profile.profit_target is None else course.start * (ONE + profile.profit_target)


def a11_profile(profile: Profile, course: Course, now: Instant) -> Rule | None:
    """Target and days; where several are met, what lasts goes first.

    A target that only blocks counts when it is booked: balance and NAV both reach it. One that
    flattens counts by the NAV, since closing is what books it.
    """
    goal, nav = goal_of(profile, course), course.nav
    flatten = profile.on_target is Effect.FLATTEN
    reached = goal is not None and nav >= goal and (flatten or course.balance >= goal)
    if goal is not None and reached and course.trading_days >= profile.days_min:
        text = f"target {money_text(goal)} reached: NAV {money_text(nav)}"
        return Rule(text, profile.on_target, lasting=True)
    if profile.days_max and course.days >= profile.days_max:
        text = f"{course.days} trading days are over, limit {profile.days_max}"
        return Rule(text, profile.on_target, lasting=True)
    off = profile.off(now) if profile.off_hours is Effect.FLATTEN else None
    return Rule(off, Effect.FLATTEN, lasting=False) if off is not None else None


def waiting(profile: Profile, course: Course) -> str | None:
    """The target is booked, but its trading days are not full: risk is scaled until they are."""
    goal = goal_of(profile, course)
    if goal is None or course.balance < goal or course.trading_days >= profile.days_min:
        return None
    return f"target reached on {course.trading_days} of {profile.days_min} trading days"

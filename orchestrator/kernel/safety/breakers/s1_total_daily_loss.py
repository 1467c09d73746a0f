"""S1: the day's loss of all accounts together, in one reporting currency."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.breakers.losses import Level, level_of
from orchestrator.model.limits import AccountLimits, BreakerLimits


def s1_total_daily_loss(
    day_loss: Decimal, equity_start: Decimal, limits: AccountLimits, breakers: BreakerLimits
) -> Level | None:
    """Sum of L over sum of E0."""
    return level_of(day_loss, equity_start, limits.max_daily_loss, breakers, "total day's loss")

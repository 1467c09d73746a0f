"""A1: the account's loss of the trading day against MAX_DAILY_LOSS."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.breakers.losses import Level, level_of
from orchestrator.model.limits import AccountLimits, BreakerLimits


def a1_daily_loss(
    nav: Decimal, equity_start: Decimal, limits: AccountLimits, breakers: BreakerLimits
) -> Level | None:
    """L/E0 with L = max(0, E0 - NAV), home currency."""
    loss = max(Decimal(0), equity_start - nav)
    return level_of(loss, equity_start, limits.max_daily_loss, breakers, "day's loss")

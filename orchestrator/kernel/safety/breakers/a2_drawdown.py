"""A2: the account's fall from its peak against CIRCUIT_BREAKER_THRESHOLD."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.breakers.losses import Level, level_of
from orchestrator.model.limits import AccountLimits, BreakerLimits


def a2_drawdown(
    nav: Decimal, peak: Decimal, limits: AccountLimits, breakers: BreakerLimits
) -> Level | None:
    """1 - NAV/P, home currency."""
    fallen = max(Decimal(0), peak - nav)
    return level_of(fallen, peak, limits.max_drawdown, breakers, "drawdown")

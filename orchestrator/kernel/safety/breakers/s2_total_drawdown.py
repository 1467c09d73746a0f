"""S2: the fall of all accounts together from their total peak."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.breakers.losses import Level, level_of
from orchestrator.model.limits import AccountLimits, BreakerLimits


def s2_total_drawdown(
    nav: Decimal, peak: Decimal, limits: AccountLimits, breakers: BreakerLimits
) -> Level | None:
    """1 - NAV/P of the totals."""
    fallen = max(Decimal(0), peak - nav)
    return level_of(fallen, peak, limits.max_drawdown, breakers, "total drawdown")

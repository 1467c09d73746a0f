"""A6: too much of the account's money is bound as margin."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.view import percent_text
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.safety import Effect


def a6_margin(margin: Decimal, nav: Decimal, limits: BreakerLimits) -> tuple[Effect, str] | None:
    """Margin used/NAV >= 0.50 blocks; margin-closeout percent >= 0.80 flattens.

    The percent is margin used / 2 / NAV; at 1 the venue closes everything (fact sheet, 11).
    """
    if margin <= 0:
        return None
    if nav <= 0:
        return Effect.FLATTEN, f"margin {margin} is used, and the NAV is {nav}"
    used = margin / nav
    if used / 2 >= limits.margin_flatten:
        limit = percent_text(limits.margin_flatten)
        return Effect.FLATTEN, f"margin closeout percent {percent_text(used / 2)}, limit {limit}"
    if used >= limits.margin_block:
        limit = percent_text(limits.margin_block)
        return Effect.BLOCK, f"margin used is {percent_text(used)} of NAV, limit {limit}"
    return None

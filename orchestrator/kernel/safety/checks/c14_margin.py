"""C14: margin used, reserved and needed stays within half of NAV, and is available."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, money_text, notional_of
from orchestrator.model.signals import Proposal


def c14_margin(order: Proposal, view: View) -> str | None:
    """Used + reserved + this <= 0.50 x NAV, and <= what is available (NAV less used)."""
    funds = view.funds
    if funds is None or view.market is None or view.factors is None:
        return "C14 margin in home currency is unknown"
    needed = notional_of(order, view.market, view.factors) * view.margin_rate
    taken = funds.margin_used + funds.margin_reserved
    limit = view.checks.margin_used_max * funds.nav
    if taken + needed > limit:
        return f"C14 margin would be {money_text(taken + needed)}, limit {money_text(limit)}"
    available = funds.nav - taken
    if needed > available:
        return f"C14 margin needed {money_text(needed)}, available {money_text(available)}"
    return None

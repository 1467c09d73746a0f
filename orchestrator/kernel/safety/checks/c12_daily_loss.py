"""C12: even if all stops were hit, the day's loss stays within MAX_DAILY_LOSS."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, money_text, risk_of
from orchestrator.model.signals import Proposal


def c12_daily_loss(order: Proposal, view: View) -> str | None:
    """L + R_open + risk(u) <= MAX_DAILY_LOSS x E0, for the account and for the totals."""
    funds, totals = view.funds, view.totals
    if funds is None or totals is None or view.market is None or view.factors is None:
        return "C12 the day's loss or the risk is unknown"
    risk = risk_of(order, view.market, view.factors)
    worst, limit = (
        funds.day_loss + funds.open_risk + risk,
        view.limits.max_daily_loss * funds.equity_start,
    )
    if worst > limit:
        return f"C12 day's loss could be {money_text(worst)}, limit {money_text(limit)}"
    worst = totals.day_loss + totals.open_risk + risk * totals.rate
    limit = view.total_limits.max_daily_loss * totals.equity_start
    if worst > limit:
        return f"C12 total day's loss could be {money_text(worst)}, limit {money_text(limit)}"
    return None

"""C13: even if all stops were hit, the drawdown stays within CIRCUIT_BREAKER_THRESHOLD."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, money_text, risk_of
from orchestrator.model.signals import Proposal


def c13_drawdown(order: Proposal, view: View) -> str | None:
    """(P - NAV) + R_open + risk(u) <= threshold x P, for the account and for the totals."""
    funds, totals = view.funds, view.totals
    if funds is None or totals is None or view.market is None or view.factors is None:
        return "C13 the drawdown or the risk is unknown"
    risk = risk_of(order, view.market, view.factors)
    worst, limit = funds.fallen + funds.open_risk + risk, view.limits.max_drawdown * funds.peak
    if worst > limit:
        return f"C13 drawdown could be {money_text(worst)}, limit {money_text(limit)}"
    worst = max(totals.peak - totals.nav, totals.nav * 0) + totals.open_risk + risk * totals.rate
    limit = view.total_limits.max_drawdown * totals.peak
    if worst > limit:
        return f"C13 total drawdown could be {money_text(worst)}, limit {money_text(limit)}"
    return None

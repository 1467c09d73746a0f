"""C10: the loss at the stop is within the risk per trade."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.kernel.safety.view import Funds, View, money_text, risk_of
from orchestrator.model.signals import Proposal


def c10_risk(order: Proposal, view: View) -> str | None:
    """risk(u) <= RISK_PER_TRADE x scale x min(balance, NAV)."""
    if view.funds is None or view.market is None or view.factors is None:
        return "C10 risk in home currency is unknown"
    risk = risk_of(order, view.market, view.factors)
    limit = risk_allowed(view.funds, view)
    if risk <= limit:
        return None
    return (
        f"C10 risk {money_text(risk)} is over {money_text(limit)} "
        f"({view.limits.risk_per_trade} x {view.scale} of the account)"
    )


def risk_allowed(funds: Funds, view: View) -> Decimal:
    """Home money that one trade may lose now, scales included."""
    return view.limits.risk_per_trade * view.scale * min(funds.balance, funds.nav)

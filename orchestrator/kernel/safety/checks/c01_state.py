"""C01: the system, the account and everything known of it allow new risk."""

from __future__ import annotations

from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.kernel.safety.view import View, seconds_text
from orchestrator.model.reducing import Reduction
from orchestrator.model.safety import SystemMode
from orchestrator.model.signals import Proposal
from orchestrator.model.time import seconds

# A signal that was accepted before the draining began may still end in an order.
OPEN_MODES = (SystemMode.RUNNING, SystemMode.DRAINING)


def c01_state(order: Proposal, view: View) -> str | None:
    """Mode, breakers in scope, enabled, reconciled, account data at most 15 s old, live allowed."""
    reasons = list(view.blocks)
    if view.mode not in OPEN_MODES:
        reasons.insert(0, f"system is {view.mode}")
    if not view.configured:
        reasons.append(f"account {order.account_id} is not configured")
    if view.live and not view.live_allowed:
        reasons.append("live trading is not allowed by the settings")
    if view.account_seen_ns is None:
        reasons.append("nothing was heard of the account yet")
    elif view.now - view.account_seen_ns > seconds(view.checks.account_age_s_max):
        age = seconds_text(view.now - view.account_seen_ns)
        reasons.append(f"account data are {age} old, limit {view.checks.account_age_s_max} s")
    return f"C01 {'; '.join(reasons)}" if reasons else None


def c01_reducing(wish: Reduction, view: Reducible) -> str | None:
    """Mode `reduce` is enough; what halts an account leaves it to the liquidator."""
    if not view.configured:
        return f"C01 account {wish.account_id} is not configured"
    if not view.known:
        return "C01 nothing was heard of the account yet"
    return f"C01 {'; '.join(view.halts)}" if view.halts else None

"""C11: there is a free place among the concurrent trades."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View
from orchestrator.model.signals import Proposal


def c11_count(order: Proposal, view: View) -> str | None:
    """Open trades and reservations < MAX_CONCURRENT_TRADES, and < accounts x that in total."""
    if view.funds is None or view.totals is None:
        return f"C11 open trades of {order.account_id} or of all accounts are unknown"
    limit = view.limits.max_concurrent_trades
    if view.funds.open_count >= limit:
        return f"C11 {view.funds.open_count} trades open or in flight, limit {limit}"
    limit = view.totals.accounts * view.total_limits.max_concurrent_trades
    if view.totals.open_count >= limit:
        return f"C11 {view.totals.open_count} trades open or in flight in total, limit {limit}"
    return None

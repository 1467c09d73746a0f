"""C09: the size suits the venue, the account, and what this strategy usually orders."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View, money_text, notional_of
from orchestrator.model.money import InstrumentSpec
from orchestrator.model.signals import Proposal


def c09_size(order: Proposal, view: View) -> str | None:
    """Precision, minimum, maximum; notional at most 10 x NAV; at most 5 x the median order."""
    if view.spec is None:
        return f"C09 {order.instrument} has no rules"
    objection = _venue(order, view, view.spec) or _money(order, view) or _habit(order, view)
    return f"C09 {objection}" if objection else None


def _venue(order: Proposal, view: View, spec: InstrumentSpec) -> str | None:
    size = abs(order.units)
    if order.units != spec.round_units_to_zero(order.units):
        return f"{order.units} units are finer than {spec.trade_units_precision} decimals"
    if size < spec.minimum_trade_size:
        return f"{size} units are below the minimum {spec.minimum_trade_size}"
    if size > spec.maximum_order_units:
        return f"{size} units are above the maximum {spec.maximum_order_units}"
    position = abs(view.position_units + order.units)
    if spec.maximum_position_size and position > spec.maximum_position_size:
        return f"position would be {position} units, maximum {spec.maximum_position_size}"
    return None


def _money(order: Proposal, view: View) -> str | None:
    if view.funds is None or view.market is None or view.factors is None:
        return "its worth in home currency is unknown"
    worth = notional_of(order, view.market, view.factors)
    limit = view.checks.notional_nav_max * view.funds.nav
    if worth > limit:
        factor = view.checks.notional_nav_max
        return f"notional {money_text(worth)} is over {money_text(limit)} ({factor} x NAV)"
    if worth > view.checks.order_notional_max:
        return f"notional {money_text(worth)} is over {view.checks.order_notional_max}"
    return None


def _habit(order: Proposal, view: View) -> str | None:
    if view.median_units is None:
        return None
    limit = view.checks.size_median_factor * view.median_units
    if abs(order.units) <= limit:
        return None
    factor = view.checks.size_median_factor
    return f"{abs(order.units)} units are over {limit}, {factor} x the usual"

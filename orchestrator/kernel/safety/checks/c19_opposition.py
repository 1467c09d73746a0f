"""C19: no order works against another account of the same owner, nor meets one of our own."""

from __future__ import annotations

from orchestrator.kernel.safety.checks.c07_collar import bound_of
from orchestrator.kernel.safety.view import View
from orchestrator.model.money import Side
from orchestrator.model.signals import Proposal


def c19_opposition(order: Proposal, view: View) -> str | None:
    """Opposite trades and orders of the owner's other accounts; our resting orders in reach."""
    if view.neighbours is None:
        return "C19 what the owner's other accounts hold is unknown"
    return _against(order, view) or _crossing(order, view)


def _against(order: Proposal, view: View) -> str | None:
    if view.checks.opposition_allowed:
        return None
    for other in view.neighbours or ():
        for side, what in other.sides:
            if side is not order.side:
                return (
                    f"C19 account {other.account_id} has the opposite on {order.instrument}: "
                    f"{what} to {side}"
                )
    return None


def _crossing(order: Proposal, view: View) -> str | None:
    """The order may pay up to its bound: whatever of ours rests within is met."""
    if not view.resting:
        return None
    if view.market is None or view.spec is None:
        return "C19 what the order may pay is unknown"
    bound = bound_of(order.side, view.market, view.spec, view.checks)
    for rest in view.resting:
        met = bound >= rest.price if order.side is Side.BUY else bound <= rest.price
        if rest.side is not order.side and met:
            return (
                f"C19 the order would meet our own order {rest.order_id} at {rest.price} "
                f"of account {rest.account_id}"
            )
    return None

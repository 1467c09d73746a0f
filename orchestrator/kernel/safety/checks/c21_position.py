"""C21: a close takes no more than there is, what is being closed already left out (SAFETY 3)."""

from __future__ import annotations

from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.model.reducing import ReduceKind, Reduction


def c21_position(wish: Reduction, view: Reducible) -> str | None:
    """Units at most the trade's, and at most the position's, less the closes on their way.

    "All" is always of what is there when it arrives: it never takes too much.
    """
    objection = None
    if wish.kind is ReduceKind.CLOSE_TRADE:
        objection = _trade(wish, view) or _position(wish, view)
    elif wish.kind is ReduceKind.CLOSE_POSITION:
        objection = _position(wish, view)
    return f"C21 {objection}" if objection else None


def _trade(wish: Reduction, view: Reducible) -> str | None:
    if view.trade is None:
        return f"trade {wish.target} is not open"
    if wish.units is None:
        return None
    size, closing = abs(view.trade.units), view.closing_trade(wish.target)
    if wish.units > size - closing:
        return f"trade {wish.target} has {size} units, {closing} of them are being closed"
    return None


def _position(wish: Reduction, view: Reducible) -> str | None:
    held, closing = view.held(wish.side), view.closing(wish.side)
    if not held:
        return f"nothing of {wish.instrument} is open"
    if wish.units is None:
        return None
    if wish.side is None:
        return f"{wish.instrument} is held on both sides: say which one to close in part"
    if wish.units > held - closing:
        return f"{wish.instrument} has {held} units, {closing} of them are being closed"
    return None

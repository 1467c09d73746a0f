"""C22: a stop is only ever moved towards the price, and an entry order only taken away."""

from __future__ import annotations

from orchestrator.kernel.safety.reducing import Held, Reducible
from orchestrator.model.reducing import ReduceKind, Reduction


def c22_stop(wish: Reduction, view: Reducible) -> str | None:
    """A stop that would be looser, or a stop's cancellation, adds risk: refused."""
    objection = None
    if wish.kind is ReduceKind.TIGHTEN_STOP:
        objection = _tightens(wish, view)
    elif wish.kind is ReduceKind.CANCEL_ORDER:
        objection = _cancels(wish, view)
    return f"C22 {objection}" if objection else None


def _cancels(wish: Reduction, view: Reducible) -> str | None:
    if view.order_type is None:
        return f"order {wish.target} is not waiting at the venue"
    if not view.entry:
        return f"order {wish.target} is a trade's {view.order_type}: it goes with its trade"
    return None


def _tightens(wish: Reduction, view: Reducible) -> str | None:
    trade = view.trade
    if trade is None:
        return f"trade {wish.target} is not open"
    if trade.guaranteed:
        return f"trade {wish.target} has a guaranteed stop, which is moved at the venue only"
    if view.tightening(wish.target):
        return f"the stop of trade {wish.target} is being moved already"
    return _looser(wish, trade)


def _looser(wish: Reduction, trade: Held) -> str | None:
    if not trade.has_stop:
        # O10 is placing the stop of a trade of ours: two writers could end with the looser one.
        if trade.ours and not trade.trails:
            return f"trade {wish.target} has no stop just now: its own is being placed"
        return None
    if trade.stop is None or wish.price is None:
        return f"the price of the stop of trade {wish.target} is not known"
    closer = wish.price - trade.stop if trade.units > 0 else trade.stop - wish.price
    if closer > 0:
        return None
    return f"stop {wish.price} is not tighter than {trade.stop}, which stands at the venue"

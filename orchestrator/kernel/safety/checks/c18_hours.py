"""C18: the market is open, and not about to close or just opened (T1)."""

from __future__ import annotations

from orchestrator.kernel.safety.reducing import Reducible
from orchestrator.kernel.safety.view import View
from orchestrator.model.reducing import Reduction
from orchestrator.model.signals import Proposal
from orchestrator.model.time import Session


def c18_hours(order: Proposal, view: View) -> str | None:
    """New risk only while the session is open."""
    if view.session == Session.OPEN:
        return None
    return f"C18 the session of {order.instrument} is {view.session}"


def c18_reducing(wish: Reduction, view: Reducible) -> str | None:
    """Only a closed market delays a close; cancels and tighter stops pass."""
    if not wish.kind.closes or view.session != Session.CLOSED:
        return None
    return f"C18 the session of {wish.instrument} is closed: ask again when it has opened"

"""C18: the market is open, and not about to close or just opened (T1)."""

from __future__ import annotations

from orchestrator.kernel.safety.view import View
from orchestrator.model.signals import Proposal
from orchestrator.model.time import Session


def c18_hours(order: Proposal, view: View) -> str | None:
    """New risk only while the session is open."""
    if view.session == Session.OPEN:
        return None
    return f"C18 the session of {order.instrument} is {view.session}"

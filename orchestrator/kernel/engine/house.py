"""The house's own condition as the service tells it: its troubles become breakers S5 to S12."""

from __future__ import annotations

from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.safety.breakers.s12_audit import s12_audit
from orchestrator.model.events import AuditTrouble
from orchestrator.model.safety import Scope


def on_audit(turn: Turn, event: AuditTrouble) -> None:
    """S12 latches; a trail that is good again only lets an admin reset it."""
    evidence = s12_audit(ok=event.ok, reason=event.reason)
    turn.live.audit_trouble = evidence or ""
    if evidence is not None and turn.state.board.get("S12") is None:
        turn.trip("S12", Scope.SYSTEM, evidence, latched=True)

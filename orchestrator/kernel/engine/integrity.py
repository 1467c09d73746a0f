"""S4: what only a bug can break is broken: everything stops (SAFETY K9)."""

from __future__ import annotations

from orchestrator.kernel.engine.turn import Turn
from orchestrator.model.acts import CloseGate
from orchestrator.model.safety import Effect, Scope


def broken(turn: Turn, evidence: str) -> None:
    """An invariant does not hold; nothing more may be opened."""
    if turn.state.board.get("S4") is None:
        turn.trip("S4", Scope.SYSTEM, evidence, effect=Effect.STOP, latched=True)
    if not any(isinstance(act, CloseGate) for act in turn.acts):
        turn.do(CloseGate(actor="S4", reason=evidence))

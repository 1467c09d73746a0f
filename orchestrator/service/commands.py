"""What the kernel makes of a person's command: refused, or promised once it is written down."""

from __future__ import annotations

from orchestrator.model.events import Event
from orchestrator.model.facts import OperatorActed
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.views import Done, Refused

NOT_WRITTEN = Refused(
    status=503, title="Not written down",
    detail="The store cannot write, so nothing is promised; look at breaker S5 and at the disk.",
)  # fmt: skip
NOT_YET_WRITTEN = Refused(
    status=503, title="Not written down yet",
    detail="The store has failed, or not answered in time. What you asked for is in force here and"
    " may yet be written down, or be lost with this process: look at the state, then ask for it"
    " again.",
)  # fmt: skip
_WRITTEN_WITHIN_S = 2.0


class Commands:
    """Part of the front desk."""

    def __init__(self, engine: ExecutionEngine) -> None:
        self._engine = engine

    def refused(self, actor: str, action: str, answer: Refused) -> Refused:
        """A refusal that the kernel never heard of is written down all the same (D2).

        Not while the store fails: what waits for it must stay bounded.
        """
        if self._engine.storing:
            self._engine.note(
                OperatorActed(actor=actor, action=action, text="", refused=answer.detail[:500])
            )
        return answer

    async def give(self, event: Event, done: str) -> Done | Refused:
        """What the kernel made of a command, once that is durable (INV-15)."""
        return self.refusal(event) or await self.promise(done)

    async def promise(self, done: str) -> Done | Refused:
        if await self._engine.settled(_WRITTEN_WITHIN_S):
            return Done(text=done, mode=self._engine.kernel.mode)
        # Heard it is in any case: also a store that has failed may write it down with the next try.
        return NOT_YET_WRITTEN

    def refusal(self, event: Event) -> Refused | None:
        """The kernel's own refusal of a command is a recorded fact; None: it has done as told."""
        if not self._engine.storing:
            return NOT_WRITTEN
        for fact in self._engine.command(event):
            if isinstance(fact, OperatorActed) and fact.refused:
                return Refused(
                    status=409, title="Refused", detail=fact.refused,
                    items=tuple(part.strip() for part in fact.refused.split(";") if part.strip()),
                )  # fmt: skip
        return None

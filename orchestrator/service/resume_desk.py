"""The end of an emergency stop: the trail verified, the resume written down, the gate reopened."""

from __future__ import annotations

from orchestrator.model.errors import StoreError
from orchestrator.model.events import Noted, Resume
from orchestrator.service.audit_desk import AuditDesk
from orchestrator.service.commands import NOT_WRITTEN, Commands
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.safety_monitor import SafetyMonitor
from orchestrator.service.views import Done, Refused

_STOPPED_ANEW = Refused(
    status=409, title="Stopped anew", detail="Somebody has stopped again while this was resumed."
)
_NOBODY = Refused(
    status=409, title="Still stopped", detail="A resume names its actor and gives its reason."
)


class ResumeDesk:
    """Part of the front desk."""

    def __init__(
        self, engine: ExecutionEngine, safety: SafetyMonitor, audit: AuditDesk, commands: Commands
    ) -> None:
        self._engine = engine
        self._kernel = engine.kernel
        self._safety = safety
        self._audit = audit
        self._commands = commands
        self._resumed = ""

    async def resume(
        self, actor: str, stop_id: str, reason: str, open_trades: tuple[str, ...] = ()
    ) -> Done | Refused:
        if not self._safety.stopped:
            no = Refused(status=409, title="Not stopped", detail="No emergency stop is in force.")
            return self._commands.refused(actor, "resume", no)
        if await self._safety.take_up_other_stop():
            return self._commands.refused(actor, "resume", _STOPPED_ANEW)
        if self._kernel.stop_id is None and self._resumed == stop_id:
            return await self._resume_again(actor, reason)
        epoch = await self._epoch_of_resume()
        if isinstance(epoch, Refused):
            return self._commands.refused(actor, "resume", epoch)
        event = Resume(
            stop_id=stop_id, actor=actor, reason=reason, open_trades=open_trades, epoch=epoch,
        )  # fmt: skip
        stood, raised = self._kernel.stop_id, self._safety.raised
        refused = self._commands.refusal(event)
        if stood == stop_id and self._kernel.stop_id is None:
            self._resumed = stop_id
        answer = refused or await self._commands.promise(
            "resumed; the system is ready, start it to trade"
        )
        return await self._reopen(answer, raised) if isinstance(answer, Done) else answer

    async def _resume_again(self, actor: str, reason: str) -> Done | Refused:
        """Resumed already, but the latch could not be removed, or the resume not be written down
        at once: only that is left to do, and it takes a person with a reason, too.
        """
        if not (actor.strip() and reason.strip()):
            return self._commands.refused(actor, "resume", _NOBODY)
        raised = self._safety.raised
        self._engine.handle(Noted(actor=actor, action="resume", text=f"again: {reason}"))
        answer = await self._commands.promise("resumed")
        return await self._reopen(answer, raised) if isinstance(answer, Done) else answer

    async def _epoch_of_resume(self) -> int | Refused:
        """A new epoch, when the audit chain verifies and nobody has stopped again meanwhile."""
        raised = self._safety.raised
        try:
            verified = await self._audit.verify()
            epoch = await self._engine.new_epoch()
        except StoreError:
            return NOT_WRITTEN
        if isinstance(verified, Refused):
            return verified
        return epoch if self._safety.raised == raised else _STOPPED_ANEW

    async def _reopen(self, done: Done, raised: int) -> Done | Refused:
        """Only after a resume that is written down: the latch goes, then the gate opens.

        `raised`: how often a stop was raised when the kernel heard the resume.
        """
        if self._safety.raised != raised:
            return _STOPPED_ANEW
        try:
            reopened = self._safety.reopened()
        except OSError as exc:
            return Refused(
                status=503, title="The latch cannot be removed",
                detail=f"Still stopped: {exc}. Mend the state folder, then resume again.",
            )  # fmt: skip
        if reopened:
            return done
        await self._safety.take_up_other_stop()  # the kernel hears of it before anyone resumes
        return _STOPPED_ANEW

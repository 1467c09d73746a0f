"""What becomes of agents: written down, told to the kernel role by role, and alerted."""

from __future__ import annotations

from collections.abc import Callable

import structlog

from orchestrator.model.events import Event, RoleHealth
from orchestrator.model.facts import AgentChanged, AlertRaised, Fact
from orchestrator.model.ports import Clock
from orchestrator.model.safety import Alert, Severity
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.engine_hooks import Hooks

log = structlog.get_logger()

_UNWELL = {"degraded": Severity.WARNING, "unhealthy": Severity.CRITICAL}


class AgentNews:
    """Part of the engine. Once `closed`, at the end of a life, no health is told any more."""

    def __init__(
        self, agents: AgentManager, note: Callable[[Fact], None], handle: Callable[[Event], None],
        hooks: Hooks, clock: Clock,
    ) -> None:  # fmt: skip
        self._agents = agents
        self._note = note
        self._handle = handle
        self._hooks = hooks
        self._clock = clock
        self.closed = False

    def changed(self, changed: AgentChanged) -> None:
        log.info("agent.changed", agent=changed.agent_id, state=changed.state, why=changed.reason)
        self._note(changed)
        if self.closed:
            return
        if changed.state in _UNWELL or changed.reason.startswith("crash loop"):
            self._raise_alert(changed)
        self._handle(
            RoleHealth(
                role=changed.role, healthy=self._agents.healthy(changed.role),
                reason=f"{changed.agent_id} is {changed.state}: {changed.reason}",
            )
        )  # fmt: skip

    def _raise_alert(self, changed: AgentChanged) -> None:
        alert = Alert(
            key=f"agent:{changed.agent_id}:{changed.state}",
            severity=_UNWELL.get(changed.state, Severity.CRITICAL),
            title=f"Agent {changed.agent_id} is {changed.state}", text=changed.reason,
            at_ns=self._clock.now(), subject=changed.agent_id,
        )  # fmt: skip
        self._note(AlertRaised(alert=alert))
        self._hooks.alert(alert)

"""All that agents in other processes need of a service's life: start, looking after, end."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Protocol

from orchestrator.model.base import Message
from orchestrator.model.events import RoleHealth
from orchestrator.model.links import LinkHost
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.agent_processes import AgentProcesses
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.remote_agents import RemoteAgents


class Away(Protocol):
    """What a system asks of agents elsewhere."""

    async def run(self) -> None:
        """Runs until cancelled."""
        ...

    async def come_up(self, memory: Sequence[Message]) -> None: ...

    async def drain(self) -> None: ...


class AgentsElsewhere:
    """`hosts`: where agents that were started by others come in. `roles`: that live elsewhere."""

    def __init__(
        self, agents: RemoteAgents, processes: AgentProcesses, hosts: Sequence[LinkHost],
        manager: AgentManager, engine: ExecutionEngine,
        *, roles: Sequence[Role], startup_s: float,
    ) -> None:  # fmt: skip
        self._agents = agents
        self._processes = processes
        self._hosts = tuple(hosts)
        self._manager = manager
        self._engine = engine
        self._roles = tuple(roles)
        self._startup_s = startup_s
        agents.wire(engine.handle, engine.heard_from)

    @property
    def over_broker(self) -> bool:
        """Whether opinions are missing when the broker is away (S6)."""
        return self._agents.any_remote

    async def run(self) -> None:
        """Runs until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._agents.run(), name="agents elsewhere")
            tasks.create_task(self._processes.run(), name="agents' processes")
            for host in self._hosts:
                tasks.create_task(host.run(self._agents.opened), name="agents' door")

    async def come_up(self, memory: Sequence[Message]) -> None:
        """Who is there is told the past. Our own children are waited for, others come when they do.

        PluginError where a child can never come up.
        """
        self._agents.bring_up(memory)
        await self._processes.come_up(self._startup_s)
        for role in self._roles:
            if not self._manager.healthy(role):
                why = f"no agent of role {role.value} has come up"
                self._engine.handle(RoleHealth(role=role, healthy=False, reason=why))

    async def drain(self) -> None:
        """They end in reverse order, within two seconds."""
        await self._processes.drain("the service ends")

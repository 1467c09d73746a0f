"""The parts of agents in other processes: who lives where, and how they are reached."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

import msgspec

from orchestrator import __version__
from orchestrator.main.agents import ROLES, AgentSpec, StrategySpec
from orchestrator.main.broker import where
from orchestrator.main.places import AGENTS_SOCKET
from orchestrator.model.links import LinkHost
from orchestrator.model.ports import Clock
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.agent_processes import AgentPlan, AgentProcesses
from orchestrator.service.agents_elsewhere import AgentsElsewhere
from orchestrator.service.children import import_path
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.remote_agents import RemoteAgents, Rules
from orchestrator.settings import AgentSettings, Settings

_OWN_NICE = 5  # of a user's agents in processes of their own


def agent_spec(settings: Settings, role: Role, taste: str) -> AgentSpec:
    """What an agent is to be made of, by the settings."""
    own = settings.agents.get(role)
    return AgentSpec(
        role=role, taste=taste, instruments=settings.instruments,
        path=None if own is None or own.path is None else str(own.path),
        params=None if own is None else dict(own.params),
        strategies=strategy_specs(settings) if role is Role.MARKET_ANALYSIS else {},
    )  # fmt: skip


def strategy_specs(settings: Settings) -> dict[str, StrategySpec]:
    """`[strategies]`."""
    return {
        name: StrategySpec(
            enabled=chosen.enabled, params=dict(chosen.params),
            path=None if chosen.path is None else str(chosen.path),
        )
        for name, chosen in settings.strategies.items()
    }  # fmt: skip


def homes(settings: Settings) -> dict[Role, str]:
    """Where the agents of each role live: service | process | remote."""
    return {role: settings.agents.get(role, AgentSettings()).home for role in ROLES}


def agents_elsewhere(
    settings: Settings, taste: str, manager: AgentManager, engine: ExecutionEngine, clock: Clock,
    node: str, alert: Callable[[Alert], None],
) -> AgentsElsewhere | None:  # fmt: skip
    """Agents of other processes; None where all live in the service's."""
    away = {role: home for role, home in homes(settings).items() if home != "service"}
    if not away:
        return None
    from orchestrator.adapters.links.lines import FolderSocket, SocketPairs

    startup_s = settings.agent_startup_timeout
    rules = Rules(node=node, version=__version__, where=away, startup_s=startup_s)
    agents = RemoteAgents(manager, clock, rules)
    agents.alert = alert
    plans = tuple(_agent_plan(settings, role, taste) for role in away
                  if away[role] == "process")  # fmt: skip
    processes = AgentProcesses(
        plans, manager, agents, SocketPairs(), clock, settings.state_dir,
        (sys.executable, "-m", "orchestrator.main.agent"),
        {**os.environ, "PYTHONPATH": import_path()},
    )  # fmt: skip
    hosts: list[LinkHost] = []
    if "remote" in away.values():
        hosts.append(FolderSocket(settings.state_dir / AGENTS_SOCKET))
        if settings.message_broker_url is not None:
            hosts.append(_over_redis(settings, node, agents))
    return AgentsElsewhere(
        agents, processes, hosts, manager, engine, roles=tuple(away), startup_s=startup_s
    )


def _agent_plan(settings: Settings, role: Role, taste: str) -> AgentPlan:
    own = settings.agents[role]
    nice = _OWN_NICE if own.path is not None else 0
    return AgentPlan(
        role=role, instances=own.instances, memory_mb=own.memory_mb,
        nice=nice if own.nice is None else own.nice,
        spec=msgspec.json.encode(agent_spec(settings, role, taste)).decode(),
    )  # fmt: skip


def _over_redis(settings: Settings, node: str, agents: RemoteAgents) -> LinkHost:
    from orchestrator.adapters.bus.redis.agent_links import RedisAgents
    from orchestrator.adapters.bus.redis.alarms import Alarms
    from orchestrator.adapters.bus.redis.names import Names

    names = Names(settings.message_broker_namespace)
    host = RedisAgents(where(settings), names, node, Alarms(agents.warn))
    agents.questions.bury = host.bury
    return host

"""The parts of agents in other processes: who lives where, and how they are reached."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping

import msgspec

from orchestrator import __version__
from orchestrator.main.agents import ROLES, AgentSpec, StrategySpec
from orchestrator.main.broker import meet_broker, where
from orchestrator.main.places import AGENTS_HEARD, AGENTS_SOCKET
from orchestrator.model.links import LinkHost, ProcessLinks
from orchestrator.model.ports import Clock
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager, PluginError
from orchestrator.service.agent_processes import AgentPlan, AgentProcesses
from orchestrator.service.agents_elsewhere import AgentsElsewhere
from orchestrator.service.children import import_path
from orchestrator.service.exact_agents import ExactAgents, ExactClock
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.heard_log import HeardLog
from orchestrator.service.real_time import RealTime
from orchestrator.service.remote_agents import RemoteAgents, Rules
from orchestrator.settings import AgentSettings, Settings

_OWN_NICE = 5  # of a user's agents in processes of their own
_EXACT_BYTES_PER_S = 50_000_000  # an answer to each tick, as fast as they can be given


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
    away = _away(settings)
    if not away:
        return None
    from orchestrator.adapters.links.lines import SocketPairs

    rules = Rules(
        node=node, version=__version__, where=away, startup_s=settings.agent_startup_timeout
    )
    agents = RemoteAgents(manager, clock, rules)
    agents.alert = alert
    processes = _processes(settings, taste, manager, agents, SocketPairs(), clock)
    return AgentsElsewhere(
        agents, processes, _doors(settings, node, agents), manager, engine, roles=tuple(away),
        startup_s=settings.agent_startup_timeout,
    )  # fmt: skip


class ExactHosting(msgspec.Struct, frozen=True, kw_only=True):
    """What an exact replay gives to agents elsewhere. `real_time` is not started yet."""

    real_time: RealTime
    interrupted: Callable[[], bool]
    tell: Callable[[str], None]
    made: list[ExactAgents] = []  # what was made of it, to be ended by whoever gave it


def exact_agents(
    settings: Settings, taste: str, manager: AgentManager, clock: Clock, node: str,
    hosting: ExactHosting,
) -> ExactAgents | None:  # fmt: skip
    """As `agents_elsewhere`, where market time waits for them (ADR 16)."""
    away = _away(settings)
    if not away:
        return None
    _refuse_unlike(settings, away)
    from orchestrator.adapters.links.lines import SocketPairs

    startup_s, real_time = settings.agent_startup_timeout, hosting.real_time
    exact_clock = ExactClock(clock.now)
    rules = Rules(node=node, version=__version__, where=away, startup_s=startup_s)
    agents = RemoteAgents(manager, exact_clock, rules)
    # Trouble of links is no event of the market; and it may come from the thread.
    agents.alert = lambda alert: hosting.tell(f"{alert.title}: {alert.text}")
    pairs = real_time.pairs(SocketPairs())
    processes = _processes(settings, taste, manager, agents, pairs, exact_clock)
    exact = ExactAgents(
        manager, agents, processes, real_time, HeardLog(settings.state_dir / AGENTS_HEARD),
        order=ROLES, wanted={role: settings.agents[role].instances for role in away},
        patience_s=startup_s, interrupted=hosting.interrupted, tell=hosting.tell,
    )  # fmt: skip
    exact_clock.pump = exact.pump
    hosting.made.append(exact)
    real_time.start(lambda: _doors(settings, node, agents, _EXACT_BYTES_PER_S), agents.opened)
    if "remote" in away.values():
        real_time.ask(meet_broker(settings))
    return exact


def _refuse_unlike(settings: Settings, away: Mapping[Role, str]) -> None:
    """An agent that makes itself of other settings than ours gives other orders."""
    role = Role.MARKET_ANALYSIS
    if (
        away.get(role) == "remote"
        and settings.agents[role].path is None
        and not settings.strategies
    ):
        raise PluginError(
            f'agents.{role.value}: where = "remote" needs [strategies] in an exact replay: else a'
            " replay's own strategies are run here, and the defaults there"
        )


def _away(settings: Settings) -> dict[Role, str]:
    return {role: home for role, home in homes(settings).items() if home != "service"}


def _processes(
    settings: Settings, taste: str, manager: AgentManager, agents: RemoteAgents,
    links: ProcessLinks, clock: Clock,
) -> AgentProcesses:  # fmt: skip
    plans = tuple(
        _agent_plan(settings, role, taste)
        for role, home in _away(settings).items()
        if home == "process"
    )
    return AgentProcesses(
        plans, manager, agents, links, clock, settings.state_dir,
        (sys.executable, "-m", "orchestrator.main.agent"),
        {**os.environ, "PYTHONPATH": import_path()},
    )  # fmt: skip


def _doors(
    settings: Settings, node: str, agents: RemoteAgents, bytes_per_s: int | None = None
) -> list[LinkHost]:
    """Where agents come in that others have started."""
    if "remote" not in _away(settings).values():
        return []
    from orchestrator.adapters.links.lines import FolderSocket

    hosts: list[LinkHost] = [FolderSocket(settings.state_dir / AGENTS_SOCKET)]
    if settings.message_broker_url is not None:
        hosts.append(_over_redis(settings, node, agents, bytes_per_s))
    return hosts


def _agent_plan(settings: Settings, role: Role, taste: str) -> AgentPlan:
    own = settings.agents[role]
    nice = _OWN_NICE if own.path is not None else 0
    return AgentPlan(
        role=role, instances=own.instances, memory_mb=own.memory_mb,
        nice=nice if own.nice is None else own.nice,
        spec=msgspec.json.encode(agent_spec(settings, role, taste)).decode(),
    )  # fmt: skip


def _over_redis(
    settings: Settings, node: str, agents: RemoteAgents, bytes_per_s: int | None
) -> LinkHost:
    from orchestrator.adapters.bus.redis.agent_links import RedisAgents
    from orchestrator.adapters.bus.redis.alarms import Alarms
    from orchestrator.adapters.bus.redis.names import Names

    names = Names(settings.message_broker_namespace)
    more = {} if bytes_per_s is None else {"bytes_per_s": bytes_per_s}
    host = RedisAgents(where(settings), names, node, Alarms(agents.warn), **more)
    agents.questions.bury = host.bury
    return host

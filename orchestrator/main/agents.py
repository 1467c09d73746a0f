"""Which class an agent is of, and what it is made with: the same here and in its own process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, cast

import msgspec

from orchestrator.agents.base import Agent
from orchestrator.agents.continuous_improvement import ContinuousImprovement
from orchestrator.agents.data_collection import DataCollection
from orchestrator.agents.disagreement import Disagreement
from orchestrator.agents.learning_safety import LearningSafety
from orchestrator.agents.market_analysis import (
    DEMO,
    SHIPPED,
    MarketAnalysis,
    demo_makers,
    maker_of,
    shipped_makers,
)
from orchestrator.agents.market_analysis.strategies import Strategy, StrategyMaker
from orchestrator.agents.parameter_optimization import ParameterOptimization
from orchestrator.agents.pattern_detection import PatternDetection
from orchestrator.agents.strategy_analysis import StrategyAnalysis
from orchestrator.model.money import InstrumentName
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import PluginError, load_class
from orchestrator.service.seats import AgentFactory

SHIPPED_AGENTS: Mapping[Role, type[Agent]] = {
    Role.DISAGREEMENT: Disagreement,
    Role.STRATEGY_ANALYSIS: StrategyAnalysis,
    Role.PARAMETER_OPTIMIZATION: ParameterOptimization,
    Role.LEARNING_SAFETY: LearningSafety,
    Role.DATA_COLLECTION: DataCollection,
    Role.PATTERN_DETECTION: PatternDetection,
    Role.CONTINUOUS_IMPROVEMENT: ContinuousImprovement,
}

# In the order in which they are seated, and hear.
ROLES = (Role.MARKET_ANALYSIS, *SHIPPED_AGENTS)

# A synthetic market holds no edge, and the agents find that out: on the demo they give up later,
# so that the whole path can still be watched on the second day.
_DEMO_PARAMS: Mapping[Role, dict[str, Any]] = {
    Role.MARKET_ANALYSIS: {"prior_trades": 5_000.0},
    Role.STRATEGY_ANALYSIS: {"prior_trades": 5_000.0},
}


class StrategySpec(msgspec.Struct, frozen=True, kw_only=True):
    """`[strategies.NAME]`."""

    enabled: bool = True
    path: str | None = None
    params: dict[str, Any] = {}


class AgentSpec(msgspec.Struct, frozen=True, kw_only=True):
    """All that makes an agent; as JSON it is given to a process of its own.

    `params` None: `[agents.ROLE]` says nothing. `taste`: which strategies are run when none are
    chosen: demo | replay | "".
    """

    role: Role
    path: str | None = None
    params: dict[str, Any] | None = None
    instruments: tuple[str, ...] = ()
    strategies: dict[str, StrategySpec] = {}
    taste: str = ""


def factory_of(spec: AgentSpec) -> AgentFactory:
    """PluginError names the setting when a user's class cannot be loaded."""
    params = _tuples(spec.params or {})
    if spec.params is None and spec.taste == "demo":
        params |= _DEMO_PARAMS.get(spec.role, {})
    if spec.path is not None:
        return partial(_agent(spec.role, spec.path), **params)
    if spec.role is Role.MARKET_ANALYSIS:
        instruments = tuple(InstrumentName(name) for name in spec.instruments)
        makers = strategy_makers(spec.strategies, spec.taste)
        return partial(MarketAnalysis, instruments=instruments, strategies=makers, **params)
    return partial(SHIPPED_AGENTS[spec.role], **params)


def _tuples(params: dict[str, Any]) -> dict[str, Any]:
    """Lists become tuples again, which JSON does not know."""
    return {
        key: tuple(cast("list[object]", v)) if isinstance(v, list) else v
        for key, v in params.items()
    }


def strategy_makers(chosen: Mapping[str, StrategySpec], taste: str) -> dict[str, StrategyMaker]:
    """What `[strategies]` says; without it the shipped ones, by `taste` of the deployment.

    `demo`: busy, for a synthetic market; `replay`: on minutes, since a day of ticks warms nothing
    slower; else the defaults. ValueError names a strategy that cannot be made.
    """
    if not chosen and taste in _TASTES:
        return _TASTES[taste]()
    makers = shipped_makers()
    for name, each in chosen.items():
        if not each.enabled:
            makers.pop(name, None)
            continue
        kind = SHIPPED.get(name)
        if each.path is not None:
            kind = _strategy(f"strategies.{name}", each.path)
        if kind is None:
            raise PluginError(
                f"strategies.{name}: is not shipped ({', '.join(SHIPPED)}); give its path"
            )
        makers[name] = maker_of(name, kind, _tuples(each.params))
    return makers


def _agent(role: Role, path: str) -> type[Any]:
    setting = f"agents.{role.value}"
    found = load_class(setting, path, Agent)
    if getattr(found, "role", None) is not role:
        raise PluginError(f"{setting}: {path}: its role is another; set role = Role.{role.name}")
    return found


def _strategy(setting: str, path: str) -> type[Any]:
    return load_class(setting, path, Strategy)


_TASTES: Mapping[str, Callable[[], dict[str, StrategyMaker]]] = {
    "demo": demo_makers,
    "replay": partial(shipped_makers, DEMO),
}

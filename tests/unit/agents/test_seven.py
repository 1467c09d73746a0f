"""What the seven agents have in common: names, roles, no state from nowhere, nothing unheard."""

from __future__ import annotations

import pytest

from orchestrator.agents.base import Agent
from orchestrator.agents.continuous_improvement import ContinuousImprovement
from orchestrator.agents.data_collection import DataCollection
from orchestrator.agents.disagreement import Disagreement
from orchestrator.agents.learning_safety import LearningSafety
from orchestrator.agents.parameter_optimization import ParameterOptimization
from orchestrator.agents.pattern_detection import PatternDetection
from orchestrator.agents.strategy_analysis import StrategyAnalysis
from orchestrator.model.base import Message
from orchestrator.model.market import Beat
from orchestrator.model.money import Side
from orchestrator.model.signals import Role
from tests.unit.agents.makers import (
    account,
    ask_allocation,
    ask_score,
    ask_sizing,
    ask_verdict,
    at,
    closed,
    history,
    opened,
    outcome,
    quiet_tick,
    signal,
    tick,
)

SEVEN: tuple[type[Agent], ...] = (
    Disagreement,
    StrategyAnalysis,
    ParameterOptimization,
    LearningSafety,
    DataCollection,
    PatternDetection,
    ContinuousImprovement,
)

A_DAY: list[Message] = [
    history([1.1 + i / 1e5 for i in range(100)]),
    *(quiet_tick(i, 1.101) for i in range(120)),
    *(outcome("-1" if i % 3 else "2", i) for i in range(1, 40)),
    signal(strategy="other", side=Side.SELL),
    ask_allocation(account("001"), account("002")),
    ask_score(),
    ask_sizing(),
    ask_verdict(),
    opened(),
    tick(121, "NaN", "1.1"),
    tick(122, "1.05", "1.15"),
    closed("1.09810", "-2"),
    Beat(now_ns=at(4000)),
]


def test_each_has_its_role_and_the_roles_name() -> None:
    assert {agent.role for agent in SEVEN} == set(Role) - {
        Role.MARKET_ANALYSIS,
        Role.EXECUTION_ENGINE,
    }
    assert all(agent.name == agent.role.value and agent.says for agent in SEVEN)


@pytest.mark.parametrize("kind", SEVEN)
def test_what_is_said_is_declared_and_the_same_each_time(kind: type[Agent]) -> None:
    def day() -> list[Message]:
        agent = kind()
        return [said for message in A_DAY for said in agent.hear(message)]

    said = day()
    assert all(kind.may_say(type(each)) for each in said)
    assert said == day()

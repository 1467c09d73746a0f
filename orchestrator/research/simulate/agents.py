"""The real agents, possessed at times: they raise, block, keep silent or talk nonsense."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Says
from orchestrator.model.base import Message
from orchestrator.model.money import Units
from orchestrator.model.signals import (
    Allocation,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Score,
    Sizing,
    Verdict,
)
from orchestrator.research.simulate.world import World

_QUESTIONS = (AskAllocation, AskScore, AskSizing, AskVerdict)
_BLOCKS_S = (0.2, 5.0)
_replace = msgspec.structs.replace


class Trouble(Exception):
    """What a possessed agent raises."""


def haunted(make: Callable[[], Agent], world: World) -> Callable[[], Agent]:
    """A factory of the same agents, whose hearing goes through the fates."""

    def made() -> Agent:
        agent = make()
        vars(agent)["hear"] = _Haunt(agent.hear, world)
        return agent

    return made


class _Haunt:
    def __init__(self, hear: Callable[[Message], Says], world: World) -> None:
        self._hear = hear
        self._world = world

    def __call__(self, message: Message) -> Says:
        fates = self._world.fates
        asked = isinstance(message, _QUESTIONS)
        if asked and fates.strikes("agent_silent"):
            return NOTHING
        if fates.strikes("agent_raises"):
            raise Trouble("possessed")
        if asked and fates.strikes("agent_blocks"):
            self._world.loop.block(fates.dice("agent_blocks").uniform(*_BLOCKS_S))
        said = self._hear(message)
        if asked and fates.strikes("agent_nonsense"):
            return tuple(self._nonsense(each) for each in said)
        return said

    def _nonsense(self, said: Message) -> Message:
        rolls = self._world.fates.dice("agent_nonsense")
        number = rolls.choice((Decimal("NaN"), Decimal("1E+30"), Decimal(-7), Decimal("Infinity")))
        match said:
            case Score():
                return _replace(said, score=number, expected_r=number)
            case Sizing():
                units = rolls.choice((Units(number), Units(-said.units), Units(said.units * 1000)))
                return _replace(said, units=units)
            case Verdict():
                return _replace(said, scale=number)
            case Allocation():
                shares = tuple(_replace(share, weight=number) for share in said.shares)
                return _replace(said, shares=shares)
            case _:
                return said

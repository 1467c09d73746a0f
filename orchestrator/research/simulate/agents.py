"""The real agents, possessed at times: they raise, block, keep silent or talk nonsense."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterator
from decimal import Decimal
from typing import Any

import msgspec

from orchestrator.agents.base import NOTHING, Agent, Says
from orchestrator.model.base import Message
from orchestrator.model.money import AccountId, InstrumentName, Price, Side, Units
from orchestrator.model.signals import (
    Allocation,
    AskAllocation,
    AskScore,
    AskSizing,
    AskVerdict,
    Score,
    Signal,
    Sizing,
    Verdict,
)
from orchestrator.model.time import Instant
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS
from orchestrator.research.simulate.feed import INSTRUMENTS
from orchestrator.research.simulate.world import ACCOUNTS, World

_QUESTIONS = (AskAllocation, AskScore, AskSizing, AskVerdict)
_BLOCKS_S = (0.2, 5.0)
_FLOOD = 40
_STRANGE = AccountId("101-001-9999999-001")
_DEATHS = (
    KeyboardInterrupt, SystemExit, GeneratorExit, MemoryError, RecursionError,
    asyncio.CancelledError,
)  # fmt: skip
_FORGERIES: tuple[dict[str, Any], ...] = (
    {"confidence": Decimal("NaN")}, {"stop_distance": Price(Decimal(-1))},
    {"stop_distance": Price(Decimal("Infinity"))}, {"stop_distance": Price(Decimal(0))},
    {"reference_price": Price(Decimal("1E+40"))}, {"reference_price": Price(Decimal("sNaN"))},
    {"created_ns": 10**20}, {"created_ns": 0}, {"ttl_ms": 10**12}, {"ttl_ms": -1},
    {"signal_id": ""}, {"signal_id": "sig-1"}, {"signal_id": "a b" * 99},
    {"instrument": InstrumentName("ABC_DEF")}, {"accounts": (_STRANGE,)},
    {"strategy": "x" * 10_000}, {"side": "sideways"}, {"confidence": 0.5},
)  # fmt: skip
_replace = msgspec.structs.replace


def _signal(rolls: random.Random, now: Instant) -> Signal:
    instrument = rolls.choice(INSTRUMENTS)
    return Signal(
        signal_id=f"possessed-{rolls.randrange(10**9)}", strategy=f"possessed{rolls.randrange(9)}",
        instrument=instrument, side=rolls.choice((Side.BUY, Side.SELL)),
        reference_price=Price(REFERENCE_MIDS[instrument]),
        stop_distance=Price(SPECS[instrument].pip * rolls.randint(8, 30)),
        confidence=Decimal("0.9"), created_ns=now,
    )  # fmt: skip


class Trouble(Exception):
    """What a possessed agent raises."""


def haunted(make: Callable[[], Agent], world: World) -> Callable[[], Agent]:
    """A factory of the same agents, whose hearing goes through the fates."""

    haunting = any(kind.startswith("agent_") for kind in world.fates.kinds)

    def made() -> Agent:
        agent = make()
        if not haunting:
            return agent
        vars(agent)["hear"] = _Haunt(agent.hear, type(agent).says, world)
        return agent

    return made


class _Haunt:
    def __init__(
        self, hear: Callable[[Message], Says], says: tuple[type[Message], ...], world: World
    ) -> None:
        self._hear = hear
        self._says = says
        self._world = world

    def __call__(self, message: Message) -> Says:
        fates = self._world.fates
        asked = isinstance(message, _QUESTIONS)
        if asked and fates.strikes("agent_silent"):
            return NOTHING
        if fates.strikes("agent_raises"):
            raise Trouble("possessed")
        if fates.strikes("agent_dies"):
            raise fates.dice("agent_dies").choice(_DEATHS)("possessed")
        if asked and fates.strikes("agent_blocks"):
            self._world.loop.block(fates.dice("agent_blocks").uniform(*_BLOCKS_S))
        said = self._hear(message)
        if asked and fates.strikes("agent_nonsense"):
            return tuple(self._nonsense(each) for each in said)
        if asked and fates.strikes("agent_twice"):
            return (*said, *said)
        if asked and fates.strikes("agent_foreign"):
            return tuple(self._foreign(each) for each in said)
        if Signal in self._says:
            return (*said, *self._signals())
        return said

    def _foreign(self, said: Message) -> Message:
        """About another signal, or another account."""
        rolls = self._world.fates.dice("agent_foreign")
        if isinstance(said, Allocation) and rolls.random() < 1 / 2:
            shares = tuple(_replace(each, account_id=_STRANGE) for each in said.shares)
            return _replace(said, shares=shares)
        if isinstance(said, (Score, Sizing, Verdict)) and rolls.random() < 1 / 2:
            return _replace(said, account_id=rolls.choice((*ACCOUNTS, _STRANGE)))
        return _replace(said, signal_id=f"sig-{rolls.randrange(99)}")

    def _signals(self) -> Iterator[Signal]:
        """More than anybody wants, or what is no signal at all."""
        fates, now = self._world.fates, self._world.market.time.now()
        if fates.strikes("agent_floods"):
            for _ in range(_FLOOD):
                yield _signal(fates.dice("agent_floods"), now)
        if fates.strikes("agent_forges"):
            rolls = fates.dice("agent_forges")
            yield _replace(_signal(rolls, now), **rolls.choice(_FORGERIES))

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

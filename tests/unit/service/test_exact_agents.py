"""An exact replay's agents elsewhere against the same agents in one process: nothing differs."""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

import pytest

from orchestrator.agents.base import NOTHING, Agent, Message, Says, hears
from orchestrator.model.agent_words import AnsweredFrame, SayFrame, read_from_agent
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import AgentChanged
from orchestrator.model.links import AgentLink, LinkEnd
from orchestrator.model.market import Beat, Tick
from orchestrator.model.outcomes import AnomalySeen
from orchestrator.model.signals import AskScore, Role, Score
from orchestrator.service.agent_host import AgentHost
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.exact_agents import ExactAgents, RoleAway
from orchestrator.service.heard_log import HeardLog
from orchestrator.service.remote_agents import RemoteAgents, Rules
from orchestrator.service.seams import block_s
from tests.unit.service.parts import EUR_USD, START_NS, HandClock, ask_score, score, tick

ROLE = Role.STRATEGY_ANALYSIS
HERE = Role.PATTERN_DETECTION


class Counter(Agent):
    """Everything that it heard is in all that it says."""

    role: ClassVar[Role] = ROLE
    name: ClassVar[str] = "counter"
    says: ClassVar[tuple[type[Message], ...]] = (Score, AnomalySeen)
    learns_when_asked: ClassVar[bool] = True

    def __init__(self) -> None:
        self._heard = 0

    @hears(Tick)
    def on_tick(self, heard: Tick) -> Says:
        self._heard = self._heard * 31 % 1_000_003 + int(heard.bid * 100_000)
        return (self._anomaly("tick"),) * (self._heard % 3)

    @hears(Beat)
    def on_beat(self, _: Beat) -> Says:
        self._heard += 7
        return (self._anomaly("beat"),)

    @hears(AskScore)
    def on_ask(self, question: AskScore) -> Says:
        self._heard = self._heard * 17 % 1_000_003 + 1
        told = score(question.signal.signal_id)
        return (type(told)(**{**_fields(told), "reasons": (str(self._heard),)}),)

    def _anomaly(self, kind: str) -> AnomalySeen:
        return AnomalySeen(
            instrument=EUR_USD, kind=kind, text=str(self._heard), at_ns=START_NS, until_ns=START_NS
        )


class Silent(Counter):
    """Says nothing of its own accord."""

    says: ClassVar[tuple[type[Message], ...]] = (Score,)

    @hears(Tick)
    def on_tick(self, heard: Tick) -> Says:
        super().on_tick(heard)
        return NOTHING

    @hears(Beat)
    def on_beat(self, _: Beat) -> Says:
        self._heard += 7
        return NOTHING


def _fields(struct: Any) -> dict[str, Any]:
    return {name: getattr(struct, name) for name in struct.__struct_fields__}


class Line:
    """Both ends of a link, in one thread."""

    peer = None
    where = "remote"

    def __init__(self) -> None:
        self.down: deque[bytes] = deque()
        self.up: deque[bytes] = deque()
        self.open = True

    def send(self, line: bytes) -> bool:
        if self.open:
            self.down.append(line)
        return self.open

    def close(self) -> None:
        self.open = False


class _Up:
    """The agent's end."""

    peer = None
    where = "service"

    def __init__(self, line: Line) -> None:
        self._line = line

    def send(self, line: bytes) -> bool:
        self._line.up.append(line)
        return True

    def close(self) -> None:
        self._line.open = False


class World:
    """Instances that work, die at random, lose what they said, and come back: a `RealTime`."""

    def __init__(self, agent: type[Agent], instances: int, rng: random.Random) -> None:
        self._agent = agent
        self._rng = rng
        self.instances = instances
        self.death = 0.0  # at each step of an instance
        self.loss = 0.0  # of a line on its way up
        self.deaths = 0
        self.frozen: set[int] = set()
        self.opened: Callable[[AgentLink], LinkEnd] | None = None
        self._hosts: dict[int, tuple[AgentHost, Line, LinkEnd]] = {}
        self._gone: list[LinkEnd] = []

    def work(self, wait_s: float = 0.0) -> bool:
        for number in range(1, self.instances + 1):
            if number not in self._hosts and (wait_s > 0 or self._rng.random() < 0.05):
                self._begin(number)
        for end in self._gone:
            end.gone("killed")
        self._gone.clear()
        moved = [self._step(*each) for each in tuple(self._hosts.items())]
        if wait_s and not any(moved):
            block_s(0.002)
        return any(moved)

    def _begin(self, number: int) -> None:
        assert self.opened is not None
        line = Line()
        end = self.opened(line)
        host = AgentHost((ROLE, number), self._agent, ended=lambda _code, _why: None)
        self._hosts[number] = host, line, end
        host.opened(_Up(line))

    def _step(self, number: int, life: tuple[AgentHost, Line, LinkEnd]) -> bool:
        host, line, end = life
        if number in self.frozen:
            return False
        moved = bool(line.down or line.up)
        for _ in range(self._rng.randint(0, 40)):
            if self._rng.random() < self.death or not line.open:
                self._die(number, end)
                return True
            if line.down:
                host.took(line.down.popleft())
        for _ in range(self._rng.randint(0, 40)):
            if line.up:
                word = line.up.popleft()
                counts = isinstance(read_from_agent(word), AnsweredFrame | SayFrame)
                if not (counts and self._rng.random() < self.loss):
                    end.took(word)
        return moved

    def _die(self, number: int, end: LinkEnd) -> None:
        self.deaths += 1
        del self._hosts[number]
        self._gone.append(end)

    def close(self) -> None: ...


class NoProcesses:
    async def look(self) -> None: ...

    async def come_up(self, within_s: float) -> None: ...

    async def drain(self, reason: str) -> None: ...

    def kill_all(self) -> None: ...


class House:
    """A manager with its agents elsewhere, and its twin with one in the process."""

    def __init__(
        self, folder: Path, agent: type[Agent], seed: int, *, patience_s: float = 20.0
    ) -> None:
        self.clock = HandClock()
        self.twin = AgentManager(self.clock)
        self.twin.register(agent)
        self.twin.bring_up(())
        self.manager = AgentManager(self.clock)
        self.changes: list[AgentChanged] = []
        self.manager.report_to(self.changes.append)
        self.world = World(agent, 2, random.Random(seed))
        self.remotes = RemoteAgents(
            self.manager, self.clock, Rules(node="n", version="9", where={ROLE: "remote"})
        )
        self.remotes.alert = lambda _: None
        self.world.opened = self.remotes.opened
        self.interrupted = False
        parts: Any = self.world
        processes: Any = NoProcesses()
        self.told: list[str] = []
        self.exact = ExactAgents(
            self.manager, self.remotes, processes, parts, HeardLog(folder / "heard"),
            order=(ROLE, HERE), wanted={ROLE: 2}, patience_s=patience_s,
            interrupted=lambda: self.interrupted, tell=self.told.append,
        )  # fmt: skip

    async def up(self) -> House:
        await self.exact.come_up(())
        return self

    def both_tell(self, message: Message) -> tuple[list[Message], list[Message]]:
        return [m for _, m in self.manager.tell(message)], [m for _, m in self.twin.tell(message)]

    def both_ask(self, ask_id: int) -> tuple[StageAnswered, StageAnswered]:
        question = ask_score(f"s{ask_id}")
        one, other = (m.ask(ROLE, ask_id, question) for m in (self.manager, self.twin))
        assert one is not None
        assert other is not None
        return one, other


Building = Callable[..., House]


@pytest.fixture
def build(tmp_path: Path) -> Iterator[Building]:
    made: list[House] = []

    def make(agent: type[Agent], seed: int = 1, **more: float) -> House:
        made.append(House(tmp_path, agent, seed, **more))
        return made[-1]

    yield make
    for house in made:
        house.exact.close()


def _play(house: House, rng: random.Random, steps: int) -> None:
    """Ticks, beats, health checks and questions: each word equals the twin's."""
    for step in range(steps):
        chance = rng.random()
        if chance < 0.15:
            one, other = house.both_ask(step)
            assert (one.answer, one.error, one.latency_us) == (other.answer, "", 0)
        elif chance < 0.25:
            beat = Beat(now_ns=START_NS + step)
            one_said, other_said = house.both_tell(beat)
            assert one_said == other_said
        elif chance < 0.3:
            house.manager.check_all()
            house.twin.check_all()
        else:
            price = f"1.{10_000 + rng.randint(0, 400)}"
            one_said, other_said = house.both_tell(tick(price, f"{float(price) + 0.0001:.5f}"))
            assert one_said == other_said


@pytest.mark.parametrize("agent", [Counter, Silent])
@pytest.mark.parametrize("seed", [1, 2, 3])
async def test_every_word_is_the_embedded_agents_however_instances_die(
    tmp_path: Path, build: Building, agent: type[Agent], seed: int
):
    """Goal: whoever answers, and whenever it died, was taught anew or lost what it said."""
    house = await build(agent, seed).up()
    _play(house, random.Random(seed), 60)
    # Most newcomers live through their lessons: a message may cost eight instances, and no more.
    house.world.death = 0.0005
    _play(house, random.Random(seed + 100), 250)
    house.world.loss = 0.01
    _play(house, random.Random(seed + 200), 150)
    assert house.world.deaths >= 1
    assert (tmp_path / "heard").stat().st_size > 0
    house.exact.close()
    assert not (tmp_path / "heard").exists()


async def test_without_a_death_a_run_reports_its_agents_in_one_order_and_nothing_else(
    build: Building,
):
    house = await build(Counter, 5).up()
    _play(house, random.Random(5), 80)
    started = [(c.agent_id, c.state) for c in house.changes]
    assert started == [(f"{ROLE.value}-1", "healthy"), (f"{ROLE.value}-2", "healthy")]
    await house.exact.drain()
    assert len(house.changes) == 2
    assert "waiting for agents elsewhere: strategy_analysis (2)" in house.told[0]


async def test_who_does_not_come_up_is_named_with_what_to_do(build: Building):
    house = build(Counter, 1, patience_s=0.3)
    house.world.instances = 1
    with pytest.raises(RoleAway, match=r"strategy_analysis \(1 of 2\).*orchestrator agent ROLE"):
        await house.up()


async def test_a_role_that_stays_away_ends_the_run_and_gives_no_other_answer(build: Building):
    house = await build(Counter, 1, patience_s=0.5).up()
    house.world.frozen = {1, 2}
    with pytest.raises(
        RoleAway, match=r"no agent of role strategy_analysis has answered for 0\.5 s"
    ):
        house.manager.ask(ROLE, 1, ask_score("s1"))
    with pytest.raises(RoleAway, match="no agent of role strategy_analysis has answered"):
        house.manager.tell(Beat(now_ns=START_NS))


async def test_a_frozen_instance_is_asked_first_and_another_answers(build: Building):
    house = await build(Counter, 1).up()
    house.world.frozen = {1}
    one, other = house.both_ask(1)
    assert one.answer == other.answer
    assert one.agent_id == f"{ROLE.value}-2"
    house.world.frozen = set()
    _play(house, random.Random(9), 40)


async def test_a_person_who_ends_the_run_does_not_wait_for_an_answer(build: Building):
    house = await build(Counter, 1, patience_s=600).up()
    house.world.frozen = {1, 2}
    house.interrupted = True
    with pytest.raises(RoleAway, match="ended while agents of role strategy_analysis"):
        house.manager.ask(ROLE, 1, ask_score("s1"))


class Broken(Counter):
    """Raises at each question."""

    @hears(AskScore)
    def on_ask(self, question: AskScore) -> Says:
        raise ValueError(f"no {question.signal.signal_id}")


async def test_an_agents_own_error_is_its_answer_as_in_one_process(build: Building):
    house = await build(Broken, 1).up()
    one, other = house.both_ask(1)
    assert (one.answer, one.error) == (other.answer, other.error) == (None, "ValueError: no s1")


async def test_an_agent_that_fails_again_and_again_ends_the_run(build: Building):
    """In one process it would be begun anew there, and forget; that cannot be repeated here."""
    house = await build(Broken, 1).up()

    def ask_on() -> None:
        for number in range(1, 30):
            house.manager.ask(ROLE, number, ask_score(f"s{number}"))

    with pytest.raises(RoleAway, match=r"has failed: 20 errors in 60 s"):
        ask_on()


async def test_roles_here_and_elsewhere_speak_in_the_order_of_one_process(build: Building):
    class Other(Agent):
        role: ClassVar[Role] = HERE
        name: ClassVar[str] = "other"
        says: ClassVar[tuple[type[Message], ...]] = (AnomalySeen,)

        @hears(Beat)
        def on_beat(self, beat: Beat) -> Says:
            return (AnomalySeen(instrument=EUR_USD, kind="here", text="", at_ns=beat.now_ns,
                                until_ns=0),)  # fmt: skip

    house = build(Counter, 1)
    for manager in (house.manager, house.twin):
        manager.register(Other)
        manager.bring_up(())
    await house.up()
    said: Sequence[list[Message]] = house.both_tell(Beat(now_ns=START_NS))
    assert said[0] == said[1]
    assert [getattr(m, "kind", "") for m in said[0]] == ["beat", "here"]

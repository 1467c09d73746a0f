"""Agents elsewhere in an exact replay: market time waits for each of their words.

A question is asked, and its answer returned, as if the agent were called: within one step of the
kernel, at one instant of the market. What is told to an agent that speaks unasked is answered
before anybody goes on. Who comes late, or again, hears all that was told since the run began, in
its order; so every instance is at each instant what the one embedded agent would be, and it does
not matter which of them answers. Nobody is given up for being late: either somebody answers, or
the run ends with an error. It never goes on with other orders.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Container, Iterable, Mapping, Sequence

import msgspec
import structlog

from orchestrator.model.agent_words import Answered, Ask
from orchestrator.model.base import Message
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import AgentChanged
from orchestrator.model.market import Beat
from orchestrator.model.signals import Question, Role
from orchestrator.model.time import NS_PER_MS, NS_PER_S, Instant
from orchestrator.service.agent_manager import ANSWERS, AgentManager, no_answer
from orchestrator.service.agent_processes import AgentProcesses
from orchestrator.service.heard_log import HeardLog
from orchestrator.service.questions import TEXT_MAX
from orchestrator.service.real_time import RealTime, at_once
from orchestrator.service.remote import Remote
from orchestrator.service.remote_agents import RemoteAgents
from orchestrator.service.seams import mono_ns
from orchestrator.service.seats import About, Seat
from orchestrator.service.voices import forged

log = structlog.get_logger()

_LOOK_NS = 50 * NS_PER_MS
_LOOK_S = 0.05
_TAKE_OVER_NS = 400 * NS_PER_MS
_MARK_EACH = 400  # frames, between two of which an instance is asked whether it keeps up
_BEHIND_MAX = 1_200  # frames that it has not heard yet, before everybody waits for it
_COSTS_MAX = 8  # instances that one question or message may cost
_TOUCH_S = 1.0  # market time


class RoleAway(OrchestratorError):
    """No agent of a role answers: an exact replay cannot go on."""


class Ear:
    """One life of an instance, taught all that was told: what it was sent, what it has heard."""

    def __init__(self, remote: Remote, instance: int) -> None:
        self.remote = remote
        self.instance = instance
        self.life = remote.life
        self.sent = 0
        self.heard = 0
        self.marks: deque[tuple[int, int]] = deque()  # numbers of pings, and what was sent by then
        self.waited = 0  # the mark of what it was told last, if its words are waited for
        self.through = False  # whether it has answered that one
        self.stale = 0  # the mark before that
        self.said: list[Message] = []
        self.asked: set[int] = set()

    @property
    def at_work(self) -> bool:
        return self.remote.at_work and self.remote.life == self.life and self.remote.seat.works


class ExactClock:
    """Real time for leases and limits of agents elsewhere; who sleeps on it hears them meanwhile.

    `now` is the market's.
    """

    def __init__(self, market_now: Callable[[], Instant]) -> None:
        self._market_now = market_now
        self.pump: Callable[[float], None] = lambda _seconds: None

    def now(self) -> Instant:
        return self._market_now()

    def mono_ns(self) -> int:
        return mono_ns()

    async def sleep(self, seconds: float) -> None:
        self.pump(seconds)

    @property
    def speed(self) -> float:
        return 1.0


class ExactAgents:
    """Meets `agents_elsewhere.Away`, for the system, and `agent_manager.Waited`.

    `order`: all roles, as they are told in a process. `wanted`: how many of each role away are
    waited for at the start. `interrupted`: whether a person wants the run to end. `tell`: a line
    for that person.
    """

    def __init__(
        self, manager: AgentManager, agents: RemoteAgents, processes: AgentProcesses,
        real_time: RealTime, heard: HeardLog,
        *, order: Sequence[Role], wanted: Mapping[Role, int], patience_s: float,
        interrupted: Callable[[], bool], tell: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._manager = manager
        self._agents = agents
        self._processes = processes
        self._real_time = real_time
        self._log = heard
        self._order = tuple(order)
        self._wanted = dict(wanted)
        self._patience_s = patience_s
        self._interrupted = interrupted
        self._tell = tell
        self._abouts: dict[Role, About] = {}
        self._ears: dict[Role, list[Ear]] = {role: [] for role in wanted}
        self._errors: dict[Role, deque[int]] = {}
        self._turn: dict[Role, int] = {}
        self._held: list[AgentChanged] = []
        self._failed: RoleAway | None = None
        self._looked_ns = 0
        self._teaching = False
        self._closing = False
        self._answers: dict[int, tuple[Ear, Answered]] = {}
        agents.took_answer = self._took_answer
        agents.took_say = self._took_say
        agents.took_pong = self._took_pong
        agents.floods = lambda _remote: False  # the engine counts what is said, and nobody is late
        agents.strict = True
        manager.waited = self

    # -- a run's life ---------------------------------------------------------------------------

    @property
    def roles(self) -> Container[Role]:
        return self._wanted

    @property
    def over_broker(self) -> bool:
        """Its absence is waited for, and blocks nothing (no S6)."""
        return False

    async def run(self) -> None:
        """Keeps in touch while the market moves; runs until cancelled."""
        while True:
            await asyncio.sleep(_TOUCH_S)
            self.pump(0.0)

    async def come_up(self, memory: Sequence[Message]) -> None:
        """Market time stands still until all that are wanted are at work.

        RoleAway names who is missing; PluginError where a child can never come up.
        """
        for message in memory:
            self._log.add(type(message).__name__, msgspec.json.encode(message))
        self._tell("waiting for agents elsewhere: " + ", ".join(map(self._in_words, self._wanted)))
        ends = mono_ns() + int(self._patience_s * NS_PER_S)
        await self._processes.come_up(self._patience_s)
        while self._missing() and mono_ns() < ends and not self._interrupted():
            self.pump(_LOOK_S)
        if self._missing():
            raise RoleAway(self._not_up())
        self._tell("all of them have come up; market time begins")
        self._report_start()

    def _in_words(self, role: Role) -> str:
        return f"{role.value} ({self._wanted[role]})"

    def _missing(self) -> list[Role]:
        return [role for role, count in self._wanted.items() if len(self._at_work(role)) < count]

    def _not_up(self) -> str:
        each = ", ".join(
            f"{role.value} ({len(self._at_work(role))} of {self._wanted[role]})"
            for role in self._missing()
        )
        if self._interrupted():
            return f"ended while these agents were waited for: {each}"
        return (
            f"AGENT_STARTUP_TIMEOUT: within {self._patience_s:g} s these agents did not come up:"
            f" {each}. An exact replay begins with all of them; those that live elsewhere are"
            ' started with `orchestrator agent ROLE --instance N`; with where = "service" none are'
        )

    def _report_start(self) -> None:
        """In one order, whoever came first: so equal runs begin with equal records."""
        self._held.clear()
        for role in self._order:
            for ear in self._ears.get(role, ()):
                seat = ear.remote.seat
                self._manager.report(
                    AgentChanged(
                        agent_id=seat.agent_id, role=role, state="healthy",
                        version=seat.about.version, reason="started",
                    )
                )  # fmt: skip

    async def drain(self) -> None:
        """They end in reverse order, within two seconds."""
        self._closing = True
        self._held.clear()
        await self._processes.drain("the replay ends")

    def close(self) -> None:
        """Whatever is left of them ends. Idempotent."""
        self._closing = True
        self._processes.kill_all()
        self._real_time.close()
        self._log.close()

    # -- keeping in touch -------------------------------------------------------------------------

    def pump(self, wait_s: float) -> None:
        """Hear them for so long of real time; whoever has come is taught. Never inside a wait."""
        ends = mono_ns() + int(wait_s * NS_PER_S)
        while True:
            left_s = (ends - mono_ns()) / NS_PER_S
            self._touch(max(0.0, min(_LOOK_S, left_s)))
            if not self._closing:
                self._teach_newcomers(self._wanted)
            if mono_ns() >= ends or self._interrupted():
                return

    def _touch(self, wait_s: float) -> None:
        self._real_time.work(wait_s)
        now = mono_ns()
        if now - self._looked_ns >= _LOOK_NS:
            self._looked_ns = now
            self._agents.look()
            at_once(self._processes.look())
        if self._failed is not None:
            raise self._failed

    def _wait(self, role: Role, patience: _Patience) -> None:
        """A little, for something of this role."""
        self._touch(_LOOK_S)
        self._teach_newcomers((role,))
        if self._interrupted():
            raise RoleAway(f"ended while agents of role {role.value} were waited for")
        if patience.over():
            raise RoleAway(
                f"no agent of role {role.value} has answered for {self._patience_s:g} s"
                " (AGENT_STARTUP_TIMEOUT). The replay ends here: without its answer the orders"
                " would be others"
            )

    def _ear(self, remote: Remote) -> Ear | None:
        for ear in self._ears.get(remote.seat.about.role, ()):
            if ear.remote is remote and ear.life == remote.life:
                return ear
        return None

    def _at_work(self, role: Role) -> list[Ear]:
        return [ear for ear in self._ears[role] if ear.at_work]

    # -- teaching ---------------------------------------------------------------------------------

    def _teach_newcomers(self, roles: Iterable[Role]) -> None:
        if self._teaching:
            return
        wanted = set(roles)
        for remote in self._agents.remotes:
            fresh = remote.link is not None and not remote.synced
            if fresh and remote.seat.about.role in wanted:
                self._teaching = True
                try:
                    self._teach(remote)
                finally:
                    self._teaching = False

    def _teach(self, remote: Remote) -> None:
        """All that was told since the run began, in its order."""
        told = remote.seat.about
        ear = Ear(remote, remote.seat.instance)
        self._abouts[told.role] = told
        remote.seat.error_times = self._errors.setdefault(told.role, remote.seat.error_times)
        standing = [e for e in self._ears[told.role] if e.remote is not remote and e.remote.link]
        self._ears[told.role] = sorted([*standing, ear], key=lambda e: e.instance)
        patience = _Patience(self._patience_s)
        for words in self._log.told({kind.__name__ for kind in told.hears}):
            if not self._send(ear, words, past=True):
                return
        self._agents.make_live(remote)
        while self._stands(ear) and remote.seat.state == "starting":
            self._touch(_LOOK_S)
            if patience.over() or self._interrupted():
                self._agents.cut(remote, f"it did not come up within {self._patience_s:g} s")

    def _stands(self, ear: Ear) -> bool:
        return ear.remote.link is not None and ear.remote.life == ear.life

    def _send(self, ear: Ear, words: bytes, *, past: bool = False) -> bool:
        """One message; waits where it does not keep up. False: it is gone."""
        if not self._stands(ear):
            return False
        self._agents.hear_written(ear.remote, words, past=past)
        ear.sent += 1
        if ear.sent - (ear.marks[-1][1] if ear.marks else ear.heard) >= _MARK_EACH:
            self._mark(ear)
        patience = _Patience(self._patience_s)
        while self._stands(ear) and ear.sent - ear.heard > _BEHIND_MAX:
            self._touch(_LOOK_S)
            if patience.over() or self._interrupted():
                self._agents.cut(ear.remote, "it does not keep up with what it is told")
        return self._stands(ear)

    def _mark(self, ear: Ear) -> int:
        number = self._agents.mark(ear.remote)
        ear.marks.append((number, ear.sent))
        return number

    def _took_pong(self, remote: Remote, number: int) -> None:
        ear = self._ear(remote)
        if ear is None:
            return
        while ear.marks and ear.marks[0][0] <= number:
            ear.heard = ear.marks.popleft()[1]
        if number == ear.waited:
            ear.through = True
        elif number == ear.stale:
            ear.said.clear()  # to what others have answered for it

    # -- telling ----------------------------------------------------------------------------------

    def tell(self, message: Message) -> list[tuple[Seat, Message]]:
        """All hear it, role by role as in one process; what they say, in the same order."""
        self.pump(0.0)
        said: list[tuple[Seat, Message]] = []
        words = b""
        for role in self._order:
            if role not in self._wanted:
                said += self._manager.tell_here(role, message)
            elif self._hears(role, message):
                words = words or msgspec.json.encode(message)
                said += self._told(role, words)
        if words:
            self._log.add(type(message).__name__, words)
        return said

    def _hears(self, role: Role, message: Message) -> bool:
        told = self._abouts.get(role)
        return told is not None and type(message) in told.hears

    def _told(self, role: Role, words: bytes) -> list[tuple[Seat, Message]]:
        answer = ANSWERS.get(role)
        if all(kind is answer for kind in self._abouts[role].says):
            for ear in self._at_work(role):
                self._send(ear, words)
            return []
        return self._said_to(role, words)

    def _said_to(self, role: Role, words: bytes) -> list[tuple[Seat, Message]]:
        """What the role says to it: the words of whichever instance is the first to be through."""
        patience = _Patience(self._patience_s)
        told: list[Ear] = []
        while True:
            for ear in self._at_work(role):
                if ear not in told:
                    told.append(ear)
                    self._tell_and_mark(ear, words)
            found = next((e for e in told if e.through and self._stands(e)), None)
            if found is not None:
                said, found.said = found.said, []
                return [(found.remote.seat, each) for each in said]
            if len(told) > _COSTS_MAX:
                raise RoleAway(f"one message has cost {len(told)} agents of role {role.value}")
            self._wait(role, patience)

    def _tell_and_mark(self, ear: Ear, words: bytes) -> None:
        ear.through, ear.stale, ear.waited = False, ear.waited, 0
        if ear.stale <= ear.remote.pong_number:
            ear.said.clear()  # else its pong does
        if self._send(ear, words):
            ear.waited = self._mark(ear)

    def _took_say(self, remote: Remote, message: Message) -> str:
        objection = forged(remote.seat, message)
        ear = self._ear(remote)
        if not objection and ear is not None and not ear.through:
            ear.said.append(message)
        return objection

    def check(self, beat: Beat) -> None:
        """A health check is a beat to which nobody listens."""
        self.pump(0.0)
        words = msgspec.json.encode(beat)
        heard = [role for role in self._wanted if self._hears(role, beat)]
        for role in heard:
            for ear in self._at_work(role):
                self._send(ear, words, past=True)
        if heard:
            self._log.add(type(beat).__name__, words)
        self._report_held()

    # -- asking -----------------------------------------------------------------------------------

    def ask(self, role: Role, ask_id: int, question: Question) -> StageAnswered:
        """Its answer, however long that takes; RoleAway when nobody gives one."""
        self.pump(0.0)
        self._answers.clear()  # the second one's to a question before
        began = mono_ns()
        ask = Ask(ask_id=ask_id, question=question, within_ms=int(self._patience_s * 1000))
        asked: list[Ear] = []
        patience, next_ns = _Patience(self._patience_s), 0
        while True:
            waiting = [ear for ear in asked if ear.at_work]
            if not waiting or (len(waiting) == 1 and mono_ns() > next_ns):
                next_ns = mono_ns() + _TAKE_OVER_NS
                self._ask_another(role, ask, asked)
            self._wait(role, patience)
            found = self._answers.get(ask_id)
            if found is not None:
                break
        self._learn(role, question, asked)
        self._manager.measured(role.value, (mono_ns() - began) / 1000)
        return self._judged(found[0].remote.seat, role, found[1])

    def _ask_another(self, role: Role, ask: Ask, asked: list[Ear]) -> None:
        """The next in turn that was not asked yet, if there is one."""
        free = [ear for ear in self._at_work(role) if ear not in asked]
        if not free:
            return
        if len(asked) >= _COSTS_MAX:
            raise RoleAway(f"one question has cost {len(asked)} agents of role {role.value}")
        turn = self._turn.get(role, 0)
        self._turn[role] = turn + 1
        ear = free[turn % len(free)]
        if asked:
            log.info("agent.taken_over", ask=ask.ask_id, by=ear.remote.seat.agent_id)
        asked.append(ear)
        ear.asked.add(ask.ask_id)
        self._agents.ask_of(ear.remote, ask)

    def _took_answer(self, remote: Remote, answered: Answered) -> None:
        ear = self._ear(remote)
        if ear is None or answered.ask_id not in ear.asked:
            text = f"answered question {answered.ask_id}, which nobody asked it"
            self._manager.erred(remote.seat, text)
            return
        ear.asked.discard(answered.ask_id)
        self._answers.setdefault(answered.ask_id, (ear, answered))  # the first counts

    def _learn(self, role: Role, question: Question, asked: list[Ear]) -> None:
        """Whoever was not asked learns what was asked, where that matters."""
        if not self._abouts[role].learns_when_asked:
            return
        words = msgspec.json.encode(question)
        for ear in self._at_work(role):
            if ear not in asked:
                self._send(ear, words)
        self._log.add(type(question).__name__, words)

    def _judged(self, seat: Seat, role: Role, answered: Answered) -> StageAnswered:
        """No time has passed: market time waited."""
        wanted, error = ANSWERS[role], answered.error[:TEXT_MAX]
        if not error and not isinstance(answered.answer, wanted):
            given = type(answered.answer).__name__ if answered.answer is not None else "nothing"
            error = f"gave {given}, a {wanted.__name__} is needed"
        if error:
            self._manager.erred(seat, error)
            return no_answer(answered.ask_id, seat, error)
        return StageAnswered(
            ask_id=answered.ask_id, agent_id=seat.agent_id, agent_version=seat.about.version,
            answer=answered.answer, latency_us=0,
        )  # fmt: skip

    # -- what is recorded of them -----------------------------------------------------------------

    def hold(self, changed: AgentChanged) -> bool:
        """Who comes and goes is no event of the market: it is told at the next health check.

        An agent that is unwell by its own errors would be begun anew in a process, and forget.
        """
        if changed.role not in self._wanted:
            return False
        if self._closing:
            return True
        log.info("agent.changed", agent=changed.agent_id, state=changed.state, why=changed.reason)
        if changed.state == "unhealthy" and " errors in 60 s" in changed.reason:
            self._failed = RoleAway(
                f"agent {changed.agent_id} has failed: {changed.reason}. An exact replay ends here"
            )
        self._held.append(changed)
        return True

    def _report_held(self) -> None:
        """When all are there again: S9 is for agents whose answers nobody waits for."""
        if not self._held or not all(map(self._manager.healthy, self._wanted)):
            return
        held, self._held = self._held, []
        for changed in held:
            self._manager.report(changed)


class _Patience:
    """Real time that was waited, without that in which this process itself stood still."""

    def __init__(self, limit_s: float) -> None:
        self._left_ns = int(limit_s * NS_PER_S)
        self._last_ns = mono_ns()

    def over(self) -> bool:
        now = mono_ns()
        self._left_ns -= min(now - self._last_ns, 4 * _LOOK_NS)
        self._last_ns = now
        return self._left_ns < 0

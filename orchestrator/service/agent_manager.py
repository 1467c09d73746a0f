"""Discovery, health, load balancing and restart of agents; asks them, and catches their troubles.

A seat holds one instance and everything known of it. An agent of this process is called; one
elsewhere is sent a message by `remote_agents`, and its answer comes back as an event of its own.
Whatever an agent raises, answers late or says unasked costs only its own opinion.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Callable, Container, Iterable, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from orchestrator.agents.base import Agent
from orchestrator.model.base import NOTHING, Message, Says
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import AgentChanged
from orchestrator.model.market import Beat
from orchestrator.model.ports import Clock
from orchestrator.model.signals import (
    Allocation,
    Answer,
    Question,
    Role,
    Score,
    Sizing,
    Verdict,
)
from orchestrator.model.time import NS_PER_S
from orchestrator.service.seams import mono_ns
from orchestrator.service.seats import ERRORS_KEPT, RESTARTS_KEPT, AgentFactory, Seat, about
from orchestrator.service.views import AgentView

_ERRORS_TO_DEGRADE = 5  # within a minute (SAFETY 12)
_ERRORS_TO_FAIL = ERRORS_KEPT
_ERROR_WINDOW_NS = 60 * NS_PER_S
_RESTARTS_AT_MOST = RESTARTS_KEPT  # within ten minutes: a crash loop
_RESTART_WINDOW_NS = 600 * NS_PER_S

AgentTroubled = Callable[[AgentChanged], None]
AskElsewhere = Callable[[Seat, int, Question], None]

# What a role is asked for: a wrong kind of answer is no answer.
ANSWERS: dict[Role, type[Answer]] = {
    Role.DISAGREEMENT: Allocation,
    Role.STRATEGY_ANALYSIS: Score,
    Role.PARAMETER_OPTIMIZATION: Sizing,
    Role.LEARNING_SAFETY: Verdict,
}


class Waited(Protocol):
    """Agents elsewhere whose every word is waited for (an exact replay)."""

    @property
    def roles(self) -> Container[Role]:
        """Those that live elsewhere."""
        ...

    def ask(self, role: Role, ask_id: int, question: Question) -> StageAnswered: ...

    def tell(self, message: Message) -> list[tuple[Seat, Message]]:
        """Told to all, here and elsewhere."""
        ...

    def check(self, beat: Beat) -> None:
        """What agents of this process hear at a round of health checks."""
        ...

    def hold(self, changed: AgentChanged) -> bool:
        """Whether this is told later, or never."""
        ...


class AgentManager:
    """All seats by role. `troubled` is told of each change of state, for the record and alerts."""

    def __init__(self, clock: Clock, *, answer_ms_max: int = 2_000) -> None:
        self._clock = clock
        self._answer_ns_max = answer_ms_max * 1_000_000
        self._seats: dict[str, Seat] = {}
        self._by_role: dict[Role, list[Seat]] = {}
        self._listeners: dict[type[Message], tuple[Seat, ...]] = {}
        self._next: dict[Role, int] = {}
        self._memory: Callable[[], Iterable[Message]] = tuple
        self._troubled: AgentTroubled = lambda _: None
        self.measured: Callable[[str, float], None] = lambda _role, _us: None
        # Set by the host of agents elsewhere: sends a question to a seat's agent.
        self.ask_elsewhere: AskElsewhere = _nobody_elsewhere
        # Set by it as well: everything that is told, for those who come late.
        self.overhear: Callable[[Message], None] | None = None
        # Set in an exact replay, where everybody waits for the answers of agents elsewhere.
        self.waited: Waited | None = None
        self._last_asked: dict[Role, tuple[str, Seat]] = {}

    @property
    def memory(self) -> Iterable[Message]:
        """What a (re)started agent hears first, oldest first."""
        return self._memory()

    def remember_with(self, memory: Callable[[], Iterable[Message]]) -> None:
        """What a (re)started agent hears first: histories and past outcomes, oldest first."""
        self._memory = memory

    def report_to(self, troubled: AgentTroubled) -> None:
        self._troubled = troubled

    # -- registration ---------------------------------------------------------------------------

    def register(self, factory: AgentFactory) -> str:
        """Seat a new agent (state starting until `bring_up`); returns its id.

        TypeError for an object that is not an Agent; ValueError for a name that is taken.
        """
        agent = factory()
        if not isinstance(agent, Agent):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's factory
            raise TypeError(f"{agent!r} is not an Agent")
        told = about(agent)
        number = 1 + len(self._by_role.get(told.role, ()))
        seat = Seat(f"{told.name}-{number}", told, instance=number, agent=agent, factory=factory)
        self.seat(seat)
        return seat.agent_id

    def seat(self, seat: Seat) -> None:
        """Take a seat in. ValueError for a name that is taken."""
        if seat.agent_id in self._seats:
            raise ValueError(f"an agent named {seat.agent_id} is registered already")
        seat.since_ns = self._clock.now()
        self._seats[seat.agent_id] = seat
        self._by_role.setdefault(seat.about.role, []).append(seat)
        self.index()

    def unseat(self, seat: Seat, reason: str) -> None:
        """It is gone, and will not come back by itself."""
        if self._seats.get(seat.agent_id) is not seat:
            return
        del self._seats[seat.agent_id]
        self._by_role[seat.about.role].remove(seat)
        self._last_asked.pop(seat.about.role, None)
        self.index()
        self.move(seat, "stopped", reason)

    def index(self) -> None:
        """Who hears what; made anew when a seat comes, goes, or turns out to be another."""
        table: dict[type[Message], list[Seat]] = {}
        for seat in self._seats.values():
            for kind in seat.about.hears:
                table.setdefault(kind, []).append(seat)
        self._listeners = {kind: tuple(seats) for kind, seats in table.items()}

    def bring_up(self, memory: Sequence[Message]) -> None:
        """Give every starting agent what it must know, then count it as healthy."""
        for seat in self._seats.values():
            if seat.state == "starting" and seat.agent is not None:
                self._teach(seat, memory)
                if seat.state == "starting":
                    self.move(seat, "healthy", "started")

    def _teach(self, seat: Seat, memory: Iterable[Message]) -> None:
        for message in memory:
            self._call(seat, message)
        # Learning the past is not work: the figures tell of what is asked from now on.
        seat.handled = 0
        seat.latencies.clear()

    # -- asking and telling ---------------------------------------------------------------------

    def ask(self, role: Role, ask_id: int, question: Question) -> StageAnswered | None:
        """Ask one healthy instance of a role, in turn; trouble becomes the answer's `error`.

        None: it was asked elsewhere, and its answer, or what kept it from one, comes as an event.
        """
        if self.waited is not None and role in self.waited.roles:
            return self.waited.ask(role, ask_id, question)
        seats = [s for s in self._by_role.get(role, ()) if s.works]
        if not seats:
            return no_answer(ask_id, None, f"no healthy agent of role {role.value}")
        seat = self._chosen(role, seats, question)
        if seat.elsewhere is not None:
            self.ask_elsewhere(seat, ask_id, question)
            return None
        return self._ask_here(seat, role, ask_id, question)

    def elsewhere(self, role: Role) -> bool:
        """Whether answers of this role come as events of their own."""
        if self.waited is not None:
            return False
        return any(seat.elsewhere is not None for seat in self._by_role.get(role, ()))

    def others(self, role: Role, but: Sequence[Seat]) -> list[Seat]:
        """Instances that work elsewhere, without these."""
        return [
            s
            for s in self._by_role.get(role, ())
            if s.works and s.elsewhere is not None and not s.overdue and s not in but
        ]

    def _chosen(self, role: Role, seats: list[Seat], question: Question) -> Seat:
        """In turn; elsewhere all questions about one signal go one way, so that they keep order."""
        signal_id = question.signal.signal_id
        seats = [s for s in seats if not s.overdue] or seats
        last = self._last_asked.get(role)
        if last is not None and last[0] == signal_id and last[1] in seats:
            return last[1]
        turn = self._next.get(role, 0)
        self._next[role] = turn + 1
        seat = seats[turn % len(seats)]
        if seat.elsewhere is not None:
            self._last_asked[role] = (signal_id, seat)
        return seat

    def _ask_here(self, seat: Seat, role: Role, ask_id: int, question: Question) -> StageAnswered:
        errors_before = seat.errors
        # What is recorded comes from the port, so that a run in virtual time repeats to the byte;
        # what is measured is this machine's.
        began, began_here = self._clock.mono_ns(), mono_ns()
        said = self._call(seat, question)
        took_ns = self._clock.mono_ns() - began
        self.measured(role.value, (mono_ns() - began_here) / 1000)
        version = seat.about.version
        if seat.errors != errors_before:
            return no_answer(ask_id, seat, seat.last_error)
        if took_ns > self._answer_ns_max:
            limit_ms = self._answer_ns_max // 1_000_000
            text = f"answered after {took_ns // 1_000_000} ms, limit {limit_ms} ms"
            self.erred(seat, text)
            return no_answer(ask_id, seat, text)
        answers = [m for m in said if isinstance(m, ANSWERS[role])]
        if len(answers) != 1:
            text = f"gave {len(answers)} answers of kind {ANSWERS[role].__name__}, one is needed"
            self.erred(seat, text)
            return no_answer(ask_id, seat, text)
        return StageAnswered(
            ask_id=ask_id, agent_id=seat.agent_id, agent_version=version,
            answer=answers[0], latency_us=took_ns // 1000,
        )  # fmt: skip

    def hears(self, kind: type[Message]) -> bool:
        """Whether anyone listens to this type."""
        return kind in self._listeners or self.overhear is not None or self.waited is not None

    def tell(self, message: Message) -> list[tuple[Seat, Message]]:
        """Everyone who hears this type hears it; what they say, with who said it."""
        if self.waited is not None:
            return self.waited.tell(message)
        if self.overhear is not None:
            self.overhear(message)
        said: list[tuple[Seat, Message]] = []
        for seat in self._listeners.get(type(message), ()):
            if seat.elsewhere is not None:
                seat.elsewhere.hear(message)
            elif seat.works:
                said.extend((seat, m) for m in self._call(seat, message))
        return said

    def tell_here(self, role: Role, message: Message) -> list[tuple[Seat, Message]]:
        """As `tell`, to the agents of one role in this process."""
        return [
            (seat, said)
            for seat in self._listeners.get(type(message), ())
            if seat.about.role is role and seat.elsewhere is None and seat.works
            for said in self._call(seat, message)
        ]

    def refused(self, agent_id: str, text: str) -> None:
        """The kernel refused an agent's answer as nonsense: it counts as the agent's error."""
        seat = self._seats.get(agent_id)
        if seat is not None:
            self.erred(seat, text)

    def _call(self, seat: Seat, message: Message) -> Says:
        assert seat.agent is not None, "only agents of this process are called"
        seat.handled += 1
        began = mono_ns()
        try:
            # A tuple stays itself; None, a bare message or a number raise here, and not later.
            said = tuple(seat.agent.hear(message))
        except BaseException as exc:  # noqa: BLE001 -- supervisor: an agent may raise anything
            # A real Ctrl-C never arrives as an exception here: the loop's host handles the signal.
            self.erred(seat, f"{type(exc).__name__}: {exc}"[:300])
            return NOTHING
        finally:
            seat.latencies.append(mono_ns() - began)
        return self._checked(seat, said) if said else NOTHING

    def _checked(self, seat: Seat, said: Says) -> Says:
        """What was declared, and can be written down: what an agent says is a stranger's."""
        taken: list[Message] = []
        for message in said:
            if type(message) not in seat.about.says:
                self.erred(seat, "said what it does not declare in `says`")
                continue
            problem = problem_of(message)
            if problem:
                self.erred(seat, f"said a {type(message).__name__} that is none: {problem}"[:300])
            else:
                taken.append(message)
        return tuple(taken)

    def erred(self, seat: Seat, text: str) -> None:
        """An agent's error, or what it said was refused by those who check it."""
        now = self._clock.mono_ns()
        seat.errors += 1
        seat.last_error = text
        seat.error_times.append(now)
        recent = sum(1 for at in seat.error_times if now - at <= _ERROR_WINDOW_NS)
        if recent >= _ERRORS_TO_FAIL and seat.state != "unhealthy":
            self.move(seat, "unhealthy", f"{recent} errors in 60 s, last: {text}")
        elif recent >= _ERRORS_TO_DEGRADE and seat.state == "healthy":
            self.move(seat, "degraded", f"{recent} errors in 60 s, last: {text}")

    def move(self, seat: Seat, state: str, reason: str) -> None:
        """Into another state, which is written down and told."""
        seat.move(state, reason, self._clock.now(), self._clock.mono_ns())
        changed = AgentChanged(
            agent_id=seat.agent_id, role=seat.about.role, state=state, version=seat.about.version,
            reason=reason,
        )  # fmt: skip
        if self.waited is None or not self.waited.hold(changed):
            self.report(changed)

    def report(self, changed: AgentChanged) -> None:
        """A change that was held is told now."""
        self._troubled(changed)

    # -- health and restart ---------------------------------------------------------------------

    def check(self, agent_id: str) -> AgentView | None:
        """A real round trip, now: the agent hears a beat. None for an unknown id."""
        seat = self._seats.get(agent_id)
        if seat is None:
            return None
        if seat.elsewhere is not None:
            seat.elsewhere.check()  # what it answers is seen in the next view
            self._recover(seat, erred=False)
        elif seat.state != "stopped":
            before = seat.errors
            self._call(seat, Beat(now_ns=self._clock.now()))
            seat.last_check_ns = self._clock.now()
            seat.round_trip_ns = seat.latencies[-1]
            self._recover(seat, erred=seat.errors != before)
        return seat.view(self._clock.mono_ns())

    def _recover(self, seat: Seat, *, erred: bool) -> None:
        now = self._clock.mono_ns()
        recent = sum(1 for at in seat.error_times if now - at <= _ERROR_WINDOW_NS)
        if seat.state == "degraded" and not erred and recent < _ERRORS_TO_DEGRADE:
            self.move(seat, "healthy", "no more errors")

    def check_all(self) -> None:
        """One round of health checks; unhealthy agents are restarted, with an end to it."""
        if self.waited is not None:
            self.waited.check(Beat(now_ns=self._clock.now()))
        for seat in tuple(self._seats.values()):
            self.check(seat.agent_id)
            if seat.state == "unhealthy":
                self._restart_by_itself(seat)

    def _restart_by_itself(self, seat: Seat) -> None:
        now = self._clock.mono_ns()
        recent = sum(1 for at in seat.restarts if now - at <= _RESTART_WINDOW_NS)
        if self.loops(seat):
            self.move(seat, "stopped", f"crash loop: {recent} restarts in 10 min")
            return
        if seat.restarts and now - seat.restarts[-1] < NS_PER_S << min(recent, 6):
            return  # backoff: 1, 2, 4 ... s
        self.restart(seat.agent_id)

    def restart(self, agent_id: str) -> AgentView | None:
        """A fresh instance from the same factory, taught what it must know. None: unknown id."""
        seat = self._seats.get(agent_id)
        if seat is None:
            return None
        self.count_restart(seat)
        if seat.elsewhere is not None:
            self.move(seat, "starting", "restart")
            seat.elsewhere.restart("asked for")
            return seat.view(self._clock.mono_ns())
        return self._restart_here(seat)

    def count_restart(self, seat: Seat) -> None:
        """Bounded: too many in ten minutes are a crash loop."""
        seat.restarts.append(self._clock.mono_ns())
        seat.restart_count += 1

    def loops(self, seat: Seat) -> bool:
        """Whether it was restarted so often that it is left down."""
        now = self._clock.mono_ns()
        recent = sum(1 for at in seat.restarts if now - at <= _RESTART_WINDOW_NS)
        return recent >= _RESTARTS_AT_MOST

    def _restart_here(self, seat: Seat) -> AgentView:
        assert seat.factory is not None, "an agent of this process was made by a factory"
        self.move(seat, "starting", "restart")
        try:
            seat.agent = seat.factory()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:  # noqa: BLE001 -- supervisor: a constructor may raise anything
            self.move(seat, "unhealthy", f"does not start: {type(exc).__name__}: {exc}"[:300])
            return seat.view(self._clock.mono_ns())
        seat.about = about(seat.agent)
        seat.error_times.clear()
        self.index()
        self._teach(seat, self._memory())
        if seat.state == "starting":
            self.move(seat, "healthy", "restarted")
        return seat.view(self._clock.mono_ns())

    def stop_all(self) -> None:
        """In reverse order of registration."""
        for seat in reversed(tuple(self._seats.values())):
            if seat.state != "stopped":
                self.move(seat, "stopped", "shutdown")

    # -- views ----------------------------------------------------------------------------------

    def views(self) -> tuple[AgentView, ...]:
        mono = self._clock.mono_ns()
        return tuple(seat.view(mono) for seat in self._seats.values())

    def healthy(self, role: Role) -> bool:
        return any(seat.works for seat in self._by_role.get(role, ()))

    def instance(self, agent_id: str) -> Agent | None:
        seat = self._seats.get(agent_id)
        return None if seat is None else seat.agent


def problem_of(message: Message) -> str:
    """Why a message is not what its type says, or "": it must survive its own JSON unchanged.

    An agent can put anything into a frozen struct: a float, a list, NaN, text that is no text.
    """
    kind = type(message)
    decoder = _decoders.get(kind)
    if decoder is None:
        decoder = _decoders[kind] = msgspec.json.Decoder(kind)
    try:
        words = msgspec.json.encode(message)
        back = decoder.decode(words)
        # The float 0.5 equals the decimal 0.5, and is none: written down they differ.
        same = back == message and msgspec.json.encode(back) == words
    except (ValueError, TypeError, ArithmeticError, RecursionError) as exc:
        return str(exc) or type(exc).__name__
    return "" if same else "a field is of another type than declared, or not a number"


_decoders: dict[type[Message], msgspec.json.Decoder[Message]] = {}


def no_answer(ask_id: int, seat: Seat | None, error: str) -> StageAnswered:
    """What the kernel hears in place of an answer."""
    return StageAnswered(
        ask_id=ask_id, agent_id="-" if seat is None else seat.agent_id,
        agent_version="-" if seat is None else seat.about.version, answer=None, error=error,
    )  # fmt: skip


def _nobody_elsewhere(seat: Seat, ask_id: int, question: Question) -> None:
    raise AssertionError(f"{seat.agent_id} is elsewhere, unwired: {ask_id}, {question}")


class PluginError(OrchestratorError):
    """A user's agent or strategy cannot be loaded; the text says which setting, and why."""


def load_class(setting: str, reference: str, base: type[object]) -> type[object]:
    """The class that "path/file.py:ClassName" names; it must be a subclass of `base`.

    PluginError names the setting, the file and what is wrong with it.
    """
    path_text, colon, class_name = reference.rpartition(":")
    if not colon:
        raise PluginError(f"{setting}: {reference!r} must look like path/file.py:ClassName")
    path = Path(path_text)
    if not path.is_file():
        raise PluginError(f"{setting}: no such file: {path}")
    name = f"tso_plugin_{path.stem}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{setting}: {path} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except KeyboardInterrupt:
        raise
    except BaseException as exc:
        raise PluginError(f"{setting}: {path} fails: {type(exc).__name__}: {exc}") from exc
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, base)):
        raise PluginError(
            f"{setting}: {path} has no class {class_name} that extends {base.__name__}"
        )
    return found

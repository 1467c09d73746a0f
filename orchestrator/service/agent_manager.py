"""Discovery, health, load balancing and restart of agents; asks them, and catches their troubles.

Agents here run in the service's process: a seat holds one instance and everything known of it.
Whatever an agent raises, answers late or says unasked costs only its own opinion.
"""

from __future__ import annotations

import importlib.util
import sys
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from orchestrator.agents.base import Agent
from orchestrator.model.base import NOTHING, Message, Says
from orchestrator.model.errors import OrchestratorError
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import AgentChanged
from orchestrator.model.market import Beat
from orchestrator.model.ports import Clock
from orchestrator.model.signals import Allocation, Answer, Role, Score, Sizing, Verdict
from orchestrator.model.time import NS_PER_S
from orchestrator.service.seams import mono_ns
from orchestrator.service.views import AgentView

_ERRORS_TO_DEGRADE = 5  # within a minute (SAFETY 12)
_ERRORS_TO_FAIL = 20
_ERROR_WINDOW_NS = 60 * NS_PER_S
_RESTARTS_AT_MOST = 5  # within ten minutes: a crash loop
_RESTART_WINDOW_NS = 600 * NS_PER_S

AgentFactory = Callable[[], Agent]
AgentTroubled = Callable[[AgentChanged], None]

# What a role is asked for: a wrong kind of answer is no answer.
ANSWERS: dict[Role, type[Answer]] = {
    Role.DISAGREEMENT: Allocation,
    Role.STRATEGY_ANALYSIS: Score,
    Role.PARAMETER_OPTIMIZATION: Sizing,
    Role.LEARNING_SAFETY: Verdict,
}


class Seat:
    """One agent instance, its statistics and its state."""

    def __init__(self, agent_id: str, factory: AgentFactory) -> None:
        self.agent_id = agent_id
        self.factory = factory
        self.agent = factory()
        self.state = "starting"
        self.reason = ""
        self.since_ns = 0
        self.handled = 0
        self.errors = 0
        self.last_error = ""
        self.last_check_ns = 0
        self.latencies: deque[int] = deque(maxlen=1000)
        self.error_times: deque[int] = deque(maxlen=_ERRORS_TO_FAIL)
        self.restarts: deque[int] = deque(maxlen=_RESTARTS_AT_MOST)
        self.restart_count = 0

    def view(self) -> AgentView:
        ordered = sorted(self.latencies)
        kind = type(self.agent)
        return AgentView(
            agent_id=self.agent_id, role=kind.role, name=kind.name, version=kind.version,
            state=self.state, where="in-process", since_ns=self.since_ns, reason=self.reason,
            handled=self.handled, errors=self.errors,
            error_rate=self.errors / self.handled if self.handled else 0.0,
            p50_us=ordered[len(ordered) // 2] / 1000 if ordered else 0.0,
            p99_us=ordered[int(len(ordered) * 0.99)] / 1000 if ordered else 0.0,
            last_error=self.last_error, last_check_ns=self.last_check_ns,
            restarts=self.restart_count,
            hears=tuple(sorted(m.__name__ for m in kind.heard())),
            says=tuple(sorted(m.__name__ for m in kind.says)),
        )  # fmt: skip

    @property
    def works(self) -> bool:
        return self.state in ("healthy", "degraded")


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
        seat = Seat("", factory)
        if not isinstance(seat.agent, Agent):  # pyright: ignore[reportUnnecessaryIsInstance] -- a user's factory
            raise TypeError(f"{seat.agent!r} is not an Agent")
        kind = type(seat.agent)
        seat.agent_id = f"{kind.name}-{1 + len(self._by_role.get(kind.role, ()))}"
        if seat.agent_id in self._seats:
            raise ValueError(f"an agent named {seat.agent_id} is registered already")
        seat.since_ns = self._clock.now()
        self._seats[seat.agent_id] = seat
        self._by_role.setdefault(kind.role, []).append(seat)
        self._index()
        return seat.agent_id

    def _index(self) -> None:
        table: dict[type[Message], list[Seat]] = {}
        for seat in self._seats.values():
            for kind in type(seat.agent).heard():
                table.setdefault(kind, []).append(seat)
        self._listeners = {kind: tuple(seats) for kind, seats in table.items()}

    def bring_up(self, memory: Sequence[Message]) -> None:
        """Give every starting agent what it must know, then count it as healthy."""
        for seat in self._seats.values():
            if seat.state == "starting":
                self._teach(seat, memory)
                if seat.state == "starting":
                    self._move(seat, "healthy", "started")

    def _teach(self, seat: Seat, memory: Iterable[Message]) -> None:
        for message in memory:
            self._call(seat, message)
        # Learning the past is not work: the figures tell of what is asked from now on.
        seat.handled = 0
        seat.latencies.clear()

    # -- asking and telling ---------------------------------------------------------------------

    def ask(self, role: Role, ask_id: int, question: Message) -> StageAnswered:
        """Ask one healthy instance of a role, in turn; trouble becomes the answer's `error`."""
        seats = [s for s in self._by_role.get(role, ()) if s.works]
        if not seats:
            return _no_answer(ask_id, "-", "-", f"no healthy agent of role {role.value}")
        turn = self._next.get(role, 0)
        self._next[role] = turn + 1
        seat = seats[turn % len(seats)]
        errors_before = seat.errors
        # What is recorded comes from the port, so that a run in virtual time repeats to the byte;
        # what is measured is this machine's.
        began, began_here = self._clock.mono_ns(), mono_ns()
        said = self._call(seat, question)
        took_ns = self._clock.mono_ns() - began
        self.measured(role.value, (mono_ns() - began_here) / 1000)
        version = type(seat.agent).version
        if seat.errors != errors_before:
            return _no_answer(ask_id, seat.agent_id, version, seat.last_error)
        if took_ns > self._answer_ns_max:
            limit_ms = self._answer_ns_max // 1_000_000
            text = f"answered after {took_ns // 1_000_000} ms, limit {limit_ms} ms"
            self._erred(seat, text)
            return _no_answer(ask_id, seat.agent_id, version, text)
        answers = [m for m in said if isinstance(m, ANSWERS[role])]
        if len(answers) != 1:
            text = f"gave {len(answers)} answers of kind {ANSWERS[role].__name__}, one is needed"
            self._erred(seat, text)
            return _no_answer(ask_id, seat.agent_id, version, text)
        return StageAnswered(
            ask_id=ask_id, agent_id=seat.agent_id, agent_version=version,
            answer=answers[0], latency_us=took_ns // 1000,
        )  # fmt: skip

    def hears(self, kind: type[Message]) -> bool:
        """Whether anyone listens to this type."""
        return kind in self._listeners

    def tell(self, message: Message) -> list[tuple[Seat, Message]]:
        """Everyone who hears this type hears it; what they say, with who said it."""
        said: list[tuple[Seat, Message]] = []
        for seat in self._listeners.get(type(message), ()):
            if seat.works:
                said.extend((seat, m) for m in self._call(seat, message))
        return said

    def blame(self, seat: Seat, text: str) -> None:
        """What an agent said was refused by those who check it."""
        self._erred(seat, text)

    def refused(self, agent_id: str, text: str) -> None:
        """The kernel refused an agent's answer as nonsense: it counts as the agent's error."""
        seat = self._seats.get(agent_id)
        if seat is not None:
            self._erred(seat, text)

    def _call(self, seat: Seat, message: Message) -> Says:
        seat.handled += 1
        began = mono_ns()
        try:
            # A tuple stays itself; None, a bare message or a number raise here, and not later.
            said = tuple(seat.agent.hear(message))
        except BaseException as exc:  # noqa: BLE001 -- supervisor: an agent may raise anything
            # A real Ctrl-C never arrives as an exception here: the loop's host handles the signal.
            self._erred(seat, f"{type(exc).__name__}: {exc}"[:300])
            return NOTHING
        finally:
            seat.latencies.append(mono_ns() - began)
        return self._checked(seat, said) if said else NOTHING

    def _checked(self, seat: Seat, said: Says) -> Says:
        """What was declared, and can be written down: what an agent says is a stranger's."""
        taken: list[Message] = []
        for message in said:
            if type(message) not in type(seat.agent).says:
                self._erred(seat, "said what it does not declare in `says`")
                continue
            problem = _problem_of(message)
            if problem:
                self._erred(seat, f"said a {type(message).__name__} that is none: {problem}"[:300])
            else:
                taken.append(message)
        return tuple(taken)

    def _erred(self, seat: Seat, text: str) -> None:
        now = self._clock.mono_ns()
        seat.errors += 1
        seat.last_error = text
        seat.error_times.append(now)
        recent = sum(1 for at in seat.error_times if now - at <= _ERROR_WINDOW_NS)
        if recent >= _ERRORS_TO_FAIL and seat.state != "unhealthy":
            self._move(seat, "unhealthy", f"{recent} errors in 60 s, last: {text}")
        elif recent >= _ERRORS_TO_DEGRADE and seat.state == "healthy":
            self._move(seat, "degraded", f"{recent} errors in 60 s, last: {text}")

    def _move(self, seat: Seat, state: str, reason: str) -> None:
        seat.state, seat.reason, seat.since_ns = state, reason, self._clock.now()
        kind = type(seat.agent)
        self._troubled(
            AgentChanged(
                agent_id=seat.agent_id, role=kind.role, state=state, version=kind.version,
                reason=reason,
            )
        )  # fmt: skip

    # -- health and restart ---------------------------------------------------------------------

    def check(self, agent_id: str) -> AgentView | None:
        """A real round trip, now: the agent hears a beat. None for an unknown id."""
        seat = self._seats.get(agent_id)
        if seat is None:
            return None
        if seat.state != "stopped":
            before = seat.errors
            self._call(seat, Beat(now_ns=self._clock.now()))
            seat.last_check_ns = self._clock.now()
            self._recover(seat, erred=seat.errors != before)
        return seat.view()

    def _recover(self, seat: Seat, *, erred: bool) -> None:
        now = self._clock.mono_ns()
        recent = sum(1 for at in seat.error_times if now - at <= _ERROR_WINDOW_NS)
        if seat.state == "degraded" and not erred and recent < _ERRORS_TO_DEGRADE:
            self._move(seat, "healthy", "no more errors")

    def check_all(self) -> None:
        """One round of health checks; unhealthy agents are restarted, with an end to it."""
        for seat in tuple(self._seats.values()):
            self.check(seat.agent_id)
            if seat.state == "unhealthy":
                self._restart_by_itself(seat)

    def _restart_by_itself(self, seat: Seat) -> None:
        now = self._clock.mono_ns()
        recent = sum(1 for at in seat.restarts if now - at <= _RESTART_WINDOW_NS)
        if recent >= _RESTARTS_AT_MOST:
            self._move(seat, "stopped", f"crash loop: {recent} restarts in 10 min")
            return
        if seat.restarts and now - seat.restarts[-1] < NS_PER_S << min(recent, 6):
            return  # backoff: 1, 2, 4 ... s
        self.restart(seat.agent_id)

    def restart(self, agent_id: str) -> AgentView | None:
        """A fresh instance from the same factory, taught what it must know. None: unknown id."""
        seat = self._seats.get(agent_id)
        if seat is None:
            return None
        seat.restarts.append(self._clock.mono_ns())
        seat.restart_count += 1
        self._move(seat, "starting", "restart")
        try:
            seat.agent = seat.factory()
        except (KeyboardInterrupt, GeneratorExit):
            raise
        except BaseException as exc:  # noqa: BLE001 -- supervisor: a constructor may raise anything
            self._move(seat, "unhealthy", f"does not start: {type(exc).__name__}: {exc}"[:300])
            return seat.view()
        seat.error_times.clear()
        self._index()
        self._teach(seat, self._memory())
        if seat.state == "starting":
            self._move(seat, "healthy", "restarted")
        return seat.view()

    def stop_all(self) -> None:
        """In reverse order of registration."""
        for seat in reversed(tuple(self._seats.values())):
            if seat.state != "stopped":
                self._move(seat, "stopped", "shutdown")

    # -- views ----------------------------------------------------------------------------------

    def views(self) -> tuple[AgentView, ...]:
        return tuple(seat.view() for seat in self._seats.values())

    def healthy(self, role: Role) -> bool:
        return any(seat.works for seat in self._by_role.get(role, ()))

    def instance(self, agent_id: str) -> Agent | None:
        seat = self._seats.get(agent_id)
        return None if seat is None else seat.agent


def _problem_of(message: Message) -> str:
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


def _no_answer(ask_id: int, agent_id: str, version: str, error: str) -> StageAnswered:
    return StageAnswered(
        ask_id=ask_id, agent_id=agent_id, agent_version=version, answer=None, error=error
    )


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

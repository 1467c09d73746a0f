"""Questions that are out to agents elsewhere: asked, answered, taken over, given up."""

from __future__ import annotations

from collections.abc import Callable
from typing import cast

import msgspec
import structlog

from orchestrator.model.agent_words import Answered, Ask, AskFrame
from orchestrator.model.events import StageAnswered
from orchestrator.model.ports import Clock
from orchestrator.model.signals import Question, Role
from orchestrator.model.time import NS_PER_MS
from orchestrator.service.agent_manager import ANSWERS, AgentManager, no_answer
from orchestrator.service.remote import Remote
from orchestrator.service.seats import Seat

log = structlog.get_logger()

TEXT_MAX = 300
_TAKE_OVER_NS = 400 * NS_PER_MS  # then another instance is asked as well
_CLOSED_MAX = 2_000  # asks that were answered, to tell a late answer from a forged one
_OPEN_MAX = 20_000

Send = Callable[[Remote, Callable[..., object], object, str], bool]


class Pending(msgspec.Struct):
    """A question that is out; `asked`: who may answer it."""

    ask_id: int
    role: Role
    question: Question
    began_ns: int
    asked: list[Seat]


class Questions:
    """All of them. `answered` is told of each once; `bury` of one that cost two instances."""

    def __init__(self, manager: AgentManager, clock: Clock, send: Send, *, answer_ms: int) -> None:
        self._manager = manager
        self._clock = clock
        self._send = send
        self._answer_ms = answer_ms
        self._open: dict[int, Pending] = {}
        self._closed: dict[int, tuple[str, ...]] = {}
        self.answered: Callable[[StageAnswered], None] = _unwired
        self.bury: Callable[[Role, bytes, str], None] = lambda _role, _question, _why: None
        self.warn: Callable[[str, str], None] = _unwired

    def ask(self, seat: Seat, ask_id: int, question: Question) -> None:
        """Its answer, or what kept it from one, comes through `answered`."""
        pending = Pending(
            ask_id=ask_id, role=seat.about.role, question=question, began_ns=self._clock.mono_ns(),
            asked=[seat],
        )  # fmt: skip
        if len(self._open) >= _OPEN_MAX:
            self._give_up(pending, f"more than {_OPEN_MAX} questions are out")
            return
        self._open[ask_id] = pending
        self._ask(pending, seat)

    def _ask(self, pending: Pending, seat: Seat) -> None:
        left_ms = self._answer_ms - (self._clock.mono_ns() - pending.began_ns) // NS_PER_MS
        signal_id = pending.question.signal.signal_id
        seat.handled += 1
        data = Ask(ask_id=pending.ask_id, question=pending.question, within_ms=left_ms)
        self._send(_remote_of(seat), AskFrame, data, signal_id)

    def _take_over(self, pending: Pending, why: str) -> None:
        """Another instance, once; a question that costs two of them is nobody's any more."""
        others = self._manager.others(pending.role, pending.asked)
        if others and len(pending.asked) == 1:
            log.info("agent.taken_over", ask=pending.ask_id, by=others[0].agent_id, why=why)
            pending.asked.append(others[0])
            self._ask(pending, others[0])
            return
        if any(_remote_of(seat).at_work for seat in pending.asked):
            return  # the first may still answer
        self._give_up(pending, why)
        if len(pending.asked) > 1:
            text = f"{pending.role.value}, signal {pending.question.signal.signal_id}: {why}"
            self.warn("A question has cost two instances", text)
            self.bury(pending.role, msgspec.json.encode(pending.question), text)

    def _give_up(self, pending: Pending, why: str) -> None:
        self._close(pending)
        self.answered(no_answer(pending.ask_id, pending.asked[-1], why))

    def _close(self, pending: Pending) -> None:
        self._open.pop(pending.ask_id, None)
        if len(self._closed) >= _CLOSED_MAX:
            del self._closed[next(iter(self._closed))]
        self._closed[pending.ask_id] = tuple(seat.agent_id for seat in pending.asked)

    def took(self, remote: Remote, answered: Answered) -> None:
        seat, pending = remote.seat, self._open.get(answered.ask_id)
        if pending is None:
            if seat.agent_id in self._closed.get(answered.ask_id, ()):
                return  # late, or again, or overtaken: it is of no use, and no crime
            self._manager.erred(seat, f"answered question {answered.ask_id}, which nobody asked it")
            return
        if seat not in pending.asked:
            self._manager.erred(seat, f"answered question {answered.ask_id}, which is another's")
            return
        self._close(pending)
        took_ns = self._clock.mono_ns() - pending.began_ns
        seat.latencies.append(took_ns)
        self._manager.measured(pending.role.value, took_ns / 1000)
        self.answered(self._judged(seat, pending, answered, took_ns))

    def _judged(
        self, seat: Seat, pending: Pending, answered: Answered, took_ns: int
    ) -> StageAnswered:
        wanted = ANSWERS[pending.role]
        error = answered.error[:TEXT_MAX]
        if not error and not isinstance(answered.answer, wanted):
            given = type(answered.answer).__name__ if answered.answer is not None else "nothing"
            error = f"gave {given}, a {wanted.__name__} is needed"
        if error:
            self._manager.erred(seat, error)
            return no_answer(pending.ask_id, seat, error)
        return StageAnswered(
            ask_id=pending.ask_id, agent_id=seat.agent_id, agent_version=seat.about.version,
            answer=answered.answer, latency_us=took_ns // 1000,
        )  # fmt: skip

    def lost(self, seat: Seat, why: str) -> None:
        """Nobody is there any more: its questions are another's."""
        for pending in [p for p in self._open.values() if p.asked[-1] is seat]:
            self._take_over(pending, why)

    def look(self) -> None:
        """Those that wait too long."""
        now = self._clock.mono_ns()
        for pending in tuple(self._open.values()):
            self._look_at(pending, now - pending.began_ns)

    def _look_at(self, pending: Pending, age_ns: int) -> None:
        if age_ns > self._answer_ms * NS_PER_MS:
            text = f"no answer within {self._answer_ms} ms"
            for seat in pending.asked:
                self._manager.erred(seat, text)
            self._give_up(pending, text)
        elif (
            age_ns > _TAKE_OVER_NS
            and len(pending.asked) == 1
            and self._manager.others(pending.role, pending.asked)
        ):
            pending.asked[0].overdue = True
            self._take_over(pending, "no answer yet")


def _remote_of(seat: Seat) -> Remote:
    return cast("Remote", seat.elsewhere)


def _unwired(*_: object) -> None:
    raise AssertionError("the host of agents elsewhere is not wired")

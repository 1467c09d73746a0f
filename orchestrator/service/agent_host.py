"""What runs in an agent's own process: hears a link, calls the agent, sends what it says."""

from __future__ import annotations

from collections.abc import Callable

import msgspec
import structlog

from orchestrator.agents.base import NOTHING
from orchestrator.model.agent_words import (
    PROTOCOL,
    QUESTIONS,
    Answered,
    AnsweredFrame,
    Ask,
    AskFrame,
    DrainFrame,
    Goodbye,
    GoodbyeFrame,
    HearFrame,
    Hello,
    HelloFrame,
    LiveFrame,
    PingFrame,
    Pong,
    PongFrame,
    ReadyFrame,
    RefusedFrame,
    Say,
    SayFrame,
    ToAgent,
    Trouble,
    TroubleFrame,
    WelcomeFrame,
    read_to_agent,
    source_of,
)
from orchestrator.model.base import Message, Says
from orchestrator.model.links import AgentLink, LinkEnd, Peer
from orchestrator.model.signals import Question
from orchestrator.model.time import NS_PER_MS, format_time
from orchestrator.service.agent_manager import ANSWERS, AgentFactory, problem_of
from orchestrator.service.agent_types import names_of
from orchestrator.service.seams import mono_ns, new_id, wall_ns
from orchestrator.service.seats import about

log = structlog.get_logger()

_TEXT_MAX = 300


class AgentHost:
    """One agent over one link at a time. `ended` is told why it is over: exit code and reason."""

    def __init__(
        self, peer: Peer, make: AgentFactory, *, ended: Callable[[int, str], None],
        instance_of: str = "",
    ) -> None:  # fmt: skip
        self._role, self._instance = peer
        self._source = source_of(self._role, self._instance)
        self._make = make
        self._agent = make()
        self._ended = ended
        self._link: AgentLink | None = None
        self._life = new_id(instance_of or "life")
        self._sent = 0
        self._heard = 0  # the last frame's number
        self._heard_ns = 0
        self._lease_ns = 0
        self.welcomed = False

    # -- the link -------------------------------------------------------------------------------

    def opened(self, link: AgentLink) -> LinkEnd:
        self._link = link
        self.greet()
        return self

    def greet(self) -> None:
        """Say who is here; said again where nobody may have heard it."""
        told = about(self._agent)
        self._send(HelloFrame, Hello(
            protocol=PROTOCOL, role=self._role, instance=self._instance, name=told.name,
            version=told.version, hears=names_of(told.hears), says=names_of(told.says),
            capabilities=(QUESTIONS,) if told.learns_when_asked else (), life=self._life,
        ))  # fmt: skip

    def greet_if_due(self) -> bool:
        """Over a broker nobody notices that the other end is gone: silence tells it."""
        if self.welcomed and mono_ns() - self._heard_ns > self._lease_ns:
            self._begin_anew("the service is silent")
            return True
        if not self.welcomed:
            self.greet()
        return not self.welcomed

    def gone(self, why: str) -> None:
        self._link, self.welcomed = None, False
        self._ended(1, f"the service is gone: {why}")

    def took(self, line: bytes) -> None:
        try:
            frame = read_to_agent(line)
        except (ValueError, RecursionError) as exc:
            log.info("frame.unknown", why=str(exc)[:_TEXT_MAX])  # of a newer service
            return
        self._take(frame)

    def _take(self, frame: ToAgent) -> None:
        if isinstance(frame, (WelcomeFrame, RefusedFrame)) and frame.data.life not in (
            "", self._life,
        ):  # fmt: skip
            return  # of an earlier life of ours
        if not isinstance(frame, (WelcomeFrame, RefusedFrame)):
            if not self.welcomed:
                return  # left over, for an earlier life of ours
            if frame.sequence != self._heard + 1:
                self._begin_anew(f"frames {self._heard + 1} to {frame.sequence - 1} are missing")
                return
        self._heard, self._heard_ns = frame.sequence, mono_ns()
        self._do(frame)

    def _do(self, frame: ToAgent) -> None:
        match frame:
            case AskFrame():
                self._answer(frame.data, frame.correlationid)
            case HearFrame():
                self._hear(frame.data.message, past=frame.data.past)
            case PingFrame():
                self._send(PongFrame, Pong(number=frame.data.number))
            case WelcomeFrame():
                self.welcomed = True
                self._lease_ns = frame.data.lease_ms * NS_PER_MS
                log.info("agent.welcomed", agent=frame.data.agent_id)
            case LiveFrame():
                self._send(ReadyFrame, msgspec.UNSET)
            case DrainFrame():
                if frame.data.restart:
                    self._begin_anew(frame.data.reason)
                else:
                    self.leave(frame.data.reason)
            case RefusedFrame():
                self._ended(2, f"refused: {frame.data.reason}")

    def _begin_anew(self, why: str) -> None:
        """A fresh agent, that learns everything anew."""
        log.warning("agent.begins_anew", why=why)
        self._agent = self._make()
        self._life, self.welcomed = new_id("life"), False
        self.greet()

    def leave(self, reason: str) -> None:
        """In order: what was asked before this was answered before this."""
        self._send(GoodbyeFrame, Goodbye(reason=reason))
        link, self._link = self._link, None
        if link is not None:
            link.close()
        self._ended(0, reason)

    def _send(self, kind: Callable[..., object], data: object, correlation: str = "") -> None:
        if self._link is None:
            return
        self._sent += 1
        more = {} if data is msgspec.UNSET else {"data": data}
        frame = kind(
            id=f"{self._life}.{self._sent}", source=self._source, time=format_time(wall_ns()),
            sequence=self._sent, correlationid=correlation, **more,
        )  # fmt: skip
        self._link.send(msgspec.json.encode(frame))

    # -- the agent ------------------------------------------------------------------------------

    def _call(self, message: Message) -> Says | str:
        """What it says; or what went wrong, in words."""
        try:
            said = tuple(self._agent.hear(message))
        except (KeyboardInterrupt, SystemExit) as exc:
            return f"{type(exc).__name__}: {exc}"[:_TEXT_MAX]
        except Exception as exc:  # noqa: BLE001 -- supervisor: an agent may raise anything
            return f"{type(exc).__name__}: {exc}"[:_TEXT_MAX]
        for message_said in said:
            if type(message_said) not in self._agent.says:
                return "said what it does not declare in `says`"
            problem = problem_of(message_said)
            if problem:
                return f"said a {type(message_said).__name__} that is none: {problem}"[:_TEXT_MAX]
        return said

    def _hear(self, message: Message, *, past: bool) -> None:
        said = self._call(message)
        if isinstance(said, str):
            self._send(TroubleFrame, Trouble(text=said))
            return
        # What it says of the past was said before, and a question is answered by another.
        for each in NOTHING if past or isinstance(message, Question) else said:
            self._send(SayFrame, Say(message=each))  # type: ignore[arg-type]

    def _answer(self, ask: Ask, correlation: str) -> None:
        said = self._call(ask.question)
        wanted = ANSWERS[self._role]
        if isinstance(said, str):
            answered = Answered(ask_id=ask.ask_id, error=said)
        else:
            fitting = [each for each in said if isinstance(each, wanted)]
            if len(fitting) == 1:
                answered = Answered(ask_id=ask.ask_id, answer=fitting[0])
            else:
                text = f"gave {len(fitting)} answers of kind {wanted.__name__}, one is needed"
                answered = Answered(ask_id=ask.ask_id, error=text)
        self._send(AnsweredFrame, answered, correlation)

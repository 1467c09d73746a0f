"""What an agent in another process and the service say to each other: one line of JSON each.

A frame is named as CloudEvents 1.0 names it: `id`, `source`, `type`, `time`, `subject`,
`correlationid` (the signal's), `sequence`, `data`. `source` is "agent/ROLE/INSTANCE" upwards, and
"service/NODE" downwards. `sequence` counts the frames of one link in one direction from 1.
Who reads ignores fields that it does not know; PROTOCOL grows when that is not enough.
"""

from __future__ import annotations

from typing import TypeAlias

import msgspec

from orchestrator.model.facts import Fact
from orchestrator.model.market import Beat, History, Tick
from orchestrator.model.outcomes import AnomalySeen, ChangeProposed, PatternSeen, RiskAdvice
from orchestrator.model.outcomes import TradeOutcome as TradeOutcome  # noqa: PLC0414 -- a word here, too
from orchestrator.model.safety import Alert
from orchestrator.model.signals import Answer, Question, Role, Signal

PROTOCOL = 1
QUESTIONS = "questions"  # of a hello's capabilities
PROTOCOL_MIN = 1  # the oldest that is still understood
LINE_MAX = 256 * 1024  # bytes of one line from an agent
LINE_DOWN_MAX = 16 * 1024 * 1024  # and of one to an agent: a history may be long

Heard: TypeAlias = Tick | Beat | History | Signal | Fact | Question
Sayable: TypeAlias = (
    Signal | RiskAdvice | TradeOutcome | AnomalySeen | ChangeProposed | PatternSeen | Alert
)


def source_of(role: Role, instance: int) -> str:
    """How an instance names itself in each of its frames."""
    return f"agent/{role.value}/{instance}"


class Word(msgspec.Struct, frozen=True, kw_only=True):
    """Base of the frames' data."""


class Hello(Word, frozen=True, kw_only=True):
    """First word of an agent: who it is, and what it hears and says (types, as in frames).

    `capabilities`: "questions" wants to hear what other instances of its role are asked.
    """

    protocol: int
    role: Role
    instance: int
    name: str
    version: str
    hears: tuple[str, ...] = ()
    says: tuple[str, ...] = ()
    capabilities: tuple[str, ...] = ()
    life: str = ""  # another one each time that its process begins


class Welcome(Word, frozen=True, kw_only=True):
    """It is registered. No frame from it for `lease_ms` ends that: pings must be answered."""

    agent_id: str
    protocol: int
    lease_ms: int
    version: str  # the service's
    life: str = ""  # of the hello that is answered


class Refused(Word, frozen=True, kw_only=True):
    """It is not registered, and why; the link is closed after this."""

    reason: str
    protocol_min: int = PROTOCOL_MIN
    protocol_max: int = PROTOCOL
    life: str = ""


class Hear(Word, frozen=True, kw_only=True):
    """Something that the agent hears. `past`: to learn from, before it works.

    A question comes to learn from as well: another instance was asked it, and answers.
    """

    message: Heard
    past: bool = False


class Live(Word, frozen=True, kw_only=True):
    """The past is told; what comes from here on happens now. To be answered by Ready."""


class Ready(Word, frozen=True, kw_only=True):
    """All of the past was heard: the agent may be asked."""


class Ask(Word, frozen=True, kw_only=True):
    """A stage's question. An answer later than `within_ms` is of no use."""

    ask_id: int
    question: Question
    within_ms: int


class Answered(Word, frozen=True, kw_only=True):
    """The answer to the Ask of that id; or `error` where there is none."""

    ask_id: int
    answer: Answer | None = None
    error: str = ""


class Say(Word, frozen=True, kw_only=True):
    """Something that the agent says unasked."""

    message: Sayable


class Ping(Word, frozen=True, kw_only=True):
    """To be answered by Pong with the same number, in the order of what was heard."""

    number: int


class Pong(Word, frozen=True, kw_only=True):
    number: int


class Trouble(Word, frozen=True, kw_only=True):
    """The agent could not handle something that it heard; counts as its error."""

    text: str


class Drain(Word, frozen=True, kw_only=True):
    """Answer what was asked, say Goodbye and end; or, with `restart`, begin anew with Hello."""

    reason: str
    restart: bool = False


class Goodbye(Word, frozen=True, kw_only=True):
    """The agent ends in order: it wants nothing more to do."""

    reason: str = ""


class Frame(msgspec.Struct, frozen=True, kw_only=True, tag_field="type"):
    """What every frame has; `data` is in each kind."""

    id: str
    source: str
    specversion: str = "1.0"
    time: str = ""
    subject: str = ""
    correlationid: str = ""
    sequence: int = 0
    schemaversion: int = 1


class HelloFrame(Frame, frozen=True, kw_only=True, tag="agent.hello"):
    data: Hello


class ReadyFrame(Frame, frozen=True, kw_only=True, tag="agent.ready"):
    data: Ready = Ready()


class AnsweredFrame(Frame, frozen=True, kw_only=True, tag="agent.answered"):
    data: Answered


class SayFrame(Frame, frozen=True, kw_only=True, tag="agent.say"):
    data: Say


class PongFrame(Frame, frozen=True, kw_only=True, tag="agent.pong"):
    data: Pong


class TroubleFrame(Frame, frozen=True, kw_only=True, tag="agent.trouble"):
    data: Trouble


class GoodbyeFrame(Frame, frozen=True, kw_only=True, tag="agent.goodbye"):
    data: Goodbye = Goodbye()


class WelcomeFrame(Frame, frozen=True, kw_only=True, tag="service.welcome"):
    data: Welcome


class RefusedFrame(Frame, frozen=True, kw_only=True, tag="service.refused"):
    data: Refused


class HearFrame(Frame, frozen=True, kw_only=True, tag="service.hear"):
    data: Hear


class LiveFrame(Frame, frozen=True, kw_only=True, tag="service.live"):
    data: Live = Live()


class AskFrame(Frame, frozen=True, kw_only=True, tag="service.ask"):
    data: Ask


class PingFrame(Frame, frozen=True, kw_only=True, tag="service.ping"):
    data: Ping


class DrainFrame(Frame, frozen=True, kw_only=True, tag="service.drain"):
    data: Drain


FromAgent: TypeAlias = (
    HelloFrame | ReadyFrame | AnsweredFrame | SayFrame | PongFrame | TroubleFrame | GoodbyeFrame
)
ToAgent: TypeAlias = (
    WelcomeFrame | RefusedFrame | HearFrame | LiveFrame | AskFrame | PingFrame | DrainFrame
)

_from_agent: msgspec.json.Decoder[FromAgent] = msgspec.json.Decoder(FromAgent)
_to_agent: msgspec.json.Decoder[ToAgent] = msgspec.json.Decoder(ToAgent)


def read_from_agent(line: bytes | bytearray | memoryview) -> FromAgent:
    """ValueError for anything that is not one of an agent's frames."""
    return _from_agent.decode(line)


def read_to_agent(line: bytes | bytearray | memoryview) -> ToAgent:
    """ValueError for what this version does not know; an agent passes over it."""
    return _to_agent.decode(line)


class HearWords(msgspec.Struct, frozen=True, kw_only=True):
    """Data of a HearFrame whose message was written already: it is written once for all."""

    message: msgspec.Raw
    past: bool = False


class HearWrittenFrame(Frame, frozen=True, kw_only=True, tag="service.hear"):
    data: HearWords

"""The agent's side of a link: what it hears, what it answers, how it begins anew."""

from __future__ import annotations

from typing import Any, get_args

import jsonschema
import msgspec
import pytest

from orchestrator.agents.base import NOTHING
from orchestrator.model.agent_words import (
    Ask,
    AskFrame,
    Drain,
    DrainFrame,
    FromAgent,
    Hear,
    HearFrame,
    LiveFrame,
    Ping,
    PingFrame,
    Refused,
    RefusedFrame,
    ToAgent,
    Welcome,
    WelcomeFrame,
    read_from_agent,
)
from orchestrator.model.signals import AskScore, Role
from orchestrator.service import agent_host
from orchestrator.service.agent_host import AgentHost
from orchestrator.service.asyncapi import document
from tests.unit.service.parts import HandClock, Scorer, ask_score, score, tick


class HandLink:
    """The agent's end of a link."""

    where = "service"
    peer = None

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.open = True

    def send(self, line: bytes) -> bool:
        self.lines.append(line)
        return True

    def close(self) -> None:
        self.open = False

    def told(self) -> list[Any]:
        return [read_from_agent(line) for line in self.lines]

    def kinds(self) -> list[str]:
        return [frame.__struct_config__.tag.partition(".")[2] for frame in self.told()]


class Home:
    """A host of one scorer, welcomed when `come` was called."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(agent_host, "mono_ns", self.clock.mono_ns)
        self.ended: list[tuple[int, str]] = []
        self.made: list[Scorer] = []
        self.answer: Any = lambda m: (score(),) if isinstance(m, AskScore) else NOTHING
        self.host = AgentHost(
            (Role.STRATEGY_ANALYSIS, 2), self._make, ended=lambda *how: self.ended.append(how)
        )
        self.link = HandLink()
        self.end = self.host.opened(self.link)
        self.sent = 0

    def _make(self) -> Scorer:
        self.made.append(Scorer(self._answer))
        return self.made[-1]

    def _answer(self, message: object) -> object:
        return self.answer(message)

    def tell(self, kind: type[ToAgent], data: Any = None, sequence: int | None = None) -> None:
        self.sent = self.sent + 1 if sequence is None else sequence
        more = {} if data is None else {"data": data}
        frame = kind(id="1", source="service/n", sequence=self.sent, **more)
        self.end.took(msgspec.json.encode(frame))

    def come(self) -> Home:
        life = self.link.told()[-1].data.life
        self.sent = 0
        self.tell(WelcomeFrame, Welcome(
            agent_id="x-2", protocol=1, lease_ms=5000, version="9", life=life,
        ))  # fmt: skip
        return self


@pytest.fixture
def home(monkeypatch):
    return Home(monkeypatch)


def test_its_first_word_says_who_it_is(home):
    hello = home.link.told()[0]
    assert hello.source == "agent/strategy_analysis/2"
    assert (hello.data.name, hello.data.version, hello.data.instance) == ("scorer", "7", 2)
    assert "ask_score" in hello.data.hears
    assert "score" in hello.data.says


def test_a_question_is_answered_with_what_the_agent_says(home):
    home.come()
    home.tell(LiveFrame)
    home.tell(AskFrame, Ask(ask_id=5, question=ask_score(), within_ms=100))
    home.tell(PingFrame, Ping(number=3))
    assert home.link.kinds() == ["hello", "ready", "answered", "pong"]
    answered, pong = home.link.told()[-2:]
    assert (answered.data.ask_id, answered.data.answer) == (5, score())
    assert pong.data.number == 3


@pytest.mark.parametrize(
    "crime", [SystemExit(3), KeyboardInterrupt(), OSError("no"), RecursionError()]
)
def test_whatever_it_raises_is_an_error_and_no_end(home, crime):
    def broken(_: object) -> object:
        raise crime

    home.answer = broken
    home.come()
    home.tell(AskFrame, Ask(ask_id=5, question=ask_score(), within_ms=100))
    home.tell(HearFrame, Hear(message=tick()))
    assert home.link.kinds() == ["hello", "answered", "trouble"]
    assert type(crime).__name__ in home.link.told()[1].data.error
    assert home.ended == []


def test_two_answers_or_none_are_no_answer(home):
    home.come()
    for count in (0, 2):
        home.answer = lambda _, n=count: (score(),) * n
        home.tell(AskFrame, Ask(ask_id=5, question=ask_score(), within_ms=100))
        assert f"gave {count} answers" in home.link.told()[-1].data.error


def test_what_it_says_to_the_past_or_to_anothers_question_is_not_passed_on(home):
    home.come()
    home.tell(HearFrame, Hear(message=ask_score()))
    home.tell(HearFrame, Hear(message=tick(), past=True))
    assert home.link.kinds() == ["hello"]
    assert type(home.made[0].heard_messages[0]) is AskScore


def test_a_missing_frame_makes_it_begin_anew_and_old_frames_are_not_heard(home):
    home.come()
    home.tell(HearFrame, Hear(message=tick()), sequence=4)
    assert home.link.kinds() == ["hello", "hello"]
    assert len(home.made) == 2, "a fresh agent learns everything anew"
    home.tell(AskFrame, Ask(ask_id=5, question=ask_score(), within_ms=100))
    assert home.link.kinds() == ["hello", "hello"], "it is not welcomed yet"
    home.come()
    home.tell(AskFrame, Ask(ask_id=6, question=ask_score(), within_ms=100))
    assert home.link.told()[-1].data.ask_id == 6


def test_silence_is_noticed_and_until_it_is_welcomed_it_greets_again(home):
    assert home.host.greet_if_due()
    assert home.link.kinds() == ["hello", "hello"]
    home.come()
    assert not home.host.greet_if_due()
    home.clock.on(5.1)
    assert home.host.greet_if_due()
    assert home.link.kinds() == ["hello"] * 3


def test_drained_it_says_goodbye_and_restarted_it_says_hello(home):
    home.come()
    home.tell(DrainFrame, Drain(reason="api", restart=True))
    assert home.link.kinds()[-1] == "hello"
    home.come()
    home.tell(DrainFrame, Drain(reason="the service ends"))
    assert home.link.kinds()[-1] == "goodbye"
    assert home.ended == [(0, "the service ends")]
    assert not home.link.open


def test_a_refusal_ends_it_with_the_reason_and_one_of_another_life_does_not(home):
    home.tell(RefusedFrame, Refused(reason="for another", life="another"))
    assert home.ended == []
    home.tell(RefusedFrame, Refused(reason="too old"))
    assert home.ended == [(2, "refused: too old")]


@pytest.mark.parametrize("line", [b"{", b'{"type":"service.dance","id":"1","source":"x"}', b"\xff"])
def test_what_it_does_not_know_is_passed_over(home, line):
    home.come()
    home.end.took(line)
    home.tell(PingFrame, Ping(number=1))
    assert home.link.kinds() == ["hello", "pong"]


# -- the document -------------------------------------------------------------------------------


def test_the_document_names_every_message_and_describes_what_is_really_sent(home):
    told = msgspec.json.decode(document())
    assert told["asyncapi"] == "3.0.0"
    tags = {str(kind.__struct_config__.tag) for u in (FromAgent, ToAgent) for kind in get_args(u)}
    assert set(told["components"]["messages"]) == tags
    home.come()
    home.tell(AskFrame, Ask(ask_id=5, question=ask_score(), within_ms=100))
    home.tell(PingFrame, Ping(number=3))
    for line in home.link.lines:
        frame = msgspec.json.decode(line)
        reference = told["components"]["messages"][frame["type"]]["payload"]["$ref"]
        schema = {"$ref": reference, "components": told["components"]}
        jsonschema.validate(frame, schema)
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate({**frame, "source": 5}, schema)


def test_the_document_is_always_the_same():
    assert document() == document()

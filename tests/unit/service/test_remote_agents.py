"""Agents elsewhere, at the manager's side: links and clock are under the test's hand."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import msgspec
import pytest

from orchestrator.model.agent_words import (
    Answered,
    AnsweredFrame,
    FromAgent,
    Hello,
    HelloFrame,
    Pong,
    PongFrame,
    ReadyFrame,
    Say,
    SayFrame,
    read_to_agent,
)
from orchestrator.model.events import StageAnswered
from orchestrator.model.facts import AgentChanged
from orchestrator.model.links import LinkEnd, Peer
from orchestrator.model.outcomes import RiskAdvice
from orchestrator.model.signals import Role
from orchestrator.service.agent_manager import AgentManager
from orchestrator.service.remote_agents import RemoteAgents, Rules
from orchestrator.service.seats import Seat
from tests.unit.service.parts import HandClock, ask_score, score, signal, tick

ROLE = Role.STRATEGY_ANALYSIS
VOICE = Role.MARKET_ANALYSIS


class HandLink:
    """The service's end of a link; `told`: what was sent over it."""

    def __init__(self, where: str = "remote", peer: Peer | None = None) -> None:
        self.where = where
        self.peer = peer
        self.told: list[Any] = []
        self.open = True
        self.full = False
        self.end: LinkEnd | None = None

    def send(self, line: bytes) -> bool:
        if self.open and not self.full:
            self.told.append(read_to_agent(line))
        return self.open and not self.full

    def close(self) -> None:
        self.open = False

    def kinds(self) -> list[str]:
        return [frame.__struct_config__.tag.partition(".")[2] for frame in self.told]


class House:
    """A manager, and what it was told by agents elsewhere."""

    def __init__(self, *, up: bool = True) -> None:
        self.clock = HandClock()
        self.manager = AgentManager(self.clock)
        self.changes: list[AgentChanged] = []
        self.manager.report_to(self.changes.append)
        rules = Rules(node="n", version="9", where={ROLE: "remote", VOICE: "remote"})
        self.agents = RemoteAgents(self.manager, self.clock, rules)
        self.answers: list[StageAnswered] = []
        self.said: list[tuple[str, Any]] = []
        self.alerts: list[str] = []
        self.buried: list[Role] = []
        self.agents.wire(self.answers.append, self._said)
        self.agents.alert = lambda alert: self.alerts.append(alert.title)
        self.agents.questions.bury = lambda role, _question, _why: self.buried.append(role)
        if up:
            self.agents.bring_up(())

    def _said(self, seat: Seat, message: Any) -> None:
        self.said.append((seat.agent_id, message))

    def come(self, instance: int = 1, role: Role = ROLE, **more: Any) -> HandLink:
        """One that is ready to work."""
        link = self.knock(instance, role, **more)
        self.tell(link, ReadyFrame, None, instance, role)
        return link

    def knock(self, instance: int = 1, role: Role = ROLE, **more: Any) -> HandLink:
        link = HandLink()
        link.end = self.agents.opened(link)
        fields: dict[str, Any] = {
            "protocol": 1, "role": role, "instance": instance, "name": "one", "version": "1",
            "hears": ("tick",), "says": ("score", "signal", "risk_advice"), **more,
        }  # fmt: skip
        self.tell(link, HelloFrame, Hello(**fields), instance, role)
        return link

    def tell(
        self, link: HandLink, kind: type[FromAgent], data: Any, instance: int = 1,
        role: Role = ROLE, source: str = "",
    ) -> None:  # fmt: skip
        source = source or f"agent/{role.value}/{instance}"
        frame = kind(id="1", source=source, **({} if data is None else {"data": data}))
        assert link.end is not None
        link.end.took(msgspec.json.encode(frame))

    def ask(self, ask_id: int = 1, signal_id: str = "s1") -> None:
        answered = self.manager.ask(ROLE, ask_id, ask_score(signal_id))
        if answered is not None:
            self.answers.append(answered)

    def answer(
        self, link: HandLink, ask_id: int = 1, signal_id: str = "s1", instance: int = 1, **of: Any
    ) -> None:
        given = {"answer": score(signal_id), **of}
        self.tell(link, AnsweredFrame, Answered(ask_id=ask_id, **given), instance)

    def on(self, seconds: float) -> None:
        self.clock.on(seconds)
        self.agents.look()

    def state(self, agent_id: str = "strategy_analysis-1") -> str:
        return next((v.state for v in self.manager.views() if v.agent_id == agent_id), "none")

    def errors(self, agent_id: str = "strategy_analysis-1") -> int:
        return next(v.errors for v in self.manager.views() if v.agent_id == agent_id)


@pytest.fixture
def house():
    return House()


# -- coming ---------------------------------------------------------------------------------------


def test_the_past_is_told_before_anything_live_and_only_who_is_ready_is_asked(house):
    house.manager.remember_with(lambda: (tick("1.1", "1.2"), signal("not heard by it")))
    link = house.knock()
    house.manager.tell(tick("1.3", "1.4"))
    assert link.kinds() == ["welcome", "hear", "live", "hear"]
    assert [f.data.past for f in link.told if hasattr(f.data, "past")] == [True, False]
    assert [f.sequence for f in link.told] == [1, 2, 3, 4]
    house.ask()
    assert house.answers[-1].error.startswith("no healthy agent")
    house.tell(link, ReadyFrame, None)
    house.ask(2)
    assert link.kinds()[-1] == "ask"
    house.answer(link, 2)
    assert (house.answers[-1].ask_id, house.answers[-1].answer) == (2, score("s1"))
    assert house.answers[-1].agent_version == "1"


def test_who_comes_before_the_past_is_known_is_told_it_later():
    fresh = House(up=False)
    link = fresh.knock()
    assert link.kinds() == ["welcome"]
    fresh.agents.bring_up((tick(),))
    assert link.kinds() == ["welcome", "hear", "live"]


def test_of_what_a_newer_agent_knows_the_unknown_is_passed_over(house):
    link = HandLink()
    link.end = house.agents.opened(link)
    link.end.took(
        b'{"type":"agent.hello","id":"1","source":"agent/strategy_analysis/1","colour":"red","data":'
        b'{"protocol":1,"role":"strategy_analysis","instance":1,"name":"new","version":"2",'
        b'"hears":["tick","smell"],"says":["score","haiku"],"mood":{"good":true}}}'
    )
    assert link.kinds() == ["welcome", "live"]
    view = house.manager.views()[0]
    assert (view.version, view.hears, view.says) == ("2", ("Tick",), ("Score",))


@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"protocol": 2}, "update the service"),
        ({"protocol": 0}, "update the agent"),
        ({"instance": 65}, "instance"),
        ({"name": "x" * 41}, "name"),
        ({"name": "a\nb"}, "name"),
        ({"version": "v" * 41}, "too long"),
        ({"hears": ("tick",) * 101}, "too long"),
    ],
)
def test_a_hello_that_cannot_be_taken_is_refused_politely(house, more, why):
    link = house.knock(**more)
    assert link.kinds() == ["refused"]
    assert why in link.told[0].data.reason
    assert not link.open
    assert house.manager.views() == ()


def test_a_role_that_lives_here_takes_nobody_from_elsewhere(house):
    link = house.knock(role=Role.LEARNING_SAFETY)
    assert "where is" in link.told[0].data.reason


def test_a_second_one_with_the_same_number_is_refused_and_the_first_works_on(house):
    first = house.come()
    second = house.knock()
    assert "registered already" in second.told[0].data.reason
    house.ask()
    assert first.kinds()[-1] == "ask"


def test_a_stranger_who_says_nothing_is_put_out(house):
    link = HandLink()
    link.end = house.agents.opened(link)
    house.on(9)
    assert link.open
    house.on(2)
    assert link.kinds() == ["refused"]
    assert not link.open


# -- answers --------------------------------------------------------------------------------------


def test_an_answer_comes_once_and_what_comes_again_is_passed_over(house):
    link = house.come()
    house.ask()
    house.answer(link)
    house.answer(link)
    house.answer(link)
    assert len(house.answers) == 1
    assert house.errors() == 0


def test_an_answer_to_what_was_never_asked_or_was_anothers_is_a_crime_and_no_answer(house):
    one, two = house.come(1), house.come(2)
    house.ask()
    asked, other, number = (one, two, 2) if one.kinds()[-1] == "ask" else (two, one, 1)
    house.answer(other, instance=number)
    house.answer(other, ask_id=77, instance=number)
    assert house.answers == []
    assert house.errors(f"strategy_analysis-{number}") == 2
    house.answer(asked, instance=3 - number)
    assert house.answers[0].answer == score("s1")


def test_a_wrong_kind_of_answer_is_none_and_costs_an_error(house):
    link = house.come()
    house.ask()
    house.answer(link, answer=None)
    assert "a Score is needed" in house.answers[0].error
    assert house.answers[0].answer is None
    assert house.errors() == 1


def test_no_answer_in_time_is_told_and_costs_an_error(house):
    house.come()
    house.ask()
    house.on(1.9)
    assert house.answers == []
    house.on(0.2)
    assert "no answer within 2000 ms" in house.answers[0].error
    assert house.errors() == 1


def test_questions_about_one_signal_go_one_way_and_others_are_shared(house):
    links = [house.come(1), house.come(2)]
    for number in range(4):
        house.ask(10 + number, "same")
    assert sorted(link.kinds().count("ask") for link in links) == [0, 4]
    for number in range(4):
        house.ask(20 + number, f"s{number}")
    assert min(link.kinds().count("ask") for link in links) >= 2


# -- taking over ----------------------------------------------------------------------------------


def _asked(links: list[HandLink]) -> tuple[int, int]:
    """(the index of who was asked, of the other)."""
    index = next(i for i, link in enumerate(links) if "ask" in link.kinds())
    return index, 1 - index


def test_a_lost_instances_question_is_taken_over_at_once(house):
    links = [house.come(1), house.come(2)]
    house.ask()
    first, other = _asked(links)
    links[first].end.gone("killed")
    assert links[other].kinds()[-1] == "ask"
    house.answer(links[other], instance=other + 1)
    assert [a.answer for a in house.answers] == [score("s1")]
    assert house.state(f"strategy_analysis-{first + 1}") == "none"
    assert house.manager.healthy(ROLE)


def test_a_slow_instances_question_is_given_to_another_and_the_first_answer_counts(house):
    links = [house.come(1), house.come(2)]
    house.ask()
    first, other = _asked(links)
    house.on(0.3)
    assert links[other].kinds().count("ask") == 0
    house.on(0.2)
    assert links[other].kinds().count("ask") == 1
    house.ask(2, "next")
    assert links[other].kinds().count("ask") == 2, "who is slow is not asked before the other"
    house.answer(links[first], instance=first + 1)
    house.answer(links[other], instance=other + 1)
    assert len(house.answers) == 1
    assert house.errors(f"strategy_analysis-{other + 1}") == 0


def test_a_question_that_costs_two_instances_is_buried_and_nobody_is_asked_it_again(house):
    links = [house.come(n) for n in (1, 2, 3)]
    house.ask()
    for _ in range(2):
        asked = next(link for link in links if link.kinds()[-1] == "ask")
        links.remove(asked)
        asked.end.gone("it crashed")
    assert "ask" not in links[0].kinds()
    assert "was lost" in house.answers[0].error
    assert house.buried == [ROLE]
    assert house.alerts == ["A question has cost two instances"]


def test_the_last_instance_that_goes_leaves_its_role_without_a_healthy_one(house):
    link = house.come()
    house.ask()
    link.end.gone("killed")
    assert "was lost: killed" in house.answers[0].error
    assert house.changes[-1].state == "stopped"
    assert not house.manager.healthy(ROLE)


# -- leases ---------------------------------------------------------------------------------------


def test_who_answers_pings_keeps_its_lease_and_who_does_not_loses_it(house):
    one, two = house.come(1), house.come(2)
    for _ in range(8):
        house.on(1.1)
        for number, link in ((1, one), (2, two)):
            pings = [f.data.number for f in link.told if hasattr(f.data, "number")]
            if pings and number == 1:
                house.tell(link, PongFrame, Pong(number=pings[-1]), number)
                link.told = [f for f in link.told if not hasattr(f.data, "number")]
    assert (house.state("strategy_analysis-1"), one.open) == ("healthy", True)
    assert (house.state("strategy_analysis-2"), two.open) == ("none", False)
    assert house.changes[-1].reason == "its lease ended: no word for 5 s"
    view = house.manager.views()[0]
    assert view.lease_ms is not None
    assert 0 < view.lease_ms <= 5000


def test_a_pong_that_nobody_asked_for_is_an_error(house):
    link = house.come()
    house.tell(link, PongFrame, Pong(number=5))
    assert house.errors() == 1


def test_an_agent_that_does_not_read_what_it_is_sent_is_cut_off(house):
    link = house.come()
    link.full = True
    house.manager.tell(tick())
    assert house.state() == "none"
    assert not link.open


# -- what it says ---------------------------------------------------------------------------------


def test_of_instances_that_speak_unasked_one_is_heard_and_another_takes_the_word(house):
    """Goal: both say every signal; each is heard once, also those around the hand-over."""
    one, two = house.come(1, VOICE), house.come(2, VOICE)
    for number in range(3):
        wish = Say(message=signal(f"w{number}"))
        house.tell(two, SayFrame, wish, 2, VOICE)
        if number < 2:  # it dies before it says the third
            house.tell(one, SayFrame, wish, 1, VOICE)
    assert [(a, m.signal_id) for a, m in house.said] == [
        ("market_analysis-1", "w0"), ("market_analysis-1", "w1"),
    ]  # fmt: skip
    one.end.gone("killed")
    heard = [m.signal_id for _, m in house.said]
    assert heard[-1] == "w2", "what the follower had said already is heard now"
    house.tell(two, SayFrame, Say(message=signal("w3")), 2, VOICE)
    assert house.said[-1][1].signal_id == "w3"


@pytest.mark.parametrize(
    "message",
    [
        msgspec.structs.replace(signal("mine"), source="person:admin"),
        RiskAdvice(source="learning_safety", scale=Decimal("0.5"), until_ns=1, text="x"),
        tick(),
    ],
)
def test_what_it_may_not_say_is_dropped_and_counted(house, message):
    link = house.come()
    frame = {"type": "agent.say", "id": "1", "source": f"agent/{ROLE.value}/1",
             "data": {"message": message}}  # fmt: skip
    link.end.took(msgspec.json.encode(frame))
    assert house.said == []
    assert house.errors() == 1


def test_words_in_anothers_name_are_dropped_with_an_alert(house):
    link = house.come()
    house.ask()
    for kind, data in ((AnsweredFrame, Answered(ask_id=1, answer=score("s1"))),
                       (SayFrame, Say(message=signal("x")))):  # fmt: skip
        house.tell(link, kind, data, source="agent/learning_safety/1")
    assert (house.answers, house.said) == ([], [])
    assert house.errors() == 2
    assert "speaks as another" in house.alerts[0]


def test_a_flood_of_words_ends_its_link(house):
    link = house.come()
    for number in range(250):
        house.tell(link, SayFrame, Say(message=signal(f"f{number}")))
    assert not link.open
    assert len(house.said) == 200
    assert "floods" in house.alerts[0]


@pytest.mark.parametrize(
    "line", [b"", b"{", b"\xff\xfe", b"[" * 10_000, b'{"type":"c.start"}', b"5"]
)
def test_what_is_no_frame_is_an_error_and_twenty_end_the_link(house, line):
    link = house.come()
    for _ in range(20):
        link.end.took(line)
    assert house.errors() == 20
    house.on(0.1)
    assert not link.open
    assert isinstance(house.manager.views(), tuple)


def test_a_restart_by_api_asks_it_to_begin_anew(house):
    link = house.come()
    view = house.manager.restart("strategy_analysis-1")
    assert view is not None
    assert view.state == "starting"
    assert (link.kinds()[-1], link.told[-1].data.restart) == ("drain", True)
    house.tell(link, HelloFrame, Hello(
        protocol=1, role=ROLE, instance=1, name="one", version="2", life="next", says=("score",),
    ))  # fmt: skip
    assert link.open, "it goes on over the same link"
    house.tell(link, ReadyFrame, None)
    view = house.manager.views()[0]
    assert (view.state, view.version, view.restarts) == ("healthy", "2", 1)


def test_who_begins_anew_without_end_is_put_out(house):
    """Each beginning costs the telling of the whole past."""
    link = house.come()
    for number in range(20):
        if link.open:
            house.tell(link, HelloFrame, Hello(
                protocol=1, role=ROLE, instance=1, name="one", version="1", life=f"life-{number}",
            ))  # fmt: skip
            house.tell(link, ReadyFrame, None)
    assert not link.open
    assert link.kinds().count("welcome") <= 6


def test_instances_that_learn_from_questions_hear_those_of_the_others_and_late_ones_too(house):
    links = [house.come(n, capabilities=("questions",)) for n in (1, 2)]
    plain = house.come(3)
    house.ask()
    asked, other = sorted(links, key=lambda link: "ask" not in link.kinds())
    assert "ask" in asked.kinds()
    assert other.kinds().count("hear") == 1
    assert "hear" not in plain.kinds()
    late = house.knock(4, hears=("ask_score", "tick"), capabilities=("questions",))
    assert late.kinds() == ["welcome", "hear", "live"]


def test_who_comes_late_is_told_what_has_happened_lately(house):
    house.come()
    house.manager.tell(tick("1.5", "1.6"))
    late = house.knock(2)
    assert late.kinds() == ["welcome", "hear", "live"]
    assert late.told[1].data.past

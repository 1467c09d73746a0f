"""Agents are hosted: whatever one raises, says or does costs only its own opinion."""

from __future__ import annotations

import asyncio
from decimal import Decimal
from itertools import pairwise

import msgspec
import pytest

from orchestrator.agents.base import NOTHING, Agent
from orchestrator.model.facts import AgentChanged
from orchestrator.model.market import Beat, Tick
from orchestrator.model.signals import AskScore, Role
from orchestrator.service import agent_manager
from orchestrator.service.agent_manager import AgentManager, PluginError, load_class
from tests.unit.service.parts import HandClock, Scorer, Watcher, ask_score, score, signal, tick

ROLE = Role.STRATEGY_ANALYSIS


class Bench:
    """A manager with hand clocks; `scorers` are the instances that were made, in order."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clock = HandClock()
        monkeypatch.setattr(agent_manager, "mono_ns", self.clock.mono_ns)
        self.manager = AgentManager(self.clock, answer_ms_max=2_000)
        self.changes: list[AgentChanged] = []
        self.manager.report_to(self.changes.append)
        self.scorers: list[Scorer] = []
        self.answer = lambda message: (
            (score(message.signal.signal_id),) if isinstance(message, AskScore) else NOTHING
        )

    def make(self) -> Scorer:
        made = Scorer(self._answer)
        self.scorers.append(made)
        return made

    def _answer(self, message: object) -> object:
        return self.answer(message)

    def seat(self, count: int = 1) -> list[str]:
        names = [self.manager.register(self.make) for _ in range(count)]
        self.manager.bring_up(())
        return names

    def ask(self, signal_id: str = "s1"):
        return self.manager.ask(ROLE, 1, ask_score(signal_id))

    def state(self, agent_id: str = "scorer-1") -> str:
        return next(v.state for v in self.manager.views() if v.agent_id == agent_id)

    def err(self, times: int, every_s: float = 0.0) -> None:
        good = self.answer

        def broken(_: object) -> object:
            raise OSError("broken")

        self.answer = broken
        for _ in range(times):
            self.clock.on(every_s)
            self.ask()
        self.answer = good


@pytest.fixture
def bench(monkeypatch):
    return Bench(monkeypatch)


def test_an_agent_is_not_asked_before_it_was_brought_up(bench):
    bench.manager.register(bench.make)
    assert bench.ask().answer is None
    assert not bench.manager.healthy(ROLE)
    bench.manager.bring_up(())
    assert bench.ask().answer == score()
    assert bench.manager.healthy(ROLE)


def test_an_answer_names_the_instance_and_its_version(bench):
    bench.seat()
    answered = bench.ask()
    assert (answered.ask_id, answered.agent_id, answered.agent_version) == (1, "scorer-1", "7")
    assert answered.error == ""


def test_memory_is_heard_before_anything_live(bench):
    bench.manager.register(bench.make)
    bench.manager.bring_up((tick(), tick("1.2", "1.3")))
    bench.ask()
    assert [type(m) for m in bench.scorers[-1].heard_messages] == [Tick, Tick, AskScore]


def test_instances_of_a_role_share_the_questions_in_turn(bench):
    bench.seat(3)
    asked = [bench.ask().agent_id for _ in range(6)]
    assert asked == ["scorer-1", "scorer-2", "scorer-3"] * 2


def test_an_unhealthy_instance_is_left_out_and_the_others_answer(bench):
    bench.seat(2)
    for scorer in bench.scorers:
        scorer.answer = lambda m: (score(),) if isinstance(m, AskScore) else NOTHING
    bench.scorers[0].answer = _raiser(OSError("x"))
    while bench.state("scorer-1") != "unhealthy":
        bench.ask()
    assert {bench.ask().agent_id for _ in range(4)} == {"scorer-2"}
    assert bench.manager.healthy(ROLE)


def test_a_role_without_a_working_instance_gives_no_answer_and_says_so(bench):
    answered = bench.ask()
    assert answered.answer is None
    assert ROLE.value in answered.error


def _raiser(exc: BaseException):
    def raises(_: object):
        raise exc

    return raises


@pytest.mark.parametrize(
    "exc",
    [
        ValueError("no"), SystemExit(1), asyncio.CancelledError(), MemoryError(), RecursionError(),
        BaseExceptionGroup("g", [SystemExit()]), StopIteration(), AssertionError(),
    ],
)  # fmt: skip
def test_whatever_an_agent_raises_is_contained_and_counted(bench, exc):
    bench.seat()
    bench.answer = _raiser(exc)
    answered = bench.ask()
    assert answered.answer is None
    assert type(exc).__name__ in answered.error
    assert bench.manager.views()[0].errors == 1
    assert bench.manager.tell(tick()) == []


@pytest.mark.parametrize(
    "said",
    [
        NOTHING, (score(), score()), (signal(),), (tick(),), (score(), tick()),
    ],
    ids=["none", "two", "wrong-kind", "undeclared", "one-and-undeclared"],
)  # fmt: skip
def test_what_is_not_exactly_one_declared_answer_is_none_and_an_error(bench, said):
    bench.seat()
    bench.answer = lambda _: said
    answered = bench.ask()
    assert answered.answer is None
    assert answered.error
    assert bench.manager.views()[0].errors >= 1


@pytest.mark.parametrize(
    "said",
    [None, score(), 7, [score()], "text", (None,), (7,), iter(())],
    ids=["none", "bare", "number", "list", "text", "tuple-of-none", "tuple-of-int", "iterator"],
)
def test_an_answer_of_a_wrong_shape_costs_only_the_agents_own_opinion(bench, said):
    """A forgotten `return NOTHING`, a message without its comma, a list for a tuple."""
    bench.seat()
    bench.answer = lambda _: said
    answered = bench.ask()
    assert answered.answer is None or answered.answer == score()
    assert all(type(m) in Scorer.says for _, m in bench.manager.tell(tick()))


@pytest.mark.parametrize(
    "number", [0.5, Decimal("sNaN"), Decimal("NaN"), float("inf"), True, "0.5", 10**400],
    ids=["float", "signalling-nan", "nan", "infinity", "bool", "text", "huge"],
)  # fmt: skip
def test_a_number_that_is_not_the_declared_kind_never_reaches_the_kernel(bench, number):
    bench.seat()
    bench.answer = lambda _: (msgspec.structs.replace(score(), expected_r=number),)
    answered = bench.ask()
    assert answered.answer is None or type(answered.answer.expected_r) is Decimal
    assert answered.error


def test_a_method_with_yield_in_it_may_raise_late_and_is_contained(bench):
    def late(_: object):
        yield score()
        raise OSError("late")

    bench.seat()
    bench.answer = late
    assert bench.ask().answer is None
    assert bench.manager.tell(tick()) == []


def test_a_forgotten_return_counts_as_an_error_where_an_answer_is_needed(bench):
    bench.seat()
    bench.answer = lambda _: None
    assert bench.ask().error
    assert bench.manager.views()[0].errors == 1


def test_undeclared_words_are_dropped_and_blamed_and_the_declared_are_kept(bench):
    bench.seat()
    bench.answer = lambda _: (signal("mine"), Beat(now_ns=1))
    said = bench.manager.tell(tick())
    assert [m for _, m in said] == [signal("mine")]
    assert bench.manager.views()[0].errors == 1
    assert "declare" in bench.manager.views()[0].last_error


def test_a_late_answer_is_no_answer(bench):
    bench.seat()

    def slow(_: object):
        bench.clock.on(2.001)
        return (score(),)

    bench.answer = slow
    answered = bench.ask()
    assert answered.answer is None
    assert "2001 ms" in answered.error
    assert bench.manager.views()[0].errors == 1


def test_an_answer_just_in_time_counts_and_tells_how_long_it_took(bench):
    bench.seat()

    def slow(_: object):
        bench.clock.on(2.0)
        return (score(),)

    bench.answer = slow
    answered = bench.ask()
    assert answered.answer == score()
    assert answered.latency_us == 2_000_000


def test_five_errors_in_a_minute_degrade_and_twenty_fail(bench):
    bench.seat()
    bench.err(4)
    assert bench.state() == "healthy"
    bench.err(1)
    assert bench.state() == "degraded"
    assert bench.manager.healthy(ROLE)
    bench.err(14)
    assert bench.state() == "degraded"
    bench.err(1)
    assert bench.state() == "unhealthy"
    assert not bench.manager.healthy(ROLE)
    assert [c.state for c in bench.changes] == ["healthy", "degraded", "unhealthy"]


def test_errors_that_are_far_apart_never_add_up(bench):
    bench.seat()
    bench.err(40, every_s=16.0)
    assert bench.state() == "healthy"


def test_errors_are_dated_by_the_ports_clock_so_that_a_replay_repeats():
    """On a virtual-time loop hours pass in a second of the machine's."""
    clock = HandClock()
    manager = AgentManager(clock)
    manager.register(lambda: Scorer(_raiser(OSError("x"))))
    manager.bring_up(())
    for _ in range(10):
        clock.on(3600)
        manager.ask(ROLE, 1, ask_score())
    assert manager.views()[0].state == "healthy"


def test_a_degraded_agent_recovers_when_a_minute_was_good(bench):
    bench.seat()
    bench.err(5)
    bench.manager.check_all()
    assert bench.state() == "degraded"
    bench.clock.on(61)
    bench.manager.check_all()
    assert bench.state() == "healthy"


def test_a_check_is_a_real_round_trip(bench):
    bench.seat()
    bench.manager.check("scorer-1")
    assert type(bench.scorers[0].heard_messages[-1]) is Beat
    bench.answer = _raiser(OSError("x"))
    bench.manager.check("scorer-1")
    assert bench.manager.views()[0].errors == 1
    assert bench.manager.check("nobody-1") is None


def test_an_unhealthy_agent_is_replaced_by_a_fresh_instance_that_is_taught_first(bench):
    bench.seat()
    bench.manager.remember_with(lambda: (tick(),))
    bench.err(20)
    bench.manager.check_all()
    assert bench.state() == "healthy"
    assert len(bench.scorers) == 2
    assert [type(m) for m in bench.scorers[-1].heard_messages] == [Tick]
    assert bench.ask().answer == score()
    assert bench.manager.views()[0].restarts == 1


def test_restarts_wait_longer_each_time_and_end_in_a_crash_loop(bench):
    bench.seat()
    restarted_at: list[float] = []
    for _ in range(400):
        before = bench.manager.views()[0].restarts
        if bench.state() == "healthy":
            bench.err(20)
        bench.manager.check_all()
        if bench.manager.views()[0].restarts != before:
            restarted_at.append(bench.clock.mono / 1e9)
        bench.clock.on(1.0)
    waits = [round(b - a) for a, b in pairwise(restarted_at)]
    assert waits == sorted(waits)
    assert waits[-1] >= 8
    assert len(restarted_at) == 5
    assert bench.state() == "stopped"
    assert "crash loop" in bench.manager.views()[0].reason
    assert not bench.manager.healthy(ROLE)


def test_a_stopped_agent_is_restarted_by_a_person(bench):
    bench.seat()
    bench.manager.stop_all()
    assert bench.state() == "stopped"
    bench.manager.check_all()
    assert bench.state() == "stopped"
    view = bench.manager.restart("scorer-1")
    assert view is not None
    assert view.state == "healthy"
    assert bench.manager.restart("nobody-1") is None


@pytest.mark.parametrize("exc", [OSError("no file"), SystemExit(1)])
def test_a_constructor_that_fails_at_a_restart_leaves_the_others_alone(bench, exc):
    bench.seat()
    bench.manager.register(Watcher)
    bench.manager.bring_up(())

    def fails() -> Agent:
        raise exc

    bench.manager._seats["scorer-1"].factory = fails
    view = bench.manager.restart("scorer-1")
    assert view is not None
    assert view.state == "unhealthy"
    assert "does not start" in view.reason
    assert bench.state("watcher-1") == "healthy"
    assert bench.ask().answer is None


def test_an_agent_that_errs_while_it_is_taught_is_not_healthy_afterwards(bench):
    bench.manager.register(bench.make)
    bench.answer = _raiser(OSError("x"))
    bench.manager.bring_up(tuple(tick() for _ in range(30)))
    assert bench.state() == "unhealthy"


def test_what_does_not_work_is_not_told(bench):
    bench.seat()
    bench.err(20)
    heard = len(bench.scorers[0].heard_messages)
    bench.manager.tell(tick())
    assert len(bench.scorers[0].heard_messages) == heard


def test_only_those_who_listen_are_called(bench):
    bench.seat()
    assert bench.manager.hears(Tick)
    assert not bench.manager.hears(AgentChanged)


def test_all_are_stopped_in_reverse_order_and_once(bench):
    bench.seat()
    bench.manager.register(Watcher)
    bench.manager.bring_up(())
    bench.changes.clear()
    bench.manager.stop_all()
    bench.manager.stop_all()
    assert [(c.agent_id, c.state) for c in bench.changes] == [
        ("watcher-1", "stopped"), ("scorer-1", "stopped"),
    ]  # fmt: skip


def test_blame_from_the_checkers_counts_as_an_error(bench):
    bench.seat()
    seat = bench.manager._seats["scorer-1"]
    for _ in range(5):
        bench.manager.erred(seat, "foreign account")
    assert bench.state() == "degraded"
    assert bench.manager.views()[0].last_error == "foreign account"


def test_what_is_no_agent_is_refused_at_registration(bench):
    with pytest.raises(TypeError, match="not an Agent"):
        bench.manager.register(object)


def test_what_is_kept_of_an_agent_is_bounded(bench):
    bench.seat()
    bench.err(3000)
    seat = bench.manager._seats["scorer-1"]
    assert len(seat.latencies) <= 1000
    assert len(seat.error_times) <= 20
    assert len(seat.last_error) < 400


OWN = """
from orchestrator.agents.base import Agent, Role
class Own(Agent):
    role = Role.LEARNING_SAFETY
    name = "own"
class NotAnAgent: pass
"""


def test_a_users_class_is_loaded_from_its_file(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    assert issubclass(load_class("agents.x", f"{tmp_path}/own.py:Own", Agent), Agent)


@pytest.mark.parametrize(
    ("reference", "why"),
    [
        ("own.py", "must look like"), ("{0}/none.py:Own", "no such file"),
        ("{0}/own.py:Other", "no class Other"), ("{0}/own.py:NotAnAgent", "extends Agent"),
        ("{0}/broken.py:Own", "SyntaxError"), ("{0}/raises.py:Own", "ZeroDivisionError"),
        ("{0}/exits.py:Own", "SystemExit"), ("{0}/text.txt:Own", "not a Python file"),
    ],
)  # fmt: skip
def test_a_file_that_does_not_do_names_the_setting_and_why(tmp_path, reference, why):
    (tmp_path / "own.py").write_text(OWN)
    (tmp_path / "broken.py").write_text("def (")
    (tmp_path / "raises.py").write_text("1/0")
    (tmp_path / "exits.py").write_text("raise SystemExit(3)")
    (tmp_path / "text.txt").write_text("hello")
    with pytest.raises(PluginError, match=why) as caught:
        load_class("agents.learning_safety", reference.format(tmp_path), Agent)
    assert "agents.learning_safety" in str(caught.value)

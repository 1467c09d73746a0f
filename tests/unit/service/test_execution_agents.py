"""The kernel's host and the agents: what they say is taken, recorded, or costs only itself."""

from __future__ import annotations

import pytest

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Step
from orchestrator.model.events import (
    SignalSeen,
    StartTrading,
)
from orchestrator.model.facts import OperatorActed
from orchestrator.model.market import Beat
from orchestrator.model.outcomes import AnomalySeen, PatternSeen
from orchestrator.model.safety import Alert, Severity
from orchestrator.model.signals import Signal
from tests.unit.service.engine_parts import Bench, fact
from tests.unit.service.parts import EUR_USD, Watcher, signal, tick

START = StartTrading(actor="anna")


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


def _alert() -> Alert:
    return Alert(key="k", severity=Severity.CRITICAL, title="t", text="x", at_ns=1)


# -- what agents say --------------------------------------------------------------------------


class Talker(Agent):
    """Says what the test wants to each beat."""

    role = Role.PATTERN_DETECTION
    name = "talker"
    says = (PatternSeen, AnomalySeen, Signal, Alert, OperatorActed)

    def __init__(self) -> None:
        self.words: Says = ()

    @hears(Beat)
    def on_beat(self, _: Beat) -> Says:
        words, self.words = self.words, ()
        return words


def _pattern(text: object = "x") -> PatternSeen:
    return PatternSeen(kind="churn", severity=Severity.INFO, text=text, at_ns=1)


def _anomaly(text: object = "x") -> AnomalySeen:
    return AnomalySeen(instrument=EUR_USD, kind="gap", text=text, at_ns=1, until_ns=2)


def _talk(bench: Bench, *words: object) -> Talker:
    if not bench.agents.views():
        bench.agents.register(Talker)
        bench.agents.bring_up(())
    talker = bench.agents.instance("talker-1")
    assert isinstance(talker, Talker)
    talker.words = words
    bench.engine.handle(Beat(now_ns=1))
    return talker


def test_opinions_of_agents_reach_the_kernel_or_the_record(bench):
    _talk(bench, signal("theirs"), _pattern(), _anomaly())
    assert [type(e) for e in bench.kernel.heard if not isinstance(e, Beat)][-2:] == [
        SignalSeen, PatternSeen,
    ]  # fmt: skip
    assert _anomaly() in bench.store.facts


def test_an_agents_alert_is_recorded_and_passed_on(bench):
    _talk(bench, _alert())
    assert bench.alerts == [_alert()]


def test_a_declared_word_that_nobody_takes_is_blamed_on_the_agent(bench):
    _talk(bench, fact("I am the kernel"))
    assert "I am the kernel" not in bench.store.texts()
    assert bench.agents.views()[0].errors == 1


@pytest.mark.parametrize(
    "text",
    [0.1, float("nan"), "\ud800", object(), b"\xff", {"a": 1.5}],
    ids=["float", "nan", "surrogate", "object", "bytes", "float-within"],
)
def test_what_cannot_be_written_down_costs_only_the_agents_own_words(bench, text):
    """SAFETY 12: an agent's nonsense is refused; the journal and everybody else go on."""
    bench.say(StartTrading, fact("later"))
    _talk(bench, _anomaly(text))
    bench.engine.handle(START)
    assert bench.store.texts()[-1] == "later"
    assert bench.agents.views()[0].errors >= 1
    assert verify(bench.store.rows, "test") is None


@pytest.mark.parametrize("signal_id", [None, 7.5, ["s"], "x" * 100_000, "\ud800"])
def test_a_signal_with_an_impossible_id_costs_only_itself(bench, signal_id):
    from orchestrator.adapters.store.sqlite import SqliteStore

    bench.say(StartTrading, fact("later"))
    with_store = SqliteStore(
        bench.gate._latch_path.with_name("o.db"), sync="normal", checkpoint_s=0
    )
    bench.store.signal_seen = with_store.signal_seen
    try:
        _talk(bench, signal(signal_id))
        bench.engine.handle(START)
    finally:
        with_store.close()
    assert bench.store.texts()[-1] == "later"


class Echo(Agent):
    """Answers each pattern with another one: a flood of its own making."""

    role = Role.PATTERN_DETECTION
    name = "echo"
    says = (PatternSeen,)

    def __init__(self) -> None:
        self.said = 0

    @hears(PatternSeen)
    def on_pattern(self, pattern: PatternSeen) -> Says:
        if self.said >= 5_000:
            return ()
        self.said += 1
        return (pattern,)


def test_an_agent_that_feeds_itself_does_not_hold_the_loop_for_ever(bench):
    bench.agents.register(Echo)
    bench.agents.bring_up(())
    bench.script(PatternSeen, lambda event: Step((event,), ()))
    bench.engine.handle(_pattern())
    echo = bench.agents.instance("echo-1")
    assert isinstance(echo, Echo)
    assert echo.said < 5_000


def test_changes_of_agents_are_recorded_and_the_kernel_hears_the_roles_health(bench):
    bench.agents.register(Watcher)
    bench.agents.bring_up(())
    assert [f.state for f in bench.store.facts if hasattr(f, "state")] == ["healthy"]
    assert [(e.role, e.healthy) for e in bench.kernel.heard] == [(Role.DATA_COLLECTION, True)]


def test_a_tick_that_the_kernel_dropped_is_not_told_to_agents(bench):
    bench.agents.register(Watcher)
    bench.agents.bring_up(())
    handled = bench.agents.views()[0].handled
    bench.engine.handle(tick())
    assert bench.agents.views()[0].handled == handled


def test_what_an_agent_elsewhere_says_is_taken_as_if_it_were_here(bench):
    """Goal: a signal that came over a link goes through the mailbox like any other."""
    bench.agents.register(Watcher)
    seat = next(iter(bench.agents._seats.values()))
    bench.engine.heard_from(seat, signal("far"))
    assert [type(event) for event in bench.kernel.heard] == [SignalSeen]
    bench.engine.heard_from(seat, tick())
    assert seat.errors == 1
    assert "nobody here takes unasked" in seat.last_error

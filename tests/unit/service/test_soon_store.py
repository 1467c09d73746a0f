"""The kernel's host over a store that works beside the loop: only what follows from facts waits."""

from __future__ import annotations

import pytest

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Step
from orchestrator.model.acts import CloseGate, FetchAccount, FetchTransactions, Liquidate, Write
from orchestrator.model.errors import StoreError
from orchestrator.model.events import (
    SignalSeen,
    StartTrading,
    StopTrading,
)
from orchestrator.model.facts import OperatorActed
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Severity
from orchestrator.service.nest import NestClosed
from tests.unit.service.engine_parts import HandStore, fact, send
from tests.unit.service.parts import A, signal, tick
from tests.unit.service.soon_parts import CLOSE, START, STOP, HandBench


@pytest.fixture
def bench(tmp_path):
    return HandBench(tmp_path, HandStore)


# -- acts wait for their facts --------------------------------------------------------------


def test_an_order_waits_until_the_store_has_said_that_its_intent_is_durable(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    assert bench.names() == ["append"]
    assert bench.engine.writes_open == 1
    bench.store.answer()
    assert bench.names() == ["append", "durable", "submit", "publish"]
    assert bench.engine.writes_open == 1


def test_the_kernel_hears_on_while_an_append_is_out(bench):
    bench.say(StartTrading, fact("a"))
    bench.engine.handle(START)
    bench.engine.handle(tick(), STOP)
    assert bench.kernel.heard == [START, tick(), STOP]


def test_what_is_said_meanwhile_goes_together_in_the_next_append(bench):
    bench.noted("0", "1", "2", "3")
    assert [len(facts) for _, facts, _ in bench.store.out] == [1]
    bench.store.answer()
    assert [[f.text for f in facts] for _, facts, _ in bench.store.out] == [["1", "2", "3"]]
    bench.store.answer()
    assert bench.store.texts() == ["0", "1", "2", "3"]
    assert [r.seq for r in bench.store.rows] == [1, 2, 3, 4]
    assert verify(bench.store.rows, "test") is None
    assert bench.said() == bench.store.texts()


def test_acts_follow_their_own_facts_in_order_and_none_of_a_later_append(bench):
    bench.noted("0")
    bench.say(StartTrading, fact("1"), acts=(send("i1"),))
    bench.say(StopTrading, fact("2"), acts=(send("i2"),))
    bench.engine.handle(START)
    bench.engine.handle(STOP)
    bench.store.answer()
    assert bench.writer.taken == []
    bench.store.answer()
    assert [r.client_request_id for r, _, _ in bench.writer.taken] == ["i1", "i2"]


def test_an_append_takes_so_many_facts_and_the_rest_goes_with_the_next(bench, monkeypatch):
    monkeypatch.setattr("orchestrator.service.journal._GROUP_MAX", 3)
    bench.noted(*(str(n) for n in range(8)))
    sizes = []
    while bench.store.out:
        sizes.append(len(bench.store.out[0][1]))
        bench.store.answer()
    assert sizes == [1, 3, 3, 1]
    assert bench.said() == [str(n) for n in range(8)]


def test_an_act_without_facts_waits_for_nothing_when_nothing_is_out(bench):
    bench.say(StartTrading, acts=(Write(request=CLOSE, reason="r"),))
    bench.engine.handle(START)
    assert [r for r, _, _ in bench.writer.taken] == [CLOSE]


def test_a_fact_that_was_noted_is_told_once_it_is_durable(bench):
    bench.engine.note(fact("a"))
    assert bench.said() == []
    bench.store.answer()
    assert bench.said() == ["a"]


# -- a slow store ---------------------------------------------------------------------------


def test_the_kernels_own_stop_closes_the_gate_while_an_append_is_out(bench):
    bench.noted("0")
    bench.say(StartTrading, fact("trip"), acts=(CloseGate(actor="S2", reason="r"),))
    bench.engine.handle(START)
    assert bench.gate.closed


def test_what_reduces_risk_waits_a_moment_only_and_orders_wait_on(bench):
    flatten = Liquidate(stop_id="s", accounts=(A,), reason="r")
    bench.say(StartTrading, fact("a"), acts=(send(), flatten, Write(request=CLOSE, reason="r")))
    bench.engine.handle(START)
    assert bench.liquidations == []
    bench.store.append_s = 0.25
    bench.engine.handle(tick())
    assert bench.liquidations == [flatten]
    assert [r for r, _, _ in bench.writer.taken] == [CLOSE]
    bench.engine.handle(tick())
    bench.store.answer()
    assert bench.liquidations == [flatten]
    assert [r.client_request_id or r.target for r, _, _ in bench.writer.taken] == ["7", "i1"]


def test_a_stop_that_comes_while_the_store_hangs_is_acted_on_at_once(bench):
    bench.noted("0")
    bench.store.append_s = 5.0
    flatten = Liquidate(stop_id="s", accounts=(A,), reason="r")
    bench.say(StopTrading, fact("stop"), acts=(flatten,))
    bench.engine.handle(STOP)
    assert bench.liquidations == [flatten]


def test_a_write_that_is_out_counts_as_slow_before_it_has_ended(bench):
    assert bench.engine.flush_ms() is None
    bench.noted("0")
    bench.store.append_s = 0.7
    assert bench.engine.flush_ms() == 700
    assert bench.engine.storing
    bench.store.append_s = 1.4
    assert not bench.engine.storing
    bench.store.answer()
    assert bench.engine.flush_ms() == 1_400
    assert bench.engine.storing


def test_a_loop_that_was_busy_elsewhere_does_not_make_the_store_slow(bench):
    """It hears of the end late; what counts is what the store itself has taken."""
    bench.noted("0")
    bench.store.append_s = 0.002
    assert bench.engine.flush_ms() == 2
    bench.store.answer()
    assert bench.engine.flush_ms() == 2


def test_more_than_memory_should_hold_closes_the_gate_although_nothing_has_failed(
    bench, monkeypatch
):
    monkeypatch.setattr("orchestrator.service.journal._UNSAVED_MAX", 10)
    bench.noted(*(str(n) for n in range(10)))
    assert not bench.gate.closed
    with pytest.raises(StoreError, match="could not be written"):
        bench.noted("one too many")
    assert bench.gate.closed


# -- what agents say ------------------------------------------------------------------------


class Echo(Agent):
    """Answers each note with a pattern, and each pattern becomes a note."""

    role = Role.PATTERN_DETECTION
    name = "echo"
    says = (PatternSeen,)

    @hears(OperatorActed)
    def on_note(self, _: OperatorActed) -> Says:
        return (PatternSeen(kind="churn", severity=Severity.INFO, text="x", at_ns=1),)


def test_agents_that_answer_each_other_without_end_are_a_flood_here_too(bench, monkeypatch):
    monkeypatch.setattr("orchestrator.service.conversation._SAID_MAX", 20)
    bench.agents.register(Echo)
    bench.agents.bring_up(())
    bench.script(PatternSeen, lambda _: Step((fact("again"),), ()))
    bench.noted("first")
    for _ in range(50):
        if bench.store.out:
            bench.store.answer()
    assert bench.agents.views()[0].errors >= 1
    assert len(bench.store.rows) < 30


def test_a_read_that_is_asked_for_when_a_life_fails_is_no_stop_for_every_node(bench):
    """A database that dies with a start ends that life; a gate closed by it would need a person."""

    class Ending:
        def create_task(self, work, *, name):
            work.close()
            raise NestClosed(name)

    bench.engine.attach(Ending())
    fetch = FetchTransactions(account_id=A, since=1)
    bench.say(StartTrading, fact("a"), acts=(fetch, FetchAccount(account_id=A)))
    bench.engine.handle(START)
    bench.store.answer()
    assert not bench.gate.closed


def test_reads_that_the_kernel_asks_for_follow_like_everything_else(bench):
    asked: list[FetchTransactions] = []
    bench.engine._reads.transactions = asked.append
    fetch = FetchTransactions(account_id=A, since=5)
    bench.say(StartTrading, fact("a"), acts=(fetch,))
    bench.engine.handle(START)
    assert asked == []
    bench.store.answer()
    assert asked == [fetch]


def test_a_signal_that_comes_twice_while_its_first_is_not_written_down_reaches_the_kernel(bench):
    """Which remembers it: the store cannot know it yet (C04)."""
    bench.script(SignalSeen, lambda e: Step((fact(e.signal.signal_id),), ()))
    bench.engine.handle(SignalSeen(signal=signal("s1")))
    bench.engine.handle(SignalSeen(signal=signal("s1")))
    assert [e.signal.signal_id for e in bench.kernel.heard] == ["s1", "s1"]

"""The kernel's host over a store that works beside the loop: only what follows from facts waits."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Awaitable, Callable

import pytest

from orchestrator.agents.base import Agent, Role, Says, hears
from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Step
from orchestrator.model.acts import CloseGate, FetchTransactions, Liquidate, Write
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced
from orchestrator.model.events import (
    Noted,
    SendFinished,
    SignalSeen,
    StartTrading,
    StopTrading,
    StorageTrouble,
)
from orchestrator.model.facts import OperatorActed
from orchestrator.model.orders import NotSent, WriteKind, WriteRequest
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Severity
from orchestrator.service.nest import NestClosed
from tests.unit.service.engine_parts import Bench, HandStore, fact, send
from tests.unit.service.parts import A, signal, tick

START = StartTrading(actor="anna")
STOP = StopTrading(actor="anna")
CLOSE = WriteRequest(kind=WriteKind.CLOSE_TRADE, account_id=A, target="7", body="{}")


class HandBench(Bench):
    store: HandStore

    def noted(self, *texts: str) -> None:
        """Facts of these texts, each from an event of its own."""
        self.script(Noted, lambda e: Step((fact(e.text),), ()))
        for text in texts:
            self.engine.handle(Noted(actor="a", action="x", text=text))

    def said(self) -> list[str]:
        return [f.text for _, f in self.bus.published]


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


# -- a store that fails ---------------------------------------------------------------------


def test_a_failed_append_refuses_its_orders_does_the_rest_and_keeps_the_facts(bench):
    bench.say(StartTrading, fact("a"), acts=(send(), Write(request=CLOSE, reason="r")))
    bench.engine.handle(START)
    bench.noted("b")
    bench.store.answer(StoreError("connection lost"))
    assert [r for r, _, _ in bench.writer.taken] == [CLOSE]
    (finished,) = [e for e in bench.kernel.heard if isinstance(e, SendFinished)]
    assert isinstance(finished.outcome, NotSent)
    (trouble,) = [e for e in bench.kernel.heard if isinstance(e, StorageTrouble)]
    assert trouble.reason == "connection lost"
    assert bench.said() == []
    assert bench.store.out == []
    assert not bench.engine.durable
    assert not bench.engine.storing
    bench.engine.retry_commit()
    bench.store.answer_all()
    assert bench.said() == ["a", "b"]
    assert verify(bench.store.rows, "test") is None


def test_while_the_store_fails_acts_wait_for_nothing_and_only_the_beat_tries_again(bench):
    bench.noted("a")
    bench.store.answer(StoreError("away"))
    bench.say(StopTrading, fact("b"), acts=(send(), Write(request=CLOSE, reason="r")))
    bench.engine.handle(STOP)
    assert [r for r, _, _ in bench.writer.taken] == [CLOSE]
    assert bench.names().count("append") == 1
    for _ in range(3):
        bench.engine.retry_commit()
    assert bench.names().count("append") == 2
    bench.engine.handle(STOP)
    assert bench.engine.writes_open == 0
    assert not bench.engine.storing


def test_a_store_that_refuses_at_once_has_failed_like_any_other(bench):
    bench.store.refuses = StoreError("the store is closed")
    bench.say(StartTrading, fact("a"), acts=(send(),))
    bench.engine.handle(START)
    assert bench.writer.taken == []
    assert [e.reason for e in bench.kernel.heard if isinstance(e, StorageTrouble)] == [
        "the store is closed"
    ]
    bench.store.refuses = None
    bench.engine.retry_commit()
    bench.store.answer()
    assert bench.said() == ["a"]


def test_what_failed_is_tried_again_as_the_very_same_records(bench):
    """A store that was killed in its commit knows by them whether they stand already."""
    bench.noted("a", "b")
    bench.store.answer()
    first = bench.store.out[0][0]
    bench.store.answer(StoreError("killed"))
    bench.noted("c")
    bench.kernel.epoch += 1
    bench.engine.retry_commit()
    assert bench.store.out[0][0] == first
    bench.store.answer()
    bench.store.answer()
    assert bench.said() == ["a", "b", "c"]
    assert verify(bench.store.rows, "test") is None


def test_a_store_that_works_again_proves_it_once_a_beat_until_the_kernel_is_content(bench):
    bench.kernel.storage_blocked = True

    def proofs() -> list[bool]:
        return [e.ok for e in bench.kernel.heard if isinstance(e, StorageTrouble)]

    bench.engine.retry_commit()
    seq, _, done = bench.store.photos.pop()
    assert seq == 0
    done(None)
    assert proofs() == [True]
    bench.noted("a")
    bench.engine.retry_commit()
    bench.store.answer()
    assert proofs() == [True, True]
    bench.engine.retry_commit()
    bench.store.photos.pop()[2](StoreError("full"))
    assert proofs() == [True, True, False]
    bench.kernel.storage_blocked = False
    bench.engine.retry_commit()
    assert bench.store.photos == []


@pytest.mark.parametrize("late", [False, True], ids=["first", "behind another"])
def test_a_conflict_closes_the_gate_and_ends_this_life(bench, late):
    if late:
        bench.noted("0")
    bench.say(StartTrading, fact("a"), acts=(send(),))
    bench.engine.handle(START)
    if late:
        bench.store.answer()
    conflict = StoreConflict("intent i1 exists")
    bench.store.answer(conflict)
    assert bench.gate.closed
    assert bench.fallen == [conflict]
    assert bench.writer.taken == []
    with pytest.raises(StoreConflict):
        bench.noted("no more")
    bench.engine.retry_commit()
    assert bench.store.out == []


def test_a_fenced_node_sends_nothing_any_more_and_its_gates_word_stays_as_it_is(bench):
    fenced: list[StoreFenced] = []
    bench.engine.hooks.fenced = fenced.append
    bench.say(StartTrading, fact("a"), acts=(send("i1"),))
    bench.engine.handle(START)
    bench.store.answer()
    bench.say(StopTrading, fact("b"), acts=(send("i2"), Write(request=CLOSE, reason="r")))
    bench.engine.handle(STOP)
    told = StoreFenced("epoch 4 leads, this node has 3")
    bench.store.answer(told)
    assert fenced == [told]
    assert not bench.gate.closed
    assert [bool(gate()) for _, gate, _ in bench.writer.taken] == [True, True]
    assert [r.client_request_id or r.target for r, _, _ in bench.writer.taken] == ["i1", "7"]
    bench.noted("nobody writes this down")
    bench.engine.retry_commit()
    assert bench.store.out == []
    assert fenced == [told]


def test_what_a_fenced_engine_stumbles_over_while_it_ends_is_no_stop_for_every_node(bench):
    """The word outlives the process, and a closed one is taken for an emergency stop."""

    def breaks(_: object) -> Step:
        raise NestClosed("read")

    bench.engine.hooks.fenced = lambda _: None
    bench.noted("a")
    bench.script(StartTrading, breaks)
    bench.store.answer(StoreFenced("another leads"))
    with pytest.raises(NestClosed):
        bench.engine.handle(START)
    assert not bench.gate.stopped


def test_unwired_a_fenced_node_ends_its_life(bench):
    bench.noted("a")
    told = StoreFenced("another leads")
    bench.store.answer(told)
    assert bench.fallen == [told]


def test_an_abandoned_engine_hears_nothing_and_leaves_the_gates_word_alone(bench):
    """Another node leads: what its neighbours bring while they end must not become a stop."""

    def breaks(_: object) -> Step:
        raise AssertionError("bug")

    bench.say(StartTrading, fact("a"), acts=(CloseGate(actor="S4", reason="r"),))
    bench.noted("b")
    bench.engine.abandon("another node leads")
    bench.script(StopTrading, breaks)
    bench.engine.handle(START, STOP)
    bench.engine.note(fact("c"))
    bench.engine.retry_commit()
    bench.store.answer()
    assert bench.store.out == []
    assert not bench.gate.closed
    assert bench.fallen == []
    assert not bench.engine.storing
    assert bench.engine.may_reduce() == "another node leads"


def test_an_answer_that_comes_twice_moves_nothing(bench):
    bench.noted("a", "b")
    _, _, done = bench.store.out[0]
    bench.store.answer()
    done(None)
    assert bench.said() == ["a"]
    bench.store.answer()
    assert bench.said() == ["a", "b"]
    assert verify(bench.store.rows, "test") is None


def test_a_bug_in_what_follows_closes_the_gate_and_ends_this_life(bench):
    def breaks(_: object) -> Step:
        bench.kernel.deep -= 1
        raise AssertionError("bug")

    bench.noted("a")
    bench.script(StorageTrouble, breaks)
    bench.store.answer(StoreError("away"))
    assert bench.gate.closed
    assert [str(cause) for cause in bench.fallen] == ["bug"]


# -- the gate -------------------------------------------------------------------------------


def test_an_order_does_not_lean_on_a_change_that_is_not_written_down(bench):
    """A reset that a crash would take back has opened nothing (INV-07)."""
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    bench.store.answer()
    _, gate, _ = bench.writer.taken[0]
    assert gate() is None

    def reset(_: object) -> Step:
        bench.kernel.generation += 1
        return Step((fact("reset"),), ())

    bench.script(StopTrading, reset)
    bench.engine.handle(STOP)
    assert "not written down" in gate()
    bench.store.answer()
    assert gate() is None


def test_the_generation_is_durable_with_the_last_fact_of_its_turn(bench):
    def moves(event: Noted) -> Step:
        bench.kernel.generation += 1
        return Step((fact(event.text),), ())

    bench.script(Noted, moves)
    for text in "abc":
        bench.engine.handle(Noted(actor="a", action="x", text=text))
    assert bench.engine._journal.generation == 0
    bench.store.answer()
    assert bench.engine._journal.generation == 1
    bench.store.answer()
    assert bench.engine._journal.generation == 3


def _run(story: Callable[[asyncio.TaskGroup], Awaitable[None]]) -> None:
    async def within() -> None:
        async with asyncio.TaskGroup() as tasks:
            await story(tasks)

    asyncio.run(within())


# -- promises -------------------------------------------------------------------------------


def test_a_promise_waits_for_its_own_facts_and_for_no_later_ones(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("mine")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        bench.noted("later")
        assert not promise.done()
        bench.store.answer()
        assert await promise
        assert not bench.engine.durable
        assert len(bench.engine._promises) == 0

    _run(story)


def test_a_promise_is_broken_when_the_store_fails_and_when_it_is_silent(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        bench.store.answer(StoreError("away"))
        assert not await promise
        bench.engine.retry_commit()
        bench.store.answer()
        bench.noted("b")
        assert not await bench.engine.settled(0.01)
        assert len(bench.engine._promises) == 0
        bench.store.answer()
        assert await bench.engine.settled(0.01)

    _run(story)


def test_somebody_who_goes_away_leaves_nothing_behind(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        promise = tasks.create_task(bench.engine.settled(30.0))
        await asyncio.sleep(0)
        promise.cancel()
        with pytest.raises(asyncio.CancelledError):
            await promise
        assert len(bench.engine._promises) == 0
        bench.store.answer()
        assert bench.said() == ["a"]

    _run(story)


def test_a_new_epoch_is_fetched_beside_the_loop(bench):
    threads: list[str] = []

    def next_epoch(above: int = 0) -> int:
        threads.append(threading.current_thread().name)
        return above + 1

    bench.store.next_epoch = next_epoch
    assert asyncio.run(bench.engine.new_epoch(6)) == 7
    assert threads != [threading.current_thread().name]


# -- snapshots ------------------------------------------------------------------------------


def test_a_snapshot_is_of_the_moment_it_was_wanted_and_saved_once_its_facts_are(bench):
    bench.noted("a", "b")
    bench.engine.maybe_snapshot(force=True)
    bench.noted("c")
    assert bench.store.photos == []
    bench.store.answer()
    assert bench.store.photos == []
    bench.store.answer()
    ((seq, state, done),) = bench.store.photos
    assert (seq, state) == (2, b"2")
    done(None)
    bench.engine.maybe_snapshot()
    assert len(bench.store.photos) == 1


def test_one_snapshot_at_a_time_and_a_failed_one_is_no_trouble(bench):
    bench.noted("a")
    bench.store.answer()
    bench.engine.maybe_snapshot(force=True)
    bench.engine.maybe_snapshot(force=True)
    assert len(bench.store.photos) == 1
    bench.store.photos.pop()[2](StoreError("full"))
    assert bench.engine.storing
    bench.engine.maybe_snapshot(force=True)
    assert len(bench.store.photos) == 1


def test_at_the_end_what_is_in_hand_is_waited_for(bench):
    async def story(tasks: asyncio.TaskGroup) -> None:
        bench.noted("a")
        bench.engine.maybe_snapshot(force=True)
        away = tasks.create_task(bench.engine.put_away(30.0))
        await asyncio.sleep(0)
        bench.store.answer()
        await asyncio.sleep(0)
        assert not away.done()
        bench.store.photos.pop()[2](None)
        assert await away

    _run(story)


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
    monkeypatch.setattr("orchestrator.service.execution_engine._SAID_MAX", 20)
    bench.agents.register(Echo)
    bench.agents.bring_up(())
    bench.script(PatternSeen, lambda _: Step((fact("again"),), ()))
    bench.noted("first")
    for _ in range(50):
        if bench.store.out:
            bench.store.answer()
    assert bench.agents.views()[0].errors >= 1
    assert len(bench.store.rows) < 30


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


# -- a store that nothing is written to --------------------------------------------------------


def test_a_store_that_was_not_heard_since_the_last_look_is_asked_whether_it_is_there(bench):
    bench.noted("0")
    bench.engine.look_at_store()
    assert bench.store.probes == []  # it works on something
    bench.store.answer()
    bench.engine.look_at_store()
    assert bench.store.probes == []  # it was heard
    bench.engine.look_at_store()
    bench.engine.look_at_store()
    assert len(bench.store.probes) == 1  # one question at a time
    bench.store.probes.pop()(None)
    assert bench.kernel.heard[-1:] == [Noted(actor="a", action="x", text="0")]
    bench.engine.look_at_store()
    assert len(bench.store.probes) == 1


def test_a_store_that_does_not_answer_is_trouble_though_nothing_was_to_be_written(bench):
    bench.engine.look_at_store()
    bench.store.probes.pop()(StoreError("gone"))
    assert bench.kernel.heard == [StorageTrouble(ok=False, reason="gone")]
    bench.noted("0")
    assert len(bench.store.out) == 1  # what is to be written is tried all the same


def test_a_store_that_refuses_the_question_is_trouble(bench):
    bench.store.refuses = StoreError("closed")
    bench.engine.look_at_store()
    assert bench.kernel.heard == [StorageTrouble(ok=False, reason="closed")]


def test_a_blocked_store_is_tried_by_writes_and_not_asked_besides(bench):
    bench.kernel.storage_blocked = True
    bench.engine.look_at_store()
    assert bench.store.probes == []


def test_a_store_in_which_another_node_leads_ends_this_engine(bench):
    fenced: list[StoreFenced] = []
    bench.engine.hooks.fenced = fenced.append
    bench.engine.look_at_store()
    bench.store.probes.pop()(StoreFenced("another leads"))
    bench.engine.look_at_store()
    assert bench.store.probes == []
    assert len(fenced) == 1

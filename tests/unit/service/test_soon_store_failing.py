"""The kernel's host over a store beside the loop that fails, fences it off, or is gone."""

from __future__ import annotations

import pytest

from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Step
from orchestrator.model.acts import CloseGate, Write
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced
from orchestrator.model.events import (
    Noted,
    SendFinished,
    StartTrading,
    StopTrading,
    StorageTrouble,
)
from orchestrator.model.orders import NotSent
from orchestrator.service.nest import NestClosed
from tests.unit.service.engine_parts import HandStore, fact, send
from tests.unit.service.soon_parts import CLOSE, START, STOP, HandBench


@pytest.fixture
def bench(tmp_path):
    return HandBench(tmp_path, HandStore)


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

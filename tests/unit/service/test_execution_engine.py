"""The kernel's host: facts durable first, acts after, the gate last; and a failing store."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.audit import verify
from orchestrator.kernel.engine import Step
from orchestrator.model.acts import (
    CloseGate,
    Liquidate,
    SendAlert,
    Write,
)
from orchestrator.model.errors import StoreConflict, StoreError
from orchestrator.model.events import (
    Noted,
    SendFinished,
    SignalSeen,
    StartTrading,
    StopTrading,
    StorageTrouble,
)
from orchestrator.model.facts import OperatorActed
from orchestrator.model.orders import NotSent, Unknown, WriteKind, WriteRequest
from orchestrator.model.safety import Alert, Severity
from tests.unit.service.engine_parts import Bench, fact, send
from tests.unit.service.parts import A, signal


@pytest.fixture
def bench(tmp_path):
    return Bench(tmp_path)


START = StartTrading(actor="anna")
STOP = StopTrading(actor="anna")


# -- durable first ----------------------------------------------------------------------------


def test_the_intent_is_durable_before_its_order_is_handed_over(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    assert bench.names() == ["append", "durable", "submit", "publish"]


def test_each_act_follows_the_commit_of_its_own_step_and_acts_keep_their_order(bench):
    bench.say(StartTrading, fact("a"), acts=(send("i1"), send("i2")))
    bench.say(StopTrading, fact("b"), acts=(send("i3"),))
    bench.engine.handle(START, STOP)
    assert bench.store.texts() == ["a", "b"]
    assert [v for n, v in bench.log if n == "submit"] == ["i1", "i2", "i3"]
    assert bench.names().index("durable") < bench.names().index("submit")


def test_nothing_is_sent_when_the_commit_failed_and_the_kernel_hears_that_no_byte_left(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.fail()
    bench.engine.handle(START)
    assert bench.writer.taken == []
    (trouble,) = [e for e in bench.kernel.heard if isinstance(e, StorageTrouble)]
    assert not trouble.ok
    (finished,) = [e for e in bench.kernel.heard if isinstance(e, SendFinished)]
    assert finished.intent_id == "i1"
    assert isinstance(finished.outcome, NotSent)
    assert finished.first_byte_ns == 0


def test_while_the_store_fails_no_order_is_sent_although_nothing_new_was_to_be_written(bench):
    bench.say(StartTrading, fact("a"))
    bench.fail()
    bench.engine.handle(START)
    bench.say(StopTrading, acts=(send(),))
    bench.store.broken = None
    bench.engine.handle(STOP)
    assert bench.writer.taken == []


def test_what_reduces_risk_goes_out_although_the_store_fails(bench):
    cancel = WriteRequest(kind=WriteKind.CANCEL, account_id=A, target="7")
    flatten = Liquidate(stop_id="s", accounts=(A,), reason="r")
    stop = CloseGate(actor="S4", reason="r")
    alert = SendAlert(alert=_alert())
    bench.say(
        StartTrading, fact("a"), acts=(Write(request=cancel, reason="r"), flatten, stop, alert)
    )
    bench.fail()
    bench.engine.handle(START)
    assert [r for r, _, _ in bench.writer.taken] == [cancel]
    assert bench.liquidations == [flatten]
    assert bench.stops == [stop]
    assert bench.alerts == [alert.alert]


def test_what_may_be_sent_twice_goes_out_although_the_store_fails(bench):
    """A person's whole close (K1); a part of one is an order, and waits for its word (O3)."""
    whole = msgspec.structs.replace(send("all"), repeatable=True)
    bench.say(StartTrading, fact("a"), acts=(send("part"), whole))
    bench.fail()
    bench.kernel.generation = 7  # the store's failure trips S5, which is not written down either
    bench.engine.handle(START)
    ((request, gate, _),) = bench.writer.taken
    assert request.client_request_id == "all"
    assert gate() is None
    bench.gate.hold()
    assert "guard" in gate()


def _alert() -> Alert:
    return Alert(key="k", severity=Severity.CRITICAL, title="t", text="x", at_ns=1)


def test_facts_are_told_to_the_world_only_once_they_are_durable(bench):
    bench.say(StartTrading, fact("a"))
    bench.fail()
    bench.engine.handle(START)
    assert bench.bus.published == []
    bench.store.broken = None
    bench.engine.retry_commit()
    assert [f.text for _, f in bench.bus.published] == ["a"]


def test_what_could_not_be_saved_is_saved_later_in_order_and_the_chain_verifies(bench):
    bench.script(Noted, lambda e: Step((fact(e.text),), ()))
    bench.engine.handle(_noted("0"))
    bench.fail()
    for number in range(1, 6):
        bench.engine.handle(_noted(str(number)))
        bench.engine.retry_commit()
    assert bench.store.texts() == ["0"]
    bench.store.broken = None
    bench.engine.retry_commit()
    bench.engine.handle(_noted("6"))
    assert bench.store.texts() == [str(n) for n in range(7)]
    assert [r.seq for r in bench.store.rows] == list(range(1, 8))
    assert verify(bench.store.rows, "test") is None
    assert [f.text for _, f in bench.bus.published] == bench.store.texts()


def _noted(text: str) -> Noted:
    return Noted(actor="a", action="x", text=text)


def test_a_failing_store_is_not_hammered_by_each_event(bench):
    bench.script(Noted, lambda e: Step((fact(e.text),), ()))
    bench.fail()
    for number in range(50):
        bench.engine.handle(_noted(str(number)))
    assert bench.names().count("append") == 1
    bench.engine.retry_commit()
    assert bench.names().count("append") == 2


def test_a_store_that_works_again_is_probed_by_a_real_write_until_the_kernel_is_content(bench):
    bench.kernel.storage_blocked = True
    bench.engine.retry_commit()
    assert len(bench.store.snapshots) == 1
    assert [e.ok for e in bench.kernel.heard if isinstance(e, StorageTrouble)] == [True]
    bench.store.broken_snapshots = StoreError("full")
    bench.engine.retry_commit()
    assert [e.ok for e in bench.kernel.heard if isinstance(e, StorageTrouble)] == [True, False]
    bench.kernel.storage_blocked = False
    heard = len(bench.kernel.heard)
    bench.engine.retry_commit()
    assert len(bench.kernel.heard) == heard


def test_a_conflict_closes_the_gate_and_is_not_carried_on_from(bench):
    bench.say(StartTrading, fact("a"), acts=(send(),))
    bench.store.broken = StoreConflict("intent i1 exists")
    with pytest.raises(StoreConflict):
        bench.engine.handle(START)
    assert bench.gate.closed
    assert bench.writer.taken == []


def test_more_than_memory_should_hold_closes_the_gate(bench, monkeypatch):
    monkeypatch.setattr("orchestrator.service.journal._UNSAVED_MAX", 10)
    bench.script(Noted, lambda e: Step((fact(e.text),), ()))
    bench.fail()
    for number in range(10):
        bench.engine.handle(_noted(str(number)))
    assert not bench.gate.closed
    with pytest.raises(StoreError, match="could not be written"):
        bench.engine.handle(_noted("one too many"))
    assert bench.gate.closed


# -- the gate ---------------------------------------------------------------------------------


def _asked(bench: Bench) -> str | None:
    _, gate, _ = bench.writer.taken[-1]
    return gate()


def test_the_gate_is_asked_by_the_sender_and_not_before(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    assert "kernel asked" not in bench.names()
    assert _asked(bench) is None
    assert bench.log[-1] == ("kernel asked", "i1")


def test_a_stop_between_the_commit_and_the_send_blocks_the_order(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    bench.gate.close()
    assert "emergency stop" in (_asked(bench) or "")


def test_the_kernels_own_stop_closes_the_gate_before_its_facts_are_written(bench, monkeypatch):
    """A flush that hangs must not keep the gate open (G3, B3)."""
    closed: list[bool] = []
    append = bench.store.append

    def slow(records, facts):
        closed.append(bench.gate.closed)
        append(records, facts)

    monkeypatch.setattr(bench.store, "append", slow)
    bench.say(StartTrading, fact("trip"), acts=(CloseGate(actor="S2", reason="r"),))
    bench.engine.handle(START)
    assert closed == [True]


def test_a_gate_that_the_guard_holds_says_so(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    bench.gate.hold()
    assert "loop was blocked" in (_asked(bench) or "")
    bench.gate.release()
    assert _asked(bench) is None


def test_the_kernels_objection_is_the_gates_answer(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))
    bench.engine.handle(START)
    bench.kernel.objection = "its time to live is over"
    assert _asked(bench) == "its time to live is over"


def test_cancels_and_closes_pass_a_closed_gate(bench):
    close = WriteRequest(kind=WriteKind.CLOSE_TRADE, account_id=A, target="7", body="{}")
    bench.say(StartTrading, acts=(Write(request=close, reason="r"),))
    bench.gate.close()
    bench.engine.handle(START)
    assert _asked(bench) is None


# -- one mailbox ------------------------------------------------------------------------------


def test_a_call_from_within_only_queues(bench):
    def inner(_: object) -> Step:
        bench.engine.handle(STOP)
        bench.engine.retry_commit()
        return Step((fact("outer"),), ())

    bench.script(StartTrading, inner)
    bench.say(StopTrading, fact("inner"))
    bench.engine.handle(START)
    assert [type(e) for e in bench.kernel.heard] == [StartTrading, StopTrading]
    assert bench.store.texts() == ["outer", "inner"]


def test_an_answer_that_comes_at_once_does_not_re_enter_the_kernel(bench):
    bench.say(StartTrading, fact("intent"), acts=(send(),))

    def answers_at_once(_request, gate, done):
        assert gate() is None
        done(Unknown(reason="cut"), 5)

    bench.writer.submit = answers_at_once
    bench.engine.handle(START)
    (finished,) = [e for e in bench.kernel.heard if isinstance(e, SendFinished)]
    assert finished.first_byte_ns == 5
    assert bench.engine.writes_open == 0
    assert bench.engine.last_first_byte_at is not None


def test_orders_on_the_wire_are_counted_until_their_outcome_is_known(bench):
    bench.say(StartTrading, acts=(send("i1"), send("i2")))
    bench.engine.handle(START)
    assert bench.engine.writes_open == 2
    assert bench.engine.last_first_byte_at is None
    bench.writer.taken[0][2](NotSent(reason="gate", by_gate=True), 0)
    assert bench.engine.writes_open == 1
    assert bench.engine.last_first_byte_at is None


def test_a_command_gives_what_its_own_step_said_and_no_others(bench):
    bench.say(StartTrading, fact("mine"))
    bench.say(StopTrading, fact("other"))
    bench.engine._inbox.append(STOP)
    assert [f.text for f in bench.engine.command(START) if isinstance(f, OperatorActed)] == ["mine"]
    assert bench.store.texts() == ["other", "mine"]


def test_a_kernel_that_breaks_leaves_the_mailbox_usable(bench):
    def breaks(_: object) -> Step:
        bench.kernel.deep -= 1
        raise AssertionError("bug")

    bench.script(StartTrading, breaks)
    bench.say(StopTrading, fact("after"))
    with pytest.raises(AssertionError):
        bench.engine.handle(START)
    bench.engine.handle(STOP)
    assert bench.store.texts() == ["after"]


# -- signals ----------------------------------------------------------------------------------


def test_a_signal_that_the_store_has_seen_never_reaches_the_kernel(bench):
    bench.store.seen.add("s1")
    bench.engine.handle(SignalSeen(signal=signal("s1")))
    bench.engine.handle(SignalSeen(signal=signal("s2")))
    assert [e.signal.signal_id for e in bench.kernel.heard] == ["s2"]


def test_a_store_that_cannot_be_read_refuses_signals_and_nothing_else(bench):
    bench.say(StartTrading, fact("kept"))
    bench.store.unreadable = StoreError("locked")
    bench.engine.handle(START, SignalSeen(signal=signal("s1")), STOP)
    assert bench.store.texts() == ["kept"]
    assert signal("s1") not in [e.signal for e in bench.kernel.heard if isinstance(e, SignalSeen)]
    assert STOP in bench.kernel.heard


def test_signals_that_never_become_orders_leave_nothing_behind(bench):
    for number in range(10_050):
        bench.engine.handle(SignalSeen(signal=signal(f"s{number}")))
    assert len(bench.engine._sender._began) <= 10_001


# -- snapshots --------------------------------------------------------------------------------


def test_a_snapshot_stands_for_exactly_what_is_durable(bench):
    bench.script(Noted, lambda e: Step((fact(e.text),), ()))
    bench.engine.handle(_noted("1"))
    bench.engine.maybe_snapshot()
    assert bench.store.snapshots == []
    bench.engine.maybe_snapshot(force=True)
    assert bench.store.snapshots == [(1, b"1")]
    bench.fail()
    bench.engine.handle(_noted("2"))
    bench.engine.maybe_snapshot(force=True)
    assert len(bench.store.snapshots) == 1


def test_a_snapshot_that_fails_stops_nothing(bench):
    bench.store.broken_snapshots = StoreError("full")
    bench.engine.maybe_snapshot(force=True)
    bench.say(StartTrading, fact("a"))
    bench.engine.handle(START)
    assert bench.store.texts() == ["a"]

"""An order on its way through the engine: answers, the log, the search, and crashes."""

from __future__ import annotations

import pytest

from orchestrator.model.acts import CloseGate, FetchTransactions, Write
from orchestrator.model.events import ReadFailed
from orchestrator.model.facts import (
    AlertRaised,
    IntentMoved,
    ServiceStarted,
    TransactionApplied,
)
from orchestrator.model.orders import Answered, IntentState, NotSent, Rejected, WriteKind
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S
from tests.unit.kernel.engine_bench import A, B, Bench, D
from tests.unit.kernel.engine_orders import lose, one_order, outcome, states

# -- answers ---------------------------------------------------------------------------


def test_a_cancel_in_a_201_is_a_rejection_by_the_venue():
    bench = Bench()
    signal, order = one_order(bench)
    made = bench.venue[A].cancel(bench.intent(order.intent_id), "INSUFFICIENT_MARGIN")
    bench.finish(order.intent_id, Answered(status=201, transactions=made, last_transaction_id=12))
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage, end.reason) == (
        Outcome.REJECTED, "venue", "INSUFFICIENT_MARGIN",
    )  # fmt: skip
    assert bench.kernel.books[A].trades == {}
    assert bench.kernel.reservations(A) == ()


def test_a_400_is_a_rejection():
    bench = Bench()
    signal, order = one_order(bench)
    bench.finish(order.intent_id, Rejected(status=400, code="UNITS_INVALID", message="bad units"))
    assert outcome(bench, signal) is Outcome.REJECTED
    assert "UNITS_INVALID" in bench.ends(signal.signal_id)[A].reason


def test_a_401_is_a_rejection_and_an_alarm():
    bench = Bench()
    signal, order = one_order(bench)
    bench.finish(order.intent_id, Rejected(status=401, code="", message="Insufficient"))
    assert outcome(bench, signal) is Outcome.REJECTED
    assert any("breaker:A10" in f.alert.key for f in bench.said(AlertRaised))
    assert bench.kernel.account_mode(A, bench.now) == "halt"


@pytest.mark.parametrize(("by_gate", "wait"), [(True, 0), (False, 0), (True, 11)])
def test_what_was_not_sent_is_blocked_or_expired(by_gate, wait):
    bench = Bench()
    signal, order = one_order(bench)
    bench.now += wait * NS_PER_S
    bench.finish(order.intent_id, NotSent(reason="closed", by_gate=by_gate))
    state = IntentState.EXPIRED if wait else IntentState.BLOCKED
    assert states(bench) == [state]
    assert outcome(bench, signal) is (Outcome.EXPIRED if wait else Outcome.REJECTED)
    assert bench.kernel.in_flight() == ()


def test_times_of_the_send_stand_in_the_record():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    (moved,) = bench.said(IntentMoved)
    assert (moved.first_byte_ns, moved.latency_us) == (bench.now, 100)


# -- the log is quicker, slower, doubled -----------------------------------------------


def test_the_stream_may_tell_of_the_fill_before_the_answer():
    bench = Bench()
    signal, order = one_order(bench)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    assert outcome(bench, signal) is Outcome.FILLED
    step = bench.finish(
        order.intent_id, Answered(status=201, transactions=made, last_transaction_id=13)
    )
    (moved,) = step.facts  # only the times are news
    assert (moved.state, moved.first_byte_ns) == (IntentState.FILLED, bench.now)
    assert len(bench.kernel.books[A].trades) == 1


def test_transactions_are_applied_once_however_often_they_come():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    count = len(bench.said(TransactionApplied))
    bench.stream(A, *bench.venue[A].log)
    bench.read(A, 0)
    assert len(bench.said(TransactionApplied)) == count == 3


def test_an_answer_with_a_gap_before_it_keeps_the_reservation_until_the_log_is_whole():
    bench = Bench()
    account = bench.venue[A]
    account.add(type="CLIENT_CONFIGURE")  # missed by us
    signal, order = one_order(bench)
    made = account.fill(bench.intent(order.intent_id), D("1.10010"))
    bench.finish(order.intent_id, Answered(status=201, transactions=made, last_transaction_id=14))
    assert bench.ends(signal.signal_id) == {}
    assert len(bench.kernel.reservations(A)) == 1
    assert bench.kernel.books[A].trades == {}
    bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FILLED
    assert bench.kernel.reservations(A) == ()
    assert len(bench.kernel.books[A].trades) == 1


def test_out_of_order_transactions_wait_and_the_gap_is_read():
    bench = Bench()
    _, order = one_order(bench)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, made[2])
    assert bench.kernel.books[A].last_id == 10
    assert any(act.since == 10 for act in bench.done(FetchTransactions))
    bench.stream(A, made[1])
    bench.stream(A, made[0])
    assert bench.kernel.books[A].last_id == 13


def test_an_id_that_two_reads_do_not_show_is_a_hole():
    bench = Bench()
    account = bench.venue[A]
    account.next_id()  # 11 does not exist
    _, order = one_order(bench)
    account.fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    assert bench.kernel.books[A].last_id == 10
    bench.read(A, 10)
    assert bench.kernel.books[A].last_id == 14


# -- unknown ---------------------------------------------------------------------------


def test_an_unknown_order_keeps_its_reservation_and_is_looked_for():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    assert states(bench) == [IntentState.UNKNOWN]
    assert bench.ends(signal.signal_id) == {}
    assert len(bench.kernel.reservations(A)) == 1
    (read,) = bench.done(FetchTransactions)
    assert (read.account_id, read.since, read.after_ms) == (A, 10, 250)


def test_while_an_order_is_unknown_its_account_and_instrument_get_no_new_risk():
    """O5, and only there: the same instrument elsewhere goes on, and another one here."""
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    bench.wait(11)
    again = bench.send_signal(strategy="other")
    assert f"order {order.intent_id} on" in bench.ends(again.signal_id)[A].reason
    assert B not in bench.ends(again.signal_id)
    elsewhere = bench.send_signal(strategy="third", instrument="USD_JPY", accounts=(A,))
    assert "unknown" not in bench.ends(elsewhere.signal_id)[A].reason


def test_what_waits_to_be_sent_meets_the_unknown_order_at_the_gate():
    """G2: it was checked a moment before, and has not left yet."""
    bench = Bench()
    _, order = one_order(bench)
    bench.wait(11)
    bench.send_signal(strategy="other", accounts=(A,))
    (waiting,) = bench.orders()
    assert bench.kernel.may_send(waiting.intent_id, bench.now) is None
    lose(bench, order)
    objection = bench.kernel.may_send(waiting.intent_id, bench.now)
    assert objection is not None
    assert f"order {order.intent_id} on" in objection


def test_an_unknown_order_is_filled_by_the_log():
    bench = Bench()
    signal, order = one_order(bench)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    lose(bench, order)
    bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN, IntentState.FILLED]
    assert outcome(bench, signal) is Outcome.FILLED
    assert bench.kernel.in_flight() == ()


def test_reads_come_later_each_time_also_after_failures():
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    waits = []
    for number in range(8):
        (read,) = bench.done(FetchTransactions)
        waits.append(read.after_ms)
        bench.acts.clear()
        bench.now += NS_PER_S
        if number % 2:
            bench.feed(ReadFailed(account_id=A, reason="503"))
        else:
            bench.read(A, 10)
    assert waits == [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]


def test_an_order_is_absent_after_ten_seconds_and_three_counting_reads():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    for _ in range(9):
        bench.wait(1)
        bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN]
    for _ in range(3):
        bench.wait(1)
        bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN, IntentState.ABSENT]
    assert outcome(bench, signal) is Outcome.FAILED
    assert bench.kernel.reservations(A) == ()


def test_a_late_order_is_adopted_closed_and_told():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    for _ in range(12):
        bench.wait(1)
        bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FAILED
    bench.acts.clear()
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    (write,) = bench.done(Write)
    assert write.request.kind is WriteKind.CLOSE_TRADE
    assert write.request.target == made[1].id
    assert bench.kernel.books[A].trades[made[1].id].ours
    assert any(f.alert.key.startswith("late:") for f in bench.said(AlertRaised))
    assert outcome(bench, signal) is Outcome.FAILED  # still one outcome
    bench.acts.clear()
    bench.wait(6)  # that close was refused, or lost: it is repeated until the trade is gone
    again = bench.done(Write)
    assert len(again) >= 2
    assert {act.request for act in again} == {write.request}


def test_a_second_order_of_one_intent_closes_the_gate():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    (act,) = bench.done(CloseGate)
    assert act.actor == "S4"
    assert "S4" in bench.kernel.account_blocks(B, bench.now)[0]
    bench.acts.clear()
    bench.wait(31)  # the stop itself never came: it is asked for again
    assert bench.done(CloseGate)


def test_an_order_unknown_for_30_s_trips_a7_until_it_is_settled():
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    bench.acts.clear()  # no read is ever answered
    bench.wait(30)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.wait(1)
    assert "A7" in bench.kernel.account_blocks(A, bench.now)[0]
    assert bench.kernel.account_blocks(B, bench.now) == ()
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_sender_that_never_tells_makes_the_intent_unknown():
    bench = Bench()
    one_order(bench)
    bench.wait(45)
    assert states(bench) == [IntentState.UNKNOWN]


# -- crash -----------------------------------------------------------------------------


def test_after_a_crash_what_was_on_its_way_is_unknown_and_never_resent():
    bench = Bench()
    signal, order = one_order(bench)
    bench.start_life(unclean=True)
    assert states(bench) == [IntentState.UNKNOWN]
    assert bench.orders() == []
    assert "not waiting" in bench.kernel.may_send(order.intent_id, bench.now)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FILLED


def test_signals_in_flight_at_a_crash_have_failed():
    from orchestrator.model.events import SignalSeen

    bench = Bench()
    signal = bench.signal()
    bench.feed(SignalSeen(signal=signal))
    bench.start_life(unclean=True)
    ends = bench.ends(signal.signal_id)
    assert {(e.outcome, e.reason) for e in ends.values()} == {
        (Outcome.FAILED, "crash: the service was restarted")
    }


def test_it_runs_again_by_itself_once_every_account_is_reconciled():
    bench = Bench()
    bench.start_life(unclean=True)
    assert bench.kernel.mode == "reconciling"
    assert bench.kernel.wanted_running
    bench.feed(bench.venue[A].seen())
    assert bench.kernel.mode == "reconciling"
    bench.feed(bench.venue[B].seen())
    assert bench.kernel.mode == "running"
    assert bench.kernel.epoch == 2


def test_an_account_that_stays_away_does_not_hold_up_the_others():
    bench = Bench()
    bench.start_life(unclean=True)
    bench.feed(bench.venue[A].seen())
    bench.tick_all()
    bench.wait(31)
    assert bench.kernel.mode == "running"
    assert bench.kernel.account_blocks(A, bench.now) == ()
    assert "not reconciled" in bench.kernel.account_blocks(B, bench.now)[0]
    signal = bench.send_signal()
    assert bench.ends(signal.signal_id)[B].stage == "gate"
    assert len(bench.orders()) == 1


def test_a_restored_kernel_goes_on_where_the_other_ended():
    from orchestrator.kernel.engine import Kernel

    bench = Bench()
    signal, order = one_order(bench)
    copy = Kernel(bench.plan)
    copy.restore(bench.kernel.snapshot())
    assert copy.snapshot() == bench.kernel.snapshot()
    bench.kernel = copy
    bench.start_life(unclean=True)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    assert outcome(bench, signal) is Outcome.FILLED
    assert len(bench.said(ServiceStarted)) == 2

"""Cool-downs, probing and what a restart makes of them (SAFETY B2, E3)."""

from __future__ import annotations

from orchestrator.kernel.engine import Kernel
from orchestrator.model.events import EmergencyStop, Resume, SignalSeen, StartTrading
from orchestrator.model.facts import BreakerMoved, BreakerTripped, ChecksDecided
from orchestrator.model.orders import NotSent, Rejected, Unknown
from orchestrator.model.safety import BreakerState
from tests.unit.kernel.engine_bench import A, B, Bench, D, make_plan

BAD = ("EUR_USD", "5", "6")


def state(bench, breaker="M5", subject="EUR_USD"):
    found = {(v.breaker, v.subject): v for v in bench.kernel.breakers(bench.now)}
    return found[breaker, subject].state


def trip(bench):
    """Three bad ticks of EUR_USD."""
    for _ in range(3):
        bench.tick(*BAD)


def probing(bench):
    trip(bench)
    bench.wait(60)
    assert state(bench) is BreakerState.PROBING


def objections(bench, account=A):
    return [f for f in bench.said(ChecksDecided) if f.account_id == account][-1].objections


def test_after_its_cool_down_a_breaker_probes_and_lets_a_quarter_of_the_size_through():
    bench = Bench()
    whole = bench.kernel.account_view(A, bench.now, "EUR_USD").risk_per_trade
    probing(bench)
    assert bench.kernel.account_view(A, bench.now, "EUR_USD").risk_per_trade == whole / 4
    assert bench.kernel.account_view(A, bench.now, "GBP_USD").risk_per_trade == whole
    signal = bench.signal(stop_distance=D("0.00200"))
    size = bench.kernel.account_view(
        A, bench.now, "EUR_USD", signal.side, signal.stop_distance
    ).headroom_units
    bench.answer(bench.feed(SignalSeen(signal=signal)), units=size * 4)
    assert any(text.startswith("C10") for text in objections(bench))


def test_one_order_in_flight_in_scope_and_no_more():
    bench = Bench()
    probing(bench)
    bench.send_signal(accounts=(A,))
    assert len(bench.acts_of_orders()) == 1
    other = bench.send_signal(accounts=(B,))
    assert (
        "M5 bad ticks: probing, and one order is in flight" in bench.ends(other.signal_id)[B].reason
    )
    bench.send_signal(accounts=(B,), instrument="GBP_USD", reference_price=D("1.3"))
    assert len(bench.acts_of_orders()) == 2
    bench.fill_all()
    bench.send_signal(accounts=(B,))
    assert bench.fill_all() == 1


def test_the_order_in_flight_is_not_in_its_own_way_at_the_gate():
    bench = Bench()
    probing(bench)
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    assert bench.kernel.may_send(order.intent_id, bench.now) is None
    bench.now += 600_000_000  # its checks are made again
    assert bench.kernel.may_send(order.intent_id, bench.now) is None


def test_an_order_of_unknown_outcome_is_in_flight():
    bench = Bench()
    probing(bench)
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.finish(order.intent_id, Unknown(reason="time-out"))
    late = bench.send_signal(accounts=(B,))
    assert "in flight" in bench.ends(late.signal_id)[B].reason


def test_three_orders_that_the_venue_answered_arm_it_again():
    bench = Bench()
    probing(bench)
    for number in range(3):
        assert state(bench) is BreakerState.PROBING
        bench.wait(11)
        bench.send_signal(accounts=(B,) if number == 1 else (A,))
        (order,) = bench.orders()
        if number == 1:
            bench.finish(order.intent_id, Rejected(status=400, code="X", message="no"))
        else:
            bench.fill(order)
    bench.wait(1)
    assert state(bench) is BreakerState.ARMED


def test_an_order_that_never_left_proves_nothing():
    bench = Bench()
    probing(bench)
    for _ in range(4):
        bench.wait(11)
        bench.send_signal(accounts=(A,))
        (order,) = bench.orders()
        bench.finish(order.intent_id, NotSent(reason="refused"))
    assert state(bench) is BreakerState.PROBING


def test_five_minutes_without_a_new_trip_arm_it_too():
    bench = Bench()
    probing(bench)
    bench.wait(299)
    assert state(bench) is BreakerState.PROBING
    bench.wait(1)
    assert state(bench) is BreakerState.ARMED


def test_a_trip_while_probing_doubles_the_cool_down_up_to_half_an_hour():
    bench = Bench()
    waits = []
    for _ in range(7):
        trip(bench)
        waits.append(bench.said(BreakerTripped)[-1].cooldown_s)
        bench.wait(waits[-1])
        assert state(bench) is BreakerState.PROBING
    assert waits == [60, 120, 240, 480, 960, 1_800, 1_800]


def test_once_armed_the_next_trip_waits_the_usual_time():
    bench = Bench()
    probing(bench)
    bench.wait(300)
    trip(bench)
    assert bench.said(BreakerTripped)[-1].cooldown_s == 60


def test_cool_downs_and_probing_begin_anew_in_full_after_a_restart():
    bench = Bench()
    trip(bench)
    bench.wait(50)
    bench.start_life(unclean=True)
    bench.serve_reads()
    bench.wait(59)
    assert state(bench) is BreakerState.TRIPPED
    bench.wait(1)
    assert state(bench) is BreakerState.PROBING
    bench.wait(290)
    bench.start_life()
    bench.serve_reads()
    bench.wait(299)
    assert state(bench) is BreakerState.PROBING
    bench.wait(1)
    assert state(bench) is BreakerState.ARMED


def test_probing_survives_a_crash_by_facts_alone():
    bench = Bench()
    probing(bench)
    bench.send_signal(accounts=(A,))
    bench.fill_all()
    copy = Kernel(make_plan())
    for fact, at in bench.facts:
        copy.apply(fact, at)
    assert copy.snapshot() == bench.kernel.snapshot()
    (moved,) = bench.said(BreakerMoved)
    assert moved.state is BreakerState.PROBING


def test_after_a_resume_all_accounts_probe_for_five_minutes_whatever_goes_well():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="stop-1", actor="ann", reason="fear", liquidate=False))
    bench.feed(Resume(stop_id="stop-1", actor="ann", reason="calm", epoch=9))
    bench.feed(StartTrading(actor="ann"))
    assert state(bench, "E3", A) is BreakerState.PROBING
    assert bench.kernel.account_view(A, bench.now).risk_per_trade == D("0.005")
    for _ in range(3):
        bench.wait(11)
        bench.send_signal(accounts=(A,))
        assert bench.fill_all() == 1
    assert state(bench, "E3", A) is BreakerState.PROBING
    bench.wait(267)
    assert state(bench, "E3", A) is BreakerState.ARMED
    assert state(bench, "E3", B) is BreakerState.ARMED

"""What people ask of the engine: start, drain, emergency stop, resume, switches, breakers."""

from __future__ import annotations

import pytest

from orchestrator.kernel.engine import Kernel
from orchestrator.model.acts import Liquidate, SendAlert
from orchestrator.model.events import (
    AuditTrouble,
    Drained,
    EmergencyStop,
    EnableAccount,
    LiquidationSeen,
    Noted,
    ResetBreaker,
    Resume,
    RoleHealth,
    SignalSeen,
    StartTrading,
    StopTrading,
    StorageTrouble,
    TripBreaker,
)
from orchestrator.model.facts import (
    BreakerTripped,
    ModeChanged,
    OperatorActed,
    Resumed,
    Stopped,
    StopStep,
)
from orchestrator.model.orders import NotSent, Unknown
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Effect, Scope, Severity
from orchestrator.model.signals import Outcome, Role
from tests.unit.kernel.engine_bench import A, B, Bench


def refused(bench):
    return bench.said(OperatorActed)[-1].refused


def stop(bench, **fields):
    values = {"stop_id": "stop-1", "actor": "ann", "reason": "fear", **fields}
    return bench.feed(EmergencyStop(**values))


# -- start and drain -------------------------------------------------------------------


def test_a_first_start_waits_for_a_person():
    bench = Bench(begin=False)
    bench.begin(run=False)
    assert bench.kernel.mode == "ready"
    bench.feed(StartTrading(actor="ann"))
    assert (bench.kernel.mode, bench.kernel.wanted_running) == ("running", True)


def test_a_start_before_reconciling_takes_effect_after_it():
    bench = Bench(begin=False)
    bench.start_life()
    bench.feed(StartTrading(actor="ann"))
    assert bench.kernel.mode == "reconciling"
    for account in bench.known():
        bench.feed(account.seen())
    assert bench.kernel.mode == "running"


def test_draining_takes_no_signals_but_lets_orders_go():
    bench = Bench()
    first = bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.feed(StopTrading(actor="ann"))
    assert bench.kernel.mode == "draining"
    assert bench.kernel.may_send(order.intent_id, bench.now) is None
    second = bench.send_signal(accounts=(A,))
    assert bench.ends(second.signal_id)[A].stage == "gate"
    bench.fill(order)
    assert bench.ends(first.signal_id)[A].outcome is Outcome.FILLED
    bench.feed(Drained())
    assert (bench.kernel.mode, bench.kernel.wanted_running) == ("ready", False)
    assert bench.done(Liquidate) == []


def test_when_the_time_to_drain_is_over_waiting_signals_expire():
    bench = Bench()
    signal = bench.signal()
    bench.feed(SignalSeen(signal=signal))
    bench.feed(StopTrading(actor="ann"))
    bench.feed(Drained())
    assert {e.outcome for e in bench.ends(signal.signal_id).values()} == {Outcome.EXPIRED}


def test_a_stop_may_close_positions():
    bench = Bench()
    bench.feed(StopTrading(actor="ann", close_positions=True))
    (act,) = bench.done(Liquidate)
    assert act.accounts == (A, B)


def test_after_a_stop_a_restart_does_not_run():
    bench = Bench()
    bench.feed(StopTrading(actor="ann"))
    bench.feed(Drained())
    bench.start_life()
    for account in bench.known():
        bench.feed(account.seen())
    assert bench.kernel.mode == "ready"


# -- emergency stop --------------------------------------------------------------------


def test_an_emergency_stop_stops_liquidates_and_tells():
    bench = Bench()
    stop(bench)
    assert (bench.kernel.mode, bench.kernel.stop_id) == ("stopped", "stop-1")
    (act,) = bench.done(Liquidate)
    assert (act.stop_id, act.accounts) == ("stop-1", (A, B))
    assert bench.done(SendAlert)
    assert bench.kernel.account_mode(A, bench.now) == "halt"


def test_nothing_is_asked_or_sent_after_it():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    waiting = bench.signal()
    bench.feed(SignalSeen(signal=waiting))
    stop(bench)
    assert "emergency stop" in bench.kernel.may_send(order.intent_id, bench.now)
    assert {(e.outcome, e.stage) for e in bench.ends(waiting.signal_id).values()} == {
        (Outcome.REJECTED, "gate")
    }
    after = bench.send_signal()
    assert {e.stage for e in bench.ends(after.signal_id).values()} == {"gate"}
    assert bench.orders() == []
    bench.finish(order.intent_id, NotSent(reason="gate", by_gate=True))
    assert bench.kernel.in_flight() == ()


def test_a_repeated_stop_keeps_its_name_and_may_only_add():
    bench = Bench()
    stop(bench, liquidate=False, accounts=(A,))
    assert bench.kernel.mode == "running"
    assert bench.kernel.stopped_accounts == (A,)
    assert bench.done(Liquidate) == []
    stop(bench, stop_id="stop-2", liquidate=True, accounts=(B,))
    assert bench.kernel.stop_id == "stop-1"
    assert bench.done(Liquidate)[-1].accounts == (A, B)
    stop(bench, stop_id="stop-3", liquidate=False)
    assert bench.kernel.mode == "stopped"
    assert [f.repeated for f in bench.said(Stopped)] == [False, True, True]
    assert bench.done(Liquidate)[-1].stop_id == "stop-1"


def test_a_stop_of_one_account_leaves_the_other():
    bench = Bench()
    stop(bench, accounts=(A,))
    signal = bench.send_signal()
    bench.fill_all()
    ends = bench.ends(signal.signal_id)
    assert ends[A].stage == "gate"
    assert ends[B].outcome is Outcome.FILLED


def test_a_stop_for_an_account_that_is_none_stops_everything():
    bench = Bench()
    stop(bench, accounts=("typo",))
    assert bench.kernel.mode == "stopped"


def test_a_start_while_stopped_is_refused():
    bench = Bench()
    stop(bench)
    bench.feed(StartTrading(actor="ann"))
    assert "resume first" in refused(bench)
    assert bench.kernel.mode == "stopped"


def test_a_stop_outlives_a_crash_and_goes_on_liquidating():
    bench = Bench()
    stop(bench)
    copy = Kernel(bench.plan)
    copy.restore(bench.kernel.snapshot())
    bench.kernel = copy
    bench.acts.clear()
    bench.start_life(unclean=True)
    assert [act.stop_id for act in bench.done(Liquidate)] == ["stop-1"]
    for account in bench.known():
        bench.feed(account.seen())
    assert (bench.kernel.mode, bench.kernel.wanted_running) == ("stopped", False)


def test_a_latch_alone_is_enough_to_be_stopped():
    bench = Bench()
    bench.acts.clear()
    bench.start_life(latched="stop-9", unclean=True)
    for account in bench.known():
        bench.feed(account.seen())
    assert (bench.kernel.mode, bench.kernel.stop_id) == ("stopped", "stop-9")
    assert [act.stop_id for act in bench.done(Liquidate)] == ["stop-9"]


def test_an_order_that_fills_after_the_stop_is_still_one_outcome():
    bench = Bench()
    signal = bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    stop(bench)
    bench.fill(order)
    assert bench.ends(signal.signal_id)[A].outcome is Outcome.FILLED


# -- resume ----------------------------------------------------------------------------


def resume(bench, **fields):
    values = {"stop_id": "stop-1", "actor": "ann", "reason": "checked", **fields}
    return bench.feed(Resume(**values))


def test_a_resume_makes_ready_and_a_person_starts_again():
    bench = Bench()
    stop(bench)
    resume(bench, epoch=7)
    assert refused(bench) == ""
    assert (bench.kernel.mode, bench.kernel.stop_id) == ("ready", None)
    assert (bench.kernel.wanted_running, bench.kernel.epoch) == (False, 7)
    bench.feed(StartTrading(actor="ann"))
    assert bench.kernel.mode == "running"
    signal = bench.send_signal()
    bench.fill_all()
    assert {e.outcome for e in bench.ends(signal.signal_id).values()} == {Outcome.FILLED}


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({"stop_id": "other"}, "not the standing one"),
        ({"reason": " "}, "no reason"),
        ({"actor": ""}, "no actor"),
    ],
)
def test_a_resume_must_name_what_it_lifts(fields, why):
    bench = Bench()
    stop(bench)
    resume(bench, **fields)
    assert why in refused(bench)
    assert bench.kernel.mode == "stopped"
    assert bench.said(Resumed) == []


def test_a_resume_needs_open_trades_listed():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    bench.fill_all()
    (trade_id,) = bench.kernel.books[A].trades
    stop(bench)
    resume(bench)
    assert f"open trade {A}/{trade_id} is not listed" in refused(bench)
    resume(bench, open_trades=(f"{A}/{trade_id}",))
    assert bench.kernel.mode == "ready"


def test_a_resume_needs_accounts_reconciled_and_nothing_unknown():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.finish(order.intent_id, Unknown(reason="reset"))
    stop(bench)
    resume(bench)
    assert "unknown outcome" in refused(bench)
    bench.start_life(latched="stop-1")
    resume(bench)
    assert f"account {A} is not reconciled" in refused(bench)


def test_a_resume_arms_the_breaker_that_had_stopped_the_system():
    bench = Bench()
    tripped = BreakerTripped(
        breaker="S2", scope=Scope.SYSTEM, subject="system", effect=Effect.STOP, evidence="fell",
        latched=True,
    )  # fmt: skip
    bench.kernel.apply(tripped, bench.now)
    bench.facts.append((tripped, bench.now))
    bench.feed(ResetBreaker(breaker="S2", subject="system", actor="ann"))
    assert "resume only" in refused(bench)
    stop(bench)
    resume(bench)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_resume_waits_for_orders_that_are_still_on_their_way():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    stop(bench)
    resume(bench)
    assert order.intent_id in refused(bench)
    bench.finish(order.intent_id, NotSent(reason="gate", by_gate=True))
    resume(bench)
    assert bench.kernel.mode == "ready"


def test_a_resume_of_one_account_asks_nothing_of_the_others():
    bench = Bench()
    bench.send_signal(accounts=(B,))
    bench.fill_all()
    stop(bench, accounts=(A,))
    resume(bench)
    assert refused(bench) == ""
    assert bench.kernel.mode == "running"


def test_a_resume_without_a_stop_is_refused():
    bench = Bench()
    resume(bench)
    assert refused(bench) == "nothing is stopped"
    assert bench.kernel.mode == "running"


# -- switches and breakers -------------------------------------------------------------


def test_a_disabled_account_takes_nothing_until_enabled():
    bench = Bench()
    bench.feed(EnableAccount(account_id=A, enabled=False, actor="ann"))
    signal = bench.send_signal()
    assert "disabled" in bench.ends(signal.signal_id)[A].reason
    assert len(bench.orders()) == 1
    bench.feed(EnableAccount(account_id=A, enabled=True, actor="ann"))
    bench.send_signal(accounts=(A,))
    assert len(bench.orders()) == 1


def test_disabling_closes_the_gate_for_an_order_on_its_way():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.feed(EnableAccount(account_id=A, enabled=False, actor="ann"))
    assert "disabled" in bench.kernel.may_send(order.intent_id, bench.now)


def test_an_unknown_account_cannot_be_switched():
    bench = Bench()
    bench.feed(EnableAccount(account_id="x", enabled=False, actor="ann"))
    assert refused(bench) == "no such account"


def test_a_breaker_tripped_by_hand_blocks_until_a_person_resets_it():
    bench = Bench()
    bench.feed(TripBreaker(breaker="M1", subject="EUR_USD", actor="ann", reason="news"))
    bench.wait(20)
    assert "by ann: news" in bench.ends(bench.send_signal().signal_id)[A].reason
    bench.feed(ResetBreaker(breaker="M1", subject="EUR_USD", actor="ann"))
    assert refused(bench) == ""
    bench.send_signal(accounts=(A,))
    assert len(bench.orders()) == 1


@pytest.mark.parametrize(
    ("breaker", "subject"), [("Z9", "system"), ("M1", "system"), ("A1", "x"), ("S5", A)]
)
def test_a_breaker_that_does_not_exist_cannot_be_tripped(breaker, subject):
    bench = Bench()
    bench.feed(TripBreaker(breaker=breaker, subject=subject, actor="ann"))
    assert refused(bench)
    assert {fact.breaker for fact in bench.said(BreakerTripped)} == {"T4"}


def test_what_resets_by_itself_is_reset_by_nobody():
    bench = Bench()
    bench.feed(StorageTrouble(ok=False, reason="disk full"))
    bench.feed(ResetBreaker(breaker="S5", subject="system", actor="ann"))
    assert "nobody may reset it" in refused(bench)
    bench.feed(ResetBreaker(breaker="M2", subject="EUR_USD", actor="ann"))
    assert refused(bench) == "it is not tripped"


# -- the house's own troubles ----------------------------------------------------------


def test_storage_trouble_blocks_until_ten_good_writes_and_ten_seconds():
    bench = Bench()
    bench.feed(StorageTrouble(ok=False, reason="disk full"))
    assert bench.kernel.storage_blocked
    bench.send_signal()
    assert bench.orders() == []
    for _ in range(10):
        bench.feed(StorageTrouble(ok=True))
    assert bench.kernel.storage_blocked
    bench.wait(10)
    bench.feed(StorageTrouble(ok=True))
    assert not bench.kernel.storage_blocked
    bench.send_signal(accounts=(A,))
    assert len(bench.orders()) == 1


def test_a_failed_write_starts_the_count_anew():
    bench = Bench()
    bench.feed(StorageTrouble(ok=False))
    bench.wait(11)
    for ok in (*[True] * 9, False, *[True] * 10):
        bench.feed(StorageTrouble(ok=ok))
    assert bench.kernel.storage_blocked


def test_a_missing_role_blocks_until_it_is_healthy_for_five_seconds():
    bench = Bench()
    bench.feed(RoleHealth(role=Role.LEARNING_SAFETY, healthy=False, reason="crash"))
    assert "S9" in bench.kernel.account_blocks(A, bench.now)[0]
    bench.feed(RoleHealth(role=Role.LEARNING_SAFETY, healthy=True))
    bench.wait(4)
    assert bench.kernel.account_blocks(A, bench.now)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


@pytest.mark.parametrize(("account", "blocked"), [(A, (A,)), ("", (A, B))])
def test_a_critical_pattern_blocks_its_account_or_all(account, blocked):
    bench = Bench()
    for severity in (Severity.WARNING, Severity.CRITICAL):
        assert all(not bench.kernel.account_blocks(a, 0) for a in (A, B))
        bench.feed(
            PatternSeen(kind="runaway", severity=severity, text="x", at_ns=0, account_id=account)
        )
    assert tuple(a for a in (A, B) if bench.kernel.account_blocks(a, 0)) == blocked
    for name in blocked:
        bench.feed(ResetBreaker(breaker="A4", subject=name, actor="ann", reason="looked"))
    assert all(not bench.kernel.account_blocks(a, 0) for a in (A, B))


def test_steps_and_notes_are_only_written_down():
    bench = Bench()
    before = bench.kernel.snapshot()
    bench.feed(LiquidationSeen(stop_id="s", account_id=A, state="stopped_flat", text="flat"))
    bench.feed(Noted(actor="ann", action="login", text="from 10.0.0.1"))
    assert len(bench.said(StopStep)) == 1
    assert bench.kernel.snapshot() == before


def test_modes_are_said_only_when_they_change():
    bench = Bench()
    count = len(bench.said(ModeChanged))
    bench.feed(StartTrading(actor="ann"))
    assert len(bench.said(ModeChanged)) == count


def test_a_broken_audit_trail_latches_until_it_is_reset():
    bench = Bench()
    bench.feed(AuditTrouble(ok=False, reason="record 7 does not follow record 6"))
    (trip,) = [f for f in bench.said(BreakerTripped) if f.breaker == "S12"]
    assert trip.latched
    assert "record 7" in trip.evidence
    assert "S12" in bench.kernel.account_blocks(A, bench.now)[0]
    bench.feed(AuditTrouble(ok=True))
    assert bench.kernel.account_blocks(A, bench.now)
    bench.feed(ResetBreaker(breaker="S12", subject="system", actor="ann", reason="looked at"))
    assert bench.kernel.account_blocks(A, bench.now) == ()

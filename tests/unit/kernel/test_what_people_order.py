"""Start, drain, stop and resume as they are written down: who, which, and what is wanted after."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.model.acts import CloseGate, Liquidate
from orchestrator.model.events import (
    EmergencyStop,
    Resume,
    SetOverride,
    StartTrading,
    StopTrading,
    TripBreaker,
)
from orchestrator.model.facts import (
    AlertRaised,
    BreakerTripped,
    ModeChanged,
    OperatorActed,
    OverrideSet,
    OverrideUsed,
    Stopped,
)
from orchestrator.model.outcomes import PatternSeen
from orchestrator.model.safety import Scope, Severity
from tests.unit.kernel.engine_bench import A, B, Bench

D = Decimal


def modes(bench: Bench, since: int = 0) -> list[tuple[str, str, str]]:
    return [(str(f.mode), f.actor, f.reason) for f in bench.said(ModeChanged)[since:]]


# -- start and drain -------------------------------------------------------------------------------


@pytest.mark.parametrize(("reason", "told"), [("", "stopped"), ("lunch", "lunch")])
def test_a_stop_drains_and_is_not_forgotten_at_the_next_start(reason, told):
    bench = Bench()
    assert bench.kernel.wanted_running
    before = len(bench.said(ModeChanged))
    bench.feed(StopTrading(actor="ann", reason=reason))
    assert modes(bench, before)[0] == ("draining", "ann", told)
    assert not bench.kernel.wanted_running


@pytest.mark.parametrize(("reason", "told"), [("", "stopped"), ("wait", "wait")])
def test_a_stop_before_it_runs_takes_the_wish_to_run_back(reason, told):
    bench = Bench(begin=False)
    bench.start_life()
    bench.feed(StartTrading(actor="ann"))
    assert bench.kernel.wanted_running
    mode, before = bench.kernel.mode, len(bench.said(ModeChanged))
    assert mode != "running"
    bench.feed(StopTrading(actor="bob", reason=reason))
    assert modes(bench, before) == [(str(mode), "bob", told)]
    assert not bench.kernel.wanted_running


def test_a_stop_under_an_emergency_stop_changes_no_mode():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    before = len(bench.said(ModeChanged))
    bench.feed(StopTrading(actor="bob"))
    assert modes(bench, before) == []
    assert bench.kernel.mode == "stopped"


def test_a_start_under_an_emergency_stop_is_refused_by_its_name():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    bench.feed(StartTrading(actor="bob"))
    acted = bench.said(OperatorActed)[-1]
    assert (acted.actor, acted.action) == ("bob", "start")
    assert acted.refused == "emergency stop x stands: resume first"
    assert bench.kernel.mode == "stopped"


# -- emergency stop and resume ---------------------------------------------------------------------


def test_a_stop_of_nobody_stops_all_and_says_so_in_the_callers_name():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear", accounts=("101-9",)))
    [acted] = [f for f in bench.said(OperatorActed) if f.action == "emergency-stop"]
    assert (acted.actor, acted.text) == ("ann", "fear")
    assert acted.refused == "no such account: all are stopped"
    assert set(bench.kernel.stopped_accounts) == {A, B}


def test_a_second_stop_is_the_first_ones_repetition():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    step = bench.feed(EmergencyStop(stop_id="y", actor="bob", reason="too"))
    [said] = [f for f in step.facts if isinstance(f, Stopped)]
    assert (said.stop_id, said.actor, said.repeated) == ("x", "bob", True)
    [alert] = [f.alert for f in step.facts if isinstance(f, AlertRaised)]
    assert (alert.key, alert.severity) == ("stop:x", Severity.CRITICAL)
    assert (alert.title, alert.text) == ("Emergency stop", "by bob: too")
    [act] = [a for a in step.acts if isinstance(a, Liquidate)]
    assert (act.stop_id, set(act.accounts)) == ("x", {A, B})


def test_after_a_resume_it_is_ready_and_does_not_run_by_itself():
    bench = Bench()
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear"))
    bench.feed(Resume(stop_id="x", actor="bob", reason="calm", epoch=2))
    assert bench.kernel.mode == "ready"
    assert not bench.kernel.wanted_running
    assert modes(bench)[-1] == ("ready", "bob", "resumed")


def test_a_resume_waits_for_the_orders_of_what_is_stopped_and_for_no_others():
    """B's order is on its way in good order: it is no reason to keep A stopped."""
    bench = Bench()
    bench.send_signal(accounts=(B,))
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear", accounts=(A,)))
    bench.feed(Resume(stop_id="x", actor="bob", reason="calm", epoch=2))
    assert bench.said(OperatorActed)[-1].refused == ""
    assert bench.kernel.stop_id is None
    bench.feed(EmergencyStop(stop_id="y", actor="ann", reason="fear", accounts=(B,)))
    bench.feed(Resume(stop_id="y", actor="bob", reason="calm", epoch=3))
    assert "order" in bench.said(OperatorActed)[-1].refused
    assert bench.kernel.stop_id == "y"


# -- breakers --------------------------------------------------------------------------------------


def test_a_critical_pattern_latches():
    bench = Bench()
    bench.feed(
        PatternSeen(
            kind="runaway", severity=Severity.CRITICAL, text="too many", at_ns=bench.now,
            account_id=A,
        )
    )  # fmt: skip
    [trip] = [f for f in bench.said(BreakerTripped) if f.breaker == "A4"]
    assert (trip.subject, trip.latched) == (A, True)
    assert trip.evidence


def test_a_broken_invariant_latches_once_and_closes_the_gate_each_time(
    monkeypatch: pytest.MonkeyPatch,
):
    bench = Bench()

    def raises(*_: object) -> None:
        raise ZeroDivisionError("x" * 600)

    monkeypatch.setattr(bench.kernel, "_hear", raises)
    for _ in range(2):
        step = bench.feed(StopTrading(actor="ann"))
        assert [act.actor for act in step.acts if isinstance(act, CloseGate)] == ["S4"]
    [trip] = [f for f in bench.said(BreakerTripped) if f.breaker == "S4"]
    assert trip.latched
    assert len(trip.evidence) == 500
    assert trip.evidence.startswith("StopTrading: ZeroDivisionError: xxx")


def test_an_early_reset_is_written_as_a_use_of_one():
    bench = Bench()
    bench.feed(TripBreaker(breaker="A3", subject=A, actor="ann", reason="look"))
    step = bench.feed(
        SetOverride(
            override_id="o1", limit="A3", scope=Scope.ACCOUNT, subject=A, value=None, actor="bob",
            role="admin", reason="seen",
        )
    )  # fmt: skip
    [made] = [f for f in step.facts if isinstance(f, OverrideSet)]
    assert (made.loosens, made.uses_max, made.until_ns) == (True, 1, bench.now)
    [used] = [f for f in step.facts if isinstance(f, OverrideUsed)]
    assert (used.account_id, used.intent_id, used.uses_left) == (A, "", 0)
    [alert] = [f.alert for f in step.facts if isinstance(f, AlertRaised)]
    assert (alert.key, alert.severity, alert.title, alert.text, alert.subject) == (
        "override:o1", Severity.WARNING, "A3 reset early", f"for {A} by bob: seen", A,
    )  # fmt: skip


# -- views -----------------------------------------------------------------------------------------


def test_the_days_fractions_are_shown():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    bench.fill_all()
    bench.prices["EUR_USD"] = D("1.09000")
    bench.tick_all()
    view = bench.kernel.day_values(A)
    nav = bench.kernel.nav(A)
    assert nav < 100_000
    assert view.loss == 100_000 - nav
    assert view.day_loss_fraction == (100_000 - nav) / 100_000
    assert view.drawdown_fraction == (view.peak - nav) / view.peak
    assert (view.equity_start, view.nav) == (100_000, nav)

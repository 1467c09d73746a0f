"""A signal through the engine: every way it can go, and that it ends exactly once per account."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.model.acts import AskStage
from orchestrator.model.events import SignalSeen, StageAnswered
from orchestrator.model.facts import (
    ChecksDecided,
    IntentWritten,
    OperatorActed,
    ServiceStarted,
    SignalAccepted,
    SignalEnded,
    StageDecided,
)
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import Side
from orchestrator.model.signals import Outcome, Role
from tests.unit.kernel.engine_bench import A, B, Bench, D, agree, make_plan

STAGES = ["disagreement", "strategy_analysis", "parameter_optimization", "learning_safety"]


def test_a_signal_becomes_a_filled_order_at_each_account():
    bench = Bench()
    signal = bench.send_signal()
    assert bench.ends(signal.signal_id) == {}
    assert bench.fill_all() == 2
    ends = bench.ends(signal.signal_id)
    assert {a: e.outcome for a, e in ends.items()} == {A: Outcome.FILLED, B: Outcome.FILLED}
    for account in (A, B):
        (trade,) = bench.kernel.books[account].trades.values()
        assert trade.ours
        assert trade.protected
        assert trade.signal_id == signal.signal_id
    assert bench.kernel.in_flight() == ()
    assert bench.kernel.signals_in_flight() == 0


def test_the_intent_carries_its_stop_bound_epoch_and_reservation():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (intent,) = [f.intent for f in bench.said(IntentWritten)]
    body = msgspec.json.decode(intent.body)["order"]
    assert body["stopLossOnFill"]["price"] == "1.09810"
    assert body["priceBound"] == "1.10065"  # 1.10010 + 0.05 %
    assert body["clientExtensions"] == {"id": intent.intent_id, "tag": "e1", "comment": "trend1"}
    assert intent.reservation.risk == D(1_000) * D("0.00210")
    assert intent.watermark == 10
    assert bench.kernel.reservations(A) == (intent.reservation,)


def test_every_decision_is_a_fact_in_order():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    decided = [f.stage for f in bench.said(StageDecided)]
    assert decided == STAGES
    (checks,) = bench.said(ChecksDecided)
    assert checks.passed
    assert len(checks.checks) == 20


def test_a_sell_goes_the_same_way():
    bench = Bench()
    signal = bench.send_signal(side=Side.SELL, reference_price=D("1.10000"))
    bench.fill_all()
    assert {e.outcome for e in bench.ends(signal.signal_id).values()} == {Outcome.FILLED}
    (trade,) = bench.kernel.books[A].trades.values()
    assert trade.units == -1_000


# -- each stage ------------------------------------------------------------------------


def stop_at(bench, role):
    """Feed a signal and answer well until `role` is asked; its first question."""
    signal = bench.signal(accounts=(A,))
    step = bench.feed(SignalSeen(signal=signal))
    for _ in range(4):
        (ask,) = [act for act in step.acts if isinstance(act, AskStage)]
        if ask.role == role:
            return signal, ask
        step = bench.reply(ask, agree(ask.question))
    raise AssertionError(role)


@pytest.mark.parametrize("role", STAGES)
def test_a_stage_that_fails_rejects_by_name(role):
    bench = Bench()
    signal, ask = stop_at(bench, role)
    bench.reply(ask, None, error="ZeroDivisionError: oops")
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, role)
    assert end.reason == f"{role} failed: ZeroDivisionError: oops"
    assert bench.orders() == []


@pytest.mark.parametrize("role", STAGES)
def test_a_stage_that_answers_another_question_rejects(role):
    bench = Bench()
    signal, ask = stop_at(bench, role)
    other = "learning_safety" if role != "learning_safety" else "strategy_analysis"
    wrong = agree(stop_at(Bench(), other)[1].question)
    bench.reply(ask, wrong)
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, role)
    assert bench.said(StageDecided)[-1].answer is None  # nonsense is not kept as an answer


@pytest.mark.parametrize(
    ("role", "poison"),
    [
        ("disagreement", {"confidence": D("NaN")}),
        ("strategy_analysis", {"score": D("NaN")}),
        ("strategy_analysis", {"account_id": B}),
        ("parameter_optimization", {"units": D("NaN")}),
        ("parameter_optimization", {"units": D(-1_000)}),
        ("parameter_optimization", {"stop_price": D("1.2")}),
        ("learning_safety", {"scale": D("NaN")}),
        ("learning_safety", {"scale": D(5)}),
        ("learning_safety", {"signal_id": "other"}),
    ],
)
def test_a_poisoned_answer_rejects(role, poison):
    bench = Bench()
    signal, ask = stop_at(bench, role)
    bench.reply(ask, msgspec.structs.replace(agree(ask.question), **poison))
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, role)


def test_a_stage_that_declines_rejects_with_its_reason():
    bench = Bench()
    signal, ask = stop_at(bench, "strategy_analysis")
    answer = msgspec.structs.replace(agree(ask.question), approved=False, reasons=("too dear",))
    bench.reply(ask, answer)
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage, end.reason) == (
        Outcome.REJECTED, "strategy_analysis", "too dear",
    )  # fmt: skip


def test_a_weight_of_nothing_skips_one_account_and_not_the_other():
    bench = Bench()
    signal = bench.signal()
    step = bench.feed(SignalSeen(signal=signal))
    (ask,) = step.acts
    answer = agree(ask.question)
    skipped = msgspec.structs.replace(answer.shares[0], weight=D(0), reason="too alike")
    answer = msgspec.structs.replace(answer, shares=(skipped, answer.shares[1]))
    bench.answer(bench.reply(ask, answer))
    bench.fill_all()
    ends = bench.ends(signal.signal_id)
    assert (ends[A].outcome, ends[A].stage, ends[A].reason) == (
        Outcome.REJECTED, "disagreement", "too alike",
    )  # fmt: skip
    assert ends[B].outcome is Outcome.FILLED


def test_a_size_scaled_to_nothing_is_not_traded():
    bench = Bench()
    signal, ask = stop_at(bench, "parameter_optimization")
    step = bench.reply(ask, agree(ask.question, units=1))
    (ask,) = [act for act in step.acts if isinstance(act, AskStage)]
    bench.reply(ask, agree(ask.question, scale=D("0.5")))
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, "learning_safety")
    assert bench.orders() == []


def test_units_are_cut_toward_zero_by_the_verdict():
    bench = Bench()
    _, ask = stop_at(bench, "parameter_optimization")
    step = bench.reply(ask, agree(ask.question, units=999))
    (ask,) = [act for act in step.acts if isinstance(act, AskStage)]
    bench.reply(ask, agree(ask.question, scale=D("0.5")))
    assert bench.said(IntentWritten)[0].intent.proposal.units == 499


def test_too_large_a_size_is_stopped_by_the_checks():
    bench = Bench()
    signal, ask = stop_at(bench, "parameter_optimization")
    huge = ask.question.account.headroom_units + 1
    step = bench.reply(ask, agree(ask.question, units=huge))
    bench.answer(step)
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, "checks")
    assert bench.said(ChecksDecided)[-1].objections


def test_headroom_itself_passes_the_checks():
    bench = Bench()
    signal, ask = stop_at(bench, "parameter_optimization")
    step = bench.reply(ask, agree(ask.question, units=ask.question.account.headroom_units))
    bench.answer(step)
    assert bench.ends(signal.signal_id) == {}
    assert len(bench.orders()) == 1


# -- late, double, never ---------------------------------------------------------------


@pytest.mark.parametrize("role", STAGES)
def test_a_late_answer_rejects_by_that_stage(role):
    bench = Bench()
    signal, ask = stop_at(bench, role)
    bench.now = ask.deadline_ns + 1
    bench.reply(ask, agree(ask.question))
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, role)
    assert "late" in end.reason


def test_an_answer_at_its_deadline_counts():
    bench = Bench()
    _, ask = stop_at(bench, "learning_safety")
    bench.now = ask.deadline_ns
    bench.reply(ask, agree(ask.question))
    assert len(bench.orders()) == 1


@pytest.mark.parametrize("role", STAGES)
def test_a_stage_that_never_answers_is_given_up_on(role):
    bench = Bench()
    signal, _ = stop_at(bench, role)
    bench.wait(2)
    assert bench.ends(signal.signal_id) == {}
    bench.wait(1)
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, role)


def test_a_signal_whose_time_is_over_expires():
    bench = Bench()
    signal = bench.signal(ttl_ms=1_000, accounts=(A,))
    step = bench.feed(SignalSeen(signal=signal))
    bench.now += 1_000_000_001
    bench.reply(step.acts[0], agree(step.acts[0].question))
    assert bench.ends(signal.signal_id)[A].outcome is Outcome.EXPIRED


def test_a_signal_expires_on_the_beat_while_it_waits():
    bench = Bench()
    signal = bench.signal(ttl_ms=500, accounts=(A,))
    bench.feed(SignalSeen(signal=signal))
    bench.wait(1)
    assert bench.ends(signal.signal_id)[A].outcome is Outcome.EXPIRED


def test_an_answer_given_twice_counts_once():
    bench = Bench()
    _, ask = stop_at(bench, "learning_safety")
    bench.reply(ask, agree(ask.question))
    bench.reply(ask, agree(ask.question))
    assert len(bench.orders()) == 1
    assert bench.kernel.answers_ignored == 1


def test_an_answer_to_no_question_changes_nothing():
    bench = Bench()
    before = bench.kernel.snapshot()
    step = bench.feed(
        StageAnswered(ask_id=99, agent_id="x", agent_version="1", answer=None, error="boo")
    )
    assert step.facts == ()
    assert bench.kernel.snapshot() == before


# -- at the door -----------------------------------------------------------------------


def test_a_signal_is_taken_once():
    bench = Bench()
    signal = bench.send_signal()
    bench.fill_all()
    step = bench.feed(SignalSeen(signal=signal))
    (fact,) = step.facts
    assert isinstance(fact, OperatorActed)
    assert "seen before" in fact.refused
    assert step.acts == ()


def test_a_signal_refused_once_is_not_taken_under_the_same_id_later():
    bench = Bench()
    bad = bench.signal(stop_distance=D("NaN"))
    bench.feed(SignalSeen(signal=bad))
    good = msgspec.structs.replace(bad, stop_distance=D("0.002"))
    assert bench.feed(SignalSeen(signal=good)).acts == ()
    assert len(bench.ends(bad.signal_id)) == 2


def test_a_nameless_signal_leaves_only_a_note():
    bench = Bench()
    step = bench.feed(SignalSeen(signal=bench.signal(signal_id="no spaces please")))
    (fact,) = step.facts
    assert isinstance(fact, OperatorActed)


@pytest.mark.parametrize(
    ("changes", "outcome"),
    [
        ({"stop_distance": D("NaN")}, Outcome.REJECTED),
        ({"reference_price": D(-1)}, Outcome.REJECTED),
        ({"instrument": "XAU_USD"}, Outcome.REJECTED),
        ({"created_ns": 0}, Outcome.EXPIRED),
    ],
)
def test_a_bad_signal_ends_at_once_at_every_account(changes, outcome):
    bench = Bench()
    signal = bench.signal(**changes)
    step = bench.feed(SignalSeen(signal=signal))
    assert [type(f) for f in step.facts] == [SignalEnded, SignalEnded]
    assert {e.outcome for e in bench.ends(signal.signal_id).values()} == {outcome}


def test_a_signal_for_one_account_asks_about_that_one():
    bench = Bench()
    step = bench.feed(SignalSeen(signal=bench.signal(accounts=(B,))))
    assert [v.account_id for v in step.acts[0].question.accounts] == [B]


def test_a_system_that_does_not_run_asks_nobody():
    bench = Bench(begin=False)
    bench.begin(run=False)
    signal = bench.signal()
    step = bench.feed(SignalSeen(signal=signal))
    assert step.acts == ()
    ends = bench.ends(signal.signal_id)
    assert {(e.outcome, e.stage) for e in ends.values()} == {(Outcome.REJECTED, "gate")}
    assert isinstance(step.facts[0], SignalAccepted)


def test_an_instrument_without_a_price_is_stopped_at_the_gate():
    bench = Bench(begin=False)
    bench.start_life()
    for account in bench.known():
        bench.feed(account.seen())
    from orchestrator.model.events import StartTrading

    bench.feed(StartTrading(actor="ann"))
    signal = bench.send_signal()
    assert "no price" in bench.ends(signal.signal_id)[A].reason


def test_questions_show_the_account_as_it_stands():
    bench = Bench()
    bench.send_signal(accounts=(B,))
    bench.fill_all()
    bench.wait(11)
    step = bench.feed(SignalSeen(signal=bench.signal(accounts=(B,))))
    (view,) = step.acts[0].question.accounts
    assert view.currency == "EUR"
    assert [t.units for t in view.open_trades] == [1_000]
    assert {e.currency: e.amount > 0 for e in view.exposures} == {"EUR": True, "USD": False}
    assert view.loss_factor == 1 / D("1.10000")
    assert view.gain_factor == 1 / D("1.10010")
    assert view.open_risk > 0


def test_the_gate_asks_again_only_when_something_moved_or_time_passed():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    assert bench.kernel.may_send(order.intent_id, bench.now) is None
    assert bench.kernel.may_send(order.intent_id, bench.now + 600_000_000) is None
    assert "time to live" in bench.kernel.may_send(order.intent_id, bench.now + 11 * 10**9)
    assert bench.kernel.may_send("tso-unknown", bench.now)


def test_the_gate_refuses_once_it_was_sent():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.fill(order)
    assert "not waiting" in bench.kernel.may_send(order.intent_id, bench.now)


def test_the_gate_refuses_when_a_breaker_has_tripped_since():
    from orchestrator.model.events import TripBreaker

    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.feed(TripBreaker(breaker="M1", subject="EUR_USD", actor="ann"))
    assert "M1" in bench.kernel.may_send(order.intent_id, bench.now)
    bench.feed(TripBreaker(breaker="M1", subject="GBP_USD", actor="ann"))
    assert "GBP" not in bench.kernel.may_send(order.intent_id, bench.now)


def test_the_gate_sees_a_price_that_went_stale_since():
    bench = Bench()
    bench.send_signal(accounts=(A,), ttl_ms=30_000)
    (order,) = bench.orders()
    bench.wait(20, alive=False)
    assert "C0" in bench.kernel.may_send(order.intent_id, bench.now)


def test_an_intent_of_another_epoch_is_not_sent():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    started = ServiceStarted(version="1", node="n", epoch=9, config_digest="d", unclean=True)
    bench.kernel.apply(started, bench.now)
    assert "epoch" in bench.kernel.may_send(order.intent_id, bench.now)


def test_an_intent_is_never_made_twice_even_if_its_signal_was_forgotten():
    bench = Bench()
    signal = bench.send_signal(accounts=(A,))
    bench.fill_all()
    bench.wait(11)
    bench.kernel._world.state.seen.clear()
    again = msgspec.structs.replace(signal, created_ns=bench.now)
    bench.facts.clear()
    bench.answer(bench.feed(SignalSeen(signal=again)))
    assert bench.orders() == []
    assert bench.said(ChecksDecided)[0].objections[0].startswith("C04")


def test_margin_in_flight_counts():
    bench = Bench(make_plan(checks=CheckLimits(margin_used_max=D("0.0003"))))
    bench.send_signal(accounts=(A,))  # 22 of 30
    second = bench.signal(accounts=(A,), instrument="GBP_USD", reference_price=D("1.3"))
    bench.answer(bench.feed(SignalSeen(signal=second)), units=1_000)
    assert bench.ends(second.signal_id)[A].reason.startswith("C14")


def test_roles_are_asked_in_their_order():
    bench = Bench()
    signal, _ = stop_at(bench, "learning_safety")
    assert [f.stage for f in bench.said(StageDecided)] == [
        Role.DISAGREEMENT, Role.STRATEGY_ANALYSIS, Role.PARAMETER_OPTIMIZATION,
    ]  # fmt: skip
    assert bench.ends(signal.signal_id) == {}


# -- exposures of other hands ------------------------------------------------------------


def stranger(bench, account, instrument, units, price, kind="LIMIT_ORDER"):
    """An entry order that somebody else lets rest at the venue."""
    made = bench.venue[account].add(
        type=kind, instrument=instrument, units=D(units), price=D(price), reason="CLIENT_ORDER"
    )
    bench.stream(account, made)
    return made.id


def objections(bench, account=A, **fields):
    signal = bench.signal(accounts=(account,), **fields)
    before = len(bench.said(ChecksDecided))
    bench.answer(bench.feed(SignalSeen(signal=signal)))
    return [text for fact in bench.said(ChecksDecided)[before:] for text in fact.objections]


def test_a_resting_order_of_other_hands_counts_as_if_it_were_filled():
    bench = Bench()
    stranger(bench, A, "GBP_USD", 600_000, "1.20000")
    held = {e.currency: e.amount for e in bench.kernel.exposures(A)}
    assert held == {"GBP": 720_000, "USD": -720_000}
    room = {
        side: bench.kernel.account_view(A, bench.now, "EUR_USD", side, D("0.001"))
        for side in (Side.BUY, Side.SELL)
    }
    # 12 x NAV less the stranger's dollars: 480,000. To sell euros buys dollars back: there the
    # gross binds, 15 x NAV less 720,000.
    assert room[Side.BUY].headroom_binds == "C15"
    assert abs(room[Side.BUY].headroom_units * D("1.1001") - 480_000) < 2
    assert abs(room[Side.SELL].headroom_units * D("1.1") - 780_000) < 2


def test_exposure_that_cannot_be_valued_takes_no_new_risk_on_any_account():
    bench = Bench()
    stranger(bench, A, "AUD_NZD", 1_000, "1.08000")  # no price turns NZD into dollars
    for account in (A, B):
        found = objections(bench, account)
        assert found == [] or any("C15" in text for text in found)
        view = bench.kernel.account_view(account, bench.now, "EUR_USD", Side.BUY, D("0.002"))
        assert view.headroom_units == 0


def test_no_order_against_another_account_nor_into_our_own_resting_one():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    bench.fill_all()
    sell = {"side": Side.SELL, "reference_price": D("1.10000")}
    assert any(text.startswith("C19 account") for text in objections(bench, B, **sell))
    bench.wait(6)
    stranger(bench, A, "GBP_USD", -10, "1.30020")
    buy = {"instrument": "GBP_USD", "reference_price": D("1.30010")}
    assert any(text.startswith("C19 the order would meet") for text in objections(bench, A, **buy))

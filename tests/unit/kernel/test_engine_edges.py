"""Rare turns of the engine: resets that come too early, what is missing, bounds that are met."""

from __future__ import annotations

import pytest

from orchestrator.kernel.engine import (
    conditions,
    exposing,
    leverage,
    losses,
    path,
    scene,
    sending,
    tightening,
)
from orchestrator.kernel.engine.turn import Turn
from orchestrator.kernel.ledger.book import PendingOrder
from orchestrator.kernel.orders.reading import Reading
from orchestrator.model.acts import AskStage, Liquidate
from orchestrator.model.events import (
    EmergencyStop,
    HistoriesSeen,
    ResetBreaker,
    SetOverride,
    SignalSeen,
    TripBreaker,
)
from orchestrator.model.facts import BreakerTripped, IntentWritten, OperatorActed
from orchestrator.model.limits import AccountPlan
from orchestrator.model.money import ONE
from orchestrator.model.orders import IntentState, NotSent
from orchestrator.model.outcomes import PatternSeen, RiskAdvice
from orchestrator.model.profiles import Profile, Tide, Window
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.signals import Outcome
from orchestrator.model.time import HOUR_NS, NS_PER_S
from tests.unit.kernel.engine_bench import A, B, Bench, D, agree, make_plan

NOBODY = "101-001-9-999"


def turn_of(bench):
    return Turn(bench.kernel._world, bench.now)


def record_of(bench, account=A):
    return bench.kernel._world.state.accounts[account]


def one_trade(bench, *, stop=True, **fields):
    """An order for account A and its fill; the trade."""
    bench.send_signal(accounts=(A,), **fields)
    (order,) = bench.orders()
    bench.fill(order, stop=stop)
    return list(bench.kernel.books[A].trades.values())[-1]


def asked(step):
    return [act for act in step.acts if isinstance(act, AskStage)]


# -- conditions of a reset -------------------------------------------------------------


@pytest.mark.parametrize(
    ("breaker", "subject", "said"),
    [
        ("A2", NOBODY, "money is not known"),
        ("A4", NOBODY, None),
        ("A8", NOBODY, "not reconciled"),
        ("A11", NOBODY, None),
        ("A2", A, None),
        ("A4", A, None),
        ("A8", A, None),
        ("A11", A, None),
        ("S12", "", None),
    ],
)
def test_what_a_breaker_waits_for_is_judged_where_it_can_be_known(breaker, subject, said):
    still = conditions.still(turn_of(Bench()), breaker, subject)
    assert (still is None) if said is None else said in still


def test_a_drawdown_that_still_stands_keeps_a2_until_the_peak_is_rebased():
    bench = Bench()
    record_of(bench).day.peak = D(200_000)
    assert "rebase the peak" in conditions.still(turn_of(bench), "A2", A)


def test_books_that_differ_keep_a8_and_the_difference_is_named():
    bench = Bench()
    record = record_of(bench)
    record.reconciled, record.differences = False, ("trade 7 is not at the venue",)
    assert "trade 7" in conditions.still(turn_of(bench), "A8", A)


def test_a_trade_without_its_stop_keeps_a8_from_the_fifth_second_on():
    bench = Bench()
    trade = one_trade(bench)
    naked = bench.kernel._world.live.account(A).naked
    naked[trade.trade_id] = (bench.now, bench.now)
    bench.now += 5 * NS_PER_S - 1
    assert conditions.still(turn_of(bench), "A8", A) is None
    bench.now += 1
    assert trade.trade_id in conditions.still(turn_of(bench), "A8", A)


def test_a_late_order_keeps_a8_while_its_trade_is_open():
    bench = Bench()
    trade = one_trade(bench)
    bench.kernel._world.state.ended[trade.intent_id].reason = f"{sending.LATE}turned up"
    assert trade.trade_id in conditions.still(turn_of(bench), "A8", A)


# -- a signal's path -------------------------------------------------------------------


def test_too_many_signals_on_their_way_refuse_the_next(monkeypatch):
    monkeypatch.setattr(path, "_SIGNALS_MAX", 1)
    bench = Bench()
    for _ in range(2):
        bench.feed_signal(accounts=(A,))
    refused = bench.signal(accounts=(A,))
    bench.feed(SignalSeen(signal=refused))
    assert "signals are on their way" in bench.ends(refused.signal_id)[A].reason


def test_an_account_whose_day_has_not_begun_is_not_asked_about():
    bench = Bench()
    record_of(bench).day = None
    signal = bench.send_signal()
    ends = bench.ends(signal.signal_id)
    assert ends[A].reason == "the account's money is not known"
    assert [order.intent_id for order in bench.orders()] == [bench.name(signal, B)]


def test_an_account_that_becomes_unknown_between_two_stages_ends_at_the_gate():
    bench = Bench()
    signal = bench.signal(accounts=(A,))
    (ask,) = asked(bench.feed(SignalSeen(signal=signal)))
    record_of(bench).specs = {}
    assert asked(bench.reply(ask, agree(ask.question))) == []
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage) == (Outcome.REJECTED, "gate")
    assert "are not known" in end.reason


def test_rules_that_are_gone_at_the_verdict_make_no_order():
    bench = Bench()
    signal = bench.signal(accounts=(A,))
    step = bench.feed(SignalSeen(signal=signal))
    for _ in range(3):
        (ask,) = asked(step)
        step = bench.reply(ask, agree(ask.question))
    (ask,) = asked(step)
    record_of(bench).specs = {}
    bench.reply(ask, agree(ask.question))
    assert bench.orders() == []
    assert bench.ends(signal.signal_id)[A].reason == "no rules"


def test_an_account_that_has_ended_meanwhile_takes_no_share():
    bench = Bench()
    signal = bench.signal()
    (ask,) = asked(bench.feed(SignalSeen(signal=signal)))
    path.end(turn_of(bench), signal.signal_id, A, Outcome.FAILED, "gate", "a test")
    step = bench.reply(ask, agree(ask.question))
    assert [act.question.account.account_id for act in asked(step)] == [B]
    turn = turn_of(bench)
    path.end(turn, signal.signal_id, A, Outcome.REJECTED, "gate", "again")
    assert turn.facts == []


def test_what_is_remembered_of_verdicts_is_bounded(monkeypatch):
    monkeypatch.setattr(path, "_VERDICTS_MAX", 1)
    bench = Bench()
    for name in ("one", "two"):
        bench.send_signal(strategy=name, accounts=(A,))
    assert [said.strategy for said in bench.kernel._world.live.verdicts.values()] == ["two"]


def test_an_order_that_the_venue_would_not_read_is_refused_by_its_check(monkeypatch):
    def unreadable(*_):
        raise ValueError("1E+7 is no number of the venue")

    monkeypatch.setattr(path, "order_request", unreadable)
    bench = Bench()
    signal = bench.send_signal(accounts=(A,))
    assert (bench.orders(), bench.said(IntentWritten)) == ([], [])
    assert bench.ends(signal.signal_id)[A].reason == "C02 1E+7 is no number of the venue"


# -- money that is not known -----------------------------------------------------------


def test_without_one_accounts_figures_there_are_no_totals():
    bench = Bench()
    world = bench.kernel._world
    assert scene.totals_of(world, A).accounts == 2
    record_of(bench, B).day.equity_start = D(0)
    record_of(bench, A).day.equity_start = D(0)
    turn = turn_of(bench)
    losses.judge_totals(turn, {A: D(1), B: D(1)}, losses.Witness(sure=True))
    assert turn.facts == []  # of nothing there is no fraction


def foreign_order(bench, **fields):
    """An entry order of other hands in account A's books."""
    values = {"instrument": "EUR_USD", "units": D(1_000), "price": D("1.10000")}
    order = PendingOrder(order_id="90", type="LIMIT", client_id="theirs", **{**values, **fields})
    bench.kernel.books[A].orders["90"] = order
    bench.kernel._world.live.books_moved(A)
    bench.kernel._world.forget()


def test_an_order_of_other_hands_counts_at_its_price():
    bench = Bench()
    foreign_order(bench)
    assert {e.currency: e.amount for e in bench.kernel.exposures(A)}["EUR"] == D("1100.00000")


@pytest.mark.parametrize("fields", [{"units": None}, {"instrument": None}])
def test_an_order_of_unknown_size_leaves_the_exposure_unknown_and_blocks(fields):
    bench = Bench()
    foreign_order(bench, **fields)
    world = bench.kernel._world
    assert exposing.exposed_of(world, A) is None
    assert exposing.currency_book(world, A) is None
    assert bench.kernel.exposures(A) == ()
    assert exposing.neighbours(world, B, "EUR_USD") is None


def test_a_trade_of_an_instrument_without_a_price_leaves_all_of_it_unknown():
    bench = Bench()
    one_trade(bench)
    world = bench.kernel._world
    book = bench.kernel.books[A]
    for trade in book.trades.values():
        trade.instrument = "AUD_NZD"
    world.live.books_moved(A)
    world.forget()
    assert exposing.exposed_of(world, A) is None
    assert scene.nav_of(world, A) is None
    assert scene.margin_of(world, A) is None
    assert scene.funds_of(world, A) is None
    assert scene.totals_of(world, B) is None
    turn = turn_of(bench)
    leverage.judge_margin(turn, A, D(1))
    losses.judge_totals(turn, {}, losses.Witness(sure=True))
    record_of(bench).day.day = "2000-01-01"
    losses.keep_day(turn)
    assert not [f for f in turn.facts if isinstance(f, BreakerTripped)]
    assert record_of(bench).day.day == "2000-01-01"  # a day begins with a NAV that is known


# -- people ----------------------------------------------------------------------------


def test_a_pattern_told_twice_trips_once():
    bench = Bench()
    seen = PatternSeen(
        kind="runaway", severity=Severity.CRITICAL, text="the same again", at_ns=bench.now,
        account_id=A,
    )  # fmt: skip
    for _ in range(2):
        bench.feed(seen)
    assert [f.breaker for f in bench.said(BreakerTripped)].count("A4") == 1


@pytest.mark.parametrize("known", [True, False])
def test_a_rebase_of_the_peak_needs_a_nav_that_is_known(known):
    bench = Bench()
    one_trade(bench)
    record_of(bench).day.peak = D(200_000)
    if not known:
        for trade in bench.kernel.books[A].trades.values():
            trade.instrument = "AUD_NZD"
        bench.kernel._world.live.books_moved(A)
    bench.feed(TripBreaker(breaker="A2", subject=A, actor="ann", reason="look"))
    bench.feed(ResetBreaker(breaker="A2", subject=A, actor="ann", reason="seen", rebase=True))
    assert (record_of(bench).day.peak < 200_000) is known


def override(bench, **fields):
    values = {
        "override_id": "o1", "limit": "A3", "scope": Scope.ACCOUNT, "subject": A, "value": None,
        "actor": "ann", "role": "admin", "reason": "a reason", "until_ns": None, "uses_max": 1,
    }  # fmt: skip
    bench.feed(SetOverride(**{**values, **fields}))
    return bench.said(OperatorActed)[-1].refused


def test_an_early_reset_needs_an_actor_and_a_reason():
    bench = Bench()
    assert "actor and reason are needed" in override(bench, actor=" ")
    assert "actor and reason are needed" in override(bench, reason="", override_id="o2")


def test_a_stop_of_one_account_liquidates_that_account_until_it_is_flat():
    bench = Bench()
    one_trade(bench)
    bench.feed(EmergencyStop(stop_id="x", actor="ann", reason="fear", accounts=(A,)))
    turn = turn_of(bench)
    losses.liquidate_again(turn)
    assert [act.accounts for act in turn.acts if isinstance(act, Liquidate)] == [(A,)]
    bench.kernel.books[A].trades.clear()
    record_of(bench).book = None
    turn = turn_of(bench)
    losses.liquidate_again(turn)
    assert turn.acts == []


# -- orders that are answered late -----------------------------------------------------


def test_an_answer_about_an_order_that_was_never_ours_says_nothing():
    bench = Bench()
    step = bench.finish("tso-none", NotSent(reason="?", by_gate=True))
    assert (step.facts, step.acts) == ((), ())


def test_the_orders_that_are_watched_for_doubles_are_bounded(monkeypatch):
    monkeypatch.setattr(sending, "_ORDERS_WATCHED_MAX", 1)
    bench = Bench()
    one_trade(bench)
    bench.wait(6)
    trade = one_trade(bench)
    assert list(bench.kernel._world.live.orders_of) == [trade.intent_id]


def test_a_late_order_under_a8_is_told_and_latches_no_second_time():
    bench = Bench()
    trade = one_trade(bench)
    bench.feed(TripBreaker(breaker="A8", subject=A, actor="ann", reason="look"))
    ended = bench.kernel._world.state.ended[trade.intent_id]
    ended.state = IntentState.ABSENT
    turn = turn_of(bench)
    reading = Reading(state=IntentState.FILLED, trade_id="gone", order_ids=("5",))
    sending._found_late(turn, ended, reading)
    assert not [fact for fact in turn.facts if isinstance(fact, BreakerTripped)]
    assert len(turn.facts) >= 2  # the move and the alert


# -- what tightens ---------------------------------------------------------------------


def test_hours_that_are_over_and_other_regimes_scale_nothing():
    never = Window(days=(6,), zone="UTC")
    profile = Profile(
        name="firm", tides=(Tide(window=never, scale=D("0.5"), text="sunday"),),
        regimes=(("volatile", D("0.5")),), profit_target=D("0.1"),
    )  # fmt: skip
    bench = Bench(make_plan(accounts=(AccountPlan(account_id=A, profile=profile),)))
    world = bench.kernel._world
    assert tightening.scale_of(world, A, "EUR_USD", regime="range") == ONE
    assert tightening.scale_of(world, A, "EUR_USD", regime="volatile") == D("0.5")
    assert "sunday" not in {t.why for t in bench.kernel.tightenings(A, bench.now)}
    record_of(bench).day = None
    assert tightening._waiting(world, A) is None
    world.state.accounts.pop(A)
    assert tightening._waiting(world, A) is None


def test_advice_for_another_account_and_verdicts_that_left_all_tighten_nothing():
    bench = Bench()
    bench.feed(
        RiskAdvice(
            source="pattern_detection", scale=D("0.5"), until_ns=bench.now + HOUR_NS, text="calm",
            account_id=B,
        )
    )  # fmt: skip
    bench.send_signal(accounts=(A,))
    assert bench.kernel.tightenings(A, bench.now) == ()
    assert [t.by for t in bench.kernel.tightenings(B, bench.now)] == ["agent pattern_detection"]


def test_a_verdict_that_left_half_is_shown():
    bench = Bench()
    signal = bench.signal(accounts=(A,))
    bench.answer(bench.feed(SignalSeen(signal=signal)), scale=D("0.5"))
    (told,) = bench.kernel.tightenings(A, bench.now)
    assert (told.by, told.scale) == ("agent learning_safety", D("0.5"))


def test_a_tightening_by_a_person_is_shown_with_what_it_was():
    bench = Bench()
    assert not override(
        bench, limit="risk_per_trade", value=D("0.001"), role="operator", override_id="t1"
    )
    told = [t for t in bench.kernel.tightenings(A, bench.now) if t.by == "ann"]
    assert [(t.limit, t.value) for t in told] == [("risk_per_trade", D("0.001"))]
    assert "was" in told[0].why
    assert bench.kernel.tightenings(B, bench.now) == ()


def test_histories_teach_how_currencies_move():
    bench = Bench()
    assert bench.feed(HistoriesSeen(histories=())).facts == ()

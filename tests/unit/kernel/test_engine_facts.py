"""Facts of a journal that come out of order, twice, or about what is gone: none may do harm."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.engine import Kernel, applying
from orchestrator.kernel.engine.state import State
from orchestrator.model.facts import (
    BreakerMoved,
    BreakerReset,
    DayStarted,
    IntentMoved,
    OverrideEnded,
    OverrideUsed,
    PeakRaised,
    ProfileTaken,
    SignalAccepted,
    SignalEnded,
    TradeClosed,
    TransactionApplied,
    TransactionHole,
)
from orchestrator.model.limits import CheckLimits
from orchestrator.model.orders import IntentState
from orchestrator.model.safety import BreakerState, Scope
from orchestrator.model.signals import Outcome
from orchestrator.model.time import DAY_NS, HOUR_NS
from orchestrator.model.venue import ClientExtensions as Ext
from orchestrator.model.venue import Transaction
from tests.unit.kernel.engine_bench import START, A, B, Bench, D, make_plan

LIMITS = CheckLimits()


def applied(state, *facts, at=START):
    for fact in facts:
        applying.apply_fact(state, fact, at, LIMITS)
    return state


def financing(number, amount, balance):
    return TransactionApplied(
        account_id=A, source="stream",
        transaction=Transaction(
            id=str(number), account_id=A, type="DAILY_FINANCING", financing=D(amount),
            account_balance=D(balance),
        ),
    )  # fmt: skip


def closed(trade="7", **fields):
    """A losing trade of ours that its stop closed."""
    values = {
        "account_id": A, "trade_id": trade, "instrument": "EUR_USD", "units": D(-1_000),
        "price": D("1.09"), "realized_pl": D(-10), "financing": D(0), "reason": "STOP_LOSS_ORDER",
        "strategy": "trend", "remaining": D(0), "ours": True, "closed_ns": START,
    }  # fmt: skip
    return TradeClosed(**{**values, **fields})


@pytest.mark.parametrize(
    "fact",
    [
        financing(11, "5", "105"),
        TransactionHole(account_id=A, transaction_id=11),
        PeakRaised(account_id=A, peak=D(5)),
        OverrideUsed(
            override_id="o1", limit="risk_per_trade", account_id=A, intent_id="i", signal_id="s",
            uses_left=0,
        ),
        OverrideEnded(
            override_id="o1", limit="risk_per_trade", subject=A, actor="ann", reason="done"
        ),
        IntentMoved(intent_id="i", signal_id="s", account_id=A, state=IntentState.FILLED),
        BreakerMoved(
            breaker="A3", scope=Scope.ACCOUNT, subject=A, state=BreakerState.PROBING,
            until_ns=START, reason="cooled",
        ),
    ],
    ids=lambda fact: type(fact).__name__,
)  # fmt: skip
def test_a_fact_about_what_is_not_there_makes_nothing_up(fact):
    state = applied(State(), fact)
    record = state.accounts.get(A)
    assert record is None or (record.book, record.day, record.returns) == (None, None, {})
    assert (state.intents, state.ended, state.overrides) == ({}, {}, {})
    assert state.board.trips == {}


def test_a_profile_for_an_account_without_a_day_waits_for_its_day():
    fact = ProfileTaken(account_id=A, profile="firm", start=D(1), peak=D(1), high=D(1))
    state = applied(State(), fact)
    assert state.accounts[A].day is None


def test_money_that_is_booked_before_the_first_day_stands_in_the_book_only():
    bench = Bench()
    state = bench.kernel._world.state
    record = state.accounts[A]
    record.day = None
    applied(state, financing(11, "5", "100005"))
    assert record.book.balance == 100_005
    assert record.day is None


def test_an_account_with_nothing_before_has_no_return():
    bench = Bench()
    state = bench.kernel._world.state
    applied(state, financing(11, "5", "5"))
    assert state.accounts[A].returns == {}
    applied(state, financing(12, "5", "10"))
    assert state.accounts[A].returns == {START // HOUR_NS: D(1)}


def test_hours_of_returns_parts_of_trades_and_kinds_of_order_are_bounded():
    bench = Bench()
    state = bench.kernel._world.state
    balance = D(100_000)
    for hour in range(501):
        balance += 1
        applied(state, financing(11 + hour, "1", balance), at=START + hour * HOUR_NS)
    returns = state.accounts[A].returns
    assert len(returns) == 500
    assert START // HOUR_NS not in returns
    for number in range(1_001):
        applied(state, closed(str(number), remaining=D(1)))
    parts = state.accounts[A].parts
    assert (len(parts), "0" in parts, "1000" in parts) == (1_000, False, True)


def test_a_trade_that_is_not_ours_is_no_loss_of_ours():
    state = applied(State(), closed(ours=False))
    assert A not in state.accounts


def test_a_trade_counts_once_by_all_its_parts_when_its_last_part_is_closed():
    state = applied(State(), closed(realized_pl=D(-30), remaining=D(500)))
    assert state.accounts[A].losing_run == 0
    applied(state, closed(realized_pl=D(20)))
    record = state.accounts[A]
    assert (record.losing_run, record.stop_outs, record.parts) == (1, [START], {})
    applied(state, closed("8", realized_pl=D(0)))
    assert record.losing_run == 0


def test_a_person_who_resets_the_losing_run_has_it_forgotten_and_the_kernel_does_not():
    state = applied(State(), closed("7"), closed("8"))
    reset = BreakerReset(
        breaker="A3", scope=Scope.ACCOUNT, subject=A, actor="kernel", reason="cool"
    )
    applied(state, reset)
    assert state.accounts[A].losing_run == 2
    applied(state, msgspec.structs.replace(reset, actor="ann"))
    assert (state.accounts[A].losing_run, state.accounts[A].stop_outs) == (0, [])


def test_a_signal_for_nobody_is_remembered_so_that_it_is_not_taken_twice():
    bench = Bench()
    state = applied(State(), SignalAccepted(signal=bench.signal(signal_id="x"), accounts=()))
    assert ("x" in state.seen, state.signals) == (True, {})


def test_an_end_is_remembered_even_of_a_signal_never_taken_and_counts_once():
    end = SignalEnded(
        signal_id="x", account_id=A, outcome=Outcome.REJECTED, stage="gate", reason="r"
    )
    state = applied(State(), end, end)
    assert ("x" in state.seen, state.signals) == (True, {})
    bench = Bench()
    applied(state, SignalAccepted(signal=bench.signal(signal_id="y"), accounts=(A, "other")))
    for _ in range(2):
        applied(state, msgspec.structs.replace(end, signal_id="y"))
    assert state.signals["y"].open == ["other"]


def test_signals_of_yesterday_are_forgotten_and_those_of_today_are_not():
    bench = Bench()
    state = State()
    for name, at in (("old", START), ("new", START + DAY_NS), ("last", START + DAY_NS + 1)):
        fact = SignalAccepted(signal=bench.signal(signal_id=name), accounts=())
        applied(state, fact, at=at)
    assert list(state.seen) == ["new", "last"]


def test_an_ended_intent_that_moves_again_stays_ended():
    bench = Bench()
    bench.send_signal(accounts=(A,))
    (order,) = bench.orders()
    bench.fill(order)
    state = bench.kernel._world.state
    again = IntentMoved(
        intent_id=order.intent_id, signal_id="s1", account_id=A, state=IntentState.FILLED,
        reason="told again",
    )  # fmt: skip
    applied(state, again, at=START + 5)
    record = state.ended[order.intent_id]
    assert (record.reason, record.since_ns) == ("told again", START)
    assert order.intent_id not in state.intents


def test_a_second_day_starts_from_its_own_equity():
    state = applied(State(), DayStarted(account_id=A, day="d1", equity=D(100)))
    applied(state, DayStarted(account_id=A, day="d2", equity=D(90)))
    day = state.accounts[A].day
    assert (day.day, day.equity_start, day.peak) == ("d2", D(90), D(100))


def test_a_hole_in_a_book_moves_its_watermark():
    bench = Bench()
    kernel = Kernel(make_plan())
    kernel.restore(bench.kernel.snapshot())
    kernel.apply(TransactionHole(account_id=A, transaction_id=11), START)
    assert kernel.books[A].last_id == 11


def test_the_highest_epoch_of_our_form_is_remembered_by_account():
    """R6: also where a life that read it was killed before it could begin above it."""
    bench = Bench()
    names = {"client_extensions": Ext(id="tso-" + "0" * 32, tag="e17")}
    order = {"type": "MARKET_ORDER", "instrument": "EUR_USD", "units": D(5), **names}
    bench.stream(A, bench.venue[A].add(**order))
    older = Ext(id="tso-" + "1" * 32, tag="e3")
    bench.stream(A, bench.venue[A].add(**{**order, "client_extensions": older}))
    assert (bench.kernel.epoch_seen(A), bench.kernel.epoch_seen(B)) == (17, 0)
    assert bench.kernel.epoch_seen("101-001-9-009") == 0
    fresh = Kernel(bench.plan)
    for fact, at in bench.facts:
        fresh.apply(fact, at)
    assert fresh.epoch_seen(A) == 17

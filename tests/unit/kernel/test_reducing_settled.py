"""What a person asked for is settled by the venue's log, however late or odd."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.engine import reducing
from orchestrator.model.acts import FetchTransactions, SendAlert
from orchestrator.model.events import (
    ReadFailed,
    SignalSeen,
    TransactionsSeen,
)
from orchestrator.model.facts import (
    BreakerTripped,
    ReductionMoved,
    subject_of,
)
from orchestrator.model.limits import CheckLimits
from orchestrator.model.money import ONE
from orchestrator.model.orders import NotSent, Rejected, Unknown
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import TradeClose
from tests.unit.kernel.engine_bench import A, D, make_plan
from tests.unit.kernel.reducing_desk import Desk, S, moved_stop


@pytest.fixture
def desk():
    return Desk()


# -- unknown ---------------------------------------------------------------------------------------


def test_an_answer_that_never_comes_is_settled_by_the_log(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.acts.clear()
    desk.finish(act.intent_id, Unknown(reason="no answer within 5 s"))
    assert desk.state() == (S.UNKNOWN, "no answer within 5 s")
    assert desk.done(FetchTransactions)
    blocks = [text for text in desk.kernel.account_view(
        A, desk.now, "EUR_USD").blocked_by if "is unknown" in text]  # fmt: skip
    assert len(blocks) == 1
    assert desk.refused("close_trade", trade, units=D(700)).startswith("C21")
    desk.trade_close(trade, "400")
    desk.serve_reads()
    assert desk.state()[0] is S.DONE


def test_one_that_never_arrived_is_absent_after_several_reads(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
        if desk.state()[0] is not S.UNKNOWN:
            break
    assert desk.state() == (S.ABSENT, "absent from the venue's log after several reads")
    assert any("has not reached" in act.alert.title for act in desk.done(SendAlert))
    desk.sent("close_trade", trade, units=D(400))
    assert desk.replay().snapshot() == desk.kernel.snapshot()


def test_a_close_that_comes_after_it_was_thought_absent_is_told(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    assert desk.state()[0] is S.ABSENT
    made, fill = desk.position_close(trade, act.intent_id, "400")
    desk.stream(A, made, fill)
    assert desk.state() == (S.DONE, "late: MARKET_ORDER_POSITION_CLOSEOUT")
    assert any("came late" in act.alert.title for act in desk.done(SendAlert))


def test_a_failed_read_is_asked_for_again(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    desk.acts.clear()
    desk.feed(ReadFailed(account_id=A, reason="503"))
    assert desk.done(FetchTransactions)


def test_unknown_for_long_is_a7s_business(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    desk.wait(35)
    assert "A7" in {fact.breaker for fact in desk.said(BreakerTripped)}


def test_a_crash_leaves_what_was_written_unknown_and_nothing_is_sent_again(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.start_life(unclean=True)
    assert desk.state() == (S.UNKNOWN, "crash: left by an earlier life")
    assert desk.orders() == []
    desk.start_life(unclean=True)
    assert desk.state()[0] is S.UNKNOWN
    desk.trade_close(trade, "400")
    desk.serve_reads()
    assert desk.state()[0] is S.DONE


def test_a_sender_that_falls_silent_is_not_waited_for(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.wait(60)
    assert desk.state()[0] is S.WRITTEN
    desk.wait(2)
    assert desk.state() == (S.UNKNOWN, "the sender does not tell")
    desk.finish(act.intent_id, NotSent(reason="waited 10 s"))
    assert desk.state() == (S.NOT_SENT, "waited 10 s")


def test_a_refusal_that_proves_nothing_is_unknown(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=408, code="", message="time-out"))
    assert desk.state()[0] is S.UNKNOWN
    desk.finish(act.intent_id, Unknown(reason="again"))
    assert desk.state()[0] is S.UNKNOWN


def test_an_answer_before_its_transactions_is_not_yet_done(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.answered(act)
    assert desk.state() == (S.UNKNOWN, "told by the answer, not yet by the log")


def test_a_step_that_no_life_has_is_an_integrity_breach(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.answered(act, *desk.trade_close(trade))
    record = desk.kernel.reduction(A, "c1")
    turn = reducing.Turn(desk.kernel._world, desk.now)
    reducing.move(turn, record, reducing.Told(state=S.UNKNOWN))
    (tripped,) = [fact for fact in turn.facts if isinstance(fact, BreakerTripped)]
    assert (tripped.breaker, tripped.evidence) == (
        "S4",
        f"reduction {act.intent_id}: done -> unknown",
    )


# -- the log ---------------------------------------------------------------------------------------


def test_another_hands_close_of_other_units_is_not_ours(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.stream(A, *desk.trade_close(trade, "300"))
    assert desk.state()[0] is S.WRITTEN
    desk.stream(A, *desk.trade_close(trade, "ALL"))
    assert desk.state() == (S.REFUSED, "it was closed before")


def test_of_two_like_closes_the_older_one_takes_the_first_word(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, command_id="first")
    desk.sent("close_trade", trade, command_id="second")
    desk.stream(A, *desk.trade_close(trade, cancel="MARKET_HALTED"))
    assert desk.state("first") == (S.REFUSED, "MARKET_HALTED")
    assert desk.state("second")[0] is S.WRITTEN


def test_a_close_that_the_venue_rejects_is_refused(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    tx = desk.venue[A].add(
        type="MARKET_ORDER_REJECT", instrument="EUR_USD", reason="TRADE_CLOSE",
        reject_reason="CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE",
        trade_close=TradeClose(trade_id=trade, units="400.0"),
    )  # fmt: skip
    told = Rejected(
        status=400, code="CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE", message="", transactions=(tx,),
        last_transaction_id=tx.number,
    )  # fmt: skip
    desk.finish(act.intent_id, told)
    assert desk.state() == (S.REFUSED, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")


@pytest.mark.parametrize("units", [None, "many", "NaN"])
def test_a_closes_units_that_are_no_number_are_nobodys(desk, units):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    tx = desk.venue[A].add(
        type="MARKET_ORDER", instrument="EUR_USD", units=D(-400), reason="TRADE_CLOSE",
        trade_close=TradeClose(trade_id=trade, units=units),
    )  # fmt: skip
    desk.stream(A, tx)
    assert desk.state()[0] is S.WRITTEN
    assert not [f for f in desk.said(BreakerTripped) if f.breaker == "S4"]


def test_transactions_of_one_account_settle_nothing_of_another():
    desk = Desk(make_plan(checks=CheckLimits(correlation_max=ONE)))
    desk.answer(desk.feed(SignalSeen(signal=desk.signal())))
    desk.fill_all()
    (trade,) = desk.venue[A].trades
    desk.wait(11)
    desk.sent("close_trade", trade)
    other = desk.plan.accounts[1].account_id
    tx = desk.venue[other].add(type="TRANSFER_FUNDS", amount=D(5))
    desk.feed(
        TransactionsSeen(
            account_id=other, transactions=(tx,), last_transaction_id=tx.number, source="stream"
        )
    )
    assert desk.state()[0] is S.WRITTEN


def test_what_has_ended_is_remembered_for_a_day(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(10), command_id="mine")
    desk.answered(act, *desk.trade_close(trade, "10"))
    assert [each.state for each in desk.kernel.reductions()] == [S.DONE]
    desk.now += 25 * 3600 * NS_PER_S
    desk.ask("close_trade", trade, units=D(20), command_id="later")
    (second,) = desk.orders()
    desk.finish(second.intent_id, NotSent(reason="x"))
    assert desk.state("mine") is None


def test_a_word_about_an_unknown_reduction_changes_nothing(desk):
    before = desk.kernel.snapshot()
    moved = ReductionMoved(reduction_id="tsc-0", account_id=A, state=S.DONE)
    desk.kernel.apply(moved, desk.now)
    assert desk.kernel.snapshot() == before
    assert subject_of(moved) == "tsc-0"


def test_what_is_unknown_is_never_sent(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    said = desk.kernel.may_send(act.intent_id, desk.now)
    assert said == f"{act.intent_id} is not waiting to be sent"


def test_a_cancel_on_its_way_is_not_settled_by_other_news(desk):
    order, trade = desk.rest_limit(), desk.open()
    desk.sent("cancel_order", order)
    desk.stream(A, *moved_stop(desk, trade, "1.09000"))
    assert desk.state()[0] is S.WRITTEN


def test_a_read_before_the_life_has_begun_settles_nothing(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    fresh = desk.replay()
    last = desk.venue[A].last_id
    seen = TransactionsSeen(
        account_id=A, transactions=(), last_transaction_id=last, source="gap_fill",
        complete_to=last,
    )  # fmt: skip
    fresh.step(seen, desk.now)
    assert fresh.reduction(A, "c1").state is S.UNKNOWN


def test_an_unknown_close_blocks_its_own_instrument_and_account_only():
    desk = Desk(make_plan(checks=CheckLimits(correlation_max=ONE)))
    desk.answer(desk.feed(SignalSeen(signal=desk.signal(accounts=(A,)))))
    desk.fill_all()
    (trade,) = desk.venue[A].trades
    desk.wait(11)
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    other = desk.plan.accounts[1].account_id
    blocked = {
        (name, pair): any("is unknown" in text for text in view.blocked_by)
        for name in (A, other)
        for pair in ("EUR_USD", "GBP_USD")
        if (view := desk.kernel.account_view(name, desk.now, pair)) is not None
    }
    assert [key for key, value in blocked.items() if value] == [(A, "EUR_USD")]
    assert len(blocked) == 4


def test_one_side_of_two_that_is_done_leaves_the_other(desk):
    long, short = desk.open(), desk.open()
    desk.kernel.books[A].trades[short].units = D(-600)
    held = desk.venue[A].trades[short]
    desk.venue[A].trades[short] = msgspec.structs.replace(held, current_units=D(-600))
    act = desk.sent("close_position", "EUR_USD")
    desk.stream(A, *desk.position_close(long, act.intent_id))
    assert desk.state()[0] is S.WRITTEN


def test_what_proves_nothing_says_so(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=408, code="", message="slow"))
    assert desk.state()[1] == "HTTP 408  slow: no proof that nothing was accepted"

"""The end of what a person asked for: said to the last field; and what is no news of it."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.orders.identity import reduction_id
from orchestrator.model.acts import FetchTransactions, SendAlert
from orchestrator.model.facts import (
    BreakerTripped,
    ReductionMoved,
)
from orchestrator.model.money import Side
from orchestrator.model.orders import NotSent, Rejected, Unknown
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import TradeClose
from tests.unit.kernel.engine_bench import A, D
from tests.unit.kernel.reducing_desk import Desk, S, both_sides, moved_stop


@pytest.fixture
def desk():
    return Desk()


# -- what is said, to the last field ---------------------------------------------------------------


def moves(desk, command_id="c1"):
    return [
        fact for fact in desk.said(ReductionMoved)
        if fact.reduction_id == reduction_id(command_id, A)
    ]  # fmt: skip


def alerts(desk):
    return [act.alert for act in desk.done(SendAlert) if act.alert.key.startswith("reduction:")]


def test_the_end_of_a_close_is_told_with_its_transaction_and_times(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    made = desk.trade_close(trade)
    desk.answered(act, *made)
    assert moves(desk) == [
        ReductionMoved(
            reduction_id=act.intent_id, account_id=A, state=S.DONE,
            reason="MARKET_ORDER_TRADE_CLOSE", transaction_id=made[1].number,
            first_byte_ns=desk.now, latency_us=100,
        )
    ]  # fmt: skip
    assert desk.kernel.reduction(A, "c1").transaction_id == made[1].number
    assert desk.kernel.reduction(A, "c1").since_ns == desk.now
    assert alerts(desk) == []


def test_a_late_answer_tells_nothing_anew(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.stream(A, *desk.trade_close(trade))
    (told,) = moves(desk)
    assert (told.first_byte_ns, told.latency_us) == (0, 0)
    desk.finish(act.intent_id, NotSent(reason="x"))
    assert len(moves(desk)) == 1
    assert desk.kernel._world.live.sent == {}


def test_each_end_names_its_transaction_and_its_reason(desk):
    order = desk.rest_limit()
    desk.sent("cancel_order", order)
    tx = desk.venue[A].add(type="ORDER_CANCEL", order_id=order, reason="CLIENT_REQUEST")
    desk.stream(A, tx)
    assert (moves(desk)[0].transaction_id, moves(desk)[0].reason) == (tx.number, "CLIENT_REQUEST")
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="stop")
    made = moved_stop(desk, trade, "1.09900")
    desk.stream(A, *made)
    assert moves(desk, "stop")[0].transaction_id == made[1].number
    desk.sent("close_trade", trade, units=D(5), command_id="no")
    tx = desk.venue[A].add(
        type="MARKET_ORDER_REJECT", reason="TRADE_CLOSE",
        trade_close=TradeClose(trade_id=trade, units="5"),
    )  # fmt: skip
    desk.stream(A, tx)
    told = moves(desk, "no")[0]
    assert (told.state, told.reason, told.transaction_id) == (
        S.REFUSED, "MARKET_ORDER_REJECT", tx.number,
    )  # fmt: skip


def test_what_is_absent_or_late_is_told_to_people_by_name(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    (absent,) = alerts(desk)
    assert (absent.key, absent.severity, absent.subject) == (
        f"reduction:{act.intent_id}", "warning", A,
    )  # fmt: skip
    assert absent.title == "A close has not reached the venue"
    assert absent.text == (
        "close_position EUR_USD by ann: absent from the venue's log after several reads"
    )
    desk.stream(A, *desk.position_close(trade, act.intent_id, "400"))
    assert alerts(desk)[1].title == "A close came late"
    assert desk.kernel._world.live.settling == {}


def test_a_late_cancel_of_what_was_absent_is_not_overtaken_by_the_books(desk):
    """Its trade goes by a stop after it was thought absent: that is no news of it."""
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    desk.stream(A, *desk.venue[A].close(trade, D("1.098"), D("-2")))
    assert desk.state()[0] is S.ABSENT


# -- the books -------------------------------------------------------------------------------------


def test_a_side_that_is_gone_ends_its_close_and_no_other(desk):
    long, _ = both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=Side.BUY, command_id="long")
    desk.sent("close_position", "EUR_USD", side=Side.SELL, units=D(5), command_id="short")
    desk.stream(A, *desk.venue[A].close(long, D("1.098"), D("-2")))
    assert desk.state("long") == (S.DONE, "it is closed")
    assert desk.state("short")[0] is S.WRITTEN


@pytest.mark.parametrize(
    ("side", "price", "ends"),
    [
        (Side.BUY, "1.09900", True), (Side.BUY, "1.09950", True), (Side.BUY, "1.09850", False),
        (Side.SELL, "1.10100", True), (Side.SELL, "1.10050", True), (Side.SELL, "1.10150", False),
    ],
)  # fmt: skip
def test_a_stop_that_another_hand_moved_as_far_ends_the_wish(desk, side, price, ends):
    reference = D("1.10010") if side is Side.BUY else D("1.10000")
    trade = desk.open(side=side, reference_price=reference)
    wished = D("1.09900") if side is Side.BUY else D("1.10100")
    desk.sent("tighten_stop", trade, price=wished)
    desk.stream(A, *moved_stop(desk, trade, price))
    assert (desk.state()[0] is S.DONE) is ends


def test_the_search_begins_at_the_answer_and_is_hurried_once(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.acts.clear()
    desk.finish(act.intent_id, Unknown(reason="reset"))
    live = desk.kernel._world.live
    settling = live.settling[act.intent_id]
    assert (settling.ended_ns, settling.highest) == (desk.now, desk.venue[A].last_id)
    (read,) = desk.done(FetchTransactions)
    assert (read.account_id, read.after_ms) == (A, 250)
    desk.now += NS_PER_S
    desk.finish(act.intent_id, Unknown(reason="again"))
    assert live.settling[act.intent_id].ended_ns == settling.ended_ns
    assert len(desk.done(FetchTransactions)) == 1


def test_a_401_blames_the_account_that_was_asked(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=403, code="", message="no"))
    (tripped,) = [f for f in desk.said(BreakerTripped) if f.breaker == "A10"]
    assert (tripped.subject, tripped.evidence.count("HTTP 403")) == (A, 1)
    again = desk.venue[A].last_id
    assert again == desk.kernel.books[A].last_id


# -- what is not news of it ------------------------------------------------------------------------


@pytest.mark.parametrize("side", [None, Side.BUY, Side.SELL])
def test_other_news_of_the_account_ends_no_close_of_what_is_still_open(desk, side):
    long, short = both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=side)
    desk.stream(A, *moved_stop(desk, long, "1.09000"))
    assert desk.state()[0] is S.WRITTEN
    gone = long if side is Side.SELL else short
    desk.kernel.books[A].trades.pop(gone)
    desk.stream(A, desk.venue[A].add(type="DAILY_FINANCING", financing=D(0)))
    assert desk.state()[0] is S.WRITTEN


def test_both_sides_of_one_size_can_be_closed_at_once(desk):
    both_sides(desk, 1000)
    desk.sent("close_position", "EUR_USD")


def test_a_target_at_the_price_of_the_new_stop_is_not_the_stop(desk):
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"))
    for other in (
        {"type": "TAKE_PROFIT_ORDER", "trade_id": trade, "price": D("1.09900")},
        {"type": "STOP_LOSS_ORDER_REJECT", "trade_id": "99", "price": D("1.09900")},
        {"type": "STOP_LOSS_ORDER_REJECT", "trade_id": trade, "price": D("1.09800")},
        {"type": "LIMIT_ORDER_REJECT", "reject_reason": "X"},
    ):
        desk.stream(A, desk.venue[A].add(**other))
        assert desk.state()[0] is S.WRITTEN


def test_a_strangers_rejected_order_is_no_word_about_a_close(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.stream(A, desk.venue[A].add(type="LIMIT_ORDER_REJECT", reject_reason="X"))
    desk.stream(A, desk.venue[A].add(type="MARKET_ORDER_REJECT", reject_reason="X"))
    assert desk.state()[0] is S.WRITTEN


@pytest.mark.parametrize("units", [None, "many"])
def test_the_fill_of_a_close_without_a_number_is_not_ours_either(desk, units):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    made, fill = desk.trade_close(trade, "400")
    odd = msgspec.structs.replace(made, trade_close=TradeClose(trade_id=trade, units=units))
    desk.stream(A, odd, fill)
    assert desk.state()[0] is S.WRITTEN

"""A person closes, cancels and tightens: what passes, and what becomes of it."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.orders.identity import reduction_id
from orchestrator.model.facts import (
    ReductionWritten,
)
from orchestrator.model.money import Side
from orchestrator.model.orders import NotSent, Rejected, WriteKind
from orchestrator.model.venue import ClientExtensions as Ext
from tests.unit.kernel.engine_bench import A, D
from tests.unit.kernel.reducing_desk import Desk, S, body, moved_stop


@pytest.fixture
def desk():
    return Desk()


# -- closing a trade -------------------------------------------------------------------------------


def test_a_trade_is_closed_whole_and_the_log_says_so(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    assert (act.request.kind, act.request.target) == (WriteKind.CLOSE_TRADE, trade)
    assert body(act) == {"units": "ALL"}
    assert act.repeatable
    assert desk.state() == (S.WRITTEN, "")
    desk.answered(act, *desk.trade_close(trade))
    assert desk.state() == (S.DONE, "MARKET_ORDER_TRADE_CLOSE")
    assert desk.kernel.books[A].trades == {}
    assert desk.replay().snapshot() == desk.kernel.snapshot()


def test_a_part_of_a_trade_is_closed_and_is_no_repeatable_act(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    assert body(act) == {"units": "400"}
    assert not act.repeatable
    desk.answered(act, *desk.trade_close(trade, "400"))
    assert desk.state()[0] is S.DONE
    assert desk.kernel.books[A].trades[trade].units == 600


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"units": D(1001)}, "C21 trade {} has 1000 units, 0 of them are being closed"),
        ({"units": D("0.5")}, "C02 0.5 units are finer than EUR_USD allows (1)"),
        ({"units": D(0)}, "C02 0 is no number for units"),
        ({"units": D(-5)}, "C02 -5 is no number for units"),
        ({"units": D("NaN")}, "C02 NaN is no number for units"),
        ({"units": D("Infinity")}, "C02 Infinity is no number for units"),
    ],
)
def test_units_that_are_not_there_are_not_closed(desk, fields, said):
    trade = desk.open()
    assert said.format(trade) in desk.refused("close_trade", trade, **fields)
    assert desk.state() is None


def test_a_trade_that_is_not_open_is_not_closed(desk):
    assert "C21 trade 77 is not open" in desk.refused("close_trade", "77")


def test_closes_on_their_way_are_left_out_of_what_can_be_closed(desk):
    trade = desk.open()
    first = desk.sent("close_trade", trade, units=D(700))
    said = desk.refused("close_trade", trade, units=D(400))
    assert said == f"C21 trade {trade} has 1000 units, 700 of them are being closed"
    said = desk.refused("close_position", "EUR_USD", units=D(400))
    assert said == "C21 EUR_USD has 1000 units, 700 of them are being closed"
    desk.finish(first.intent_id, NotSent(reason="connection refused"))
    assert desk.state() == (S.NOT_SENT, "connection refused")
    desk.sent("close_trade", trade, units=D(400))


def test_all_can_be_asked_beside_a_part_that_is_on_its_way(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(700))
    desk.sent("close_trade", trade)
    assert "1000 units, 1700 of them" in desk.refused("close_trade", trade, units=D(1))


def test_a_double_click_is_one_close(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400), command_id="mine")
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert desk.orders() == []
    assert len(desk.said(ReductionWritten)) == 1
    desk.answered(act, *desk.trade_close(trade, "400"))
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert desk.orders() == []
    said = desk.refused("close_trade", trade, units=D(300), command_id="mine")
    assert said == "command mine was given before, for something else"


def test_a_like_part_within_ten_seconds_is_a_double_click_too(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(300))
    assert "C04 a like close (300 of " in desk.refused("close_trade", trade, units=D(300))
    desk.answered(act, *desk.trade_close(trade, "300"))
    desk.wait(9)
    said = desk.refused("close_trade", trade, units=D(300))
    assert said == f"C04 a like close (300 of {trade}) was asked 9.0 s ago, limit 10 s"
    desk.sent("close_trade", trade, units=D(299))
    desk.wait(1)
    desk.sent("close_trade", trade, units=D(300))


def test_what_the_venue_refused_may_be_asked_again_at_once(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(300))
    desk.finish(act.intent_id, Rejected(status=400, code="X", message="no"))
    assert desk.state() == (S.REFUSED, "HTTP 400 X no")
    desk.sent("close_trade", trade, units=D(300))


# -- closing a position ----------------------------------------------------------------------------


def test_a_position_is_closed_on_the_side_that_is_held(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD")
    assert (act.request.kind, act.request.target) == (WriteKind.CLOSE_POSITION, "EUR_USD")
    names = {"id": act.intent_id, "tag": "e1"}
    assert body(act) == {"longUnits": "ALL", "longClientExtensions": names}
    assert act.intent_id == reduction_id("c1", A)
    desk.answered(act, *desk.position_close(trade, act.intent_id))
    assert desk.state()[0] is S.DONE


def test_a_part_of_a_short_position_names_the_short_side(desk):
    desk.open(side=Side.SELL, reference_price=D("1.10000"))
    act = desk.sent("close_position", "EUR_USD", units=D(250))
    assert body(act)["shortUnits"] == "250"
    assert "C21 nothing of EUR_USD is open" in desk.refused(
        "close_position", "EUR_USD", side=Side.BUY
    )


def test_of_two_sides_all_is_closed_or_one_is_named(desk):
    long, short = desk.open(), desk.open()
    held = desk.venue[A].trades[short]
    desk.kernel.books[A].trades[short].units = D(-600)
    desk.venue[A].trades[short] = msgspec.structs.replace(held, current_units=D(-600))
    said = desk.refused("close_position", "EUR_USD", units=D(100))
    assert said == "C21 EUR_USD is held on both sides: say which one to close in part"
    one = desk.sent("close_position", "EUR_USD", units=D(100), side=Side.SELL, command_id="one")
    assert set(body(one)) == {"shortUnits", "shortClientExtensions"}
    act = desk.sent("close_position", "EUR_USD", command_id="both")
    assert {"longUnits", "shortUnits"} < set(body(act))
    desk.answered(act, *desk.position_close(long, act.intent_id))
    assert desk.state("both")[0] is S.UNKNOWN
    desk.stream(A, *desk.position_close(short, act.intent_id))
    assert desk.state("both")[0] is S.DONE
    assert desk.state("one") == (S.REFUSED, "it was closed before")


def test_one_of_two_sides_that_is_cancelled_is_a_refusal(desk):
    desk.open()
    act = desk.sent("close_position", "EUR_USD")
    made = desk.order(
        units=D(-1000), reason="POSITION_CLOSEOUT", client_extensions=Ext(id=act.intent_id)
    )
    end = desk.venue[A].add(type="ORDER_CANCEL", order_id=made.id, reason="MARKET_HALTED")
    desk.answered(act, made, end)
    assert desk.state() == (S.REFUSED, "MARKET_HALTED")


# -- cancelling ------------------------------------------------------------------------------------


def test_an_entry_order_is_cancelled(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    assert (act.request.kind, act.request.body) == (WriteKind.CANCEL, "")
    tx = desk.venue[A].add(type="ORDER_CANCEL", order_id=order, reason="CLIENT_REQUEST")
    desk.answered(act, tx)
    assert desk.state() == (S.DONE, "CLIENT_REQUEST")


def test_a_stop_is_not_cancelled_by_hand(desk):
    trade = desk.open()
    (stop,) = desk.venue[A].orders
    said = desk.refused("cancel_order", stop)
    assert said == f"C22 order {stop} is a trade's STOP_LOSS: it goes with its trade"
    assert "C22 order 99 is not waiting at the venue" in desk.refused("cancel_order", "99")
    assert desk.kernel.books[A].trades[trade].protected


def test_an_order_that_filled_before_its_cancel_is_told(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    last = desk.venue[A]
    tx = last.add(
        type="ORDER_FILL", order_id=order, instrument="EUR_USD", units=D(500), price=D("1.05"),
        pl=D(0), financing=D(0), commission=D(0), account_balance=last.balance,
        reason="LIMIT_ORDER",
    )  # fmt: skip
    desk.stream(A, tx)
    assert desk.state() == (S.REFUSED, "LIMIT_ORDER")
    desk.finish(act.intent_id, Rejected(status=404, code="ORDER_DOESNT_EXIST", message="gone"))
    assert desk.state() == (S.REFUSED, "LIMIT_ORDER")


def test_a_cancel_that_the_venue_rejects_is_refused(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    tx = desk.venue[A].add(
        type="ORDER_CANCEL_REJECT", order_id=order, reject_reason="ORDER_DOESNT_EXIST"
    )
    desk.answered(act, tx)
    assert desk.state() == (S.REFUSED, "ORDER_DOESNT_EXIST")


# -- tightening ------------------------------------------------------------------------------------


def test_a_stop_is_tightened_and_never_loosened(desk):
    trade = desk.open()
    assert desk.kernel.books[A].trades[trade].stop_price == D("1.09810")
    act = desk.sent("tighten_stop", trade, price=D("1.09900"))
    assert (act.request.kind, act.request.target) == (WriteKind.PROTECT, trade)
    assert body(act) == {"stopLoss": {"price": "1.09900", "timeInForce": "GTC"}}
    said = desk.refused("tighten_stop", trade, price=D("1.09950"))
    assert said == f"C22 the stop of trade {trade} is being moved already"
    desk.answered(act, *moved_stop(desk, trade, "1.09900"))
    assert desk.state() == (S.DONE, "REPLACEMENT")
    for price in ("1.09900", "1.09899", "1.05000"):
        said = desk.refused("tighten_stop", trade, price=D(price))
        assert said == f"C22 stop {price} is not tighter than 1.09900, which stands at the venue"


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (None, "C02 a stop needs a price"),
        ("1.10000", "C02 stop 1.10000 is not on the losing side of 1.10000"),
        ("1.20000", "C02 stop 1.20000 is not on the losing side of 1.10000"),
        ("1.099001", "C02 1.099001 price are finer"),
        ("NaN", "C02 NaN is no number for price"),
        ("-1.09900", "C02 -1.09900 is no number for price"),
    ],
)
def test_a_stop_that_cannot_be_meant_is_refused(desk, price, said):
    trade = desk.open()
    assert said in desk.refused("tighten_stop", trade, price=None if price is None else D(price))


def test_the_stop_of_a_short_trade_is_tightened_downwards(desk):
    trade = desk.open(side=Side.SELL, reference_price=D("1.10000"))
    stop = desk.kernel.books[A].trades[trade].stop_price
    assert "is not tighter" in desk.refused("tighten_stop", trade, price=stop + D("0.00001"))
    assert "losing side" in desk.refused("tighten_stop", trade, price=D("1.10010"))
    act = desk.sent("tighten_stop", trade, price=stop - D("0.00001"))
    desk.stream(A, *moved_stop(desk, trade, stop - D("0.00002")))
    assert desk.state("c3") == (S.DONE, f"the stop stands at {stop - D('0.00002')}")
    assert "is not waiting" in desk.kernel.may_send(act.intent_id, desk.now)


def test_a_trade_of_ours_without_a_stop_is_left_to_its_protection(desk):
    trade = desk.open()
    book = desk.kernel.books[A].trades[trade]
    stop_id, book.stop_order_id, book.stop_price = book.stop_order_id, None, None
    assert "C22 trade" in desk.refused("tighten_stop", trade, price=D("1.09900"))
    book.trailing_order_id = "50"
    desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="trails")
    book.trailing_order_id, book.ours = None, False
    desk.finish(reduction_id("trails", A), NotSent(reason="x"))
    act = desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="foreign")
    desk.finish(act.intent_id, NotSent(reason="x"))
    book.stop_order_id = stop_id
    assert "is not known" in desk.refused("tighten_stop", trade, price=D("1.09900"))


def test_a_guaranteed_stop_is_not_ours_to_move(desk):
    trade = desk.open()
    book = desk.kernel.books[A]
    book.orders[book.trades[trade].stop_order_id].type = "GUARANTEED_STOP_LOSS"
    said = desk.refused("tighten_stop", trade, price=D("1.09900"))
    assert "has a guaranteed stop" in said
    assert "C22 trade 77 is not open" in desk.refused("tighten_stop", "77", price=D("1.09900"))


def test_without_a_price_the_venue_decides_about_the_losing_side(desk):
    trade = desk.open()
    desk.kernel._world.live.quotes.__init__()
    desk.sent("tighten_stop", trade, price=D("1.09900"))


def test_a_stop_that_the_venue_rejects_is_refused(desk):
    trade = desk.open()
    act = desk.sent("tighten_stop", trade, price=D("1.09900"))
    tx = desk.venue[A].add(
        type="STOP_LOSS_ORDER_REJECT", trade_id=trade, price=D("1.09900"),
        reject_reason="STOP_LOSS_ON_FILL_LOSS", reason="REPLACEMENT",
    )  # fmt: skip
    desk.answered(act, tx)
    assert desk.state() == (S.REFUSED, "STOP_LOSS_ON_FILL_LOSS")


def test_a_trade_that_closed_before_its_stop_moved_ends_the_wish(desk):
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"))
    desk.sent("close_trade", trade, command_id="all")
    desk.stream(A, *desk.venue[A].close(trade, D("1.098"), D("-2")))
    assert desk.state() == (S.REFUSED, "it was closed before")
    assert desk.state("all") == (S.DONE, "it is closed")


def test_the_stop_of_the_smallest_trade_is_tightened_its_own_way(desk):
    trade = desk.open(units=1)
    assert "not tighter" in desk.refused("tighten_stop", trade, price=D("1.09000"))
    desk.sent("tighten_stop", trade, price=D("1.09900"))

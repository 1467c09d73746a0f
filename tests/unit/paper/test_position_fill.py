"""How an order may change a position: every `positionFill`, netting and hedging accounts."""

from decimal import Decimal

import pytest

from orchestrator.model.time import parse_time
from tests.unit.paper.desk import Desk, made, named

D = Decimal


def held(desk):
    return [t.current_units for t in desk.books.trades.values()]


def desk_with(*units, **terms):
    desk = Desk(**terms)
    desk.price("EUR_USD", "1.10000", "1.10010")
    for one in units:
        assert made(desk.order(str(one), positionFill="OPEN_ONLY"))[-1] == "ORDER_FILL"
    return desk


@pytest.mark.parametrize(
    ("hedging", "fill", "after"),
    [
        (False, "DEFAULT", [-500]), (False, "REDUCE_FIRST", [-500]), (False, "REDUCE_ONLY", []),
        (False, "OPEN_ONLY", [300, 700]), (True, "DEFAULT", [300, 700, -1500]),
        (True, "REDUCE_FIRST", [-500]), (True, "REDUCE_ONLY", []),
        (True, "OPEN_ONLY", [300, 700, -1500]),
    ],
)  # fmt: skip
def test_each_way_of_filling_against_an_opposing_position(hedging, fill, after):
    desk = desk_with(300, 700, hedging=hedging)
    reply = desk.order("-1500", positionFill=fill)
    assert held(desk) == after
    if (hedging, fill) == (False, "OPEN_ONLY"):
        assert reply.made[-1].reason == "FIFO_VIOLATION"
    elif after == [-500]:
        done = named(reply, "orderFillTransaction")
        assert [t.units for t in done.trades_closed] == [-300, -700]  # oldest first
        assert (done.trade_opened.units, done.trade_reduced) == (-500, None)
        assert done.units == -1500


@pytest.mark.parametrize("fill", ["DEFAULT", "REDUCE_FIRST", "OPEN_ONLY", "REDUCE_ONLY"])
@pytest.mark.parametrize("hedging", [False, True])
def test_each_way_of_filling_in_the_same_direction_opens_or_does_nothing(hedging, fill):
    desk = desk_with(300, hedging=hedging)
    reply = desk.order("200", positionFill=fill)
    if fill == "REDUCE_ONLY":
        assert reply.made[-1].reason == "POSITION_CLOSEOUT_FAILED"
        assert held(desk) == [300]
    else:
        assert held(desk) == [300, 200]  # trades are never merged


def test_a_part_of_a_trade_is_reduced_and_keeps_its_orders():
    desk = Desk()
    desk.price("EUR_USD", "1.10000", "1.10010")
    trade = named(
        desk.order("1000", stopLossOnFill={"price": "1.09"}, takeProfitOnFill={"price": "1.2"}),
        "orderFillTransaction",
    ).id
    done = named(desk.order("-400"), "orderFillTransaction")
    assert (done.trade_reduced.trade_id, done.trade_reduced.units) == (trade, -400)
    assert done.trades_closed is done.trade_opened is None
    assert len(desk.books.pending) == 2
    desk.price("EUR_USD", "1.08900", "1.08910")
    assert desk.last("ORDER_FILL")["units"] == "-600"


def test_a_trade_and_a_side_are_closed_exactly_in_a_hedging_account():
    desk = desk_with(300, 700, -200, hedging=True)
    second = next(t for t in desk.books.trades.values() if t.current_units == 700).id
    desk.close_trade(second)
    assert held(desk) == [300, -200]
    desk.close_position(shortUnits="ALL")
    assert held(desk) == [300]
    desk.close_position(longUnits="100", shortUnits="NONE")
    assert held(desk) == [200]


@pytest.mark.parametrize("tif", ["GTC", "GTD", "GFD", "FOK", "IOC"])
@pytest.mark.parametrize("price", ["1.09000", "1.20000"])
def test_each_time_in_force_of_a_limit_that_waits_and_of_one_that_fills(tif, price):
    desk = desk_with()
    gtd = {"gtdTime": "2024-03-12T13:00:00Z"} if tif == "GTD" else {}
    reply = desk.order("100", type="LIMIT", price=price, timeInForce=tif, **gtd)
    if price == "1.20000":
        assert made(reply) == ["LIMIT_ORDER", "ORDER_FILL"]
        assert reply.made[1].price == D("1.10010")  # at the market, which is better
        return
    if tif in {"FOK", "IOC"}:
        assert reply.made[-1].reason == "TIME_IN_FORCE_EXPIRED"
        return
    assert made(reply) == ["LIMIT_ORDER"]
    desk.now = parse_time("2024-03-12T21:00:01Z")  # 17:00 in New York, in summer time
    desk.clockwork.on_time(desk.now)
    assert bool(desk.books.pending) is (tif == "GTC")
    if tif != "GTC":
        gone = desk.last("ORDER_CANCEL")
        assert (gone["reason"], gone["userID"]) == ("TIME_IN_FORCE_EXPIRED", 0)
        assert gone["batchID"] == gone["id"]
        assert "requestID" not in gone


def test_what_triggers_by_itself_has_a_batch_of_its_own_and_no_request():
    desk = desk_with()
    trade = named(
        desk.order("100", stopLossOnFill={"price": "1.09"}, takeProfitOnFill={"price": "1.11"}),
        "orderFillTransaction",
    ).id
    desk.price("EUR_USD", "1.11010", "1.11020")
    fill, gone = desk.log[-2:]
    assert (fill["type"], fill["reason"]) == ("ORDER_FILL", "TAKE_PROFIT_ORDER")
    assert fill["price"] == "1.11010"  # equal or better
    assert (gone["type"], gone["reason"]) == ("ORDER_CANCEL", "LINKED_TRADE_CLOSED")
    assert (gone["closedTradeID"], gone["tradeCloseTransactionID"]) == (trade, fill["id"])
    assert {fill["batchID"], gone["batchID"]} == {fill["id"]}
    assert fill["time"] == gone["time"]
    assert fill["userID"] == gone["userID"] == 0
    assert "requestID" not in fill | gone

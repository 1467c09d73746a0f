"""What becomes of an order: fills, cancels, rejects, and their transactions."""

from decimal import Decimal

import pytest

from orchestrator.model.time import format_time
from orchestrator.paper.exchange.requests import BadBody
from tests.unit.paper.desk import Desk, made, named

D = Decimal


@pytest.fixture
def desk() -> Desk:
    desk = Desk()
    desk.price("EUR_USD", "1.10000", "1.10010")
    return desk


STOP = {"price": "1.09000"}
TARGET = {"price": "1.12000"}
LIMIT = {"type": "LIMIT", "price": "1"}


def test_a_market_order_with_stop_and_target_is_one_batch_in_oandas_order(desk):
    reply = desk.order("1000", stopLossOnFill=STOP, takeProfitOnFill=TARGET)
    assert reply.status == 201
    assert made(reply) == ["MARKET_ORDER", "ORDER_FILL", "TAKE_PROFIT_ORDER", "STOP_LOSS_ORDER"]
    first = reply.made[0].id
    assert {t.batch_id for t in reply.made} == {first}
    assert len({t.time for t in reply.made}) == 1
    assert [int(t.id) for t in reply.made] == list(range(int(first), int(first) + 4))
    assert reply.made[1].price == D("1.10010")
    trade = desk.books.trades[reply.made[1].id]
    assert (trade.take_profit_order_id, trade.stop_loss_order_id) == (
        reply.made[2].id, reply.made[3].id,
    )  # fmt: skip


def test_the_stop_fills_at_the_gapped_price_and_cancels_the_target(desk):
    reply = desk.order("1000", stopLossOnFill=STOP, takeProfitOnFill=TARGET)
    desk.price("EUR_USD", "1.08000", "1.08010")
    fill, cancel = desk.log[-2:]
    assert (fill["type"], fill["reason"], fill["price"]) == (
        "ORDER_FILL", "STOP_LOSS_ORDER", "1.08000",
    )  # fmt: skip
    assert fill["batchID"] == fill["id"] == cancel["batchID"]
    assert "requestID" not in fill
    assert cancel["reason"] == "LINKED_TRADE_CLOSED"
    assert cancel["orderID"] == reply.made[2].id
    assert cancel["tradeCloseTransactionID"] == fill["id"]
    assert not desk.books.trades
    assert not desk.books.pending
    assert desk.books.balance == D("99979.9000")


def test_a_long_target_watches_the_bid(desk):
    desk.order("1000", takeProfitOnFill=TARGET)
    desk.price("EUR_USD", "1.11999", "1.12009")
    assert desk.books.trades
    desk.price("EUR_USD", "1.12000", "1.12010")
    assert not desk.books.trades


def test_a_short_stop_watches_the_ask(desk):
    desk.order("-1000", stopLossOnFill={"price": "1.10100"})
    desk.price("EUR_USD", "1.10089", "1.10099")
    assert desk.books.trades
    desk.price("EUR_USD", "1.10090", "1.10100")
    assert desk.last("ORDER_FILL")["price"] == "1.10100"


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"units": "0"}, "UNITS_INVALID"),
        ({"units": "1.5"}, "UNITS_PRECISION_EXCEEDED"),
        ({"units": "100000001"}, "UNITS_LIMIT_EXCEEDED"),
        ({"units": "1E+999999"}, "UNITS_LIMIT_EXCEEDED"),
        ({"units": "1E-999999"}, "UNITS_PRECISION_EXCEEDED"),
        ({"units": None}, "UNITS_MISSING"),
        ({"instrument": None}, "INSTRUMENT_MISSING"),
        ({"timeInForce": "GTC"}, "TIME_IN_FORCE_INVALID"),
        ({"priceBound": "1.100001"}, "PRICE_BOUND_PRECISION_EXCEEDED"),
        ({"priceBound": "-1"}, "PRICE_BOUND_INVALID"),
        ({"positionFill": "SOMETIMES"}, "ORDER_FILL_POSITION_ACTION_INVALID"),
        ({"clientExtensions": {"id": "x" * 129}}, "CLIENT_ORDER_ID_INVALID"),
        ({"clientExtensions": {"tag": "x" * 129}}, "CLIENT_ORDER_TAG_INVALID"),
        ({"tradeClientExtensions": {"id": "x" * 129}}, "CLIENT_TRADE_ID_INVALID"),
        ({"stopLossOnFill": {}}, "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_MISSING"),
        (
            {"stopLossOnFill": {"price": "1.09", "distance": "0.01"}},
            "STOP_LOSS_ON_FILL_PRICE_AND_DISTANCE_BOTH_SPECIFIED",
        ),
        ({"stopLossOnFill": {"price": "1.090001"}}, "STOP_LOSS_ON_FILL_PRICE_PRECISION_EXCEEDED"),
        ({"stopLossOnFill": {"price": "1E+999"}}, "STOP_LOSS_ON_FILL_PRICE_INVALID"),
        ({"takeProfitOnFill": {"price": "0"}}, "TAKE_PROFIT_ON_FILL_PRICE_INVALID"),
        (
            {"trailingStopLossOnFill": {"distance": "0.00049"}},
            "TRAILING_STOP_LOSS_ON_FILL_PRICE_DISTANCE_MINIMUM_NOT_MET",
        ),
        ({"type": "LIMIT"}, "PRICE_MISSING"),
        (LIMIT | {"timeInForce": "GTD"}, "TIME_IN_FORCE_GTD_TIMESTAMP_MISSING"),
        (
            LIMIT | {"timeInForce": "GTD", "gtdTime": "2001-01-01T00:00:00Z"},
            "TIME_IN_FORCE_GTD_TIMESTAMP_IN_PAST",
        ),
        ({"type": "STOP_LOSS", "tradeID": "99", "price": "1"}, "TRADE_DOESNT_EXIST"),
    ],
)  # fmt: skip
def test_a_refused_order_makes_one_reject_transaction(desk, fields, reason):
    before = desk.books.last_id
    wish = {"units": "1000"} | fields
    reply = desk.order(wish.pop("units"), **wish)
    assert reply.status in {400, 404}
    assert reply.error_code == reason
    assert [t.reject_reason for t in reply.made] == [reason]
    assert desk.books.last_id == before + 1
    assert desk.log[-1]["type"] == f"{fields.get('type', 'MARKET')}_ORDER_REJECT"


@pytest.mark.parametrize(
    "fields",
    [
        {"type": None}, {"type": "MAGIC"}, {"instrument": "XXX_YYY"}, {"units": "NaN"},
        {"units": "Infinity"}, {"stopLossOnFill": {"price": "NaN"}}, {"priceBound": "sNaN"},
        {"type": "LIMIT", "price": "1", "timeInForce": "GTD", "gtdTime": "tomorrow"},
        {"type": "LIMIT", "price": "1", "timeInForce": "GTD", "gtdTime": "99999999999999999"},
    ],
)  # fmt: skip
def test_an_invalid_parameter_makes_no_transaction(desk, fields):
    before = desk.books.last_id
    wish = {"units": "1000"} | fields
    reply = desk.order(wish.pop("units"), **wish)
    assert (reply.status, reply.made, desk.books.last_id) == (400, (), before)
    assert reply.error_message


@pytest.mark.parametrize("units", [True, [], {}, "many"])
def test_a_body_of_the_wrong_types_cannot_be_read(desk, units):
    with pytest.raises(BadBody, match=r"order\.units"):
        desk.order(units)


@pytest.mark.parametrize(
    ("units", "fields", "reason"),
    [
        ("100000000", {}, "INSUFFICIENT_MARGIN"),
        ("1000", {"priceBound": "1.10009"}, "BOUNDS_VIOLATION"),
        ("-1000", {"priceBound": "1.10001"}, "BOUNDS_VIOLATION"),
        ("1000", {"stopLossOnFill": {"price": "1.10000"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ("-1000", {"stopLossOnFill": {"price": "1.10010"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ("1000", {"stopLossOnFill": {"distance": "2"}}, "STOP_LOSS_ON_FILL_LOSS"),
        ("1000", {"takeProfitOnFill": {"price": "1.10000"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ("1000", {"takeProfitOnFill": {"price": "1.10009"}}, "LOSING_TAKE_PROFIT"),
        ("-1000", {"takeProfitOnFill": {"price": "1.10010"}}, "TAKE_PROFIT_ON_FILL_LOSS"),
        ("-1000", {"takeProfitOnFill": {"price": "1.10001"}}, "LOSING_TAKE_PROFIT"),
        ("1000", {"positionFill": "REDUCE_ONLY"}, "POSITION_CLOSEOUT_FAILED"),
    ],
)
def test_an_order_that_cannot_fill_is_created_and_cancelled_with_201(desk, units, fields, reason):
    reply = desk.order(units, **fields)
    assert reply.status == 201
    assert made(reply) == ["MARKET_ORDER", "ORDER_CANCEL"]
    assert named(reply, "orderCancelTransaction").reason == reason
    assert not desk.books.trades
    assert not desk.books.pending


def test_a_bound_that_is_met_exactly_fills(desk):
    assert made(desk.order("1000", priceBound="1.10010"))[1] == "ORDER_FILL"


def test_a_halted_market_cancels_market_orders_and_keeps_limits(desk):
    desk.price("EUR_USD", "1.10000", "1.10010", tradeable=False)
    reply = desk.order("1000")
    assert named(reply, "orderCancelTransaction").reason == "MARKET_HALTED"
    assert made(desk.order("1000", type="LIMIT", price="1.20000")) == ["LIMIT_ORDER"]
    desk.price("EUR_USD", "1.10000", "1.10010")
    assert desk.last("ORDER_FILL")["reason"] == "LIMIT_ORDER"


def test_the_same_client_id_fills_twice_but_is_unique_among_pending_orders(desk):
    mine = {"clientExtensions": {"id": "mine"}}
    assert made(desk.order("1000", **mine))[1] == "ORDER_FILL"
    assert made(desk.order("1000", **mine))[1] == "ORDER_FILL"
    assert desk.order("1000", type="LIMIT", price="1.00000", **mine).status == 201
    again = desk.order("1000", type="LIMIT", price="1.00000", **mine)
    assert again.error_code == "CLIENT_ORDER_ID_ALREADY_EXISTS"
    assert desk.cancel("@mine").status == 200
    assert desk.order("1000", type="LIMIT", price="1.00000", **mine).status == 201


def test_a_trade_id_of_an_open_trade_cannot_be_taken_again(desk):
    mine = {"tradeClientExtensions": {"id": "mine"}}
    desk.order("1000", **mine)
    reply = desk.order("1000", **mine)
    assert named(reply, "orderCancelTransaction").reason == "CLIENT_TRADE_ID_ALREADY_EXISTS"
    desk.close_trade("@mine")
    assert made(desk.order("1000", **mine))[1] == "ORDER_FILL"


def test_netting_closes_oldest_first_and_turns_in_one_fill(desk):
    first = desk.order("1000").made[1].id
    second = desk.order("500").made[1].id
    reduced = named(desk.order("-1200"), "orderFillTransaction")
    assert [t.trade_id for t in reduced.trades_closed] == [first]
    assert (reduced.trade_reduced.trade_id, reduced.trade_reduced.units) == (second, D(-200))
    assert reduced.trade_opened is None
    turned = named(desk.order("-1000"), "orderFillTransaction")
    assert [t.trade_id for t in turned.trades_closed] == [second]
    assert turned.trade_opened.units == D(-700)
    assert [t.current_units for t in desk.books.trades.values()] == [D(-700)]


def test_reduce_only_is_cut_to_the_position_and_never_flips(desk):
    desk.order("1000")
    fill = named(desk.order("-5000", positionFill="REDUCE_ONLY"), "orderFillTransaction")
    assert (fill.units, fill.requested_units) == (D(-1000), D(-5000))
    assert not desk.books.trades


def test_a_hedging_account_holds_both_sides():
    desk = Desk(hedging=True)
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("1000")
    desk.order("-400")
    assert [t.current_units for t in desk.books.trades.values()] == [D(1000), D(-400)]
    reply = desk.close_position(longUnits="ALL")
    assert "longOrderFillTransaction" in dict(reply.named)
    assert [t.current_units for t in desk.books.trades.values()] == [D(-400)]


def test_closing_a_trade_in_part_and_whole(desk):
    trade = desk.order("1000", stopLossOnFill=STOP).made[1].id
    part = desk.close_trade(trade, units="400")
    assert (part.status, made(part)) == (200, ["MARKET_ORDER", "ORDER_FILL"])
    assert part.made[0].trade_close.units == "400"
    assert part.made[1].reason == "MARKET_ORDER_TRADE_CLOSE"
    assert desk.books.trades[trade].current_units == D(600)
    too_many = desk.close_trade(trade, units="601")
    assert (too_many.status, too_many.error_code) == (400, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")
    whole = desk.close_trade(trade)
    assert made(whole) == ["MARKET_ORDER", "ORDER_FILL", "ORDER_CANCEL"]
    gone = desk.close_trade(trade)
    assert (gone.status, gone.error_code) == (404, "TRADE_DOESNT_EXIST")
    closed = desk.books.closed_trades[trade]
    assert (closed.state, closed.current_units, len(closed.closing_transaction_ids)) == (
        "CLOSED", D(0), 2,
    )  # fmt: skip


def test_closing_a_side_that_does_not_exist_closes_nothing(desk):
    desk.order("1000")
    reply = desk.close_position(longUnits="ALL", shortUnits="ALL")
    assert (reply.status, reply.error_code) == (400, "CLOSEOUT_POSITION_DOESNT_EXIST")
    reasons = {key: t.reject_reason for key, t in reply.named}
    assert reasons == {
        "longOrderRejectTransaction": "CLOSEOUT_POSITION_REJECT",
        "shortOrderRejectTransaction": "CLOSEOUT_POSITION_DOESNT_EXIST",
    }
    assert desk.books.trades
    assert desk.close_position(longUnits="ALL").status == 200
    assert desk.close_position(longUnits="ALL").status == 404


def test_trade_orders_create_replace_cancel_and_leave(desk):
    trade = desk.order("1000", stopLossOnFill=STOP).made[1].id
    reply = desk.trade_orders(trade, takeProfit={"price": "1.13000"}, stopLoss={"price": "1.09500"})
    assert made(reply) == ["TAKE_PROFIT_ORDER", "ORDER_CANCEL", "STOP_LOSS_ORDER"]
    assert named(reply, "stopLossOrderTransaction").reason == "REPLACEMENT"
    assert named(reply, "takeProfitOrderTransaction").reason == "CLIENT_ORDER"
    kept = desk.books.trades[trade].take_profit_order_id
    assert made(desk.trade_orders(trade, stopLoss=None)) == ["ORDER_CANCEL"]
    assert desk.books.trades[trade].stop_loss_order_id is None
    assert desk.books.trades[trade].take_profit_order_id == kept
    bad = desk.trade_orders(trade, takeProfit=None, stopLoss={"price": "1.0950001"})
    assert (bad.status, bad.error_code) == (400, "PRICE_PRECISION_EXCEEDED")
    assert desk.books.trades[trade].take_profit_order_id == kept


def test_a_stop_that_triggers_at_once_is_filled_in_the_same_answer(desk):
    trade = desk.order("1000").made[1].id
    reply = desk.trade_orders(trade, stopLoss={"price": "1.10005"})
    assert made(reply) == ["STOP_LOSS_ORDER", "ORDER_FILL"]
    assert "stopLossOrderFillTransaction" in dict(reply.named)


def test_a_second_stop_through_orders_is_refused(desk):
    trade = desk.order("1000", stopLossOnFill=STOP).made[1].id
    reply = desk.dependent("STOP_LOSS", trade, price="1.08000")
    assert reply.error_code == "STOP_LOSS_ORDER_ALREADY_EXISTS"


def test_a_trailing_stop_follows_without_transactions(desk):
    reply = desk.order("1000", trailingStopLossOnFill={"distance": "0.00500"})
    order = reply.made[-1].id
    assert desk.books.pending[order].trailing_stop_value == D("1.09500")
    before = desk.books.last_id
    desk.price("EUR_USD", "1.11000", "1.11010")
    desk.price("EUR_USD", "1.10700", "1.10710")
    assert desk.books.pending[order].trailing_stop_value == D("1.10500")
    assert desk.books.last_id == before
    desk.price("EUR_USD", "1.10500", "1.10510")
    assert desk.last("ORDER_FILL")["reason"] == "TRAILING_STOP_LOSS_ORDER"


@pytest.mark.parametrize(
    ("kind", "units", "price", "tick", "fills"),
    [
        ("LIMIT", "1000", "1.09000", ("1.08990", "1.09000"), True),
        ("LIMIT", "1000", "1.09000", ("1.08991", "1.09001"), False),
        ("LIMIT", "-1000", "1.11000", ("1.11000", "1.11010"), True),
        ("STOP", "1000", "1.11000", ("1.10990", "1.11000"), True),
        ("STOP", "1000", "1.11000", ("1.10989", "1.10999"), False),
        ("STOP", "-1000", "1.09000", ("1.09000", "1.09010"), True),
        ("MARKET_IF_TOUCHED", "1000", "1.11000", ("1.11500", "1.11510"), True),
        ("MARKET_IF_TOUCHED", "1000", "1.09000", ("1.08980", "1.08990"), True),
        ("MARKET_IF_TOUCHED", "1000", "1.09000", ("1.11500", "1.11510"), False),
    ],
)
def test_resting_orders_trigger_on_their_side(desk, kind, units, price, tick, fills):
    assert made(desk.order(units, type=kind, price=price)) == [f"{kind}_ORDER"]
    desk.price("EUR_USD", *tick)
    assert bool(desk.books.trades) is fills
    if fills:
        fill = desk.last("ORDER_FILL")
        assert fill["price"] == (tick[1] if D(units) > 0 else tick[0])
        assert fill["reason"] == f"{kind}_ORDER"


def test_one_gap_through_two_stops_of_a_trade_fills_one_and_cancels_the_other(desk):
    desk.order("1000", stopLossOnFill=STOP, trailingStopLossOnFill={"distance": "0.00500"})
    desk.price("EUR_USD", "1.08000", "1.08010")
    assert [t["type"] for t in desk.log[-2:]] == ["ORDER_FILL", "ORDER_CANCEL"]
    assert not desk.books.pending
    assert desk.books.pl == D("-20.1000")


@pytest.mark.parametrize(
    ("condition", "bid", "ask"),
    [
        ("DEFAULT", "1.08990", "1.09000"), ("ASK", "1.08990", "1.09000"),
        ("INVERSE", "1.08990", "1.09000"), ("BID", "1.08990", "1.09000"),
        ("MID", "1.08990", "1.09000"),
    ],
)  # fmt: skip
def test_a_limit_never_fills_worse_than_its_price_whatever_it_watches(desk, condition, bid, ask):
    desk.order("1000", type="LIMIT", price="1.09000", triggerCondition=condition)
    desk.price("EUR_USD", "1.08991", "1.09001")
    assert not desk.books.trades
    desk.price("EUR_USD", bid, ask)
    assert desk.last("ORDER_FILL")["price"] == "1.09000"


@pytest.mark.parametrize(
    ("condition", "before", "at"),
    [
        ("DEFAULT", ("1.10989", "1.10999"), ("1.10990", "1.11000")),
        ("ASK", ("1.10989", "1.10999"), ("1.10990", "1.11000")),
        ("BID", ("1.10999", "1.11009"), ("1.11000", "1.11010")),
        ("INVERSE", ("1.10999", "1.11009"), ("1.11000", "1.11010")),
        ("MID", ("1.10994", "1.11004"), ("1.10995", "1.11005")),
    ],
)
def test_a_stop_watches_the_side_it_was_told_and_fills_on_its_own(desk, condition, before, at):
    desk.order("1000", type="STOP", price="1.11000", triggerCondition=condition)
    desk.price("EUR_USD", *before)
    assert not desk.books.trades
    desk.price("EUR_USD", *at)
    assert desk.last("ORDER_FILL")["price"] == at[1]


def test_a_marketable_limit_fills_in_the_same_answer(desk):
    reply = desk.order("1000", type="LIMIT", price="1.20000")
    assert made(reply) == ["LIMIT_ORDER", "ORDER_FILL"]
    assert reply.made[1].price == D("1.10010")


def test_a_stop_through_its_bound_is_cancelled(desk):
    desk.order("1000", type="STOP", price="1.11000", priceBound="1.11050")
    desk.price("EUR_USD", "1.12000", "1.12010")
    assert desk.last("ORDER_CANCEL")["reason"] == "BOUNDS_VIOLATION"


def test_orders_expire_at_their_time_in_a_batch_of_their_own(desk):
    ends = format_time(desk.now + 60 * 10**9)
    gtd = desk.order("1", type="LIMIT", price="1", timeInForce="GTD", gtdTime=ends).made[0].id
    gfd = desk.order("1", type="LIMIT", price="1", timeInForce="GFD").made[0].id
    desk.later(61)
    desk.clockwork.on_time(desk.now)
    cancelled = desk.last("ORDER_CANCEL")
    assert (cancelled["orderID"], cancelled["reason"]) == (gtd, "TIME_IN_FORCE_EXPIRED")
    assert gfd in desk.books.pending
    desk.later(10 * 3600)  # past 17:00 in New York
    desk.clockwork.on_time(desk.now)
    assert gfd not in desk.books.pending


def test_a_replacement_is_one_batch_and_a_bad_one_leaves_the_old(desk):
    wish = {"type": "LIMIT", "instrument": "EUR_USD", "units": "1000"}
    old = desk.order("1000", type="LIMIT", price="1.00000", clientExtensions={"id": "mine"})
    reply = desk.replace("@mine", **wish, price="1.01000")
    assert (reply.status, made(reply)) == (201, ["ORDER_CANCEL", "LIMIT_ORDER"])
    cancelled, created = reply.made
    assert (cancelled.reason, cancelled.replaced_by_order_id) == (
        "CLIENT_REQUEST_REPLACED", created.id,
    )  # fmt: skip
    assert (created.reason, created.replaces_order_id) == ("REPLACEMENT", old.made[0].id)
    assert created.client_extensions.id == "mine"
    bad = desk.replace("@mine", **wish, price="-1")
    assert (bad.status, bad.made[0].intended_replaces_order_id) == (400, created.id)
    assert created.id in desk.books.pending


def test_a_replacement_must_be_of_the_same_kind_and_trade(desk):
    trades = [desk.order("1000", stopLossOnFill=STOP).made for _ in range(2)]
    stop = trades[0][-1].id
    assert desk.replace(stop, type="MARKET", instrument="EUR_USD", units="1").error_code == (
        "REPLACING_ORDER_INVALID"
    )
    moved = {"type": "STOP_LOSS", "price": "1.08000"}
    other = desk.replace(stop, **moved, tradeID=trades[1][1].id)
    assert other.error_code == "REPLACING_TRADE_ID_INVALID"
    reply = desk.replace(stop, **moved, tradeID=trades[0][1].id)
    assert made(reply) == ["ORDER_CANCEL", "STOP_LOSS_ORDER"]
    assert desk.books.trades[trades[0][1].id].stop_loss_order_id == reply.made[1].id


def test_cancelling_what_is_gone_makes_a_reject(desk):
    reply = desk.cancel("77")
    assert (reply.status, reply.error_code, made(reply)) == (
        404, "ORDER_DOESNT_EXIST", ["ORDER_CANCEL_REJECT"],
    )  # fmt: skip


def test_financing_is_booked_at_five_in_new_york_and_triple_on_wednesday(desk):
    desk.order("100000")
    desk.later(10 * 3600)
    desk.clockwork.on_time(desk.now)
    tuesday = desk.last("DAILY_FINANCING")
    value = 100_000 * D("1.10005")
    assert D(tuesday["financing"]) == (value * D("-0.0240") / 365).quantize(D("0.0001"))
    desk.later(24 * 3600)
    desk.clockwork.on_time(desk.now)
    wednesday = desk.last("DAILY_FINANCING")
    assert abs(D(wednesday["financing"]) - 3 * D(tuesday["financing"])) < D("0.001")
    assert D(wednesday["accountBalance"]) == desk.books.balance


def test_a_margin_closeout_closes_everything():
    desk = Desk(balance="1000")
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("40000")
    desk.price("EUR_USD", "1.08900", "1.08910")
    assert desk.log[-1]["type"] == "MARGIN_CALL_ENTER"
    desk.price("EUR_USD", "1.08000", "1.08010")
    fill = desk.last("ORDER_FILL")
    assert fill["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT"
    assert desk.last("MARKET_ORDER")["marginCloseout"] == {"reason": "MARGIN_CHECK_VIOLATION"}
    assert not desk.books.trades
    desk.clockwork.check_margin(desk.books, desk.now)
    assert desk.log[-1]["type"] == "MARGIN_CALL_EXIT"


def test_a_slow_slide_meets_the_closeout_though_margin_is_not_looked_at_on_each_price():
    desk = Desk(balance="1000")
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("40000")
    bid = D("1.10000")
    while desk.books.trades and bid > D("1.07"):
        bid -= D("0.00005")
        desk.price("EUR_USD", str(bid), str(bid + D("0.00010")))
    # NAV at the mid is half of the margin: 1000 - 40000 (1.1001 - mid) = 400 mid.
    assert D("1.08585") <= bid + D("0.00005") <= D("1.08600")


def test_a_margin_rate_that_would_end_in_a_margin_call_is_refused():
    desk = Desk(balance="2000")
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("50000")  # worth 55,000: at 2 % it needs 1,100, and the account has 1,995
    assert desk.configure(marginRate="0.03").error_code == ""
    call = desk.configure(marginRate="0.04")
    assert call.error_code == "MARGIN_RATE_WOULD_TRIGGER_MARGIN_CALL"
    closeout = desk.configure(marginRate="0.08")
    assert closeout.error_code == "MARGIN_RATE_WOULD_TRIGGER_CLOSEOUT"
    assert desk.books.margin_rate == D("0.03")
    assert desk.configure(alias="a" * 129).error_code == "ALIAS_INVALID"

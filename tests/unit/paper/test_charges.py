"""What trading and holding cost, by account: commission, financing, guaranteed stops."""

from decimal import Decimal

import pytest

from orchestrator.model.time import parse_time
from orchestrator.paper.exchange.config import Commission
from orchestrator.paper.instruments import SPECS
from tests.unit.paper.desk import Desk, made, named

D = Decimal


def priced(*args, **terms):
    desk = Desk(*args, **terms)
    desk.price("EUR_USD", "1.10000", "1.10010")
    return desk


def test_commission_is_taken_from_the_balance_of_each_fill():
    terms = Commission(amount=D(5), units_traded=D(100_000), minimum=D(1))
    desk = priced(commission=terms)
    fill = named(desk.order("50000"), "orderFillTransaction")
    assert (fill.commission, fill.account_balance) == (D("2.5000"), D("99997.5000"))
    fill = named(desk.order("-1000"), "orderFillTransaction")  # the minimum, and the spread
    assert (fill.commission, fill.pl) == (D("1.0000"), D("-0.1000"))
    assert desk.books.balance == D("99996.4000")
    assert desk.books.commission == D("3.5000")
    assert desk.books.positions["EUR_USD"].commission == D("3.5000")


def test_commission_counts_when_margin_is_checked():
    """53,000 units need 1,166.06 of margin and 5.30 of spread: 1,172 would do without a fee."""
    assert "ORDER_FILL" in made(priced(balance="1172").order("53000"))
    dear = priced(balance="1172", commission=Commission(amount=D(5)))
    assert dear.order("53000").made[-1].reason == "INSUFFICIENT_MARGIN"


def test_financing_by_the_second_is_paid_at_the_close_and_at_the_roll():
    """Half a year of 1,000,000 EUR at -2.4 %, mid 1.10005: 13,200.60 dollars."""
    start = parse_time("2024-03-12T12:00:00Z")
    desk = priced(balance="10000000", start=start, financing="SECOND_BY_SECOND")
    fill = named(desk.order("1000000"), "orderFillTransaction")
    trade = fill.trade_opened.trade_id
    opened = desk.now
    desk.later(3600)
    half = named(desk.close_trade(trade, units="500000"), "orderFillTransaction")
    held = D(desk.now - opened) / 10**9
    year = D("1.10005") * 1_000_000 * SPECS["EUR_USD"].financing_long_rate / (365 * 86400)
    assert half.financing == (year / 2 * held).quantize(D("0.0001"))
    assert half.trade_reduced.financing == half.financing < 0
    assert half.account_balance == D("10000000") + half.pl + half.financing
    desk.later(10 * 3600)  # over 17:00 in New York
    desk.clockwork.on_time(desk.now)
    daily = desk.last("DAILY_FINANCING")
    assert daily["accountFinancingMode"] == "SECOND_BY_SECOND"
    roll = D(parse_time(daily["time"]) - opened) / 10**9
    assert D(daily["financing"]) == (year / 2 * roll).quantize(D("0.0001"))
    last = named(desk.close_trade(trade), "orderFillTransaction")
    since = D(desk.now - parse_time(daily["time"])) / 10**9
    assert last.financing == (year / 2 * since).quantize(D("0.0001"))
    total = sum(D(t.get("pl", 0)) + D(t.get("financing", 0)) for t in desk.log)
    assert desk.books.balance == 10_000_000 + total


def test_an_account_may_have_no_financing():
    desk = priced(financing="NO_FINANCING")
    desk.order("1000")
    desk.later(48 * 3600)
    desk.clockwork.on_time(desk.now)
    assert "DAILY_FINANCING" not in [t["type"] for t in desk.log]


def test_a_guaranteed_stop_fills_at_its_price_over_a_gap_and_costs_its_premium():
    desk = priced(guaranteed=True)
    reply = desk.order("10000", guaranteedStopLossOnFill={"price": "1.09000"})
    assert made(reply)[-1] == "GUARANTEED_STOP_LOSS_ORDER"
    stop = reply.made[-1]
    assert stop.guaranteed_execution_premium == D("0.00020")
    desk.price("EUR_USD", "1.05000", "1.05010")
    fill = desk.last("ORDER_FILL")
    assert (fill["reason"], fill["price"]) == ("GUARANTEED_STOP_LOSS_ORDER", "1.09000")
    assert D(fill["pl"]) == D("-101")
    assert D(fill["guaranteedExecutionFee"]) == D("2")
    assert D(fill["accountBalance"]) == desk.books.balance == D("99897")
    assert desk.books.guaranteed_fees == 2


@pytest.mark.parametrize(
    ("terms", "price", "reason"),
    [
        ({}, "1.09000", "GUARANTEED_STOP_LOSS_ORDER_NOT_ALLOWED"),
        ({"guaranteed": True, "hedging": True}, "1.09", "GUARANTEED_STOP_LOSS_ORDER_NOT_ALLOWED"),
        (
            {"guaranteed": True},
            "1.09950",
            "GUARANTEED_STOP_LOSS_ORDER_MINIMUM_DISTANCE_NOT_MET",
        ),
        ({"guaranteed": True}, None, "GUARANTEED_STOP_LOSS_ORDER_PRICE_AND_DISTANCE_BOTH_MISSING"),
    ],
)
def test_a_guaranteed_stop_has_its_conditions(terms, price, reason):
    desk = priced(**terms)
    trade = named(desk.order("1000"), "orderFillTransaction").id
    fields = {} if price is None else {"price": price}
    assert desk.dependent("GUARANTEED_STOP_LOSS", trade, **fields).error_code == reason


def test_a_guaranteed_stop_is_set_moved_and_taken_away():
    desk = priced(guaranteed=True)
    trade = named(desk.order("-1000"), "orderFillTransaction").id
    made_ = desk.trade_orders(trade, guaranteedStopLoss={"price": "1.12000"})
    first = named(made_, "guaranteedStopLossOrderTransaction")
    assert desk.books.trades[trade].guaranteed_stop_loss_order_id == first.id
    moved = desk.trade_orders(trade, guaranteedStopLoss={"distance": "0.03000"})
    assert named(moved, "guaranteedStopLossOrderTransaction").price == D("1.13000")
    desk.trade_orders(trade, guaranteedStopLoss=None)
    assert desk.books.trades[trade].guaranteed_stop_loss_order_id is None
    near = desk.order("1000", guaranteedStopLossOnFill={"price": "1.09990"}, positionFill="DEFAULT")
    assert "ORDER_FILL" in made(near)  # it only closed: nothing opened that could be guarded
    near = desk.order("1000", guaranteedStopLossOnFill={"price": "1.09990"})
    assert near.made[-1].reason == "GUARANTEED_STOP_LOSS_ON_FILL_LOSS"


def test_the_margin_call_and_the_closeout_come_where_the_sheet_says():
    """50,000 EUR long at 1.1001 with 2,000: called at NAV = margin used, closed out at half."""
    desk = priced(balance="2000")
    desk.order("50000")

    def at(bid):
        desk.price("EUR_USD", bid, str(D(bid) + D("0.00010")))
        return desk.books.margin_call_time is not None

    # mid m: NAV = 2000 + (m - 1.1001) * 50000, margin used = m * 1000; equal at m = 1.0817347.
    assert not at("1.08170")
    assert at("1.08165")
    assert not at("1.08175")
    assert [t["type"] for t in desk.log[-2:]] == ["MARGIN_CALL_ENTER", "MARGIN_CALL_EXIT"]
    # NAV = margin used / 2 at m = 1.0708081.
    assert at("1.07076")
    assert desk.books.trades
    at("1.07075")
    assert not desk.books.trades
    order, fill = desk.last("MARKET_ORDER"), desk.last("ORDER_FILL")
    assert order["marginCloseout"] == {"reason": "MARGIN_CHECK_VIOLATION"}
    assert fill["reason"] == "MARKET_ORDER_MARGIN_CLOSEOUT"
    assert fill["price"] == "1.07075"

"""The client's own ids are told wherever OANDA tells them, however a thing was asked for."""

from decimal import Decimal

import pytest

from tests.unit.paper.desk import Desk, named

D = Decimal


@pytest.fixture
def desk():
    desk = Desk()
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("1000", tradeClientExtensions={"id": "t"})
    desk.order("10", type="LIMIT", price="1.0", clientExtensions={"id": "o"})
    return desk


def both(desk, kind):
    things = desk.books.trades if kind == "trade" else desk.books.pending
    return next(iter(things)), f"@{kind[0]}"


@pytest.mark.parametrize("by_name", [0, 1])
def test_a_trade_is_told_with_its_own_name(desk, by_name):
    trade = both(desk, "trade")[by_name]
    stop = named(desk.trade_orders(trade, stopLoss={"price": "1.0"}), "stopLossOrderTransaction")
    assert stop.client_trade_id == "t"
    where = {"clientTradeID": "t"} if by_name else {"tradeID": trade}
    wish = {"type": "TAKE_PROFIT", "price": "1.2", **where}
    target = desk.order(None, None, **wish).made[0]
    assert (target.type, target.client_trade_id) == ("TAKE_PROFIT_ORDER", "t")
    renamed = desk.rename_trade(trade, {"id": "t", "tag": "x"}).made[0]
    assert (renamed.trade_id, renamed.client_trade_id) == (both(desk, "trade")[0], "t")
    closing = named(desk.close_trade(trade, units="10"), "orderCreateTransaction").trade_close
    assert (closing.trade_id, closing.client_trade_id) == (both(desk, "trade")[0], "t")
    assert desk.last("ORDER_FILL")["tradeReduced"]["clientTradeID"] == "t"


@pytest.mark.parametrize("by_name", [0, 1])
def test_an_order_is_told_with_its_own_name(desk, by_name):
    order = both(desk, "order")[by_name]
    renamed = desk.rename_order(order, {"id": "o", "tag": "x"}).made[0]
    assert (renamed.order_id, renamed.client_order_id) == (both(desk, "order")[0], "o")
    number = both(desk, "order")[0]
    gone = desk.cancel(order).made[0]
    assert (gone.order_id, gone.client_order_id) == (number, "o")
    refused = desk.cancel(order).made[0]
    assert (refused.order_id, refused.client_order_id) == (
        (None, "o") if by_name else (number, None)
    )


@pytest.mark.parametrize("rate", ["0", "-0.1", "1.1", "0.0009", "0.100001", "1E-9", "Infinity"])
def test_a_margin_rate_is_from_a_thousandth_to_one_with_five_decimals(desk, rate):
    assert desk.configure(marginRate=rate).error_code == "MARGIN_RATE_INVALID"
    assert desk.configure(marginRate="0.03333").status == 200


def test_a_refused_margin_rate_is_told_if_it_is_a_number(desk):
    assert desk.configure(marginRate="7").made[0].margin_rate == 7
    assert desk.configure(marginRate="NaN").made[0].margin_rate is None
    assert desk.books.margin_rate == D("0.02")

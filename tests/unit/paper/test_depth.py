"""A book of several levels: averages, partial fills, and orders too large for it."""

from decimal import Decimal

import pytest

from orchestrator.paper.exchange.depth import Depth, Level
from tests.unit.paper.desk import Desk, made, named

D = Decimal
BOOK = Depth((Level(1000, D(0)), Level(2000, D("0.5")), Level(3000, D(2))), limited=True)


@pytest.fixture
def desk():
    desk = Desk(depth=BOOK)
    desk.price("EUR_USD", "1.10000", "1.10010")
    return desk


@pytest.mark.parametrize(
    ("units", "price"),
    [("1000", "1.10010"), ("-1000", "1.10000"), ("3000", "1.10013"), ("-3000", "1.09997")],
)  # fmt: skip
def test_a_larger_order_pays_the_average_of_the_levels(desk, units, price):
    fill = named(desk.order(units), "orderFillTransaction")
    assert (fill.price, fill.full_vwap, fill.units) == (D(price), D(price), D(units))
    asks = [(str(b.price), b.liquidity) for b in fill.full_price.asks]
    assert asks == [("1.10010", "1000"), ("1.10015", "2000"), ("1.10030", "3000")]


def test_fill_or_kill_is_all_or_nothing_and_ioc_takes_what_there_is(desk):
    killed = desk.order("6001")
    assert killed.made[-1].reason == "INSUFFICIENT_LIQUIDITY"
    fill = named(desk.order("6001", timeInForce="IOC"), "orderFillTransaction")
    assert (fill.units, fill.requested_units) == (D(6000), D(6001))
    assert desk.books.trades[fill.id].current_units == 6000
    assert not desk.books.pending


def test_a_bound_cuts_an_ioc_order_and_kills_a_fok_order(desk):
    bound = {"priceBound": "1.10020"}
    assert desk.order("4000", **bound).made[-1].reason == "BOUNDS_VIOLATION"
    fill = named(desk.order("4000", timeInForce="IOC", **bound), "orderFillTransaction")
    assert (fill.units, fill.price) == (D(3000), D("1.10013"))
    none = desk.order("4000", timeInForce="IOC", priceBound="1.10000")
    assert none.made[-1].reason == "BOUNDS_VIOLATION"


def test_a_limit_waits_until_the_book_has_all_of_it_at_its_price(desk):
    reply = desk.order("2000", type="LIMIT", price="1.10010")
    assert made(reply) == ["LIMIT_ORDER"]
    desk.price("EUR_USD", "1.09995", "1.10005")
    fill = desk.last("ORDER_FILL")
    assert (fill["units"], fill["price"]) == ("2000", "1.10008")
    part = desk.order("2000", type="LIMIT", price="1.10005", timeInForce="IOC")
    assert named(part, "orderFillTransaction").units == 1000
    none = desk.order("2000", type="LIMIT", price="1.10005", timeInForce="FOK")
    assert none.made[-1].type == "ORDER_CANCEL"


def test_a_closeout_is_done_at_any_size():
    desk = Desk(balance="2000", depth=Depth((Level(50_000, D(0)),), limited=True))
    desk.price("EUR_USD", "1.10000", "1.10010")
    desk.order("40000")
    desk.order("20000")
    desk.price("EUR_USD", "1.06000", "1.06010")
    assert not desk.books.trades
    assert desk.last("ORDER_FILL")["units"] == "-60000"

"""Our books against the venue's: every difference is found and said."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.model.venue import Account, Order, Position, PositionSide, Trade
from tests.unit.kernel.ledger_makers import ACCOUNT, book, nobody, trade

TRADE = Trade(
    id="12",
    instrument="EUR_USD",
    price=Decimal("1.10000"),
    current_units=Decimal(1000),
    initial_units=Decimal(1000),
)
STOP = Order(id="13", type="STOP_LOSS", trade_id="12", price=Decimal("1.09500"))
LIMIT = Order(
    id="14", type="LIMIT", instrument="EUR_USD", units=Decimal(5), price=Decimal("1.05000")
)
POSITION = Position(
    instrument="EUR_USD",
    long=PositionSide(units=Decimal(1000)),
    short=PositionSide(units=Decimal(0)),
)
FLAT = Position(
    instrument="USD_JPY", long=PositionSide(units=Decimal(0)), short=PositionSide(units=Decimal(0))
)
VENUE = Account(
    id=ACCOUNT,
    currency="USD",
    balance=Decimal("10000.0000"),
    last_transaction_id="14",
    trades=(TRADE,),
    orders=(STOP, LIMIT),
    positions=(POSITION, FLAT),
)
with_ = msgspec.structs.replace


def ours():
    return adopt(VENUE, nobody)


def test_what_was_adopted_is_equal():
    assert differences(ours(), VENUE) == ()


def test_numbers_are_compared_never_their_texts():
    venue = with_(
        VENUE,
        balance=Decimal("1E+4"),
        trades=(with_(TRADE, price=Decimal("1.1"), current_units=Decimal("1000.0")),),
        orders=(with_(STOP, price=Decimal("1.095")), with_(LIMIT, units=Decimal("5.00"))),
    )
    assert differences(ours(), venue) == ()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"balance": Decimal("10000.0001")},
         "account: balance is 10000.0000 in our books, 10000.0001 at the venue"),
        ({"currency": "EUR"}, "account: currency is USD in our books, EUR at the venue"),
        ({"trades": ()}, "trade 12: in our books, not at the venue"),
        ({"trades": (TRADE, with_(TRADE, id="9"))}, "trade 9: at the venue, not in our books"),
        ({"trades": (with_(TRADE, current_units=Decimal(999)),)},
         "trade 12: units is 1000 in our books, 999 at the venue"),
        ({"trades": (with_(TRADE, price=Decimal("1.10001")),)},
         "trade 12: price is 1.10000 in our books, 1.10001 at the venue"),
        ({"trades": (with_(TRADE, instrument="GBP_USD"),)},
         "trade 12: instrument is EUR_USD in our books, GBP_USD at the venue"),
        ({"orders": (STOP,)}, "order 14: in our books, not at the venue"),
        ({"orders": (STOP, LIMIT, with_(LIMIT, id="100"))},
         "order 100: at the venue, not in our books"),
        ({"orders": (with_(STOP, price=Decimal("1.09400")), LIMIT)},
         "order 13: price is 1.09500 in our books, 1.09400 at the venue"),
        ({"orders": (with_(STOP, trade_id="11"), LIMIT)},
         "order 13: trade is 12 in our books, 11 at the venue"),
        ({"orders": (STOP, with_(LIMIT, type="STOP"))},
         "order 14: type is LIMIT in our books, STOP at the venue"),
        ({"orders": (STOP, with_(LIMIT, units=Decimal(6)))},
         "order 14: units is 5 in our books, 6 at the venue"),
        ({"orders": (STOP, with_(LIMIT, instrument="USD_JPY"))},
         "order 14: instrument is EUR_USD in our books, USD_JPY at the venue"),
        ({"positions": (FLAT,)},
         "position EUR_USD: long units is 1000 in our books, 0 at the venue"),
        ({"positions": (POSITION, with_(FLAT, short=PositionSide(units=Decimal(-5))))},
         "position USD_JPY: short units is 0 in our books, -5 at the venue"),
    ],
)  # fmt: skip
def test_one_difference_is_one_sentence(change, sentence):
    assert differences(ours(), with_(VENUE, **change)) == (sentence,)


def test_books_at_another_transaction_cannot_be_compared():
    assert differences(ours(), with_(VENUE, last_transaction_id="15")) == (
        "last transaction: ours is 14, the venue's 15",
    )


def test_another_account_is_a_difference():
    assert differences(ours(), with_(VENUE, id="x")) == (
        f"account: ours is {ACCOUNT}, the venue's x",
    )


@pytest.mark.parametrize("missing", ["trades", "orders", "positions"])
def test_a_summary_proves_nothing(missing):
    assert differences(ours(), with_(VENUE, **{missing: None})) == (
        "the account was read without its trades, orders and positions",
    )


def test_both_sides_of_a_hedged_position_are_compared():
    held = book(
        last_id=14,
        trades={"1": trade("1", 1000), "2": trade("2", -400)},
    )
    venue = with_(
        VENUE,
        trades=(with_(TRADE, id="1"), with_(TRADE, id="2", current_units=Decimal(-400))),
        orders=(),
        positions=(with_(POSITION, short=PositionSide(units=Decimal(-400))),),
    )
    assert differences(held, venue) == ()


def test_differences_come_in_the_order_of_their_numbers():
    theirs = tuple(with_(TRADE, id=number) for number in ("100", "20", "3"))
    told = differences(ours(), with_(VENUE, trades=theirs))
    assert [line for line in told if line.startswith("trade")] == [
        "trade 3: at the venue, not in our books",
        "trade 20: at the venue, not in our books",
        "trade 100: at the venue, not in our books",
        "trade 12: in our books, not at the venue",
    ]
    held = book(last_id=14, trades={n: trade(n) for n in ("100", "20", "3")})
    gone = [line for line in differences(held, with_(VENUE, trades=())) if "in our" in line]
    assert [line.split(":")[0] for line in gone[:3]] == ["trade 3", "trade 20", "trade 100"]

"""The venue's view of an account becomes books that transactions can follow."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.model.venue import Account, ClientExtensions, Order, Trade
from tests.unit.kernel.ledger_makers import ACCOUNT, NAME, intent, known, nobody, proposal

STOP = Order(id="13", type="STOP_LOSS", trade_id="12", price=Decimal("1.09400"))
TARGET = Order(id="14", type="TAKE_PROFIT", trade_id="12", price=Decimal("1.12000"))
TRAIL = Order(
    id="15",
    type="TRAILING_STOP_LOSS",
    trade_id="12",
    distance=Decimal("0.01"),
    trailing_stop_value=Decimal("1.09700"),
)
LIMIT = Order(
    id="16",
    type="LIMIT",
    instrument="USD_JPY",
    units=Decimal(-5),
    price=Decimal("150.000"),
    client_extensions=ClientExtensions(id="theirs"),
    create_time="2026-01-05T10:00:00Z",
)
TRADE = Trade(
    id="12",
    instrument="EUR_USD",
    price=Decimal("1.10000"),
    initial_units=Decimal(1000),
    current_units=Decimal(600),
    open_time="2026-01-05T09:00:00Z",
    client_extensions=ClientExtensions(id=NAME),
    stop_loss_order_id="13",
)


def account(**fields):
    base = {
        "id": ACCOUNT,
        "currency": "EUR",
        "balance": Decimal("100.5000"),
        "last_transaction_id": "16",
        "margin_rate": Decimal("0.03"),
        "hedging_enabled": True,
        "trades": (TRADE,),
        "orders": (STOP, TARGET, TRAIL, LIMIT),
        "positions": (),
    }
    return Account(**(base | fields))


def test_all_of_the_account_stands_in_the_books():
    book = adopt(account(), known(intent()))
    assert (book.account_id, book.currency, book.last_id) == (ACCOUNT, "EUR", 16)
    assert (book.balance, book.margin_rate, book.hedging) == (
        Decimal("100.5000"), Decimal("0.03"), True,
    )  # fmt: skip
    trade = book.trades["12"]
    assert (trade.units, trade.initial_units) == (600, 1000)
    assert (trade.stop_order_id, trade.stop_price) == ("13", Decimal("1.09400"))
    assert (trade.target_order_id, trade.target_price) == ("14", Decimal("1.12000"))
    assert (trade.trailing_order_id, trade.trailing_price) == ("15", Decimal("1.09700"))
    assert trade.opened_ns == 1767603600 * 10**9
    assert set(book.orders) == {"13", "14", "15", "16"}
    assert book.orders["16"].client_id == "theirs"
    assert book.orders["16"].is_entry
    assert not book.orders["13"].is_entry


def test_a_trade_of_ours_remembers_its_intent_and_first_stop():
    trade = adopt(account(), known(intent())).trades["12"]
    assert (trade.ours, trade.intent_id, trade.signal_id) == (True, NAME, "s1")
    assert trade.initial_stop == Decimal("1.09500")
    assert trade.reference_price == Decimal("1.1000")


@pytest.mark.parametrize(
    "intent_of",
    [
        nobody,
        known(intent(proposal=proposal(account_id="101-001-1000001-002"))),
        known(intent(proposal=proposal(instrument="USD_JPY"))),
    ],
)
def test_a_trade_that_no_intent_explains_is_not_ours(intent_of):
    trade = adopt(account(), intent_of).trades["12"]
    assert not trade.ours
    assert trade.intent_id == ""
    assert trade.initial_stop == Decimal("1.09400")


def test_the_nearest_stop_is_the_one_that_closes():
    trade = adopt(account(), nobody).trades["12"]
    assert trade.worst_exit == Decimal("1.09700")
    short = msgspec.structs.replace(trade, units=Decimal(-600))
    assert short.worst_exit == Decimal("1.09400")


@pytest.mark.parametrize("missing", ["trades", "orders"])
def test_a_summary_is_no_base_line(missing):
    with pytest.raises(ValueError, match="without its trades and orders"):
        adopt(account(**{missing: None}), nobody)


@pytest.mark.parametrize("bad", ["", "-1", "1.5", "x", "\u0661"])
def test_an_account_with_an_unreadable_transaction_id_is_refused(bad):
    with pytest.raises(ValueError, match="not a transaction id"):
        account(last_transaction_id=bad)


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "1e20"])
def test_an_account_with_an_unbookable_balance_is_refused(bad):
    with pytest.raises(ValueError, match="carries"):
        account(balance=Decimal(bad))


def test_an_order_without_units_price_or_name_is_taken_as_it_is():
    bare = Order(id="17", type="TRAILING_STOP_LOSS", trade_id="12")
    free = Order(id="18", type="STOP_LOSS", trade_id="77")
    held = adopt(account(orders=(bare, free, LIMIT)), nobody)
    assert (held.orders["17"].order_id, held.orders["17"].client_id) == ("17", "")
    assert (held.orders["17"].units, held.orders["17"].price) == (None, None)
    assert held.trades["12"].trailing_order_id == "17"
    assert held.trades["12"].trailing_price is None
    assert held.trades["12"].stop_order_id is None
    assert held.orders["16"].create_ns == 1767607200 * 10**9


def test_a_guaranteed_stop_is_a_stop_and_one_without_a_price_has_none():
    sure = Order(id="13", type="GUARANTEED_STOP_LOSS", trade_id="12", price=Decimal("1.09400"))
    held = adopt(account(orders=(sure,)), nobody).trades["12"]
    assert (held.trade_id, held.stop_order_id, held.stop_price) == (
        "12", "13", Decimal("1.09400"),
    )  # fmt: skip
    vague = Order(id="13", type="STOP_LOSS", trade_id="12")
    assert adopt(account(orders=(vague,)), nobody).trades["12"].stop_price is None


def test_a_trade_without_a_name_asks_for_no_intent():
    def never(name):
        raise AssertionError(f"asked for {name!r}")

    unnamed = msgspec.structs.replace(TRADE, client_extensions=None)
    assert adopt(account(trades=(unnamed,)), never).trades["12"].ours is False

"""The exact words of each write to the venue."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.orders.body import (
    cancel,
    close_position,
    close_trade,
    order_request,
    price_text,
    protect,
    units_text,
)
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.orders import WriteKind
from tests.unit.kernel.ledger_makers import ACCOUNT, NAME, dec, proposal

EUR_USD = InstrumentSpec(name="EUR_USD")
USD_JPY = InstrumentSpec(name="USD_JPY", display_precision=3, pip_location=-2)
TENTHS = InstrumentSpec(name="BTC_USD", display_precision=1, trade_units_precision=1)


def test_an_order_says_all_of_its_proposal_and_nothing_else():
    request = order_request(proposal(), NAME, 7, EUR_USD, dec("1.1011"))
    assert (request.kind, request.account_id, request.target) == (WriteKind.ORDER, ACCOUNT, "")
    assert request.client_request_id == NAME
    assert not request.urgent
    names = f'{{"id":"{NAME}","tag":"e7","comment":"trend"}}'
    assert request.body == (
        '{"order":{"type":"MARKET","instrument":"EUR_USD","units":"1000","timeInForce":"FOK",'
        '"positionFill":"DEFAULT","priceBound":"1.10110",'
        '"stopLossOnFill":{"price":"1.09500","timeInForce":"GTC"},'
        '"takeProfitOnFill":{"price":"1.11000","timeInForce":"GTC"},'
        f'"clientExtensions":{names},"tradeClientExtensions":{names}}}}}'
    )


def test_without_target_or_bound_their_keys_are_absent():
    request = order_request(proposal(target_price=None), NAME, 7, EUR_USD, None)
    order = msgspec.json.decode(request.body)["order"]
    assert "takeProfitOnFill" not in order
    assert "priceBound" not in order


def test_a_sale_has_negative_units():
    sale = proposal(
        side=Side.SELL, units=dec("-1E+3"), instrument="USD_JPY",
        stop_price=dec("151"), target_price=dec("149.5"),
    )  # fmt: skip
    order = msgspec.json.decode(order_request(sale, NAME, 7, USD_JPY, None).body)["order"]
    assert order["units"] == "-1000"
    assert order["stopLossOnFill"]["price"] == "151.000"
    assert order["takeProfitOnFill"]["price"] == "149.500"


def test_a_long_strategy_name_is_cut_to_what_the_venue_takes():
    request = order_request(proposal(strategy="x" * 300), NAME, 7, EUR_USD, None)
    assert len(msgspec.json.decode(request.body)["order"]["clientExtensions"]["comment"]) == 128


@pytest.mark.parametrize(
    "wrong",
    [
        {"units": dec(-1000)},
        {"units": dec(0)},
        {"side": Side.SELL},
        {"units": dec("NaN")},
        {"units": dec("1000.5")},
        {"stop_price": dec("1.095001")},
        {"stop_price": dec("NaN")},
        {"target_price": dec("-1.1")},
        {"target_price": dec("Infinity")},
    ],
)
def test_what_does_not_fit_is_refused_and_never_rounded(wrong):
    with pytest.raises(ValueError, match=r"units|no price"):
        order_request(proposal(**wrong), NAME, 7, EUR_USD, None)


@pytest.mark.parametrize(
    ("text", "printed"), [("1.1", "1.10000"), ("1.100000000", "1.10000"), ("1E+1", "10.00000")]
)
def test_a_price_has_exactly_its_decimals(text, printed):
    assert price_text(Decimal(text), EUR_USD) == printed


@pytest.mark.parametrize("text", ["0", "-1", "NaN", "sNaN", "Infinity", "1.000001", "1E+40"])
def test_what_is_no_price_is_refused(text):
    with pytest.raises(ValueError, match="no price of EUR_USD"):
        price_text(Decimal(text), EUR_USD)


@pytest.mark.parametrize(("text", "printed"), [("1E+5", "100000"), ("-3", "-3"), ("5.0", "5")])
def test_units_have_no_exponent(text, printed):
    assert units_text(Decimal(text), EUR_USD) == printed


def test_units_may_have_decimals_where_the_instrument_has():
    assert units_text(dec("-0.5"), TENTHS) == "-0.5"


@pytest.mark.parametrize("text", ["0", "0.0", "-0", "NaN", "Infinity", "0.5", "1E+40"])
def test_what_is_no_number_of_units_is_refused(text):
    with pytest.raises(ValueError, match="no number of units of EUR_USD"):
        units_text(Decimal(text), EUR_USD)


def test_one_unit_and_a_price_below_one_can_be_traded():
    assert units_text(dec(1), EUR_USD) == "1"
    assert price_text(dec("0.65"), EUR_USD) == "0.65000"
    one = proposal(units=dec(1))
    assert '"units":"1"' in order_request(one, NAME, 7, EUR_USD, None).body
    sold = proposal(units=dec(-1), side=Side.SELL)
    assert '"units":"-1"' in order_request(sold, NAME, 7, EUR_USD, None).body


def test_what_no_account_can_hold_is_no_number():
    with pytest.raises(ValueError, match="no number of units"):
        units_text(Decimal(10) ** 15, EUR_USD)


def test_protecting_a_trade_names_its_stop_and_leaves_its_target_alone():
    request = protect(ACCOUNT, "12", EUR_USD, dec("1.095"))
    assert (request.kind, request.target, request.urgent) == (WriteKind.PROTECT, "12", True)
    assert request.body == '{"stopLoss":{"price":"1.09500","timeInForce":"GTC"}}'
    both = protect(ACCOUNT, "12", EUR_USD, dec("1.095"), target_price=dec("1.12"))
    assert msgspec.json.decode(both.body)["takeProfit"]["price"] == "1.12000"


def test_cancelling_has_no_body():
    request = cancel(ACCOUNT, "13", "r1")
    assert (request.kind, request.target, request.body) == (WriteKind.CANCEL, "13", "")
    assert request.client_request_id == "r1"


def test_closing_a_trade_closes_all_of_it():
    request = close_trade(ACCOUNT, "12")
    assert (request.kind, request.target) == (WriteKind.CLOSE_TRADE, "12")
    assert request.body == '{"units":"ALL"}'


@pytest.mark.parametrize(
    ("side", "body"), [(Side.BUY, '{"longUnits":"ALL"}'), (Side.SELL, '{"shortUnits":"ALL"}')]
)
def test_closing_a_position_names_one_side_only(side, body):
    request = close_position(ACCOUNT, "EUR_USD", side)
    assert (request.kind, request.target) == (WriteKind.CLOSE_POSITION, "EUR_USD")
    assert request.body == body


@pytest.mark.parametrize(
    "request_of",
    [
        lambda **named: protect(ACCOUNT, "12", EUR_USD, dec("1.095"), **named),
        lambda **named: cancel(ACCOUNT, "12", **named),
        lambda **named: close_trade(ACCOUNT, "12", **named),
        lambda **named: close_position(ACCOUNT, "12", Side.BUY, **named),
    ],
)
def test_what_reduces_risk_goes_to_its_account_under_the_name_it_was_given(request_of):
    assert (request_of().account_id, request_of().target) == (ACCOUNT, "12")
    assert request_of().client_request_id == ""
    assert request_of(request_id="r1").client_request_id == "r1"

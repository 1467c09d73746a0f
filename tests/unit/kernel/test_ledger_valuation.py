"""What the books are worth; whatever is unknown makes the sum unknown."""

from decimal import Decimal

import pytest

from orchestrator.kernel.ledger.valuation import (
    closing_price,
    currencies,
    exposures,
    margin_used,
    nav,
    notional,
    open_risk,
    trade_risk,
    unrealized,
    unrealized_total,
)
from orchestrator.model.money import InstrumentSpec
from tests.unit.kernel.ledger_makers import book, dec, quotes, trade

SPECS = {
    "EUR_USD": InstrumentSpec(name="EUR_USD", margin_rate=Decimal("0.02")),
    "DE30_EUR": InstrumentSpec(
        name="DE30_EUR", type="CFD", display_precision=1, margin_rate=Decimal("0.05")
    ),
    "USD_JPY": InstrumentSpec(name="USD_JPY", display_precision=3, margin_rate=Decimal("0.04")),
}
DAX = trade("7", -20, "9984.7", instrument="DE30_EUR")


def dax_book():
    return book(currency="EUR", balance=dec("48695.6580"), trades={"7": DAX})


def test_vector_1_a_short_of_an_aud_account_closes_at_its_recorded_loss():
    short = trade("1", -19554, "0.76412", instrument="AUD_USD")
    live = quotes(AUD_USD=("0.76450", "0.76465"))
    assert unrealized(short, live, "AUD") == dec("-13.5561")
    assert live.factors("USD", "AUD").loss.quantize(dec("1e-12")) == dec("1.308044473512")


def test_vector_1_the_factors_at_the_opening_are_the_recorded_ones():
    found = quotes(AUD_USD=("0.76412", "0.76425")).factors("USD", "AUD")
    assert found.gain.quantize(dec("1e-12")) == dec("1.308472358521")
    assert found.loss.quantize(dec("1e-12")) == dec("1.308694969377")


def test_vector_3_the_recorded_account_has_the_recorded_value():
    live = quotes(DE30_EUR=("9948.9", "9950.6"))
    assert unrealized_total(dax_book(), live) == dec("682.0000")
    assert nav(dax_book(), live) == dec("49377.6580")


def test_vector_3_the_margin_is_the_recorded_one():
    live = quotes(DE30_EUR=("9948.9", "9950.6"))
    assert margin_used(dax_book(), live, SPECS) == dec("9948.9000")


def test_vector_4_a_gain_in_home_currency_needs_no_conversion():
    long = trade("1", 5, "1.14554")
    assert unrealized(long, quotes(EUR_USD=("1.14508", "1.14517")), "USD") == dec("-0.0023")


def test_a_long_sells_at_the_bid_and_a_short_buys_at_the_ask():
    live = quotes(EUR_USD=("1.10100", "1.10120"))
    assert unrealized(trade(units=1000), live, "USD") == dec("1.0000")
    assert unrealized(trade(units=-1000), live, "USD") == dec("-1.2000")


def test_gains_and_losses_convert_at_their_own_factor():
    live = quotes(USD_JPY=("150.000", "150.100"))
    winner = trade(units=1000, price="149.000", instrument="USD_JPY")
    loser = trade(units=1000, price="151.000", instrument="USD_JPY")
    assert unrealized(winner, live, "USD") == dec("6.6622")  # 1000 / ask
    assert unrealized(loser, live, "USD") == dec("-6.6667")  # 1000 / bid


def test_without_a_price_the_value_is_unknown():
    held = book(trades={"1": trade(), "2": trade("2", instrument="USD_JPY")})
    live = quotes(EUR_USD=("1.10100", "1.10120"))
    assert nav(held, live) is None
    assert margin_used(held, live, SPECS) is None
    assert exposures(held, live) is None
    assert open_risk(held, live) is None


def test_without_a_conversion_the_value_is_unknown():
    held = book(currency="CHF", trades={"1": trade()})
    live = quotes(EUR_USD=("1.10100", "1.10120"))
    assert nav(held, live) is None
    assert margin_used(held, live, SPECS) is None
    assert exposures(held, live) is None
    assert open_risk(held, live) is None
    assert notional("EUR_USD", dec(5), dec("1.1"), "CHF", live) is None


def test_without_a_spec_the_margin_is_unknown():
    held = book(trades={"1": trade()})
    assert margin_used(held, quotes(EUR_USD=("1.101", "1.102")), {}) is None


def test_a_trade_without_a_price_has_no_value():
    held = book(trades={"1": trade(price="0")})
    assert nav(held, quotes(EUR_USD=("1.101", "1.102"))) is None


def test_an_absurd_amount_is_unknown_and_no_error():
    held = book(currency="JPY", trades={"1": trade(units=9 * 10**14, price="90")})
    live = quotes(EUR_USD=("1.101", "1.102"), USD_JPY=("150", "151"))
    assert nav(held, live) is None
    assert exposures(held, live) is None
    assert open_risk(held, live) is None


def test_an_empty_account_needs_no_price():
    assert nav(book(), quotes()) == dec("10000.0000")
    assert margin_used(book(), quotes(), {}) == 0
    assert exposures(book(), quotes()) == ()
    assert open_risk(book(), quotes()) == 0


def test_margin_nets_the_sides_unless_the_account_hedges():
    trades = {"1": trade(), "2": trade("2", -400)}
    live = quotes(EUR_USD=("1.10000", "1.10020"))
    assert margin_used(book(trades=trades), live, SPECS) == dec("13.2024")
    assert margin_used(book(trades=trades, hedging=True), live, SPECS) == dec("22.0040")
    trades["2"].units = dec(-1500)
    assert margin_used(book(trades=trades), live, SPECS) == dec("11.0000")
    assert margin_used(book(trades=trades, hedging=True), live, SPECS) == dec("33.0000")


def test_the_accounts_margin_rate_counts_where_it_is_larger():
    live = quotes(EUR_USD=("1.10000", "1.10020"))
    held = book(trades={"1": trade()}, margin_rate=dec("0.05"))
    assert margin_used(held, live, SPECS) == dec("55.0100")
    held.margin_rate = dec("0.01")
    assert margin_used(held, live, SPECS) == dec("22.0040")


def test_a_foreign_quote_currency_is_converted_at_its_value():
    live = quotes(USD_JPY=("149.000", "151.000"))
    assert notional("USD_JPY", dec(-1000), dec("149"), "USD", live) == dec("993.3333")
    held = book(trades={"1": trade(units=-1000, price="150", instrument="USD_JPY")})
    assert margin_used(held, live, SPECS) == dec("39.7333")


def test_one_unit_is_long_or_short_as_any_other():
    live = quotes(EUR_USD=("1.10000", "1.20000"))
    assert unrealized(trade(units=1), live, "USD") == 0
    assert unrealized(trade(units=-1), live, "USD") == dec("-0.1")
    assert trade_risk(trade(units=1, stop_price=dec("1.05")), live, "USD") == dec("0.15")
    assert margin_used(book(trades={"1": trade(units=1)}), live, SPECS) == dec("0.0240")
    assert closing_price(trade(units=1), live, {"EUR_USD": dec("0.02")}) == dec("1.14")


def test_exposure_has_a_leg_in_each_currency():
    live = quotes(EUR_USD=("1.10000", "1.10020"), USD_JPY=("150.000", "150.100"))
    held = book(
        trades={
            "1": trade(),
            "2": trade("2", -2000, "150.000", instrument="USD_JPY"),
        }
    )
    found = {one.currency: one.amount for one in exposures(held, live)}
    assert found == {"EUR": dec("1100.1000"), "USD": dec("-3100.1000"), "JPY": dec("2000.0000")}


def test_risk_is_the_way_from_now_to_the_stop_and_the_spread():
    live = quotes(EUR_USD=("1.10100", "1.10120"))
    long = trade(stop_price=dec("1.09900"))
    short = trade(units=-1000, stop_price=dec("1.10420"))
    assert trade_risk(long, live, "USD") == dec("2.2000")
    assert trade_risk(short, live, "USD") == dec("3.2000")


def test_risk_is_never_negative():
    long = trade(stop_price=dec("1.20000"))
    assert trade_risk(long, quotes(EUR_USD=("1.10100", "1.10120")), "USD") == 0


def test_without_a_stop_a_part_of_the_notional_is_at_risk():
    live = quotes(EUR_USD=("1.10000", "1.10020"))
    assert trade_risk(trade(), live, "USD") == dec("55.0050")
    assert trade_risk(trade(), live, "USD", no_stop=dec("0.1")) == dec("110.0100")
    trailing = trade(trailing_order_id="9")
    assert trade_risk(trailing, live, "USD") == dec("55.0050")


def test_open_risk_is_the_sum():
    live = quotes(EUR_USD=("1.10100", "1.10120"))
    held = book(
        trades={"1": trade(stop_price=dec("1.09900")), "2": trade("2", stop_price=dec("1.10000"))}
    )
    assert open_risk(held, live) == dec("3.4000")


def test_at_the_roll_the_usual_spread_values_a_trade():
    live = quotes(EUR_USD=("1.09900", "1.10100"))
    usual = {"EUR_USD": dec("0.0002")}
    assert closing_price(trade(), live, usual) == dec("1.0999")
    assert closing_price(trade(units=-1), live, usual) == dec("1.1001")
    assert closing_price(trade(), live, {}) == dec("1.09900")
    held = book(trades={"1": trade()})
    assert nav(held, live, usual) == dec("9999.9000")
    assert nav(held, live) == dec("9999.0000")


@pytest.mark.parametrize(
    ("name", "pair"), [("XAU_USD", ("XAU", "USD")), ("", ("", "")), ("EURUSD", ("", ""))]
)
def test_an_instruments_name_tells_its_currencies(name, pair):
    assert currencies(name) == pair

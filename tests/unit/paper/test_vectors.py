"""Recorded figures of real accounts come out to the last digit (fact sheet, section 17)."""

from decimal import Decimal

import msgspec

from orchestrator.model.money import InstrumentName, InstrumentSpec
from orchestrator.paper.exchange.quotes import FILL_DIGITS, PRICING_DIGITS, rounded
from orchestrator.paper.exchange.views import account_of, trade_full
from orchestrator.paper.instruments import SPECS
from tests.unit.paper.desk import Desk, named

D = Decimal


def test_vector_1_a_short_of_an_aud_account_is_booked_as_oanda_booked_it():
    desk = Desk("AUD", "97770.1692")
    desk.price("AUD_USD", "0.76412", "0.76425")
    fill = named(desk.order("-19554", "AUD_USD"), "orderFillTransaction")
    assert fill.gain_quote_home_conversion_factor == D("1.308472358521")
    assert fill.loss_quote_home_conversion_factor == D("1.308694969377")
    assert fill.half_spread_cost == D("1.5353")
    desk.trade_orders(fill.trade_opened.trade_id, trailingStopLoss={"distance": "0.00050"})
    desk.price("AUD_USD", "0.76400", "0.76413")
    desk.price("AUD_USD", "0.76450", "0.76465")
    closed = desk.last("ORDER_FILL")
    assert closed["reason"] == "TRAILING_STOP_LOSS_ORDER"
    assert closed["lossQuoteHomeConversionFactor"] == "1.308044473512"
    assert closed["pl"] == "-13.5561"
    # Without the 0.0035 of financing that this account paid by the second; with it, see below.
    assert closed["accountBalance"] == "97756.6131"


def test_vector_1_with_its_financing_ends_at_the_recorded_balance():
    """The recording tells the amount, not the rate: this one gives it in the seconds held here."""
    rate = D("-0.0035") * 365 * 86_400 / (19554 * 3)
    spec = msgspec.structs.replace(SPECS["AUD_USD"], financing_short_rate=rate)
    desk = Desk("AUD", "97770.1692", specs={spec.name: spec}, financing="SECOND_BY_SECOND")
    desk.price("AUD_USD", "0.76412", "0.76425")
    fill = named(desk.order("-19554", "AUD_USD"), "orderFillTransaction")
    desk.trade_orders(fill.trade_opened.trade_id, trailingStopLoss={"distance": "0.00050"})
    desk.price("AUD_USD", "0.76400", "0.76413")
    desk.price("AUD_USD", "0.76450", "0.76465")
    closed = desk.last("ORDER_FILL")
    assert (closed["pl"], closed["financing"]) == ("-13.5561", "-0.0035")
    assert closed["accountBalance"] == "97756.6096"


def test_vector_2_conversion_factors_of_a_eur_account():
    desk = Desk("EUR")
    desk.price("EUR_USD", "1.12157", "1.12170")
    found = desk.exchange.quotes.factors("USD", "EUR", D(0))
    used = rounded(found, PRICING_DIGITS)
    assert (used.gain, used.loss) == (D("0.89150397"), D("0.89160730"))


def test_vector_3_margin_and_closeout_figures_of_a_short():
    index = InstrumentSpec(
        name=InstrumentName("DE30_EUR"), type="CFD", pip_location=0, display_precision=1,
        margin_rate=D("0.05"),
    )  # fmt: skip
    desk = Desk("EUR", "48695.6580", specs={index.name: index})
    desk.price("DE30_EUR", "9984.7", "9986.4")
    desk.order("-20", "DE30_EUR")
    desk.price("DE30_EUR", "9948.9", "9950.6")
    account = account_of(desk.exchange, desk.books, full=True)
    assert account.unrealized_pl == D("682.0000")
    assert account.margin_closeout_unrealized_pl == D("698.0000")
    assert account.nav == D("49377.6580")
    assert account.margin_closeout_nav == D("49393.6580")
    assert account.position_value == D("198978.0000")
    assert account.margin_used == D("9948.9000")
    assert account.margin_available == D("39428.7580")
    assert account.margin_closeout_margin_used == D("9949.8000")
    assert account.margin_call_margin_used == D("9949.8000")
    assert str(account.margin_closeout_percent) == "0.10072"
    assert account.margin_call_percent == D("0.20144")


def test_vector_4_a_division_with_a_conversion_charge():
    desk = Desk("USD", charge="0.005")
    desk.price("EUR_USD", "1.14554", "1.14563")
    opened = named(desk.order("5"), "orderFillTransaction").trade_opened
    desk.price("EUR_USD", "1.14508", "1.14517")
    closed = named(desk.order("-5"), "orderFillTransaction")
    assert closed.pl == closed.quote_pl.quantize(D("0.0001"))
    assert opened.price - closed.price == D("0.00055")
    found = rounded(desk.exchange.quotes.factors("EUR", "USD", D("0.005")), PRICING_DIGITS)
    assert (found.gain, found.loss) == (D("1.13939440"), D("1.15084560"))
    own = rounded(desk.exchange.quotes.factors("USD", "USD", D("0.005")), FILL_DIGITS)
    assert (str(own.gain), str(own.loss)) == ("1", "1")


def test_vector_4_a_sale_of_five_units_rounds_half_up_in_home_money():
    desk = Desk("USD", charge="0.005")
    desk.price("EUR_USD", "1.14545", "1.14554")
    desk.order("5")
    desk.price("EUR_USD", "1.14508", "1.14517")
    closed = named(desk.order("-5"), "orderFillTransaction")
    assert (str(closed.quote_pl), str(closed.pl)) == ("-0.00230", "-0.0023")
    factors = closed.home_conversion_factors
    assert factors.gain_base_home.factor == D("1.13939440")
    assert factors.loss_base_home.factor == D("1.15084560")
    assert (factors.gain_quote_home.factor, factors.loss_quote_home.factor) == (1, 1)


def test_a_trades_result_is_valued_on_its_closing_side():
    desk = Desk("USD")
    desk.price("USD_JPY", "150.000", "150.010")
    fill = named(desk.order("1000", "USD_JPY"), "orderFillTransaction")
    trade = trade_full(desk.exchange, desk.books, desk.books.trades[fill.id])
    loss = (D("150.000") - D("150.010")) * 1000 * (1 / D("150.000"))
    assert trade.unrealized_pl == loss.quantize(D("0.0001"))

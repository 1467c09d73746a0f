"""What only the venue does: dividends, moved trades, delayed closures, extensions, locks."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.model.money import InstrumentName
from orchestrator.model.venue import Transaction
from orchestrator.paper.exchange import restrictions
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.valuation import account_value
from orchestrator.paper.exchange.views import account_of, position_of, trade_full
from tests.unit.paper.desk import ACCOUNT, Desk, made, named

D = Decimal
EUR_USD = InstrumentName("EUR_USD")


def priced(*args, **terms):
    desk = Desk(*args, **terms)
    desk.price("EUR_USD", "1.10000", "1.10010")
    return desk


def opened(desk, units="10000", **fields):
    return named(desk.order(units, **fields), "orderFillTransaction").id


def rebuilt(desk):
    """The same account out of its transactions alone."""
    again = Exchange(desk.exchange.specs)
    again.quotes = desk.exchange.quotes
    decoded = [msgspec.json.decode(line, type=Transaction) for line in desk.books.history]
    return account_of(again, again.restore(desk.config, decoded), full=True)


def position(desk, name="EUR_USD"):
    value = account_value(desk.books, desk.exchange.specs, desk.exchange.quotes)
    return position_of(desk.books, value, InstrumentName(name))


def test_a_margin_call_is_extended_at_each_roll_and_forgotten_with_its_end():
    desk = priced(balance="2000")
    desk.order("50000")
    desk.price("EUR_USD", "1.08165", "1.08175")
    assert desk.books.margin_call_time is not None
    for number in (1, 2):
        desk.later(24 * 3600)
        desk.clockwork.on_time(desk.now)
        assert desk.last("MARGIN_CALL_EXTEND")["extensionNumber"] == number
    account = account_of(desk.exchange, desk.books, full=True)
    assert account.margin_call_extension_count == 2
    assert account.last_margin_call_extension_time == desk.last("MARGIN_CALL_EXTEND")["time"]
    assert rebuilt(desk) == account
    desk.price("EUR_USD", "1.09500", "1.09510")
    assert desk.last("MARGIN_CALL_EXIT")
    account = account_of(desk.exchange, desk.books, full=True)
    assert account.margin_call_enter_time is account.margin_call_extension_count is None
    assert account.last_margin_call_extension_time is None


def test_an_account_without_a_margin_call_is_never_extended():
    desk = priced()
    desk.order("1000")
    desk.later(24 * 3600)
    desk.clockwork.on_time(desk.now)
    assert [t["type"] for t in desk.log].count("DAILY_FINANCING") == 1
    assert "MARGIN_CALL_EXTEND" not in [t["type"] for t in desk.log]


def test_a_dividend_is_paid_to_longs_and_taken_from_shorts_in_home_money():
    desk = Desk("EUR", hedging=True)
    desk.price("EUR_USD", "1.10000", "1.10010")
    long, short = opened(desk, "10000"), opened(desk, "-4000")
    before = desk.books.balance
    desk.exchange.admin.dividend(desk.books, EUR_USD, D("0.01"), desk.later())
    paid = desk.last("DIVIDEND_ADJUSTMENT")
    parts = {p["tradeID"]: p for p in paid["openTradeDividendAdjustments"]}
    assert parts[long]["quoteDividendAdjustment"] == "100.00000"
    assert parts[long]["dividendAdjustment"] == "90.9008"  # 100 / 1.10010, a gain
    assert parts[short]["dividendAdjustment"] == "-36.3636"  # 40 / 1.10000, a loss
    assert paid["dividendAdjustment"] == "54.5372"
    assert D(paid["accountBalance"]) == desk.books.balance == before + D("54.5372")
    assert position(desk).dividend_adjustment == D("54.5372")
    trade = trade_full(desk.exchange, desk.books, desk.books.trades[long])
    assert trade.dividend_adjustment == D("90.9008")
    assert rebuilt(desk) == account_of(desk.exchange, desk.books, full=True)
    assert rebuilt(desk).dividend_adjustment == D("54.5372")


def test_what_cannot_be_administered_is_refused_and_changes_nothing():
    desk = priced()
    last = desk.books.last_id
    admin, now = desk.exchange.admin, desk.now
    for wrong in (
        lambda: admin.dividend(desk.books, EUR_USD, D(1), now),  # nothing is open
        lambda: admin.delay_closure(desk.books, ("99",), "TRADE_CLOSE", now),
        lambda: admin.delay_closure(desk.books, (), "TRADE_CLOSE", now),
        lambda: admin.reopen_account(desk.books, now),
    ):
        with pytest.raises(ValueError, match=r"\w"):
            wrong()
    assert desk.books.last_id == last
    desk.order("10000")
    last = desk.books.last_id
    with pytest.raises(ValueError, match="perUnit"):
        admin.dividend(desk.books, EUR_USD, D(10) ** 12, now)
    assert desk.books.last_id == last


def test_resettable_results_count_from_the_reset():
    desk = priced()
    trade = opened(desk)
    desk.close_trade(trade, units="4000")
    desk.exchange.admin.reset_pl(desk.books, desk.later())
    account = account_of(desk.exchange, desk.books, full=False)
    assert (account.pl, account.resettable_pl) == (D("-0.4"), 0)
    assert account.resettable_pl_time == desk.last("RESET_RESETTABLE_PL")["time"]
    desk.close_trade(trade)
    account = account_of(desk.exchange, desk.books, full=False)
    assert (account.pl, account.resettable_pl) == (D("-1.0"), D("-0.6"))
    now = position(desk)
    assert (now.pl, now.resettable_pl, now.long.resettable_pl) == (D(-1), D("-0.6"), D("-0.6"))
    assert rebuilt(desk) == account_of(desk.exchange, desk.books, full=True)


def test_a_trade_is_moved_in_at_exactly_its_price_even_while_the_market_is_closed():
    desk = priced()
    desk.price("EUR_USD", "1.20000", "1.20010", tradeable=False)
    desk.exchange.admin.fixed_price(desk.books, EUR_USD, D(5000), D("1.05"), "OPEN", desk.later())
    order, fill = desk.last("FIXED_PRICE_ORDER"), desk.last("ORDER_FILL")
    assert (order["reason"], order["price"]) == ("PLATFORM_ACCOUNT_MIGRATION", "1.05000")
    assert fill["reason"] == "FIXED_PRICE_ORDER_PLATFORM_ACCOUNT_MIGRATION"
    assert (fill["price"], fill["userID"], fill["orderID"]) == ("1.05000", 0, order["id"])
    assert "requestID" not in fill
    assert desk.books.finished_orders[order["id"]].type == "FIXED_PRICE"
    assert desk.books.trades[fill["id"]].price == D("1.05")
    assert rebuilt(desk) == account_of(desk.exchange, desk.books, full=True)


def test_a_delayed_closure_is_carried_out_with_the_next_price_that_can_be_traded():
    desk = priced()
    first = opened(desk, tradeClientExtensions={"id": "mine"})
    second = opened(desk)
    desk.price("EUR_USD", "1.10000", "1.10010", tradeable=False)
    desk.exchange.admin.delay_closure(desk.books, (first,), "TRADE_CLOSE", desk.later())
    source = desk.last("DELAYED_TRADE_CLOSURE")
    assert (source["tradeIDs"], source["reason"]) == (first, "TRADE_CLOSE")
    assert desk.books.trades[first].state == "CLOSE_WHEN_TRADEABLE"
    assert rebuilt(desk) == account_of(desk.exchange, desk.books, full=True)
    desk.price("EUR_USD", "1.09000", "1.09010", tradeable=False)
    assert first in desk.books.trades
    desk.price("EUR_USD", "1.08000", "1.08010")
    assert list(desk.books.trades) == [second]
    order, fill = desk.last("MARKET_ORDER"), desk.last("ORDER_FILL")
    assert order["reason"] == "DELAYED_TRADE_CLOSE"
    assert order["delayedTradeClose"] == {
        "tradeID": first, "clientTradeID": "mine", "sourceTransactionID": source["id"],
    }  # fmt: skip
    assert fill["reason"] == "MARKET_ORDER_DELAYED_TRADE_CLOSE"
    assert fill["price"] == "1.08000"
    desk.price("EUR_USD", "1.08000", "1.08010")
    assert desk.last("ORDER_FILL") == fill  # once


def test_a_closeout_closes_halted_instruments_as_soon_as_they_are_open_again():
    desk = priced(balance="4000")
    desk.price("GBP_USD", "1.30000", "1.30010")
    desk.order("50000")
    pound = opened(desk, "10000", instrument="GBP_USD")
    desk.price("GBP_USD", "1.30000", "1.30010", tradeable=False)
    desk.price("EUR_USD", "1.03000", "1.03010")
    assert [t.instrument for t in desk.books.trades.values()] == ["GBP_USD"]
    delayed = desk.last("DELAYED_TRADE_CLOSURE")
    assert (delayed["reason"], delayed["tradeIDs"]) == ("MARGIN_CLOSEOUT", pound)
    desk.price("GBP_USD", "1.29000", "1.29010")
    assert not desk.books.trades
    assert desk.last("MARKET_ORDER")["delayedTradeClose"]["sourceTransactionID"] == delayed["id"]


def test_a_closed_account_takes_no_order_until_it_is_open_again():
    desk = priced()
    trade = opened(desk)
    desk.exchange.admin.close_account(desk.books, desk.later())
    for reply in (
        desk.order("1"),
        desk.close_trade(trade),
        desk.close_position(longUnits="ALL"),
        desk.trade_orders(trade, stopLoss={"price": "1.0"}),
        desk.configure(alias="mine"),
    ):
        assert reply.error_code == "ACCOUNT_NOT_ACTIVE"
        assert reply.made[-1].reject_reason == "ACCOUNT_NOT_ACTIVE"
    assert list(desk.books.trades) == [trade]
    desk.exchange.admin.reopen_account(desk.books, desk.later())
    assert "ORDER_FILL" in made(desk.close_trade(trade))


@pytest.mark.parametrize(
    ("lock", "act", "reason"),
    [
        ("account", lambda d, _: d.order("1"), "ACCOUNT_LOCKED"),
        ("orderCreation", lambda d, _: d.order("1"), "ACCOUNT_ORDER_CREATION_LOCKED"),
        ("orderCreation", lambda d, t: d.close_trade(t), "ACCOUNT_ORDER_CREATION_LOCKED"),
        ("orderFill", lambda d, _: d.order("1"), "ACCOUNT_ORDER_FILL_LOCKED"),
        ("newPositions", lambda d, _: d.order("1"), "ACCOUNT_NEW_POSITIONS_LOCKED"),
        ("orderCancel", lambda d, _: d.cancel("7"), "ACCOUNT_ORDER_CANCEL_LOCKED"),
        (
            "orderCancel",
            lambda d, t: d.trade_orders(t, stopLoss=None),
            "ACCOUNT_ORDER_CANCEL_LOCKED",
        ),
        ("configuration", lambda d, _: d.configure(alias="a"), "ACCOUNT_CONFIGURATION_LOCKED"),
        (
            "deposit",
            lambda d, _: d.exchange.transfer(d.books, D(1), None, "r", d.now),
            "ACCOUNT_DEPOSIT_LOCKED",
        ),
        (
            "withdrawal",
            lambda d, _: d.exchange.transfer(d.books, D(-1), None, "r", d.now),
            "ACCOUNT_WITHDRAWAL_LOCKED",
        ),
    ],
)
def test_a_locked_account_says_why(lock, act, reason):
    desk = priced()
    trade = opened(desk, stopLossOnFill={"price": "1.0"})
    stop = desk.books.trades[trade].stop_loss_order_id
    assert stop == "6"
    desk.order("1", type="LIMIT", price="1.0")
    assert desk.books.pending_order("7")
    desk.exchange.restrictions.lock(ACCOUNT, frozenset({lock}))
    reply = act(desk, trade)
    assert (reply.made[-1].reject_reason or reply.made[-1].reason) == reason
    assert set(desk.books.pending) == {"6", "7"}
    desk.exchange.restrictions.lock(ACCOUNT, frozenset())
    assert "ORDER_FILL" in made(desk.close_trade(trade))


def test_new_positions_may_be_locked_while_open_ones_can_still_be_reduced():
    desk = priced()
    opened(desk)
    desk.exchange.restrictions.lock(ACCOUNT, frozenset({"newPositions"}))
    assert "ORDER_FILL" in made(desk.order("-4000"))
    assert made(desk.order("-9000"))[-1] == "ORDER_CANCEL"


def test_one_side_of_an_instrument_may_be_halted_or_only_reduce():
    desk = priced()
    trade = opened(desk)
    side = desk.exchange.restrictions.set_side
    side(EUR_USD, "ask", "halted")
    assert desk.order("1").made[-1].reason == "INSTRUMENT_ASK_HALTED"
    assert "ORDER_FILL" in made(desk.order("-1"))
    side(EUR_USD, "bid", "halted")
    assert desk.close_trade(trade).made[-1].reason == "INSTRUMENT_BID_HALTED"
    side(EUR_USD, "bid", "reduceOnly")
    assert desk.order("-50000").made[-1].reason == "INSTRUMENT_BID_REDUCE_ONLY"
    assert "ORDER_FILL" in made(desk.close_trade(trade))


def test_the_number_of_pending_orders_and_of_open_trades_is_bounded(monkeypatch):
    assert restrictions.PENDING_ORDERS_MAX == restrictions.OPEN_TRADES_MAX == 1000
    monkeypatch.setattr(restrictions, "PENDING_ORDERS_MAX", 30)
    monkeypatch.setattr(restrictions, "OPEN_TRADES_MAX", 20)
    desk = priced()
    for _ in range(30):
        desk.order("1", type="LIMIT", price="0.5")
    refused = desk.order("1", type="LIMIT", price="0.5")
    assert refused.error_code == "PENDING_ORDERS_ALLOWED_EXCEEDED"
    some = next(iter(desk.books.pending))
    assert (
        desk.replace(some, type="LIMIT", instrument="EUR_USD", units="2", price="0.5").status == 201
    )  # takes the place of the old one
    for _ in range(20):
        assert made(desk.order("1"))[-1] == "ORDER_FILL"
    assert desk.order("1").made[-1].reason == "OPEN_TRADES_ALLOWED_EXCEEDED"
    assert made(desk.order("-1"))[-1] == "ORDER_FILL"  # reducing is always allowed


def test_figures_that_no_books_can_hold_are_never_booked():
    desk = priced(balance="90000000000000")
    for _ in range(20):
        assert made(desk.order("100000000"))[-1] == "ORDER_FILL"
    desk.price("EUR_USD", "9000000.00000", "9000000.00010")
    last = desk.books.last_id
    refused = desk.close_position(longUnits="ALL")
    assert refused.made[-1].reason == "INTERNAL_SERVER_ERROR"
    assert desk.books.last_id == last + 2
    assert len(desk.books.trades) == 20


def test_a_fill_tells_what_converting_to_home_money_cost():
    """A EUR account at 0.5 %: 100 dollars of loss cost half a percent of their mid value."""
    desk = Desk("EUR", charge="0.005", financing="SECOND_BY_SECOND")
    desk.price("EUR_USD", "1.10000", "1.10010")
    trade = opened(desk, "10000")
    desk.price("EUR_USD", "1.09010", "1.09020")
    desk.later(86_400)
    fill = named(desk.close_trade(trade), "orderFillTransaction")
    mid = (1 / D("1.09015")).quantize(D("0.00001"), rounding="ROUND_DOWN")
    assert fill.quote_pl == D("-100.00000")
    assert fill.pl == (-100 * mid * D("1.005")).quantize(D("0.0001"), rounding="ROUND_HALF_UP")
    cost = (100 * mid * D("0.005")).quantize(D("0.0001"), rounding="ROUND_HALF_UP")
    assert fill.pl_home_conversion_cost == cost
    rate = desk.exchange.specs["EUR_USD"].financing_long_rate
    assert round(fill.base_financing / (10000 * rate / 365), 2) == 1  # a day of it
    assert fill.quote_financing == (fill.base_financing * D("1.09015")).quantize(D("0.00001"))
    assert fill.financing < 0
    assert fill.home_conversion_cost == cost + fill.base_financing_home_conversion_cost
    assert fill.base_financing_home_conversion_cost > 0


def test_no_conversion_costs_nothing():
    desk = priced(guaranteed=True)
    desk.order("10000", guaranteedStopLossOnFill={"price": "1.09000"})
    desk.price("EUR_USD", "1.05000", "1.05010")
    fill = desk.last("ORDER_FILL")
    assert fill["homeConversionCost"] == fill["plHomeConversionCost"] == "0.0000"
    assert fill["quoteGuaranteedExecutionFee"] == "2.00000"

"""Each transaction does to the books what the venue did."""

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.ledger.apply import apply_transaction, pass_hole
from orchestrator.kernel.ledger.book import Book
from orchestrator.model.venue import ClientExtensions, TradeOpen, TradeReduce, Transaction
from tests.unit.kernel.ledger_makers import (
    ACCOUNT,
    NAME,
    book,
    intent,
    known,
    named,
    nobody,
    proposal,
    trade,
    tx,
)

OURS = known(intent())


def market_order(number=11, name=NAME, units="1000"):
    return tx(
        number,
        "MARKET_ORDER",
        instrument="EUR_USD",
        units=Decimal(units),
        reason="CLIENT_ORDER",
        client_extensions=named(name) if name else None,
    )


def opening_fill(number=12, order_id="11", units="1000", **fields):
    base = {
        "order_id": order_id,
        "instrument": "EUR_USD",
        "units": Decimal(units),
        "price": Decimal("1.10020"),
        "time": "2026-01-05T10:00:00.000000001Z",
        "reason": "MARKET_ORDER",
        "pl": Decimal("0.0000"),
        "financing": Decimal(0),
        "commission": Decimal(0),
        "account_balance": Decimal("10000.0000"),
        "trade_opened": TradeOpen(
            trade_id=str(number),
            units=Decimal(units),
            price=Decimal("1.10020"),
            half_spread_cost=Decimal("0.1"),
        ),
    }
    return tx(number, "ORDER_FILL", **(base | fields))


def closing_fill(number=20, order_id="19", **fields):
    base = {
        "order_id": order_id,
        "instrument": "EUR_USD",
        "units": Decimal(-1000),
        "reason": "STOP_LOSS_ORDER",
        "pl": Decimal("-5.0000"),
        "financing": Decimal("-0.1000"),
        "commission": Decimal("0.3000"),
        "guaranteed_execution_fee": Decimal("0.2000"),
        "account_balance": Decimal("9994.4000"),
        "price": Decimal("1.09500"),
        "trades_closed": (
            TradeReduce(
                trade_id="12",
                units=Decimal(-1000),
                price=Decimal("1.09500"),
                realized_pl=Decimal("-5.0000"),
                financing=Decimal("-0.1000"),
            ),
        ),
    }
    return tx(number, "ORDER_FILL", **(base | fields))


def stop_order(number=13, trade_id="12", price="1.09500", reason="ON_FILL", kind="STOP_LOSS"):
    return tx(
        number,
        f"{kind}_ORDER",
        trade_id=trade_id,
        price=None if price is None else Decimal(price),
        reason=reason,
    )


def test_a_market_order_and_its_fill_open_a_trade_that_knows_its_intent():
    held = book()
    created = apply_transaction(held, market_order(), OURS)
    assert created.orders_created == ("11",)
    assert created.strangers == ()
    assert held.orders["11"].client_id == NAME
    assert (held.orders["11"].units, held.orders["11"].price) == (1000, None)
    changes = apply_transaction(held, opening_fill(), OURS)
    assert held.orders == {}
    opened = changes.opened[0]
    assert (opened.trade_id, opened.ours, opened.intent_id, opened.signal_id) == (
        "12", True, NAME, "s1",
    )  # fmt: skip
    assert (opened.stop_price, opened.target_price) == (Decimal("1.09500"), Decimal("1.11000"))
    assert opened.opened_ns == 1767607200000000001
    assert opened.half_spread_cost == Decimal("0.1")
    assert held.trades["12"].units == 1000
    assert held.trades["12"].strategy == "trend"
    assert not held.trades["12"].protected
    assert held.last_id == 12
    assert changes.problems == ()


def test_a_stop_counts_from_the_moment_that_the_log_shows_it():
    held = book(trades={"12": trade()}, last_id=12)
    changes = apply_transaction(held, stop_order(), nobody)
    assert changes.protected == ("12",)
    assert held.trades["12"].stop_price == Decimal("1.09500")
    assert held.trades["12"].initial_stop == Decimal("1.09500")
    assert held.orders["13"].trade_id == "12"


def test_the_intents_stop_stays_the_initial_one_when_the_venues_moves():
    held = book()
    for one in (market_order(), opening_fill(), stop_order(13), stop_order(15, price="1.09900")):
        apply_transaction(held, one, OURS)
    assert held.trades["12"].initial_stop == Decimal("1.09500")
    assert held.trades["12"].stop_price == Decimal("1.09900")


def test_a_replaced_stop_leaves_the_trade_bare_for_one_transaction_and_no_longer():
    held = book(trades={"12": trade()}, last_id=12)
    apply_transaction(held, stop_order(13), nobody)
    gone = apply_transaction(
        held, tx(14, "ORDER_CANCEL", order_id="13", reason="CLIENT_REQUEST_REPLACED"), nobody
    )
    assert gone.unprotected == ("12",)
    assert not held.trades["12"].protected
    assert held.trades["12"].stop_price is None
    apply_transaction(held, stop_order(15, price="1.09700", reason="REPLACEMENT"), nobody)
    assert held.trades["12"].protected
    assert set(held.orders) == {"15"}


def test_the_old_stops_cancel_after_the_new_one_does_not_take_the_new_one_away():
    held = book(trades={"12": trade()}, last_id=12)
    apply_transaction(held, stop_order(13), nobody)
    apply_transaction(held, stop_order(14, price="1.09700"), nobody)
    gone = apply_transaction(held, tx(15, "ORDER_CANCEL", order_id="13"), nobody)
    assert gone.unprotected == ()
    assert held.trades["12"].stop_order_id == "14"


def test_a_cancelled_target_leaves_the_stop():
    held = book(trades={"12": trade()}, last_id=12)
    apply_transaction(held, stop_order(13), nobody)
    apply_transaction(held, stop_order(14, price="1.11000", kind="TAKE_PROFIT"), nobody)
    assert held.trades["12"].target_price == Decimal("1.11000")
    gone = apply_transaction(held, tx(15, "ORDER_CANCEL", order_id="14"), nobody)
    assert gone.unprotected == ()
    assert held.trades["12"].target_order_id is None
    assert held.trades["12"].stop_order_id == "13"


def test_a_trailing_stop_protects_at_a_price_that_no_transaction_tells():
    held = book(trades={"12": trade()}, last_id=12)
    changes = apply_transaction(held, stop_order(13, price=None, kind="TRAILING_STOP_LOSS"), nobody)
    assert changes.protected == ("12",)
    assert held.trades["12"].protected
    assert held.trades["12"].worst_exit is None
    gone = apply_transaction(held, tx(14, "ORDER_CANCEL", order_id="13"), nobody)
    assert gone.unprotected == ("12",)


@pytest.mark.parametrize(("units", "price"), [(1000, "1.09000"), (-1000, "1.11000")])
def test_a_stop_by_distance_counts_from_the_trades_price(units, price):
    held = book(trades={"12": trade(units=units)}, last_id=12)
    order = tx(13, "STOP_LOSS_ORDER", trade_id="12", distance=Decimal("0.01"), reason="ON_FILL")
    apply_transaction(held, order, nobody)
    assert held.trades["12"].stop_price == Decimal(price)
    assert held.orders["13"].price == Decimal(price)


def test_a_stop_by_distance_from_an_unknown_price_is_unknown():
    for price, expected in (("0", None), ("0.5", Decimal("0.49"))):
        held = book(trades={"12": trade(price=price)}, last_id=12)
        order = tx(13, "STOP_LOSS_ORDER", trade_id="12", distance=Decimal("0.01"), reason="ON_FILL")
        apply_transaction(held, order, nobody)
        assert held.trades["12"].stop_price == expected


def test_a_later_stop_by_distance_has_an_unknown_price():
    held = book(trades={"12": trade()}, last_id=12)
    order = tx(
        13, "STOP_LOSS_ORDER", trade_id="12", distance=Decimal("0.01"), reason="CLIENT_ORDER"
    )
    apply_transaction(held, order, nobody)
    assert held.trades["12"].protected
    assert held.trades["12"].stop_price is None


def test_a_fill_of_the_stop_closes_the_trade_and_books_every_fee():
    held = book(trades={"12": trade(signal_id="s1", strategy="trend")}, last_id=18)
    apply_transaction(held, stop_order(19), nobody)
    changes = apply_transaction(held, closing_fill(), nobody)
    assert held.trades == {}
    assert held.orders == {}
    assert held.balance == Decimal("9994.4000")
    assert changes.realized == Decimal("-5.6000")
    assert changes.problems == ()
    closed = changes.closed[0]
    assert (closed.units, closed.remaining, closed.reason) == (1000, 0, "STOP_LOSS_ORDER")
    assert (closed.realized_pl, closed.financing) == (Decimal("-5.0000"), Decimal("-0.1000"))
    assert (closed.ours, closed.signal_id, closed.strategy) == (True, "s1", "trend")
    assert changes.unprotected == ()


@pytest.mark.parametrize(("units", "part", "left"), [(1000, -400, 600), (-1000, 400, -600)])
def test_a_reduced_trade_keeps_the_rest(units, part, left):
    held = book(trades={"12": trade(units=units)}, last_id=19)
    changes = apply_transaction(
        held,
        closing_fill(
            units=Decimal(part),
            trades_closed=None,
            trade_reduced=TradeReduce(
                trade_id="12", units=Decimal(part), realized_pl=Decimal("-5.0000")
            ),
        ),
        nobody,
    )
    assert held.trades["12"].units == left
    assert held.trades["12"].initial_units == units
    assert changes.closed[0].units == -part
    assert changes.closed[0].remaining == left
    assert changes.problems == ()


@pytest.mark.parametrize("units", [1, -1])
def test_a_trade_of_one_unit_can_be_reduced_by_a_part_of_it(units):
    held = book(trades={"12": trade(units=units)}, last_id=19)
    part = Decimal("-0.6") * units
    changes = apply_transaction(
        held,
        closing_fill(
            units=part,
            trades_closed=None,
            trade_reduced=TradeReduce(trade_id="12", units=part, realized_pl=Decimal("-5.0000")),
        ),
        nobody,
    )
    assert held.trades["12"].units == Decimal("0.4") * units
    assert changes.problems == ()


@pytest.mark.parametrize("part", [-1000, -1001, 400])
def test_a_reduction_that_does_not_leave_a_smaller_trade_is_a_problem(part):
    held = book(trades={"12": trade()}, last_id=19)
    changes = apply_transaction(
        held,
        closing_fill(
            units=Decimal(part),
            trades_closed=None,
            trade_reduced=TradeReduce(
                trade_id="12", units=Decimal(part), realized_pl=Decimal("-5.0000")
            ),
        ),
        nobody,
    )
    assert changes.problems == (f"transaction 20 reduces trade 12 by {part}, we hold 1000",)


def test_a_reversal_closes_and_opens_in_one_fill():
    held = book(trades={"12": trade()}, last_id=19)
    changes = apply_transaction(
        held,
        closing_fill(
            units=Decimal(-1500),
            reason="MARKET_ORDER",
            trade_opened=TradeOpen(trade_id="20", units=Decimal(-500), price=Decimal("1.095")),
        ),
        nobody,
    )
    assert set(held.trades) == {"20"}
    assert held.trades["20"].units == -500
    assert not held.trades["20"].ours
    assert [one.trade_id for one in changes.opened] == ["20"]
    assert [one.trade_id for one in changes.closed] == ["12"]
    assert changes.problems == ()


def test_a_balance_that_does_not_add_up_is_told_and_the_venues_is_taken():
    held = book(trades={"12": trade()}, last_id=19)
    changes = apply_transaction(held, closing_fill(account_balance=Decimal("9994.4001")), nobody)
    assert held.balance == Decimal("9994.4001")
    assert changes.problems == (
        "transaction 20: the venue's balance is 9994.4001, ours would be 9994.4000",
    )


def test_parts_that_are_not_the_whole_are_told():
    held = book(trades={"12": trade()}, last_id=19)
    changes = apply_transaction(
        held, closing_fill(units=Decimal(-900), pl=Decimal("-5.1"), account_balance=None), nobody
    )
    assert changes.problems == (
        "transaction 20 fills -900 units, its parts -1000",
        "transaction 20 realises -5.1, its parts -5.0000",
    )
    assert held.balance == Decimal("9994.3000")


def test_closing_what_we_never_saw_is_a_problem_and_not_ours():
    held = book(last_id=19)
    changes = apply_transaction(held, closing_fill(), nobody)
    assert changes.problems == ("transaction 20 closes the unknown trade 12",)
    assert changes.closed[0].ours is False
    assert changes.closed[0].instrument == "EUR_USD"


def test_closing_other_units_than_we_hold_is_a_problem():
    held = book(trades={"12": trade(units=900)}, last_id=19)
    changes = apply_transaction(held, closing_fill(), nobody)
    assert changes.problems == ("transaction 20 closes -1000 of trade 12, we hold 900",)
    assert held.trades == {}


def test_a_part_without_a_price_has_the_fills_or_its_average():
    part = TradeReduce(trade_id="12", units=Decimal(-1000), realized_pl=Decimal("-5.0000"))
    for fields, price in (
        ({"price": Decimal("1.2"), "full_vwap": Decimal("1.3")}, "1.2"),
        ({"price": None, "full_vwap": Decimal("1.3")}, "1.3"),
        ({"price": None}, "0"),
    ):
        held = book(trades={"12": trade()}, last_id=19)
        changes = apply_transaction(held, closing_fill(trades_closed=(part,), **fields), nobody)
        assert changes.closed[0].price == Decimal(price)


def test_a_trade_that_opens_twice_is_a_problem():
    held = book(trades={"12": trade()}, last_id=11)
    changes = apply_transaction(held, opening_fill(), nobody)
    assert changes.problems == ("transaction 12 opens trade 12, which is open already",)


def test_a_trade_without_a_price_has_none_that_could_be_valued():
    held = book(last_id=11)
    changes = apply_transaction(
        held,
        opening_fill(price=None, trade_opened=TradeOpen(trade_id="12", units=Decimal(1000))),
        nobody,
    )
    assert held.trades["12"].price == 0
    assert changes.problems == ("transaction 12 opens trade 12 without instrument or price",)
    nameless = apply_transaction(book(last_id=11), opening_fill(instrument=None), nobody)
    assert nameless.opened[0].instrument == ""
    assert nameless.problems == changes.problems


def test_the_same_transaction_twice_changes_nothing_the_second_time():
    held = book()
    for one in (market_order(), opening_fill()):
        apply_transaction(held, one, OURS)
    before = msgspec.json.encode(held)
    assert apply_transaction(held, opening_fill(), OURS).opened == ()
    assert apply_transaction(held, market_order(), OURS).orders_created == ()
    assert msgspec.json.encode(held) == before


def test_somebody_elses_order_is_a_stranger_and_its_trade_is_not_ours():
    held = book()
    assert apply_transaction(held, market_order(name=""), OURS).strangers == ("",)
    changes = apply_transaction(held, opening_fill(), OURS)
    assert changes.opened[0].ours is False
    assert changes.opened[0].intent_id == ""


def test_an_order_with_our_form_of_name_but_no_intent_is_told_by_name():
    assert apply_transaction(book(), market_order(), nobody).strangers == (NAME,)


def test_closing_a_trade_is_nobodys_entry():
    order = tx(11, "MARKET_ORDER", instrument="EUR_USD", units=Decimal(-5), reason="TRADE_CLOSE")
    assert apply_transaction(book(), order, nobody).strangers == ()


@pytest.mark.parametrize(
    "other",
    [
        intent(proposal=proposal(account_id="101-001-1000001-002")),
        intent(proposal=proposal(instrument="USD_JPY")),
    ],
)
def test_our_name_on_another_account_or_instrument_is_not_ours(other):
    held = book()
    assert apply_transaction(held, market_order(), known(other)).strangers == (NAME,)
    assert apply_transaction(held, opening_fill(), known(other)).opened[0].ours is False


def test_a_fill_whose_order_we_never_saw_is_known_by_the_names_it_carries():
    by_order = apply_transaction(book(last_id=11), opening_fill(client_order_id=NAME), OURS)
    opened = TradeOpen(
        trade_id="12",
        units=Decimal(1000),
        price=Decimal("1.1"),
        client_extensions=ClientExtensions(id=NAME),
    )
    by_trade = apply_transaction(book(last_id=11), opening_fill(trade_opened=opened), OURS)
    assert by_order.opened[0].ours
    assert by_trade.opened[0].ours


def test_cancelling_an_unknown_order_is_a_problem():
    changes = apply_transaction(book(), tx(11, "ORDER_CANCEL", order_id="7"), nobody)
    assert changes.problems == ("transaction 11 cancels the unknown order 7",)


def test_a_market_order_that_is_not_filled_leaves_nothing():
    held = book()
    apply_transaction(held, market_order(), OURS)
    cancel = tx(12, "ORDER_CANCEL", order_id="11", reason="INSUFFICIENT_MARGIN")
    assert apply_transaction(held, cancel, OURS).orders_cancelled == ("11",)
    assert held.orders == {}
    assert held.trades == {}


def test_a_transfer_moves_the_balance_and_is_no_result():
    held = book()
    deposit = tx(
        11, "TRANSFER_FUNDS", amount=Decimal("500.00"), account_balance=Decimal("10500.0000")
    )
    changes = apply_transaction(held, deposit, nobody)
    assert (changes.transfer, changes.realized) == (500, 0)
    assert held.balance == 10500


@pytest.mark.parametrize(
    ("kind", "field"),
    [("DAILY_FINANCING", "financing"), ("DIVIDEND_ADJUSTMENT", "dividend_adjustment")],
)
def test_financing_and_dividends_are_results(kind, field):
    held = book()
    booked = tx(11, kind, **{field: Decimal("-1.2345")}, account_balance=Decimal("9998.7655"))
    changes = apply_transaction(held, booked, nobody)
    assert (changes.transfer, changes.realized) == (0, Decimal("-1.2345"))
    assert changes.problems == ()
    assert held.balance == Decimal("9998.7655")


def test_the_accounts_own_margin_rate_follows_its_configuration():
    held = book()
    apply_transaction(held, tx(11, "CLIENT_CONFIGURE", margin_rate=Decimal("0.05")), nobody)
    apply_transaction(held, tx(12, "CLIENT_CONFIGURE", alias="mine"), nobody)
    assert held.margin_rate == Decimal("0.05")


def test_a_renamed_order_answers_to_its_new_name():
    held = book()
    apply_transaction(held, market_order(name="theirs"), OURS)
    renaming = tx(
        12,
        "ORDER_CLIENT_EXTENSIONS_MODIFY",
        order_id="11",
        client_extensions_modify=named("other"),
    )
    apply_transaction(held, renaming, OURS)
    assert held.orders["11"].client_id == "other"
    apply_transaction(held, tx(13, "ORDER_CLIENT_EXTENSIONS_MODIFY", order_id="11"), OURS)
    apply_transaction(held, msgspec.structs.replace(renaming, id="14", order_id="9"), OURS)
    assert held.orders["11"].client_id == "other"


@pytest.mark.parametrize("kind", ["MARGIN_CALL_ENTER", "MARKET_ORDER_REJECT", "SOMETHING_NEW"])
def test_what_moves_nothing_moves_the_id_only(kind):
    held = book()
    expected = book(last_id=11)
    apply_transaction(held, tx(11, kind, units=Decimal(5), instrument="EUR_USD"), nobody)
    assert held == expected


def test_another_accounts_transaction_never_enters_the_books():
    held = book()
    other = Transaction(id="11", type="TRANSFER_FUNDS", account_id="x", amount=Decimal(5))
    changes = apply_transaction(held, other, nobody)
    assert changes.problems == (f"transaction 11 is of x, the books of {ACCOUNT}",)
    assert held == book()


def test_a_transaction_that_names_no_account_is_the_streams():
    held = book()
    apply_transaction(held, Transaction(id="11", type="TRANSFER_FUNDS", amount=Decimal(5)), nobody)
    assert held.balance == Decimal("10005.0000")


def test_ids_are_compared_as_numbers():
    held = book(last_id=999)
    apply_transaction(held, market_order(1000), OURS)
    assert held.last_id == 1000


def test_a_hole_is_stepped_over_only_where_the_books_stand():
    held = book()
    pass_hole(held, 13)
    assert held.last_id == 10
    pass_hole(held, 11)
    assert held.last_id == 11


def test_an_unreadable_time_stops_nothing():
    held = book(last_id=11)
    changes = apply_transaction(held, opening_fill(time="soon"), nobody)
    assert changes.opened[0].opened_ns == 0


def test_the_books_survive_a_snapshot():
    held = book()
    for one in (market_order(), opening_fill(), stop_order()):
        apply_transaction(held, one, OURS)
    assert msgspec.json.decode(msgspec.json.encode(held), type=Book) == held


@pytest.mark.parametrize("bad", ["NaN", "Infinity", "sNaN", "1e15"])
def test_a_figure_that_cannot_be_booked_is_refused_before_the_books(bad):
    text = f'{{"id":"12","type":"ORDER_FILL","tradeOpened":{{"tradeID":"12","units":"{bad}"}}}}'
    with pytest.raises(msgspec.ValidationError, match="tradeOpened 12 carries"):
        msgspec.json.decode(text, type=Transaction)


def test_a_reject_may_repeat_an_absurd_wish():
    text = '{"id":"12","type":"MARKET_ORDER_REJECT","units":"1e20"}'
    held = book(last_id=11)
    apply_transaction(held, msgspec.json.decode(text, type=Transaction), nobody)
    assert held.last_id == 12
    assert held.account_id == ACCOUNT


def test_reducing_what_we_never_saw_is_a_problem_and_leaves_no_trade():
    held = book(last_id=19)
    part = TradeReduce(trade_id="12", units=Decimal(-400), realized_pl=Decimal(-2))
    changes = apply_transaction(
        held,
        closing_fill(
            trades_closed=(), trade_reduced=part, units=Decimal(-400), pl=Decimal(-2),
            time="2026-01-05T10:00:00Z",
        ),
        nobody,
    )  # fmt: skip
    (closed,) = changes.closed
    assert "transaction 20 closes the unknown trade 12" in changes.problems
    assert (closed.account_id, closed.trade_id, closed.instrument) == (ACCOUNT, "12", "EUR_USD")
    assert (closed.units, closed.remaining, closed.ours) == (Decimal(400), Decimal(0), False)
    assert (closed.signal_id, closed.strategy) == ("", "")
    assert closed.closed_ns == 1767607200 * 10**9
    assert held.trades == {}


def test_a_closed_trade_keeps_its_own_instrument_and_an_unsaid_reason_is_empty():
    held = book(trades={"12": trade()}, last_id=19)
    (closed,) = apply_transaction(held, closing_fill(instrument=None, reason=None), nobody).closed
    assert (closed.instrument, closed.reason) == ("EUR_USD", "")


@pytest.mark.parametrize("part", ["0", "0.5"])
def test_a_reduction_by_nothing_or_against_its_sign_is_a_problem(part):
    held = book(trades={"12": trade()}, last_id=19)
    reduced = TradeReduce(trade_id="12", units=Decimal(part))
    changes = apply_transaction(
        held,
        closing_fill(trades_closed=(), trade_reduced=reduced, units=Decimal(part), pl=Decimal(0)),
        nobody,
    )
    assert f"transaction 20 reduces trade 12 by {part}, we hold 1000" in changes.problems

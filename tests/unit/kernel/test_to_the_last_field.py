"""What mutants of the kernel could change unseen: fields, factors and edges, one by one."""

from __future__ import annotations

import pytest

from orchestrator.kernel.audit import AuditChain
from orchestrator.kernel.ledger.adopt import adopt
from orchestrator.kernel.ledger.day import DayBook
from orchestrator.kernel.ledger.door import Door
from orchestrator.kernel.ledger.valuation import trade_risk
from orchestrator.kernel.orders.body import cancel, close_position, close_trade, protect
from orchestrator.kernel.orders.reading import read_outcome
from orchestrator.kernel.orders.reconcile import differences
from orchestrator.kernel.signals.path import Ask, Paths, Progress, proposal_of
from orchestrator.model.facts import OperatorActed
from orchestrator.model.money import InstrumentSpec, Side
from orchestrator.model.orders import IntentState, NotSent, Rejected
from orchestrator.model.signals import AskAllocation, Role, Score, Signal, Sizing
from orchestrator.model.time import parse_time
from orchestrator.model.venue import Account, ClientExtensions, Order, Trade
from tests.unit.kernel.ledger_makers import (
    ACCOUNT,
    NAME,
    book,
    dec,
    intent,
    known,
    quotes,
    trade,
    tx,
)

EUR_USD = InstrumentSpec(name="EUR_USD")
AT = "2026-11-18T14:00:00.000000000Z"


# -- the trail -------------------------------------------------------------------------------------


def test_a_record_names_who_acted():
    acted = OperatorActed(actor="anna", action="stop", text="")
    (record,) = AuditChain("house").link([acted], ts=5, node="n", epoch=1)
    assert (record.actor, record.ts) == ("anna", 5)


def test_each_record_has_its_own_time_and_none_is_left_out():
    acted = OperatorActed(actor="anna", action="stop", text="")
    chain = AuditChain("house")
    assert [r.ts for r in chain.link([acted, acted], ts=[5, 7], node="n", epoch=1)] == [5, 7]
    with pytest.raises(ValueError, match="shorter"):
        chain.link([acted, acted], ts=[5], node="n", epoch=1)


# -- words to the venue ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "target"),
    [
        (protect(ACCOUNT, "7", EUR_USD, dec("1.1"), request_id="r"), "7"),
        (cancel(ACCOUNT, "8", request_id="r"), "8"),
        (close_trade(ACCOUNT, "9", request_id="r"), "9"),
        (close_position(ACCOUNT, "EUR_USD", Side.BUY, request_id="r"), "EUR_USD"),
    ],
)
def test_what_reduces_risk_goes_to_its_own_account_under_its_own_id(request_, target):
    told = (request_.account_id, request_.target, request_.client_request_id)
    assert told == (ACCOUNT, target, "r")


def test_without_an_id_of_its_own_a_write_has_none():
    for request in (
        protect(ACCOUNT, "7", EUR_USD, dec("1.1")), cancel(ACCOUNT, "8"), close_trade(ACCOUNT, "9"),
        close_position(ACCOUNT, "EUR_USD", Side.SELL),
    ):  # fmt: skip
        assert request.client_request_id == ""


# -- what an answer proves -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "message", "proof"),
    [("", "", False), ("X", "", True), ("", "no", True), ("X", "no", True)],
)
def test_a_refusal_with_any_word_is_a_proof(code, message, proof):
    reading = read_outcome(intent(), Rejected(status=400, code=code, message=message))
    assert (reading.state is IntentState.REJECTED) is proof
    assert reading.reason.startswith("HTTP 400")
    assert ("no proof" in reading.reason) is not proof


def test_refused_credentials_and_a_closed_gate_keep_their_reasons():
    reading = read_outcome(intent(), Rejected(status=401, code="", message="who"))
    assert (reading.credentials, reading.reason) == (True, "HTTP 401  who")
    blocked = read_outcome(intent(), NotSent(reason="the stop stands", by_gate=True))
    assert (blocked.reason, blocked.by_gate) == ("the stop stands", True)


def test_a_refusal_that_carries_our_own_reject_is_read_by_its_transaction():
    own = tx(
        11, "MARKET_ORDER_REJECT", client_extensions=ClientExtensions(id=NAME),
        reject_reason="UNITS_INVALID",
    )  # fmt: skip
    told = Rejected(status=400, code="", message="", transactions=(own,))
    reading = read_outcome(intent(), told)
    assert (reading.state, reading.transaction_id) == (IntentState.REJECTED, 11)


# -- money -----------------------------------------------------------------------------------------


def test_the_risk_of_a_trade_is_converted_home_by_the_loss_factor():
    """In another currency than home: 1,000 units, 90 pips to the stop and 20 of spread."""
    held = trade(units=1000, price="1.10000", stop_price=dec("1.09000"), stop_order_id="5")
    live = quotes(EUR_USD=("1.09900", "1.09920"), USD_JPY=("150.000", "150.020"))
    loss = live.factors("USD", "JPY").loss
    assert loss > 100
    expected = dec(1000) * (dec("0.00900") + dec("0.00020")) * loss
    assert trade_risk(held, live, "JPY", dec("0.05")) == expected.quantize(dec("0.0001"))


def test_small_accounts_have_fractions_too():
    day = DayBook(day="d", equity_start=dec("0.8"), peak=dec("0.8"))
    assert day.loss_fraction(dec("0.6")) == dec("0.25")
    assert day.drawdown_fraction(dec("0.6")) == dec("0.25")


# -- the door --------------------------------------------------------------------------------------


def test_a_read_up_to_what_is_known_counts_no_hole():
    door = Door()
    assert door.admit(10, (), complete_to=10).holes == ()
    assert door.absent == {}
    assert not door.admit(10, ()).missing
    assert door.admit(0, ()).in_order == ()
    assert not door.admit(0, ()).missing


def test_what_is_held_at_the_end_of_a_read_is_no_gap():
    door = Door()
    for _ in range(2):
        admission = door.admit(10, (tx(12, "X"),), complete_to=12)
    assert [entry if isinstance(entry, int) else entry.number for entry in admission.in_order] == [
        11, 12,
    ]  # fmt: skip


# -- adopting --------------------------------------------------------------------------------------


def adopted(**fields):
    base = {
        "id": ACCOUNT, "currency": "USD", "balance": dec(5), "last_transaction_id": "9",
        "trades": (), "orders": (), "positions": (),
    }  # fmt: skip
    return adopt(Account(**{**base, **fields}), known(intent()))


def test_orders_and_trades_of_an_adopted_account_keep_their_ids_and_times():
    held = Trade(id="7", instrument="EUR_USD", price=dec("1.1"), current_units=dec(5), open_time=AT)
    bare = Order(id="8", type="TRAILING_STOP_LOSS", trade_id="7", create_time=AT)
    found = adopted(trades=(held,), orders=(bare,))
    order, ours = found.orders["8"], found.trades["7"]
    assert (order.order_id, order.create_ns, order.units, order.price) == (
        "8", parse_time(AT), None, None,
    )  # fmt: skip
    assert (ours.trade_id, ours.ours, ours.opened_ns) == ("7", False, parse_time(AT))
    assert (ours.trailing_order_id, ours.trailing_price) == ("8", None)


def test_differences_come_in_the_order_of_the_venues_ids():
    trades = {name: trade(name) for name in ("100", "9", "20")}
    seen = Account(
        id=ACCOUNT, currency="USD", balance=dec("10000.0000"), last_transaction_id="10",
        trades=(), orders=(), positions=(),
    )  # fmt: skip
    found = [text for text in differences(book(trades=trades), seen) if text.startswith("trade")]
    assert [text.split(":")[0] for text in found] == ["trade 9", "trade 20", "trade 100"]
    held = tuple(
        Trade(id=name, instrument="EUR_USD", price=dec("1.1"), current_units=dec(1000))
        for name in ("100", "9", "20")
    )
    more = Account(
        id=ACCOUNT, currency="USD", balance=dec("10000.0000"), last_transaction_id="10",
        trades=held, orders=(), positions=(),
    )  # fmt: skip
    found = [text for text in differences(book(), more) if text.startswith("trade")]
    assert [text.split(":")[0] for text in found] == ["trade 9", "trade 20", "trade 100"]


# -- a signal's path -------------------------------------------------------------------------------


def signal():
    return Signal(
        signal_id="s1", strategy="trend", instrument="EUR_USD", side=Side.BUY,
        reference_price=dec("1.1"), stop_distance=dec("0.002"), target_distance=dec("0.004"),
        confidence=dec("0.6"), created_ns=1, ttl_ms=10_000,
    )  # fmt: skip


def test_a_proposal_carries_the_target_and_the_score_of_its_stages():
    score = Score(
        signal_id="s1", account_id=ACCOUNT, approved=True, score=dec("0.7"), expected_r=dec(0),
        win_rate=dec(0), samples=0, reasons=(),
    )  # fmt: skip
    sizing = Sizing(
        signal_id="s1", account_id=ACCOUNT, units=dec(5), stop_price=dec("1.098"),
        target_price=dec("1.104"), risk=dec(1), reasons=(),
    )  # fmt: skip
    progress = Progress(weight=dec(1), confidence=dec("0.6"))
    bare = proposal_of(signal(), ACCOUNT, progress, sizing, dec(5))
    assert (bare.target_price, bare.score) == (dec("1.104"), dec(0))
    progress.score = score
    assert proposal_of(signal(), ACCOUNT, progress, sizing, dec(5)).score == dec("0.7")


def test_questions_have_numbers_of_their_own_that_grow_with_epoch_and_count():
    paths = Paths()
    first, second = paths.next_id(3), paths.next_id(3)
    assert (first, second) == (3_000_000_001, 3_000_000_002)


def test_of_two_questions_about_one_account_only_the_newer_one_is_forgotten_with_it():
    paths = Paths()

    def ask(number):
        paths.open(Ask(
            ask_id=number, role=Role.DISAGREEMENT, signal_id="s1", account_id=ACCOUNT,
            question=AskAllocation(signal=signal(), accounts=(), seed=1), deadline_ns=9,
        ))  # fmt: skip

    ask(1)
    ask(2)
    assert paths.close(1) is not None
    paths.forget("s1", ACCOUNT)
    assert paths.close(2) is None

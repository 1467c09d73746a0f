"""What a person may close, cancel and tighten: modes, the gate, one wish a command, how much."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.engine import reducing
from orchestrator.model.events import (
    CredentialsSeen,
    EmergencyStop,
    EnableAccount,
    ReduceRisk,
    TripBreaker,
)
from orchestrator.model.facts import (
    OperatorActed,
    ReductionWritten,
)
from orchestrator.model.limits import AccountPlan
from orchestrator.model.money import Side
from orchestrator.model.orders import Rejected
from orchestrator.model.reducing import ReduceKind
from orchestrator.model.time import NS_PER_S
from tests.unit.kernel.engine_bench import A, Bench, D, make_plan
from tests.unit.kernel.reducing_desk import FX_CLOSED, Desk, S, both_sides


@pytest.fixture
def desk():
    return Desk()


# -- modes -----------------------------------------------------------------------------------------


def test_no_breaker_and_no_switch_stands_before_a_close(desk):
    trade = desk.open()
    desk.feed(TripBreaker(breaker="A1", subject=A, actor="ann"))
    desk.feed(TripBreaker(breaker="S5", subject="system", actor="ann"))
    desk.feed(EnableAccount(account_id=A, enabled=False, actor="ann"))
    assert desk.kernel.account_mode(A, desk.now) == "reduce"
    desk.sent("close_trade", trade)


def test_in_a_stop_the_liquidator_closes_and_no_one_else(desk):
    trade = desk.open()
    waiting = desk.sent("close_trade", trade)
    desk.feed(EmergencyStop(stop_id="stop-1", actor="bob", reason="x", accounts=(A,)))
    why = "C01 emergency stop stop-1 stands: its liquidation closes, and no one else"
    assert desk.kernel.may_send(waiting.intent_id, desk.now) == why
    assert desk.refused("close_trade", trade) == why


def test_refused_credentials_halt_closes_too(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=401, code="", message="who are you"))
    assert desk.state() == (S.REFUSED, "HTTP 401  who are you")
    assert desk.kernel.account_mode(A, desk.now) == "halt"
    assert desk.refused("close_trade", trade).startswith("C01 A10 ")
    desk.feed(CredentialsSeen(account_id=A, ok=True))
    desk.wait(2)
    desk.sent("close_trade", trade)


def test_a_closed_market_delays_a_close_and_nothing_else():
    desk = Desk(make_plan(calendar="fx", accounts=(AccountPlan(account_id=A),)))
    trade, order = desk.open(), desk.rest_limit()
    desk.now = FX_CLOSED
    said = desk.refused("close_trade", trade)
    assert said == "C18 the session of EUR_USD is closed: ask again when it has opened"
    desk.sent("cancel_order", order)
    desk.sent("tighten_stop", trade, price=D("1.09900"))


def test_what_is_halted_cannot_be_closed_but_tightened(desk):
    trade = desk.open()
    desk.tick("EUR_USD", "1.10000", tradeable=False)
    assert desk.refused("close_trade", trade) == "C02 EUR_USD is not tradeable now"
    desk.sent("tighten_stop", trade, price=D("1.09900"))


def test_strangers_and_nonsense_are_refused(desk):
    desk.open()
    assert "C02 XAU_USD is not known" in desk.refused("close_position", "XAU_USD")
    assert "64 of A-Z" in desk.refused("close_position", "EUR/USD")
    assert "64 of A-Z" in desk.refused("close_position", "EUR_USD", command_id="")
    event = ReduceRisk(
        command_id="x", kind=ReduceKind.CLOSE_POSITION, account_id="101-001-9-009",
        target="EUR_USD", actor="ann",
    )  # fmt: skip
    desk.feed(event)
    assert "is not configured" in desk.said(OperatorActed)[-1].refused
    desk.feed(msgspec.structs.replace(event, kind=ReduceKind.CLOSE_TRADE, target="5"))
    assert "is not configured" in desk.said(OperatorActed)[-1].refused
    desk.feed(msgspec.structs.replace(event, kind=ReduceKind.CANCEL_ORDER, target="5"))
    assert "is not configured" in desk.said(OperatorActed)[-1].refused


@pytest.mark.parametrize("kind", list(ReduceKind))
def test_before_the_account_was_seen_nothing_can_be_asked(kind):
    bench = Bench(make_plan(accounts=(AccountPlan(account_id=A),)), begin=False)
    bench.start_life()
    event = ReduceRisk(command_id="x", kind=kind, account_id=A, target="EUR_USD", actor="ann")
    bench.feed(event)
    assert "nothing was heard of the account yet" in bench.said(OperatorActed)[-1].refused


def test_too_many_at_once_are_refused(desk, monkeypatch):
    monkeypatch.setattr(reducing, "_OPEN_MAX", 1)
    trade = desk.open()
    desk.sent("close_trade", trade)
    said = desk.refused("close_trade", trade)
    assert said == "1 closes and cancels are on their way already"


def test_a_number_that_the_venue_would_not_read_is_refused(desk):
    trade = desk.open()
    desk.kernel.books[A].trades[trade].units = D(10) ** 20
    said = desk.refused("close_trade", trade, units=D(10) ** 20)
    assert said.startswith("C02 ")


# -- the gate --------------------------------------------------------------------------------------


def test_the_gate_asks_again_with_the_socket_in_hand(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(600))
    desk.kernel.books[A].trades[trade].units = D(500)
    assert "C21 trade" in desk.kernel.may_send(act.intent_id, desk.now)
    desk.kernel.books[A].trades[trade].units = D(600)
    assert desk.kernel.may_send(act.intent_id, desk.now) is None
    late = desk.now + 30 * NS_PER_S
    assert desk.kernel.may_send(act.intent_id, late) is None
    assert desk.kernel.may_send(act.intent_id, late + 1) == "its time to live is over"
    desk.kernel._world.state.epoch = 9
    assert desk.kernel.may_send(act.intent_id, desk.now) == "asked for in epoch 1, now 9"


# -- one command, one wish -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        {"units": D(401)}, {"units": None}, {"side": Side.SELL}, {"kind": "close_trade"},
        {"target": "GBP_USD"},
    ],
)  # fmt: skip
def test_the_same_command_for_something_else_is_refused(desk, other):
    desk.open()
    wish = {"kind": "close_position", "target": "EUR_USD", "units": D(400), "command_id": "mine"}
    desk.sent(**wish)
    assert "something else" in desk.refused(**{**wish, **other})
    desk.ask(**{**wish, "side": Side.BUY})  # the side that was meant anyway
    assert len(desk.said(ReductionWritten)) == 1


def test_another_price_is_another_wish(desk):
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="mine")
    assert "something else" in desk.refused(
        "tighten_stop", trade, price=D("1.09910"), command_id="mine"
    )


# -- how much a close may take ---------------------------------------------------------------------


@pytest.mark.parametrize(("side", "most"), [(None, 1600), (Side.BUY, 1000), (Side.SELL, 600)])
def test_all_of_a_position_may_take_what_its_side_holds(desk, side, most):
    both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=side)
    (written,) = desk.said(ReductionWritten)
    assert written.reduction.most == most


def test_a_close_of_one_side_leaves_the_other_side_free(desk):
    both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=Side.BUY, units=D(900))
    desk.sent("close_position", "EUR_USD", side=Side.SELL, units=D(600))
    said = desk.refused("close_position", "EUR_USD", side=Side.SELL, units=D(1))
    assert said == "C21 EUR_USD has 600 units, 600 of them are being closed"


def test_all_of_both_sides_counts_for_each_of_them(desk):
    long, _ = both_sides(desk)
    desk.sent("close_position", "EUR_USD")
    assert "1600 of them" in desk.refused("close_trade", long, units=D(1))


def test_a_trade_that_is_being_closed_leaves_another_one_free(desk):
    first, second = desk.open(), desk.open()
    desk.sent("close_trade", first, units=D(1000))
    desk.sent("close_trade", second, units=D(1000))
    assert "2000 units, 2000 of them" in desk.refused("close_position", "EUR_USD", units=D(1))


def test_a_tightening_of_one_trade_leaves_another_one_free(desk):
    first, second = desk.open(), desk.open()
    desk.sent("tighten_stop", first, price=D("1.09900"))
    desk.sent("tighten_stop", second, price=D("1.09900"))
    desk.sent("close_trade", first, units=D(1000))
    assert "is being moved already" in desk.refused("tighten_stop", first, price=D("1.09950"))


def test_a_double_click_is_no_refusal(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400), command_id="mine")
    before = len(desk.said(OperatorActed))
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert len(desk.said(OperatorActed)) == before

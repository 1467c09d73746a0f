"""A person closes, cancels and tightens: what passes, what is refused, what becomes of it."""

from __future__ import annotations

import msgspec
import pytest

from orchestrator.kernel.engine import Kernel, reducing
from orchestrator.kernel.orders.identity import reduction_id
from orchestrator.model.acts import FetchTransactions, SendAlert, SendOrder
from orchestrator.model.events import (
    CredentialsSeen,
    EmergencyStop,
    EnableAccount,
    ReadFailed,
    ReduceRisk,
    SignalSeen,
    TransactionsSeen,
    TripBreaker,
)
from orchestrator.model.facts import (
    BreakerTripped,
    OperatorActed,
    ReductionMoved,
    ReductionWritten,
    subject_of,
)
from orchestrator.model.limits import AccountPlan, CheckLimits
from orchestrator.model.money import ONE, Side
from orchestrator.model.orders import Answered, NotSent, Rejected, Unknown, WriteKind
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.model.time import NS_PER_S, parse_time
from orchestrator.model.venue import ClientExtensions as Ext
from orchestrator.model.venue import Order, PositionCloseout, TradeClose, TradeReduce
from tests.unit.kernel.engine_bench import A, Bench, D, make_plan

S = ReductionState
FX_CLOSED = parse_time("2026-11-21T12:00:00Z")


class Desk(Bench):
    """A bench with one account that holds one trade, and a person at it."""

    def __init__(self, plan=None) -> None:
        super().__init__(plan or make_plan(accounts=(AccountPlan(account_id=A),)))
        self.asked = 0

    def open(self, units=1_000, **fields) -> str:
        """A trade of ours at the venue; its id."""
        before = set(self.venue[A].trades)
        signal = self.signal(**fields)
        self.answer(self.feed(SignalSeen(signal=signal)), units=units)
        assert self.fill_all() == 1
        self.wait(11)
        (trade,) = set(self.venue[A].trades) - before
        return trade

    def ask(self, kind, target, **fields):
        """The state of what was asked, and why; what is to be sent is in `orders()`."""
        self.asked += 1
        fields.setdefault("command_id", f"c{self.asked}")
        event = ReduceRisk(
            kind=ReduceKind(kind), account_id=A, target=target, actor="ann", reason="r", **fields
        )
        self.feed(event)
        return event.command_id

    def refused(self, kind, target, **fields) -> str:
        self.ask(kind, target, **fields)
        acted = self.said(OperatorActed)[-1]
        assert acted.refused
        assert self.orders() == []
        return acted.refused

    def sent(self, kind, target, **fields) -> SendOrder:
        self.ask(kind, target, **fields)
        assert self.said(OperatorActed)[-1].refused == ""
        (act,) = self.orders()
        assert act.request.urgent
        assert self.kernel.may_send(act.intent_id, self.now) is None
        return act

    def state(self, command_id="c1"):
        record = self.kernel.reduction(A, command_id)
        return (record.state, record.reason) if record is not None else None

    def order(self, **fields):
        """A market order of the venue's own, as a close makes it."""
        return self.venue[A].add(type="MARKET_ORDER", instrument="EUR_USD", **fields)

    def trade_close(self, trade_id, units="ALL", cancel=""):
        """What the venue writes for a close of a trade, whole or in part."""
        account, held = self.venue[A], self.venue[A].trades[trade_id]
        sign = 1 if held.current_units > 0 else -1
        many = abs(held.current_units) if units == "ALL" else D(units)
        made = self.order(
            units=-sign * many, reason="TRADE_CLOSE",
            trade_close=TradeClose(trade_id=trade_id, units=units),
        )  # fmt: skip
        if cancel:
            return made, account.add(type="ORDER_CANCEL", order_id=made.id, reason=cancel)
        return self._closing_fill(made, trade_id, many, "MARKET_ORDER_TRADE_CLOSE")

    def _closing_fill(self, made, trade_id, many, reason):
        account, held = self.venue[A], self.venue[A].trades[trade_id]
        sign = 1 if held.current_units > 0 else -1
        part = TradeReduce(trade_id=trade_id, units=-sign * many, price=D("1.1"), realized_pl=D(0))
        whole = many == abs(held.current_units)
        fill = account.add(
            type="ORDER_FILL", order_id=made.id, instrument="EUR_USD", units=-sign * many,
            price=D("1.1"), pl=D(0), financing=D(0), commission=D(0), reason=reason,
            account_balance=account.balance, client_order_id=made.client_extensions
            and made.client_extensions.id,
            **({"trades_closed": (part,)} if whole else {"trade_reduced": part}),
        )  # fmt: skip
        if not whole:
            left = held.current_units - sign * many
            account.trades[trade_id] = msgspec.structs.replace(held, current_units=left)
            return made, fill
        del account.trades[trade_id]
        gone = [o for o in account.orders.values() if o.trade_id == trade_id]
        ends = [
            account.add(type="ORDER_CANCEL", order_id=o.id, reason="LINKED_TRADE_CLOSED")
            for o in gone
        ]
        for each in gone:
            del account.orders[each.id]
        return made, fill, *ends

    def position_close(self, trade_id, name, units="ALL"):
        held = self.venue[A].trades[trade_id]
        many = abs(held.current_units) if units == "ALL" else D(units)
        made = self.order(
            units=-many, reason="POSITION_CLOSEOUT", client_extensions=Ext(id=name),
            long_position_closeout=PositionCloseout(instrument="EUR_USD", units=units),
        )  # fmt: skip
        return self._closing_fill(made, trade_id, many, "MARKET_ORDER_POSITION_CLOSEOUT")

    def answered(self, act, *made):
        last = self.venue[A].last_id
        return self.finish(
            act.intent_id, Answered(status=200, transactions=made, last_transaction_id=last)
        )

    def rest_limit(self, price="1.05000"):
        """An entry order of another hand; its id."""
        tx = self.venue[A].add(
            type="LIMIT_ORDER", instrument="EUR_USD", units=D(500), price=D(price),
            reason="CLIENT_ORDER",
        )  # fmt: skip
        self.venue[A].orders[tx.id] = Order(
            id=tx.id, type="LIMIT", instrument="EUR_USD", units=D(500), price=D(price)
        )
        self.stream(A, tx)
        return tx.id

    def replay(self) -> Kernel:
        fresh = Kernel(self.plan)
        for fact, at in self.facts:
            fresh.apply(fact, at)
        return fresh


@pytest.fixture
def desk():
    return Desk()


def body(act) -> dict:
    return msgspec.json.decode(act.request.body) if act.request.body else {}


# -- closing a trade -------------------------------------------------------------------------------


def test_a_trade_is_closed_whole_and_the_log_says_so(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    assert (act.request.kind, act.request.target) == (WriteKind.CLOSE_TRADE, trade)
    assert body(act) == {"units": "ALL"}
    assert act.repeatable
    assert desk.state() == (S.WRITTEN, "")
    desk.answered(act, *desk.trade_close(trade))
    assert desk.state() == (S.DONE, "MARKET_ORDER_TRADE_CLOSE")
    assert desk.kernel.books[A].trades == {}
    assert desk.replay().snapshot() == desk.kernel.snapshot()


def test_a_part_of_a_trade_is_closed_and_is_no_repeatable_act(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    assert body(act) == {"units": "400"}
    assert not act.repeatable
    desk.answered(act, *desk.trade_close(trade, "400"))
    assert desk.state()[0] is S.DONE
    assert desk.kernel.books[A].trades[trade].units == 600


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"units": D(1001)}, "C21 trade {} has 1000 units, 0 of them are being closed"),
        ({"units": D("0.5")}, "C02 0.5 units are finer than EUR_USD allows (1)"),
        ({"units": D(0)}, "C02 0 is no number for units"),
        ({"units": D(-5)}, "C02 -5 is no number for units"),
        ({"units": D("NaN")}, "C02 NaN is no number for units"),
        ({"units": D("Infinity")}, "C02 Infinity is no number for units"),
    ],
)
def test_units_that_are_not_there_are_not_closed(desk, fields, said):
    trade = desk.open()
    assert said.format(trade) in desk.refused("close_trade", trade, **fields)
    assert desk.state() is None


def test_a_trade_that_is_not_open_is_not_closed(desk):
    assert "C21 trade 77 is not open" in desk.refused("close_trade", "77")


def test_closes_on_their_way_are_left_out_of_what_can_be_closed(desk):
    trade = desk.open()
    first = desk.sent("close_trade", trade, units=D(700))
    said = desk.refused("close_trade", trade, units=D(400))
    assert said == f"C21 trade {trade} has 1000 units, 700 of them are being closed"
    said = desk.refused("close_position", "EUR_USD", units=D(400))
    assert said == "C21 EUR_USD has 1000 units, 700 of them are being closed"
    desk.finish(first.intent_id, NotSent(reason="connection refused"))
    assert desk.state() == (S.NOT_SENT, "connection refused")
    desk.sent("close_trade", trade, units=D(400))


def test_all_can_be_asked_beside_a_part_that_is_on_its_way(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(700))
    desk.sent("close_trade", trade)
    assert "1000 units, 1700 of them" in desk.refused("close_trade", trade, units=D(1))


def test_a_double_click_is_one_close(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400), command_id="mine")
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert desk.orders() == []
    assert len(desk.said(ReductionWritten)) == 1
    desk.answered(act, *desk.trade_close(trade, "400"))
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert desk.orders() == []
    said = desk.refused("close_trade", trade, units=D(300), command_id="mine")
    assert said == "command mine was given before, for something else"


def test_a_like_part_within_ten_seconds_is_a_double_click_too(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(300))
    assert "C04 a like close (300 of " in desk.refused("close_trade", trade, units=D(300))
    desk.answered(act, *desk.trade_close(trade, "300"))
    desk.wait(9)
    said = desk.refused("close_trade", trade, units=D(300))
    assert said == f"C04 a like close (300 of {trade}) was asked 9.0 s ago, limit 10 s"
    desk.sent("close_trade", trade, units=D(299))
    desk.wait(1)
    desk.sent("close_trade", trade, units=D(300))


def test_what_the_venue_refused_may_be_asked_again_at_once(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(300))
    desk.finish(act.intent_id, Rejected(status=400, code="X", message="no"))
    assert desk.state() == (S.REFUSED, "HTTP 400 X no")
    desk.sent("close_trade", trade, units=D(300))


# -- closing a position ----------------------------------------------------------------------------


def test_a_position_is_closed_on_the_side_that_is_held(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD")
    assert (act.request.kind, act.request.target) == (WriteKind.CLOSE_POSITION, "EUR_USD")
    names = {"id": act.intent_id, "tag": "e1"}
    assert body(act) == {"longUnits": "ALL", "longClientExtensions": names}
    assert act.intent_id == reduction_id("c1", A)
    desk.answered(act, *desk.position_close(trade, act.intent_id))
    assert desk.state()[0] is S.DONE


def test_a_part_of_a_short_position_names_the_short_side(desk):
    desk.open(side=Side.SELL, reference_price=D("1.10000"))
    act = desk.sent("close_position", "EUR_USD", units=D(250))
    assert body(act)["shortUnits"] == "250"
    assert "C21 nothing of EUR_USD is open" in desk.refused(
        "close_position", "EUR_USD", side=Side.BUY
    )


def test_of_two_sides_all_is_closed_or_one_is_named(desk):
    long, short = desk.open(), desk.open()
    held = desk.venue[A].trades[short]
    desk.kernel.books[A].trades[short].units = D(-600)
    desk.venue[A].trades[short] = msgspec.structs.replace(held, current_units=D(-600))
    said = desk.refused("close_position", "EUR_USD", units=D(100))
    assert said == "C21 EUR_USD is held on both sides: say which one to close in part"
    one = desk.sent("close_position", "EUR_USD", units=D(100), side=Side.SELL, command_id="one")
    assert set(body(one)) == {"shortUnits", "shortClientExtensions"}
    act = desk.sent("close_position", "EUR_USD", command_id="both")
    assert {"longUnits", "shortUnits"} < set(body(act))
    desk.answered(act, *desk.position_close(long, act.intent_id))
    assert desk.state("both")[0] is S.UNKNOWN
    desk.stream(A, *desk.position_close(short, act.intent_id))
    assert desk.state("both")[0] is S.DONE
    assert desk.state("one") == (S.REFUSED, "it was closed before")


def test_one_of_two_sides_that_is_cancelled_is_a_refusal(desk):
    desk.open()
    act = desk.sent("close_position", "EUR_USD")
    made = desk.order(
        units=D(-1000), reason="POSITION_CLOSEOUT", client_extensions=Ext(id=act.intent_id)
    )
    end = desk.venue[A].add(type="ORDER_CANCEL", order_id=made.id, reason="MARKET_HALTED")
    desk.answered(act, made, end)
    assert desk.state() == (S.REFUSED, "MARKET_HALTED")


# -- cancelling ------------------------------------------------------------------------------------


def test_an_entry_order_is_cancelled(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    assert (act.request.kind, act.request.body) == (WriteKind.CANCEL, "")
    tx = desk.venue[A].add(type="ORDER_CANCEL", order_id=order, reason="CLIENT_REQUEST")
    desk.answered(act, tx)
    assert desk.state() == (S.DONE, "CLIENT_REQUEST")


def test_a_stop_is_not_cancelled_by_hand(desk):
    trade = desk.open()
    (stop,) = desk.venue[A].orders
    said = desk.refused("cancel_order", stop)
    assert said == f"C22 order {stop} is a trade's STOP_LOSS: it goes with its trade"
    assert "C22 order 99 is not waiting at the venue" in desk.refused("cancel_order", "99")
    assert desk.kernel.books[A].trades[trade].protected


def test_an_order_that_filled_before_its_cancel_is_told(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    last = desk.venue[A]
    tx = last.add(
        type="ORDER_FILL", order_id=order, instrument="EUR_USD", units=D(500), price=D("1.05"),
        pl=D(0), financing=D(0), commission=D(0), account_balance=last.balance,
        reason="LIMIT_ORDER",
    )  # fmt: skip
    desk.stream(A, tx)
    assert desk.state() == (S.REFUSED, "LIMIT_ORDER")
    desk.finish(act.intent_id, Rejected(status=404, code="ORDER_DOESNT_EXIST", message="gone"))
    assert desk.state() == (S.REFUSED, "LIMIT_ORDER")


def test_a_cancel_that_the_venue_rejects_is_refused(desk):
    order = desk.rest_limit()
    act = desk.sent("cancel_order", order)
    tx = desk.venue[A].add(
        type="ORDER_CANCEL_REJECT", order_id=order, reject_reason="ORDER_DOESNT_EXIST"
    )
    desk.answered(act, tx)
    assert desk.state() == (S.REFUSED, "ORDER_DOESNT_EXIST")


# -- tightening ------------------------------------------------------------------------------------


def moved_stop(desk, trade, price):
    account = desk.venue[A]
    (old,) = [o for o in account.orders.values() if o.trade_id == trade]
    gone = account.add(type="ORDER_CANCEL", order_id=old.id, reason="CLIENT_REQUEST_REPLACED")
    made = account.add(type="STOP_LOSS_ORDER", trade_id=trade, price=D(price), reason="REPLACEMENT")
    del account.orders[old.id]
    account.orders[made.id] = Order(
        id=made.id, type="STOP_LOSS", trade_id=trade, price=D(price)
    )  # fmt: skip
    return gone, made


def test_a_stop_is_tightened_and_never_loosened(desk):
    trade = desk.open()
    assert desk.kernel.books[A].trades[trade].stop_price == D("1.09810")
    act = desk.sent("tighten_stop", trade, price=D("1.09900"))
    assert (act.request.kind, act.request.target) == (WriteKind.PROTECT, trade)
    assert body(act) == {"stopLoss": {"price": "1.09900", "timeInForce": "GTC"}}
    said = desk.refused("tighten_stop", trade, price=D("1.09950"))
    assert said == f"C22 the stop of trade {trade} is being moved already"
    desk.answered(act, *moved_stop(desk, trade, "1.09900"))
    assert desk.state() == (S.DONE, "REPLACEMENT")
    for price in ("1.09900", "1.09899", "1.05000"):
        said = desk.refused("tighten_stop", trade, price=D(price))
        assert said == f"C22 stop {price} is not tighter than 1.09900, which stands at the venue"


@pytest.mark.parametrize(
    ("price", "said"),
    [
        (None, "C02 a stop needs a price"),
        ("1.10000", "C02 stop 1.10000 is not on the losing side of 1.10000"),
        ("1.20000", "C02 stop 1.20000 is not on the losing side of 1.10000"),
        ("1.099001", "C02 1.099001 price are finer"),
        ("NaN", "C02 NaN is no number for price"),
        ("-1.09900", "C02 -1.09900 is no number for price"),
    ],
)
def test_a_stop_that_cannot_be_meant_is_refused(desk, price, said):
    trade = desk.open()
    assert said in desk.refused("tighten_stop", trade, price=None if price is None else D(price))


def test_the_stop_of_a_short_trade_is_tightened_downwards(desk):
    trade = desk.open(side=Side.SELL, reference_price=D("1.10000"))
    stop = desk.kernel.books[A].trades[trade].stop_price
    assert "is not tighter" in desk.refused("tighten_stop", trade, price=stop + D("0.00001"))
    assert "losing side" in desk.refused("tighten_stop", trade, price=D("1.10010"))
    act = desk.sent("tighten_stop", trade, price=stop - D("0.00001"))
    desk.stream(A, *moved_stop(desk, trade, stop - D("0.00002")))
    assert desk.state("c3") == (S.DONE, f"the stop stands at {stop - D('0.00002')}")
    assert "is not waiting" in desk.kernel.may_send(act.intent_id, desk.now)


def test_a_trade_of_ours_without_a_stop_is_left_to_its_protection(desk):
    trade = desk.open()
    book = desk.kernel.books[A].trades[trade]
    stop_id, book.stop_order_id, book.stop_price = book.stop_order_id, None, None
    assert "C22 trade" in desk.refused("tighten_stop", trade, price=D("1.09900"))
    book.trailing_order_id = "50"
    desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="trails")
    book.trailing_order_id, book.ours = None, False
    desk.finish(reduction_id("trails", A), NotSent(reason="x"))
    act = desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="foreign")
    desk.finish(act.intent_id, NotSent(reason="x"))
    book.stop_order_id = stop_id
    assert "is not known" in desk.refused("tighten_stop", trade, price=D("1.09900"))


def test_a_guaranteed_stop_is_not_ours_to_move(desk):
    trade = desk.open()
    book = desk.kernel.books[A]
    book.orders[book.trades[trade].stop_order_id].type = "GUARANTEED_STOP_LOSS"
    said = desk.refused("tighten_stop", trade, price=D("1.09900"))
    assert "has a guaranteed stop" in said
    assert "C22 trade 77 is not open" in desk.refused("tighten_stop", "77", price=D("1.09900"))


def test_without_a_price_the_venue_decides_about_the_losing_side(desk):
    trade = desk.open()
    desk.kernel._world.live.quotes.__init__()
    desk.sent("tighten_stop", trade, price=D("1.09900"))


def test_a_stop_that_the_venue_rejects_is_refused(desk):
    trade = desk.open()
    act = desk.sent("tighten_stop", trade, price=D("1.09900"))
    tx = desk.venue[A].add(
        type="STOP_LOSS_ORDER_REJECT", trade_id=trade, price=D("1.09900"),
        reject_reason="STOP_LOSS_ON_FILL_LOSS", reason="REPLACEMENT",
    )  # fmt: skip
    desk.answered(act, tx)
    assert desk.state() == (S.REFUSED, "STOP_LOSS_ON_FILL_LOSS")


def test_a_trade_that_closed_before_its_stop_moved_ends_the_wish(desk):
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"))
    desk.sent("close_trade", trade, command_id="all")
    desk.stream(A, *desk.venue[A].close(trade, D("1.098"), D("-2")))
    assert desk.state() == (S.REFUSED, "it was closed before")
    assert desk.state("all") == (S.DONE, "it is closed")


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


# -- unknown ---------------------------------------------------------------------------------------


def test_an_answer_that_never_comes_is_settled_by_the_log(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.acts.clear()
    desk.finish(act.intent_id, Unknown(reason="no answer within 5 s"))
    assert desk.state() == (S.UNKNOWN, "no answer within 5 s")
    assert desk.done(FetchTransactions)
    blocks = [text for text in desk.kernel.account_view(
        A, desk.now, "EUR_USD").blocked_by if "is unknown" in text]  # fmt: skip
    assert len(blocks) == 1
    assert desk.refused("close_trade", trade, units=D(700)).startswith("C21")
    desk.trade_close(trade, "400")
    desk.serve_reads()
    assert desk.state()[0] is S.DONE


def test_one_that_never_arrived_is_absent_after_several_reads(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
        if desk.state()[0] is not S.UNKNOWN:
            break
    assert desk.state() == (S.ABSENT, "absent from the venue's log after several reads")
    assert any("has not reached" in act.alert.title for act in desk.done(SendAlert))
    desk.sent("close_trade", trade, units=D(400))
    assert desk.replay().snapshot() == desk.kernel.snapshot()


def test_a_close_that_comes_after_it_was_thought_absent_is_told(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    assert desk.state()[0] is S.ABSENT
    made, fill = desk.position_close(trade, act.intent_id, "400")
    desk.stream(A, made, fill)
    assert desk.state() == (S.DONE, "late: MARKET_ORDER_POSITION_CLOSEOUT")
    assert any("came late" in act.alert.title for act in desk.done(SendAlert))


def test_a_failed_read_is_asked_for_again(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    desk.acts.clear()
    desk.feed(ReadFailed(account_id=A, reason="503"))
    assert desk.done(FetchTransactions)


def test_unknown_for_long_is_a7s_business(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    desk.wait(35)
    assert "A7" in {fact.breaker for fact in desk.said(BreakerTripped)}


def test_a_crash_leaves_what_was_written_unknown_and_nothing_is_sent_again(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.start_life(unclean=True)
    assert desk.state() == (S.UNKNOWN, "crash: left by an earlier life")
    assert desk.orders() == []
    desk.start_life(unclean=True)
    assert desk.state()[0] is S.UNKNOWN
    desk.trade_close(trade, "400")
    desk.serve_reads()
    assert desk.state()[0] is S.DONE


def test_a_sender_that_falls_silent_is_not_waited_for(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.wait(60)
    assert desk.state()[0] is S.WRITTEN
    desk.wait(2)
    assert desk.state() == (S.UNKNOWN, "the sender does not tell")
    desk.finish(act.intent_id, NotSent(reason="waited 10 s"))
    assert desk.state() == (S.NOT_SENT, "waited 10 s")


def test_a_refusal_that_proves_nothing_is_unknown(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=408, code="", message="time-out"))
    assert desk.state()[0] is S.UNKNOWN
    desk.finish(act.intent_id, Unknown(reason="again"))
    assert desk.state()[0] is S.UNKNOWN


def test_an_answer_before_its_transactions_is_not_yet_done(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.answered(act)
    assert desk.state() == (S.UNKNOWN, "told by the answer, not yet by the log")


def test_a_step_that_no_life_has_is_an_integrity_breach(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.answered(act, *desk.trade_close(trade))
    record = desk.kernel.reduction(A, "c1")
    turn = reducing.Turn(desk.kernel._world, desk.now)
    reducing.move(turn, record, reducing.Told(state=S.UNKNOWN))
    (tripped,) = [fact for fact in turn.facts if isinstance(fact, BreakerTripped)]
    assert (tripped.breaker, tripped.evidence) == (
        "S4",
        f"reduction {act.intent_id}: done -> unknown",
    )


# -- the log ---------------------------------------------------------------------------------------


def test_another_hands_close_of_other_units_is_not_ours(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.stream(A, *desk.trade_close(trade, "300"))
    assert desk.state()[0] is S.WRITTEN
    desk.stream(A, *desk.trade_close(trade, "ALL"))
    assert desk.state() == (S.REFUSED, "it was closed before")


def test_of_two_like_closes_the_older_one_takes_the_first_word(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, command_id="first")
    desk.sent("close_trade", trade, command_id="second")
    desk.stream(A, *desk.trade_close(trade, cancel="MARKET_HALTED"))
    assert desk.state("first") == (S.REFUSED, "MARKET_HALTED")
    assert desk.state("second")[0] is S.WRITTEN


def test_a_close_that_the_venue_rejects_is_refused(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    tx = desk.venue[A].add(
        type="MARKET_ORDER_REJECT", instrument="EUR_USD", reason="TRADE_CLOSE",
        reject_reason="CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE",
        trade_close=TradeClose(trade_id=trade, units="400.0"),
    )  # fmt: skip
    told = Rejected(
        status=400, code="CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE", message="", transactions=(tx,),
        last_transaction_id=tx.number,
    )  # fmt: skip
    desk.finish(act.intent_id, told)
    assert desk.state() == (S.REFUSED, "CLOSE_TRADE_UNITS_EXCEED_TRADE_SIZE")


@pytest.mark.parametrize("units", [None, "many", "NaN"])
def test_a_closes_units_that_are_no_number_are_nobodys(desk, units):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    tx = desk.venue[A].add(
        type="MARKET_ORDER", instrument="EUR_USD", units=D(-400), reason="TRADE_CLOSE",
        trade_close=TradeClose(trade_id=trade, units=units),
    )  # fmt: skip
    desk.stream(A, tx)
    assert desk.state()[0] is S.WRITTEN
    assert not [f for f in desk.said(BreakerTripped) if f.breaker == "S4"]


def test_transactions_of_one_account_settle_nothing_of_another():
    desk = Desk(make_plan(checks=CheckLimits(correlation_max=ONE)))
    desk.answer(desk.feed(SignalSeen(signal=desk.signal())))
    desk.fill_all()
    (trade,) = desk.venue[A].trades
    desk.wait(11)
    desk.sent("close_trade", trade)
    other = desk.plan.accounts[1].account_id
    tx = desk.venue[other].add(type="TRANSFER_FUNDS", amount=D(5))
    desk.feed(
        TransactionsSeen(
            account_id=other, transactions=(tx,), last_transaction_id=tx.number, source="stream"
        )
    )
    assert desk.state()[0] is S.WRITTEN


def test_what_has_ended_is_remembered_for_a_day(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(10), command_id="mine")
    desk.answered(act, *desk.trade_close(trade, "10"))
    assert [each.state for each in desk.kernel.reductions()] == [S.DONE]
    desk.now += 25 * 3600 * NS_PER_S
    desk.ask("close_trade", trade, units=D(20), command_id="later")
    (second,) = desk.orders()
    desk.finish(second.intent_id, NotSent(reason="x"))
    assert desk.state("mine") is None


def test_a_word_about_an_unknown_reduction_changes_nothing(desk):
    before = desk.kernel.snapshot()
    moved = ReductionMoved(reduction_id="tsc-0", account_id=A, state=S.DONE)
    desk.kernel.apply(moved, desk.now)
    assert desk.kernel.snapshot() == before
    assert subject_of(moved) == "tsc-0"


def test_what_is_unknown_is_never_sent(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    said = desk.kernel.may_send(act.intent_id, desk.now)
    assert said == f"{act.intent_id} is not waiting to be sent"


def test_a_cancel_on_its_way_is_not_settled_by_other_news(desk):
    order, trade = desk.rest_limit(), desk.open()
    desk.sent("cancel_order", order)
    desk.stream(A, *moved_stop(desk, trade, "1.09000"))
    assert desk.state()[0] is S.WRITTEN


def test_a_read_before_the_life_has_begun_settles_nothing(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade, units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    fresh = desk.replay()
    last = desk.venue[A].last_id
    seen = TransactionsSeen(
        account_id=A, transactions=(), last_transaction_id=last, source="gap_fill",
        complete_to=last,
    )  # fmt: skip
    fresh.step(seen, desk.now)
    assert fresh.reduction(A, "c1").state is S.UNKNOWN


def test_an_unknown_close_blocks_its_own_instrument_and_account_only():
    desk = Desk(make_plan(checks=CheckLimits(correlation_max=ONE)))
    desk.answer(desk.feed(SignalSeen(signal=desk.signal(accounts=(A,)))))
    desk.fill_all()
    (trade,) = desk.venue[A].trades
    desk.wait(11)
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Unknown(reason="reset"))
    other = desk.plan.accounts[1].account_id
    blocked = {
        (name, pair): any("is unknown" in text for text in view.blocked_by)
        for name in (A, other)
        for pair in ("EUR_USD", "GBP_USD")
        if (view := desk.kernel.account_view(name, desk.now, pair)) is not None
    }
    assert [key for key, value in blocked.items() if value] == [(A, "EUR_USD")]
    assert len(blocked) == 4


def test_one_side_of_two_that_is_done_leaves_the_other(desk):
    long, short = desk.open(), desk.open()
    desk.kernel.books[A].trades[short].units = D(-600)
    held = desk.venue[A].trades[short]
    desk.venue[A].trades[short] = msgspec.structs.replace(held, current_units=D(-600))
    act = desk.sent("close_position", "EUR_USD")
    desk.stream(A, *desk.position_close(long, act.intent_id))
    assert desk.state()[0] is S.WRITTEN


# -- what is said, to the last field ---------------------------------------------------------------


def moves(desk, command_id="c1"):
    return [
        fact for fact in desk.said(ReductionMoved)
        if fact.reduction_id == reduction_id(command_id, A)
    ]  # fmt: skip


def alerts(desk):
    return [act.alert for act in desk.done(SendAlert) if act.alert.key.startswith("reduction:")]


def test_the_end_of_a_close_is_told_with_its_transaction_and_times(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    made = desk.trade_close(trade)
    desk.answered(act, *made)
    assert moves(desk) == [
        ReductionMoved(
            reduction_id=act.intent_id, account_id=A, state=S.DONE,
            reason="MARKET_ORDER_TRADE_CLOSE", transaction_id=made[1].number,
            first_byte_ns=desk.now, latency_us=100,
        )
    ]  # fmt: skip
    assert desk.kernel.reduction(A, "c1").transaction_id == made[1].number
    assert desk.kernel.reduction(A, "c1").since_ns == desk.now
    assert alerts(desk) == []


def test_a_late_answer_tells_nothing_anew(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.stream(A, *desk.trade_close(trade))
    (told,) = moves(desk)
    assert (told.first_byte_ns, told.latency_us) == (0, 0)
    desk.finish(act.intent_id, NotSent(reason="x"))
    assert len(moves(desk)) == 1
    assert desk.kernel._world.live.sent == {}


def test_each_end_names_its_transaction_and_its_reason(desk):
    order = desk.rest_limit()
    desk.sent("cancel_order", order)
    tx = desk.venue[A].add(type="ORDER_CANCEL", order_id=order, reason="CLIENT_REQUEST")
    desk.stream(A, tx)
    assert (moves(desk)[0].transaction_id, moves(desk)[0].reason) == (tx.number, "CLIENT_REQUEST")
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"), command_id="stop")
    made = moved_stop(desk, trade, "1.09900")
    desk.stream(A, *made)
    assert moves(desk, "stop")[0].transaction_id == made[1].number
    desk.sent("close_trade", trade, units=D(5), command_id="no")
    tx = desk.venue[A].add(
        type="MARKET_ORDER_REJECT", reason="TRADE_CLOSE",
        trade_close=TradeClose(trade_id=trade, units="5"),
    )  # fmt: skip
    desk.stream(A, tx)
    told = moves(desk, "no")[0]
    assert (told.state, told.reason, told.transaction_id) == (
        S.REFUSED, "MARKET_ORDER_REJECT", tx.number,
    )  # fmt: skip


def test_what_is_absent_or_late_is_told_to_people_by_name(desk):
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    (absent,) = alerts(desk)
    assert (absent.key, absent.severity, absent.subject) == (
        f"reduction:{act.intent_id}", "warning", A,
    )  # fmt: skip
    assert absent.title == "A close has not reached the venue"
    assert absent.text == (
        "close_position EUR_USD by ann: absent from the venue's log after several reads"
    )
    desk.stream(A, *desk.position_close(trade, act.intent_id, "400"))
    assert alerts(desk)[1].title == "A close came late"
    assert desk.kernel._world.live.settling == {}


def test_a_late_cancel_of_what_was_absent_is_not_overtaken_by_the_books(desk):
    """Its trade goes by a stop after it was thought absent: that is no news of it."""
    trade = desk.open()
    act = desk.sent("close_position", "EUR_USD", units=D(400))
    desk.finish(act.intent_id, Unknown(reason="reset"))
    for _ in range(30):
        desk.serve_reads()
        desk.wait(1)
    desk.stream(A, *desk.venue[A].close(trade, D("1.098"), D("-2")))
    assert desk.state()[0] is S.ABSENT


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


def both_sides(desk, short_units=600):
    long, short = desk.open(), desk.open()
    desk.kernel.books[A].trades[short].units = D(-short_units)
    return long, short


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


# -- the books -------------------------------------------------------------------------------------


def test_a_side_that_is_gone_ends_its_close_and_no_other(desk):
    long, _ = both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=Side.BUY, command_id="long")
    desk.sent("close_position", "EUR_USD", side=Side.SELL, units=D(5), command_id="short")
    desk.stream(A, *desk.venue[A].close(long, D("1.098"), D("-2")))
    assert desk.state("long") == (S.DONE, "it is closed")
    assert desk.state("short")[0] is S.WRITTEN


@pytest.mark.parametrize(
    ("side", "price", "ends"),
    [
        (Side.BUY, "1.09900", True), (Side.BUY, "1.09950", True), (Side.BUY, "1.09850", False),
        (Side.SELL, "1.10100", True), (Side.SELL, "1.10050", True), (Side.SELL, "1.10150", False),
    ],
)  # fmt: skip
def test_a_stop_that_another_hand_moved_as_far_ends_the_wish(desk, side, price, ends):
    reference = D("1.10010") if side is Side.BUY else D("1.10000")
    trade = desk.open(side=side, reference_price=reference)
    wished = D("1.09900") if side is Side.BUY else D("1.10100")
    desk.sent("tighten_stop", trade, price=wished)
    desk.stream(A, *moved_stop(desk, trade, price))
    assert (desk.state()[0] is S.DONE) is ends


def test_the_search_begins_at_the_answer_and_is_hurried_once(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.acts.clear()
    desk.finish(act.intent_id, Unknown(reason="reset"))
    live = desk.kernel._world.live
    settling = live.settling[act.intent_id]
    assert (settling.ended_ns, settling.highest) == (desk.now, desk.venue[A].last_id)
    (read,) = desk.done(FetchTransactions)
    assert (read.account_id, read.after_ms) == (A, 250)
    desk.now += NS_PER_S
    desk.finish(act.intent_id, Unknown(reason="again"))
    assert live.settling[act.intent_id].ended_ns == settling.ended_ns
    assert len(desk.done(FetchTransactions)) == 1


def test_a_401_blames_the_account_that_was_asked(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=403, code="", message="no"))
    (tripped,) = [f for f in desk.said(BreakerTripped) if f.breaker == "A10"]
    assert (tripped.subject, tripped.evidence.count("HTTP 403")) == (A, 1)
    again = desk.venue[A].last_id
    assert again == desk.kernel.books[A].last_id


# -- what is not news of it ------------------------------------------------------------------------


@pytest.mark.parametrize("side", [None, Side.BUY, Side.SELL])
def test_other_news_of_the_account_ends_no_close_of_what_is_still_open(desk, side):
    long, short = both_sides(desk)
    desk.sent("close_position", "EUR_USD", side=side)
    desk.stream(A, *moved_stop(desk, long, "1.09000"))
    assert desk.state()[0] is S.WRITTEN
    gone = long if side is Side.SELL else short
    desk.kernel.books[A].trades.pop(gone)
    desk.stream(A, desk.venue[A].add(type="DAILY_FINANCING", financing=D(0)))
    assert desk.state()[0] is S.WRITTEN


def test_both_sides_of_one_size_can_be_closed_at_once(desk):
    both_sides(desk, 1000)
    desk.sent("close_position", "EUR_USD")


def test_a_target_at_the_price_of_the_new_stop_is_not_the_stop(desk):
    trade = desk.open()
    desk.sent("tighten_stop", trade, price=D("1.09900"))
    for other in (
        {"type": "TAKE_PROFIT_ORDER", "trade_id": trade, "price": D("1.09900")},
        {"type": "STOP_LOSS_ORDER_REJECT", "trade_id": "99", "price": D("1.09900")},
        {"type": "STOP_LOSS_ORDER_REJECT", "trade_id": trade, "price": D("1.09800")},
        {"type": "LIMIT_ORDER_REJECT", "reject_reason": "X"},
    ):
        desk.stream(A, desk.venue[A].add(**other))
        assert desk.state()[0] is S.WRITTEN


def test_a_strangers_rejected_order_is_no_word_about_a_close(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    desk.stream(A, desk.venue[A].add(type="LIMIT_ORDER_REJECT", reject_reason="X"))
    desk.stream(A, desk.venue[A].add(type="MARKET_ORDER_REJECT", reject_reason="X"))
    assert desk.state()[0] is S.WRITTEN


@pytest.mark.parametrize("units", [None, "many"])
def test_the_fill_of_a_close_without_a_number_is_not_ours_either(desk, units):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400))
    made, fill = desk.trade_close(trade, "400")
    odd = msgspec.structs.replace(made, trade_close=TradeClose(trade_id=trade, units=units))
    desk.stream(A, odd, fill)
    assert desk.state()[0] is S.WRITTEN


def test_a_double_click_is_no_refusal(desk):
    trade = desk.open()
    desk.sent("close_trade", trade, units=D(400), command_id="mine")
    before = len(desk.said(OperatorActed))
    desk.ask("close_trade", trade, units=D(400), command_id="mine")
    assert len(desk.said(OperatorActed)) == before


def test_the_stop_of_the_smallest_trade_is_tightened_its_own_way(desk):
    trade = desk.open(units=1)
    assert "not tighter" in desk.refused("tighten_stop", trade, price=D("1.09000"))
    desk.sent("tighten_stop", trade, price=D("1.09900"))


def test_what_proves_nothing_says_so(desk):
    trade = desk.open()
    act = desk.sent("close_trade", trade)
    desk.finish(act.intent_id, Rejected(status=408, code="", message="slow"))
    assert desk.state()[1] == "HTTP 408  slow: no proof that nothing was accepted"

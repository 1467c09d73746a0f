"""A bench at which a person closes, cancels and tightens, and the venue's words about it."""

from __future__ import annotations

import msgspec

from orchestrator.kernel.engine import Kernel
from orchestrator.model.acts import SendOrder
from orchestrator.model.events import (
    ReduceRisk,
    SignalSeen,
)
from orchestrator.model.facts import (
    OperatorActed,
)
from orchestrator.model.limits import AccountPlan
from orchestrator.model.orders import Answered
from orchestrator.model.reducing import ReduceKind, ReductionState
from orchestrator.model.time import parse_time
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


def body(act) -> dict:
    return msgspec.json.decode(act.request.body) if act.request.body else {}


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


def both_sides(desk, short_units=600):
    long, short = desk.open(), desk.open()
    desk.kernel.books[A].trades[short].units = D(-short_units)
    return long, short

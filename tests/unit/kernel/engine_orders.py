"""What the tests of an order's way share: one order, its states and its outcome."""

from __future__ import annotations

from orchestrator.model.facts import (
    IntentMoved,
)
from orchestrator.model.orders import Unknown
from orchestrator.model.venue import TradeOpen
from tests.unit.kernel.engine_bench import A, D


def one_order(bench, **fields):
    """A signal for account A up to its order."""
    signal = bench.send_signal(accounts=(A,), **fields)
    (order,) = bench.orders()
    return signal, order


def states(bench):
    return [fact.state for fact in bench.said(IntentMoved)]


def outcome(bench, signal):
    return bench.ends(signal.signal_id)[A].outcome


def lose(bench, order):
    bench.finish(order.intent_id, Unknown(reason="time-out"))


def foreign_fill(account):
    made = account.add(
        type="MARKET_ORDER", instrument="EUR_USD", units=D(5_000), reason="CLIENT_ORDER"
    )
    trade_id = str(account.last_id + 1)
    fill = account.add(
        type="ORDER_FILL", order_id=made.id, instrument="EUR_USD", units=D(5_000), price=D("1.1"),
        pl=D(0), account_balance=account.balance, reason="MARKET_ORDER",
        trade_opened=TradeOpen(trade_id=trade_id, units=D(5_000), price=D("1.1")),
    )  # fmt: skip
    return made, fill

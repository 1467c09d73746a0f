"""What nobody has reserved, heard between an order's checks and its first byte: checked again."""

from __future__ import annotations

from decimal import Decimal

import pytest

from orchestrator.model.limits import AccountLimits, AccountPlan
from tests.unit.kernel.engine_bench import A, Bench, make_plan
from tests.unit.kernel.engine_orders import foreign_fill

D = Decimal


@pytest.fixture
def waiting() -> tuple[Bench, str]:
    """An account that may hold one trade, and its first order, which has not left."""
    one = AccountPlan(account_id=A, limits=AccountLimits(max_concurrent_trades=1))
    bench = Bench(make_plan(accounts=(one,)))
    signal = bench.send_signal()
    return bench, bench.name(signal, A)


def test_a_strangers_trade_is_counted_before_the_order_leaves(waiting):
    bench, name = waiting
    assert bench.kernel.may_send(name, bench.now) is None
    bench.stream(A, *foreign_fill(bench.venue[A]))
    assert "C11" in bench.kernel.may_send(name, bench.now)


def test_a_strangers_resting_order_has_the_order_checked_again(waiting):
    bench, name = waiting
    before = bench.kernel.generation
    made = bench.venue[A].add(
        type="LIMIT_ORDER", instrument="GBP_USD", units=D(100), price=D("1.2"),
        reason="CLIENT_ORDER",
    )  # fmt: skip
    bench.stream(A, made)
    assert bench.kernel.generation > before
    assert bench.kernel.may_send(name, bench.now) is None, "it takes no place yet"


def test_money_that_leaves_has_the_order_checked_again(waiting):
    bench, name = waiting
    before = bench.kernel.generation
    account = bench.venue[A]
    account.balance -= D(99_990)
    moved = account.add(
        type="TRANSFER_FUNDS", amount=D(-99_990), account_balance=account.balance,
        funding_reason="CLIENT_FUNDING",
    )  # fmt: skip
    bench.stream(A, moved)
    assert bench.kernel.generation > before
    assert bench.kernel.may_send(name, bench.now) is not None, "ten dollars carry no such order"


def test_what_was_reserved_stops_no_other_order():
    bench = Bench()
    first, second = (
        bench.send_signal(),
        bench.send_signal(instrument="GBP_USD", reference_price=D("1.30010")),
    )
    orders = {act.intent_id: act for act in bench.orders()}
    before = bench.kernel.generation
    bench.fill(orders[bench.name(first, A)])
    assert bench.kernel.generation == before
    assert bench.kernel.may_send(bench.name(second, A), bench.now) is None

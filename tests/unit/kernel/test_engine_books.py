"""The engine's books: trades that are foreign or bare, reconciliation, nonsense from the venue."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.kernel.engine import prices
from orchestrator.model.acts import CloseGate, FetchAccount, FetchTransactions, Write
from orchestrator.model.events import AccountSeen, ResetBreaker
from orchestrator.model.facts import (
    AccountReconciled,
    AlertRaised,
    OperatorActed,
    TradeClosed,
    TradeOpened,
)
from orchestrator.model.market import StreamBeat
from orchestrator.model.orders import WriteKind
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import ClientExtensions as Ext
from tests.unit.kernel.engine_bench import A, B, Bench, D
from tests.unit.kernel.engine_orders import foreign_fill, one_order

# -- the books -------------------------------------------------------------------------


def test_a_stop_loss_closes_the_trade_and_books_the_loss():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    (trade_id,) = bench.kernel.books[A].trades
    bench.stream(A, *bench.venue[A].close(trade_id, D("1.09810"), D("-2.0000")))
    assert bench.kernel.books[A].trades == {}
    assert bench.kernel.books[A].balance == D("99998")
    (closed,) = bench.said(TradeClosed)
    assert (closed.realized_pl, closed.remaining, closed.ours) == (D("-2.0000"), 0, True)


def test_a_foreign_trade_is_adopted_counted_and_told():
    bench = Bench()
    bench.stream(A, *foreign_fill(bench.venue[A]))
    (trade,) = bench.kernel.books[A].trades.values()
    assert not trade.ours
    assert not bench.said(TradeOpened)[0].ours
    view = bench.kernel.account_view(A, bench.now)
    assert view.open_risk >= D(5_000) * D("1.1") * D("0.05")  # no stop: 5 % of its worth
    assert any(f.alert.key.startswith("foreign:") for f in bench.said(AlertRaised))
    bench.wait(8)
    assert bench.done(Write) == []  # not ours to protect


def test_a_name_of_our_form_without_an_intent_is_critical():
    bench = Bench()
    account = bench.venue[A]
    made = account.add(
        type="LIMIT_ORDER", instrument="EUR_USD", units=D(5), price=D("1.0"), reason="CLIENT_ORDER",
        client_extensions=Ext(id="tso-" + "0" * 32),
    )  # fmt: skip
    bench.stream(A, made)
    (alert,) = [f.alert for f in bench.said(AlertRaised) if f.alert.key.startswith("foreign:")]
    assert alert.severity == "critical"


def test_a_trade_of_ours_without_a_stop_is_protected_then_closed():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order, stop=False)
    bench.acts.clear()
    seen = []
    for second in range(1, 8):
        bench.wait(1)
        seen.extend((second, act.request.kind) for act in bench.done(Write))
        bench.acts = [act for act in bench.acts if not isinstance(act, Write)]
    kinds = [kind for _, kind in seen]
    assert seen[0] == (3, WriteKind.PROTECT)  # first seen at second 1
    assert kinds[0] is WriteKind.PROTECT
    assert WriteKind.CLOSE_TRADE in kinds
    assert kinds.index(WriteKind.CLOSE_TRADE) > kinds.index(WriteKind.PROTECT)


def test_a_protected_trade_is_left_alone():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    bench.wait(10)
    assert bench.done(Write) == []


# -- reconciliation --------------------------------------------------------------------


def test_accounts_are_read_every_30_s():
    bench = Bench()
    bench.acts.clear()
    bench.wait(61)
    reads = [act.account_id for act in bench.done(FetchAccount)]
    assert reads.count(A) == reads.count(B) == 2


def test_a_difference_that_three_reads_show_blocks_the_account_until_it_is_gone():
    bench = Bench()
    bench.venue[A].balance += Decimal("0.0001")
    for _ in range(2):
        bench.feed(bench.venue[A].seen())
        assert bench.kernel.reconciled(A)
    bench.feed(bench.venue[A].seen())
    assert not bench.kernel.reconciled(A)
    bench.wait(1)
    assert any("A7" in text and "balance" in text for text in bench.kernel.account_blocks(A, 0))
    assert "balance" in bench.said(AccountReconciled)[-1].differences[0]
    bench.feed(ResetBreaker(breaker="A8", subject=A, actor="ann", reason="too early"))
    assert "A8 still holds" in bench.said(OperatorActed)[-1].refused
    bench.venue[A].balance -= Decimal("0.0001")
    bench.feed(bench.venue[A].seen())
    bench.wait(1)
    (text,) = bench.kernel.account_blocks(A, bench.now)
    assert text.startswith("A8")
    bench.feed(ResetBreaker(breaker="A8", subject=A, actor="ann", reason="looked at"))
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_an_account_ahead_of_us_is_compared_once_we_have_caught_up():
    bench = Bench()
    bench.start_life()
    bench.venue[A].add(type="CLIENT_CONFIGURE")
    bench.feed(bench.venue[A].seen())
    assert not bench.kernel.reconciled(A)
    bench.read(A, 10)
    assert bench.kernel.reconciled(A)
    assert bench.said(AccountReconciled)[-1].last_transaction_id == 11


def test_an_account_behind_us_proves_nothing():
    bench = Bench()
    old = bench.venue[A].seen()
    _, order = one_order(bench)
    bench.fill(order)
    for _ in range(5):
        bench.feed(old)
    assert bench.kernel.reconciled(A)
    assert len(bench.kernel.books[A].trades) == 1


def test_a_summary_without_trades_is_not_adopted():
    bench = Bench(begin=False)
    bench.start_life()
    whole = bench.venue[A].seen().account
    for lacking in ({"trades": None}, {"orders": None}):
        bench.feed(AccountSeen(account=msgspec.structs.replace(whole, **lacking)))
    assert bench.kernel.books == {}


def test_a_heartbeat_ahead_for_two_seconds_is_followed_by_a_read():
    bench = Bench()
    bench.acts.clear()
    bench.venue[A].add(type="CLIENT_CONFIGURE")
    bench.wait(2)
    assert not bench.done(FetchTransactions)
    bench.wait(2)
    assert [act.since for act in bench.done(FetchTransactions)] == [10]


def test_a_silent_account_is_polled_then_unknown():
    bench = Bench()
    bench.acts.clear()
    for _ in range(10):
        bench.now += NS_PER_S
        bench.tick_all()
        bench.beat()
    assert bench.done(FetchTransactions)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.now += NS_PER_S
    bench.beat()
    assert "silent" in bench.kernel.account_blocks(A, bench.now)[0]
    bench.hearts()
    bench.beat()
    assert bench.kernel.account_blocks(A, bench.now) == ()


# -- nonsense from the venue ---------------------------------------------------------


def test_a_gap_that_no_read_closes_blocks_the_account():
    bench = Bench()
    _, order = one_order(bench)
    made, fill, stop = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, made, stop)
    bench.wait(10)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.wait(1)
    assert any("missing" in text for text in bench.kernel.account_blocks(A, bench.now))
    bench.stream(A, fill)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    assert len(bench.kernel.books[A].trades) == 1


def test_a_bug_in_the_kernel_stops_trading_and_does_not_raise(monkeypatch):
    bench = Bench()

    def fails(*_):
        raise AssertionError("two and two are five")

    monkeypatch.setattr(prices, "keep_prices", fails)
    bench.wait(1)
    (act,) = bench.done(CloseGate)
    assert act.reason == "Beat: AssertionError: two and two are five"
    assert "S4" in bench.kernel.account_blocks(A, bench.now)[0]


def test_one_heartbeat_that_was_senselessly_ahead_blocks_until_the_next_true_one():
    """A read that finds nothing more leaves us behind; the next beat takes it back."""
    bench = Bench()
    wrong = StreamBeat(
        stream="transactions", account_id=A, venue_ns=bench.now, seen_ns=bench.now,
        last_transaction_id="1010",
    )  # fmt: skip
    bench.feed(wrong)
    for _ in range(15):
        bench.now += NS_PER_S
        bench.tick_all()
        bench.beat()
        if bench.done(FetchTransactions):
            bench.acts.clear()
            bench.read(A, 10)
    assert "A7" in bench.kernel.account_blocks(A, bench.now)[0]
    bench.hearts()
    bench.beat()
    assert bench.kernel.account_blocks(A, bench.now) == ()

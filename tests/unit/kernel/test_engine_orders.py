"""An order on its way through the engine: answers, the log, the search, crashes, and the books."""

from __future__ import annotations

from decimal import Decimal

import msgspec
import pytest

from orchestrator.kernel.engine import prices
from orchestrator.model.acts import CloseGate, FetchAccount, FetchTransactions, Write
from orchestrator.model.events import AccountSeen, ReadFailed, ResetBreaker
from orchestrator.model.facts import (
    AccountReconciled,
    AlertRaised,
    IntentMoved,
    OperatorActed,
    ServiceStarted,
    TradeClosed,
    TradeOpened,
    TransactionApplied,
)
from orchestrator.model.market import StreamBeat
from orchestrator.model.orders import Answered, IntentState, NotSent, Rejected, Unknown, WriteKind
from orchestrator.model.signals import Outcome
from orchestrator.model.time import NS_PER_S
from orchestrator.model.venue import ClientExtensions as Ext
from orchestrator.model.venue import TradeOpen
from tests.unit.kernel.engine_bench import A, B, Bench, D


def one_order(bench, **fields):
    """A signal for account A up to its order."""
    signal = bench.send_signal(accounts=(A,), **fields)
    (order,) = bench.orders()
    return signal, order


def states(bench):
    return [fact.state for fact in bench.said(IntentMoved)]


def outcome(bench, signal):
    return bench.ends(signal.signal_id)[A].outcome


# -- answers ---------------------------------------------------------------------------


def test_a_cancel_in_a_201_is_a_rejection_by_the_venue():
    bench = Bench()
    signal, order = one_order(bench)
    made = bench.venue[A].cancel(bench.intent(order.intent_id), "INSUFFICIENT_MARGIN")
    bench.finish(order.intent_id, Answered(status=201, transactions=made, last_transaction_id=12))
    end = bench.ends(signal.signal_id)[A]
    assert (end.outcome, end.stage, end.reason) == (
        Outcome.REJECTED, "venue", "INSUFFICIENT_MARGIN",
    )  # fmt: skip
    assert bench.kernel.books[A].trades == {}
    assert bench.kernel.reservations(A) == ()


def test_a_400_is_a_rejection():
    bench = Bench()
    signal, order = one_order(bench)
    bench.finish(order.intent_id, Rejected(status=400, code="UNITS_INVALID", message="bad units"))
    assert outcome(bench, signal) is Outcome.REJECTED
    assert "UNITS_INVALID" in bench.ends(signal.signal_id)[A].reason


def test_a_401_is_a_rejection_and_an_alarm():
    bench = Bench()
    signal, order = one_order(bench)
    bench.finish(order.intent_id, Rejected(status=401, code="", message="Insufficient"))
    assert outcome(bench, signal) is Outcome.REJECTED
    assert any("breaker:A10" in f.alert.key for f in bench.said(AlertRaised))
    assert bench.kernel.account_mode(A, bench.now) == "halt"


@pytest.mark.parametrize(("by_gate", "wait"), [(True, 0), (False, 0), (True, 11)])
def test_what_was_not_sent_is_blocked_or_expired(by_gate, wait):
    bench = Bench()
    signal, order = one_order(bench)
    bench.now += wait * NS_PER_S
    bench.finish(order.intent_id, NotSent(reason="closed", by_gate=by_gate))
    state = IntentState.EXPIRED if wait else IntentState.BLOCKED
    assert states(bench) == [state]
    assert outcome(bench, signal) is (Outcome.EXPIRED if wait else Outcome.REJECTED)
    assert bench.kernel.in_flight() == ()


def test_times_of_the_send_stand_in_the_record():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    (moved,) = bench.said(IntentMoved)
    assert (moved.first_byte_ns, moved.latency_us) == (bench.now, 100)


# -- the log is quicker, slower, doubled -----------------------------------------------


def test_the_stream_may_tell_of_the_fill_before_the_answer():
    bench = Bench()
    signal, order = one_order(bench)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    assert outcome(bench, signal) is Outcome.FILLED
    step = bench.finish(
        order.intent_id, Answered(status=201, transactions=made, last_transaction_id=13)
    )
    (moved,) = step.facts  # only the times are news
    assert (moved.state, moved.first_byte_ns) == (IntentState.FILLED, bench.now)
    assert len(bench.kernel.books[A].trades) == 1


def test_transactions_are_applied_once_however_often_they_come():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    count = len(bench.said(TransactionApplied))
    bench.stream(A, *bench.venue[A].log)
    bench.read(A, 0)
    assert len(bench.said(TransactionApplied)) == count == 3


def test_an_answer_with_a_gap_before_it_keeps_the_reservation_until_the_log_is_whole():
    bench = Bench()
    account = bench.venue[A]
    account.add(type="CLIENT_CONFIGURE")  # missed by us
    signal, order = one_order(bench)
    made = account.fill(bench.intent(order.intent_id), D("1.10010"))
    bench.finish(order.intent_id, Answered(status=201, transactions=made, last_transaction_id=14))
    assert bench.ends(signal.signal_id) == {}
    assert len(bench.kernel.reservations(A)) == 1
    assert bench.kernel.books[A].trades == {}
    bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FILLED
    assert bench.kernel.reservations(A) == ()
    assert len(bench.kernel.books[A].trades) == 1


def test_out_of_order_transactions_wait_and_the_gap_is_read():
    bench = Bench()
    _, order = one_order(bench)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, made[2])
    assert bench.kernel.books[A].last_id == 10
    assert any(act.since == 10 for act in bench.done(FetchTransactions))
    bench.stream(A, made[1])
    bench.stream(A, made[0])
    assert bench.kernel.books[A].last_id == 13


def test_an_id_that_two_reads_do_not_show_is_a_hole():
    bench = Bench()
    account = bench.venue[A]
    account.next_id()  # 11 does not exist
    _, order = one_order(bench)
    account.fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    assert bench.kernel.books[A].last_id == 10
    bench.read(A, 10)
    assert bench.kernel.books[A].last_id == 14


# -- unknown ---------------------------------------------------------------------------


def lose(bench, order):
    bench.finish(order.intent_id, Unknown(reason="time-out"))


def test_an_unknown_order_keeps_its_reservation_and_is_looked_for():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    assert states(bench) == [IntentState.UNKNOWN]
    assert bench.ends(signal.signal_id) == {}
    assert len(bench.kernel.reservations(A)) == 1
    (read,) = bench.done(FetchTransactions)
    assert (read.account_id, read.since, read.after_ms) == (A, 10, 250)


def test_while_an_order_is_unknown_its_account_and_instrument_get_no_new_risk():
    """O5, and only there: the same instrument elsewhere goes on, and another one here."""
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    bench.wait(11)
    again = bench.send_signal(strategy="other")
    assert f"order {order.intent_id} on" in bench.ends(again.signal_id)[A].reason
    assert B not in bench.ends(again.signal_id)
    elsewhere = bench.send_signal(strategy="third", instrument="USD_JPY", accounts=(A,))
    assert "unknown" not in bench.ends(elsewhere.signal_id)[A].reason


def test_what_waits_to_be_sent_meets_the_unknown_order_at_the_gate():
    """G2: it was checked a moment before, and has not left yet."""
    bench = Bench()
    _, order = one_order(bench)
    bench.wait(11)
    bench.send_signal(strategy="other", accounts=(A,))
    (waiting,) = bench.orders()
    assert bench.kernel.may_send(waiting.intent_id, bench.now) is None
    lose(bench, order)
    objection = bench.kernel.may_send(waiting.intent_id, bench.now)
    assert objection is not None
    assert f"order {order.intent_id} on" in objection


def test_an_unknown_order_is_filled_by_the_log():
    bench = Bench()
    signal, order = one_order(bench)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    lose(bench, order)
    bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN, IntentState.FILLED]
    assert outcome(bench, signal) is Outcome.FILLED
    assert bench.kernel.in_flight() == ()


def test_reads_come_later_each_time_also_after_failures():
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    waits = []
    for number in range(8):
        (read,) = bench.done(FetchTransactions)
        waits.append(read.after_ms)
        bench.acts.clear()
        bench.now += NS_PER_S
        if number % 2:
            bench.feed(ReadFailed(account_id=A, reason="503"))
        else:
            bench.read(A, 10)
    assert waits == [250, 500, 1_000, 2_000, 4_000, 5_000, 5_000, 5_000]


def test_an_order_is_absent_after_ten_seconds_and_three_counting_reads():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    for _ in range(9):
        bench.wait(1)
        bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN]
    for _ in range(3):
        bench.wait(1)
        bench.serve_reads()
    assert states(bench) == [IntentState.UNKNOWN, IntentState.ABSENT]
    assert outcome(bench, signal) is Outcome.FAILED
    assert bench.kernel.reservations(A) == ()


def test_a_late_order_is_adopted_closed_and_told():
    bench = Bench()
    signal, order = one_order(bench)
    lose(bench, order)
    for _ in range(12):
        bench.wait(1)
        bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FAILED
    bench.acts.clear()
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    (write,) = bench.done(Write)
    assert write.request.kind is WriteKind.CLOSE_TRADE
    assert write.request.target == made[1].id
    assert bench.kernel.books[A].trades[made[1].id].ours
    assert any(f.alert.key.startswith("late:") for f in bench.said(AlertRaised))
    assert outcome(bench, signal) is Outcome.FAILED  # still one outcome
    bench.acts.clear()
    bench.wait(6)  # that close was refused, or lost: it is repeated until the trade is gone
    again = bench.done(Write)
    assert len(again) >= 2
    assert {act.request for act in again} == {write.request}


def test_a_second_order_of_one_intent_closes_the_gate():
    bench = Bench()
    _, order = one_order(bench)
    bench.fill(order)
    made = bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.stream(A, *made)
    (act,) = bench.done(CloseGate)
    assert act.actor == "S4"
    assert "S4" in bench.kernel.account_blocks(B, bench.now)[0]
    bench.acts.clear()
    bench.wait(31)  # the stop itself never came: it is asked for again
    assert bench.done(CloseGate)


def test_an_order_unknown_for_30_s_trips_a7_until_it_is_settled():
    bench = Bench()
    _, order = one_order(bench)
    lose(bench, order)
    bench.acts.clear()  # no read is ever answered
    bench.wait(30)
    assert bench.kernel.account_blocks(A, bench.now) == ()
    bench.wait(1)
    assert "A7" in bench.kernel.account_blocks(A, bench.now)[0]
    assert bench.kernel.account_blocks(B, bench.now) == ()
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    bench.wait(1)
    assert bench.kernel.account_blocks(A, bench.now) == ()


def test_a_sender_that_never_tells_makes_the_intent_unknown():
    bench = Bench()
    one_order(bench)
    bench.wait(45)
    assert states(bench) == [IntentState.UNKNOWN]


# -- crash -----------------------------------------------------------------------------


def test_after_a_crash_what_was_on_its_way_is_unknown_and_never_resent():
    bench = Bench()
    signal, order = one_order(bench)
    bench.start_life(unclean=True)
    assert states(bench) == [IntentState.UNKNOWN]
    assert bench.orders() == []
    assert "not waiting" in bench.kernel.may_send(order.intent_id, bench.now)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.serve_reads()
    assert outcome(bench, signal) is Outcome.FILLED


def test_signals_in_flight_at_a_crash_have_failed():
    from orchestrator.model.events import SignalSeen

    bench = Bench()
    signal = bench.signal()
    bench.feed(SignalSeen(signal=signal))
    bench.start_life(unclean=True)
    ends = bench.ends(signal.signal_id)
    assert {(e.outcome, e.reason) for e in ends.values()} == {
        (Outcome.FAILED, "crash: the service was restarted")
    }


def test_it_runs_again_by_itself_once_every_account_is_reconciled():
    bench = Bench()
    bench.start_life(unclean=True)
    assert bench.kernel.mode == "reconciling"
    assert bench.kernel.wanted_running
    bench.feed(bench.venue[A].seen())
    assert bench.kernel.mode == "reconciling"
    bench.feed(bench.venue[B].seen())
    assert bench.kernel.mode == "running"
    assert bench.kernel.epoch == 2


def test_an_account_that_stays_away_does_not_hold_up_the_others():
    bench = Bench()
    bench.start_life(unclean=True)
    bench.feed(bench.venue[A].seen())
    bench.tick_all()
    bench.wait(31)
    assert bench.kernel.mode == "running"
    assert bench.kernel.account_blocks(A, bench.now) == ()
    assert "not reconciled" in bench.kernel.account_blocks(B, bench.now)[0]
    signal = bench.send_signal()
    assert bench.ends(signal.signal_id)[B].stage == "gate"
    assert len(bench.orders()) == 1


def test_a_restored_kernel_goes_on_where_the_other_ended():
    from orchestrator.kernel.engine import Kernel

    bench = Bench()
    signal, order = one_order(bench)
    copy = Kernel(bench.plan)
    copy.restore(bench.kernel.snapshot())
    assert copy.snapshot() == bench.kernel.snapshot()
    bench.kernel = copy
    bench.start_life(unclean=True)
    bench.venue[A].fill(bench.intent(order.intent_id), D("1.10010"))
    bench.read(A, 10)
    assert outcome(bench, signal) is Outcome.FILLED
    assert len(bench.said(ServiceStarted)) == 2


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

"""Lists that a person asks of a store, on each implementation: filtered, paged, and in order."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from orchestrator.model.facts import (
    BreakerReset,
    IntentMoved,
    IntentWritten,
)
from orchestrator.model.journal import RecordFilter
from orchestrator.model.orders import IntentState
from orchestrator.model.queries import Page, SignalFilter
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.signals import Outcome
from orchestrator.model.venue import Trade
from tests.contract.stores import applied, ended
from tests.unit.adapters.store import samples

D = Decimal


def test_records_are_filtered_by_all_that_a_reader_names(store: Any) -> None:
    samples.append(
        store, *samples.path("s1"), samples.tripped(), samples.note(), *samples.path("s2", 20)
    )
    last = store.last_record()

    def seqs(**wanted: Any) -> list[int]:
        found = store.records(RecordFilter(**wanted))
        assert found == store.queries.records(RecordFilter(**wanted))
        return [record.seq for record in found]

    assert seqs(limit=3) == [last.seq, last.seq - 1, last.seq - 2]
    assert seqs(limit=2, ascending=True) == [1, 2]
    assert seqs(types=("breaker.tripped",)) == [13]
    assert seqs(types=("signal.accepted", "breaker.tripped")) == [15, 13, 1]
    assert seqs(types=("signal.accepted", "breaker.tripped"), limit=2) == [15, 13]
    assert seqs(types=("no.such",)) == []
    assert seqs(corr="s1", ascending=True)[:3] == [1, 2, 3]
    assert seqs(corr="s1", types=("signal.ended",)) == [12]
    assert seqs(subject="disagreement-1", limit=2) == [19, 18]
    assert 13 in seqs(subject=samples.ACCOUNT)
    assert seqs(after_seq=24) == [26, 25]
    assert seqs(before_seq=3) == [2, 1]
    assert seqs(since_ns=last.ts) == [last.seq]
    assert seqs(until_ns=samples.START + 2_000_000) == [1]
    assert seqs(limit=0) == []


def test_a_signal_is_listed_with_its_outcomes(store: Any) -> None:
    samples.append(store, *samples.path("s1"), *samples.path("s2", 20))
    rows = store.queries.signals()
    assert [row.signal_id for row in rows] == ["s2", "s1"]
    assert rows[1].signal == samples.signal("s1")
    assert [one.ended.outcome for one in rows[1].outcomes] == [Outcome.FILLED]
    assert store.queries.signal("s2") == rows[0]
    assert store.queries.signal("none") is None


def test_a_signal_that_was_refused_unread_is_listed_too(store: Any) -> None:
    samples.append(store, ended("bad"))
    (row,) = store.queries.signals()
    assert (row.signal_id, row.signal, row.accounts) == ("bad", None, (samples.ACCOUNT,))
    assert store.signal_seen("bad")
    assert not store.signal_seen("good")


def test_signals_are_filtered(store: Any) -> None:
    samples.append(store, *samples.path("s1"), ended("s2"))
    queries = store.queries

    def ids(**wanted: str) -> list[str]:
        return [row.signal_id for row in queries.signals(SignalFilter(**wanted))]

    assert ids(outcome="filled") == ["s1"]
    assert ids(outcome="rejected", account_id=samples.ACCOUNT) == ["s2"]
    assert ids(strategy="trend", instrument="EUR_USD") == ["s1"]
    assert ids(account_id="nobody") == []


def test_pages_meet_without_a_gap_or_a_double(store: Any) -> None:
    samples.append(store, *[fact for n in range(7) for fact in samples.path(f"s{n}", 10 * n + 1)])
    seen: list[str] = []
    before = 0
    while rows := store.queries.signals(page=Page(limit=3, before=before)):
        seen += [row.signal_id for row in rows]
        before = rows[-1].cursor
    assert seen == ["s6", "s5", "s4", "s3", "s2", "s1", "s0"]
    newer = store.queries.signals(page=Page(limit=2, after=before))
    assert [row.signal_id for row in newer] == ["s1", "s2"]


@pytest.mark.parametrize(
    "bad", [{"limit": 0}, {"limit": 1001}, {"before": -1}, {"before": 1, "after": 1}]
)
def test_a_page_has_bounds(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="page"):
        Page(**bad)


def test_an_intent_shows_where_it_stands(store: Any) -> None:
    one = samples.intent()
    samples.append(store, IntentWritten(intent=one))
    (row,) = store.queries.intents()
    assert (row.intent, row.state, row.first_byte_ns) == (one, IntentState.WRITTEN, 0)

    def move(state: IntentState, **more: Any) -> None:
        samples.append(
            store,
            IntentMoved(
                intent_id=one.intent_id,
                signal_id="s1",
                account_id=samples.ACCOUNT,
                state=state,
                **more,
            ),
        )

    move(IntentState.UNKNOWN, reason="time-out", first_byte_ns=9, latency_us=5_000_000)
    move(IntentState.FILLED, order_id="7", trade_id="8")
    (row,) = store.queries.intents(state="filled")
    assert (row.order_id, row.trade_id, row.first_byte_ns, row.latency_us) == (
        "7",
        "8",
        9,
        5_000_000,
    )
    assert store.queries.intents(state="unknown") == ()
    assert store.queries.intents(strategy="other") == ()


def test_a_trade_closes_in_parts_and_its_money_adds_up(store: Any) -> None:
    samples.append(store, samples.adopted(), *samples.path())
    first = samples.closing(8, "1.1000", units="400", remaining="600")[1]
    samples.append(store, first)
    (row,) = store.queries.trades(state="open")
    assert (row.units, row.open_units, row.is_open) == (D(1000), D(600), True)
    samples.append(store, *samples.closing(8, "-2.3000", units="600"))
    assert store.queries.trades(state="open") == ()
    (row,) = store.queries.trades(state="closed", account_id=samples.ACCOUNT, strategy="trend")
    assert (row.open_units, row.realized_pl, row.financing) == (D(0), D("-1.2000"), D("-0.0002"))
    assert (row.close_reason, row.signal_id, row.intent_id) == (
        "STOP_LOSS_ORDER", "s1", samples.intent().intent_id,
    )  # fmt: skip


def test_trades_found_at_adoption_are_shown_and_completed_by_the_ledger(store: Any) -> None:
    known = Trade(
        id="3", instrument="USD_JPY", price=D("101.5"), open_time="2014-05-08T10:00:00.000000000Z",
        initial_units=D(-500), current_units=D(-200),
    )  # fmt: skip
    broken = Trade(id="4", instrument="USD_JPY", price=D(1), open_time="?", current_units=D(5))
    samples.append(store, samples.adopted(trades=(known, broken)))
    rows = {row.trade_id: row for row in store.queries.trades()}
    assert (rows["3"].units, rows["3"].open_units, rows["3"].ours) == (D(-500), D(-200), False)
    assert rows["4"].opened_ns == 0


def test_a_close_of_a_trade_never_seen_is_shown(store: Any) -> None:
    samples.append(store, samples.closing(77, "5")[1])
    (row,) = store.queries.trades()
    assert (row.trade_id, row.units, row.is_open, row.realized_pl) == ("77", D(1000), False, D(5))


def test_transactions_are_paged_by_the_venues_numbers(store: Any) -> None:
    samples.append(store, *[applied(number) for number in (2, 3, 10, 11)])
    queries = store.queries
    assert [row.cursor for row in queries.transactions(samples.ACCOUNT)] == [11, 10, 3, 2]
    after = queries.transactions(samples.ACCOUNT, Page(after=3, limit=1))
    assert [row.transaction.id for row in after] == ["10"]
    assert queries.transactions("nobody") == ()


def test_a_breaker_shows_its_last_move(store: Any) -> None:
    samples.append(store, samples.tripped(evidence="first"))
    since = store.last_record().ts
    samples.append(store, samples.tripped(evidence="second"), samples.tripped("M1", "EUR_USD"))
    rows = {row.breaker: row for row in store.queries.breakers(tripped=True)}
    assert (rows["A1"].evidence, rows["A1"].since_ns, rows["A1"].trips) == ("second", since, 2)
    samples.append(
        store,
        BreakerReset(
            breaker="A1", scope=Scope.ACCOUNT, subject=samples.ACCOUNT, actor="ann", reason="day"
        ),
    )
    assert [row.breaker for row in store.queries.breakers(tripped=True)] == ["M1"]
    (row,) = store.queries.breakers(tripped=False)
    assert (row.reset_by, row.reset_reason, row.trips) == ("ann", "day", 2)


def test_alerts_are_read_by_severity(store: Any) -> None:
    samples.append(store, samples.alert(Severity.CRITICAL, "a"), samples.alert(Severity.INFO, "b"))
    assert [row.alert.key for row in store.queries.alerts()] == ["b", "a"]
    assert [row.alert.key for row in store.queries.alerts(Severity.CRITICAL)] == ["a"]


def test_an_outcome_counts_once(store: Any) -> None:
    samples.append(store, samples.outcome(8, "-1"), samples.outcome(8, "3"))
    assert [row.outcome.r_multiple for row in store.queries.outcomes(strategy="trend")] == [D(-1)]

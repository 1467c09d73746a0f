"""What every store must do: one suite, run against each implementation of the port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.sqlite import SqliteStore
from orchestrator.model.errors import StoreConflict, StoreError, StoreLocked
from orchestrator.model.facts import (
    BreakerReset,
    IntentMoved,
    IntentWritten,
    SignalAccepted,
    SignalEnded,
    TransactionApplied,
)
from orchestrator.model.journal import RecordFilter
from orchestrator.model.orders import IntentState
from orchestrator.model.queries import Page, SignalFilter
from orchestrator.model.safety import Scope, Severity
from orchestrator.model.signals import Outcome
from orchestrator.model.venue import ClientExtensions, Trade, Transaction
from tests.unit.adapters.store import samples

D = Decimal
MakeStore = Callable[..., Any]


@pytest.fixture(params=["sqlite", "postgres"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[MakeStore]:
    """Opens the same store each time it is called; the earlier one must be closed before."""
    opened: list[Any] = []

    def make_sqlite(folder: str = "state", **options: Any) -> SqliteStore:
        options = {"checkpoint_s": 0, "sync": "normal"} | options
        opened.append(SqliteStore(tmp_path / folder / "journal.db", **options))
        return opened[-1]

    def make_postgres(folder: str = "state", **options: Any) -> PostgresStore:
        if folder not in urls:
            urls[folder] = request.getfixturevalue("databases").take()
        opened.append(PostgresStore(urls[folder], **options))
        return opened[-1]

    urls: dict[str, str] = {}
    yield {"sqlite": make_sqlite, "postgres": make_postgres}[request.param]
    for store in opened:
        store.close()
    for url in urls.values():
        request.getfixturevalue("databases").give_back(url)


@pytest.fixture
def store(make: MakeStore) -> Any:
    return make()


def ended(signal_id: str = "s1", outcome: Outcome = Outcome.REJECTED) -> SignalEnded:
    return SignalEnded(
        signal_id=signal_id, account_id=samples.ACCOUNT, outcome=outcome, stage="checks",
        reason="C05",
    )  # fmt: skip


def applied(number: int, kind: str = "DAILY_FINANCING") -> TransactionApplied:
    return TransactionApplied(
        account_id=samples.ACCOUNT, source="stream",
        transaction=Transaction(id=str(number), type=kind),
    )  # fmt: skip


# -- the journal --------------------------------------------------------------------------------


def test_a_new_store_is_empty(store: Any) -> None:
    assert store.last_record() is None
    assert store.records(RecordFilter()) == []
    assert list(store.facts_after(0)) == []
    assert store.load_snapshot() is None


def test_what_was_appended_is_read_back_without_loss(make: MakeStore) -> None:
    store = make()
    facts = [*samples.path(), *samples.closing(8, "-2.10"), samples.tripped(), samples.alert()]
    records = samples.append(store, *facts)
    store.close()
    again = make()
    assert list(again.facts_after(0)) == list(zip(records, facts, strict=True))
    assert again.last_record() == records[-1]


def test_recovery_reads_from_the_fact_after_the_snapshot(store: Any) -> None:
    records = samples.append(store, *samples.path())
    assert [record.seq for record, _ in store.facts_after(records[8].seq)] == [10, 11, 12]


def test_recovery_goes_on_while_the_journal_grows(store: Any) -> None:
    samples.append(store, samples.note("1"), samples.note("2"))
    reading = iter(store.facts_after(0))
    assert next(reading)[0].seq == 1
    samples.append(store, samples.note("3"))
    assert [record.seq for record, _ in reading] == [2, 3]


@settings(
    max_examples=60,
    deadline=None,
    phases=(Phase.explicit, Phase.reuse, Phase.generate),  # shrinking such large facts takes ages
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(facts=st.lists(samples.any_fact(), min_size=1, max_size=3))
def test_any_fact_survives_the_way_through_the_store(store: Any, facts: list[Any]) -> None:
    last = store.last_record()
    written: list[Any] = []
    for fact in facts:
        try:
            written.append((*samples.append(store, fact), fact))
        except StoreConflict:  # the same key twice
            assert type(fact) in {type(earlier) for _, earlier in store.facts_after(0)}
    assert list(store.facts_after(last.seq if last else 0)) == written


@pytest.mark.parametrize("kind", samples.FACT_TYPES, ids=lambda kind: kind.__name__)
@settings(
    max_examples=2,
    deadline=None,
    phases=(Phase.generate,),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_each_type_of_fact_is_projected_and_read_back(
    store: Any, kind: type, data: st.DataObject
) -> None:
    fact = data.draw(samples.a_fact(kind))
    try:
        samples.append(store, fact)
    except StoreConflict:
        assume(False)
    (told,) = store.facts_after(store.last_record().seq - 1)
    assert told[1] == fact
    assert told[0].type == kind.__struct_config__.tag


def test_an_append_of_nothing_changes_nothing(store: Any) -> None:
    store.append([], [])
    assert store.last_record() is None


def test_records_that_leave_a_hole_are_refused(store: Any) -> None:
    facts = [samples.note("a"), samples.note("b")]
    records = samples.chained(facts)
    with pytest.raises(StoreConflict, match="next record is 1"):
        store.append(records[1:], facts[1:])
    assert store.last_record() is None


def test_the_same_records_twice_are_refused(store: Any) -> None:
    records = samples.append(store, samples.note())
    with pytest.raises(StoreConflict):
        store.append(records, [samples.note()])
    assert store.last_record() == records[0]


def test_records_of_another_chain_are_refused(store: Any) -> None:
    samples.append(store, samples.note("mine"))
    stranger = samples.chained([samples.note("x"), samples.note("y")])
    with pytest.raises(StoreConflict, match="another chain"):
        store.append(stranger[1:], [samples.note("y")])


def test_a_record_that_does_not_fit_its_fact_is_refused(store: Any) -> None:
    records = samples.chained([samples.note()])
    with pytest.raises(StoreConflict):
        store.append(records, [samples.tripped()])
    with pytest.raises(StoreConflict):
        store.append(records, [])
    assert store.last_record() is None


# -- what is unique for ever -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (applied(7), applied(7, "ORDER_CANCEL")),
        (ended(), ended(outcome=Outcome.FILLED)),
        (
            IntentWritten(intent=samples.intent(intent_id="a")),
            IntentWritten(intent=samples.intent(intent_id="b")),
        ),
        (
            IntentWritten(intent=samples.intent("s1", intent_id="same")),
            IntentWritten(intent=samples.intent("s2", intent_id="same")),
        ),
        (
            SignalAccepted(signal=samples.signal(), accounts=()),
            SignalAccepted(signal=samples.signal(), accounts=(samples.ACCOUNT,)),
        ),
    ],
    ids=["transaction", "outcome", "signal, account and leg", "intent id", "signal"],
)
def test_a_second_one_is_refused_and_takes_its_whole_batch_along(
    make: MakeStore, first: Any, second: Any
) -> None:
    store = make()
    samples.append(store, first)
    with pytest.raises(StoreConflict):
        samples.append(store, samples.note("before"), second, samples.note("after"))
    assert store.last_record().seq == 1
    store.close()
    again = make()
    assert again.last_record().seq == 1
    with pytest.raises(StoreConflict):
        samples.append(again, second)
    samples.append(again, samples.note("goes on"))
    assert again.last_record().seq == 2


def test_two_legs_and_two_accounts_of_one_signal_are_not_the_same(store: Any) -> None:
    for account, leg in (("a", "1"), ("a", "2"), ("b", "1")):
        samples.append(store, IntentWritten(intent=samples.intent("s1", account, leg)))
    assert store.last_record().seq == 3


def test_the_same_transaction_id_at_two_accounts_is_two_transactions(store: Any) -> None:
    other = msgspec.structs.replace(applied(7), account_id="b")
    samples.append(store, applied(7), other)
    assert [row.cursor for row in store.queries.transactions("b")] == [7]


# -- snapshots, epoch, installation ----------------------------------------------------------------


def test_the_newest_snapshot_is_loaded_and_two_are_kept(store: Any) -> None:
    samples.append(store, *[samples.note(str(number)) for number in range(5)])
    for seq in (1, 2, 3):
        store.save_snapshot(seq, b"state %d" % seq)
    assert store.load_snapshot() == (3, b"state 3")


def test_a_snapshot_ahead_of_the_journal_is_not_loaded(store: Any) -> None:
    samples.append(store, samples.note())
    store.save_snapshot(1, b"good")
    store.save_snapshot(99, b"of a longer journal")
    assert store.load_snapshot() == (1, b"good")


def test_epochs_only_grow_over_restarts(make: MakeStore) -> None:
    store = make()
    assert [store.next_epoch(), store.next_epoch()] == [1, 2]
    store.close()
    again = make()
    assert again.next_epoch() == 3
    assert again.next_epoch(above=40) == 41
    assert again.next_epoch(above=5) == 42


def test_the_installation_id_is_made_once(make: MakeStore) -> None:
    store = make()
    first = store.installation_id()
    store.close()
    again = make(installation_id="another")
    assert len(first) == 32
    assert again.installation_id() == first
    assert make(folder="elsewhere").installation_id() != first


def test_a_given_installation_id_is_taken_at_the_first_opening(make: MakeStore) -> None:
    assert make(installation_id="simulated").installation_id() == "simulated"


def test_a_second_writer_is_told_who_holds_the_store(make: MakeStore) -> None:
    make()
    with pytest.raises(StoreLocked, match=r"in use by the service with process id \d+"):
        make()


def test_a_closed_store_says_so(store: Any) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="closed"):
        samples.append(store, samples.note())


# -- reading ------------------------------------------------------------------------------------


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


# -- a signal's story ------------------------------------------------------------------------------


@pytest.fixture
def told(store: Any) -> Any:
    stop = Transaction(
        id="9", type="STOP_LOSS_ORDER", trade_id="8", price=D("1.098"),
        client_extensions=ClientExtensions(id="stop"),
    )  # fmt: skip
    samples.append(store, samples.adopted(), *samples.path("s1"))
    samples.append(
        store, TransactionApplied(account_id=samples.ACCOUNT, transaction=stop, source="answer"),
        *samples.closing(8, "-2.1"), samples.outcome(8, "-1"), *samples.path("s2", 20),
    )  # fmt: skip
    return store.queries


@pytest.mark.parametrize(
    ("ref", "kind"),
    [
        ("s1", "signal"),
        (samples.intent().intent_id, "intent"),
        ("7", "order"),
        ("8", "trade"),
        ("9", "order"),
        ("108", "transaction"),
    ],
)
def test_any_number_of_an_order_leads_to_its_signal(told: Any, ref: str, kind: str) -> None:
    found = told.find_signal(ref)
    assert [(one.kind, one.signal_id) for one in found] == [(kind, "s1")]


@pytest.mark.parametrize(
    "ref", ["", "none", "999", "-7", "\u0667", "7 ", "9" * 40, "' OR 1=1 --", "%"]
)
def test_what_is_no_number_of_ours_finds_nothing(told: Any, ref: str) -> None:
    assert told.find_signal(ref) == ()
    assert told.explain(ref) is None


def test_an_explanation_tells_the_whole_story_in_order(told: Any) -> None:
    story = told.explain("7")
    assert story.signal.signal == samples.signal("s1")
    assert [row.decided.agent_id for row in story.stages] == ["disagreement-1"] * 4
    assert story.stages[0].decided.latency_us == 120
    assert story.checks[0].decided.passed
    assert [row.state for row in story.intents] == [IntentState.FILLED]
    assert [row.moved.state for row in story.moves] == [IntentState.FILLED]
    assert [row.transaction.id for row in story.transactions] == ["7", "8", "9", "108"]
    assert [row.realized_pl for row in story.trades] == [D("-2.1")]
    assert [row.outcome.r_multiple for row in story.outcomes] == [D(-1)]
    assert [moment.seq for moment in story.timeline] == sorted({m.seq for m in story.timeline})
    text = "\n".join(moment.text for moment in story.timeline)
    for words in (
        "trend wishes to buy EUR_USD", "disagreement passed in 120 µs: two accounts differ",
        "all 2 checks passed", "risk 2.1", "transaction 9 STOP_LOSS_ORDER",
        "is filled, order 7, trade 8", "closed by STOP_LOSS_ORDER at 1.09800: P/L -2.1",
        "-1 times its risk", "ended filled",
    ):  # fmt: skip
        assert words in text


def test_a_number_that_two_accounts_use_names_both(store: Any) -> None:
    samples.append(
        store, samples.adopted("a"), samples.adopted("b"),
        *samples.path("s1", 7, "a"), *samples.path("s2", 7, "b"),
    )  # fmt: skip
    story = store.queries.explain("7")
    named = {story.found.signal_id} | {one.signal_id for one in story.also}
    assert named == {"s1", "s2"}
    only = store.queries.explain("7", account_id="b")
    assert (only.found.signal_id, only.also) == ("s2", ())


def test_the_story_of_a_refused_signal_ends_at_the_refusal(store: Any) -> None:
    samples.append(store, ended("bad"))
    story = store.queries.explain("bad")
    assert [moment.text for moment in story.timeline] == ["ended rejected by checks: C05"]


def test_performance_is_told_per_account_and_strategy(store: Any) -> None:
    samples.append(store, samples.adopted("a", "EUR"), samples.adopted("b", "USD"))
    for number, (account, pl) in enumerate([("a", "3"), ("a", "-1"), ("a", "1"), ("b", "-2")]):
        trade = 1000 * (number + 1)
        samples.append(store, *samples.path(f"p{number}", trade - 1, account))
        samples.append(
            store, *samples.closing(trade, pl, account=account, signal_id=f"p{number}"),
            samples.outcome(trade, pl, account=account),
        )  # fmt: skip
    rows = {(row.account_id, row.strategy): row for row in store.queries.performance()}
    assert set(rows) == {("a", ""), ("a", "trend"), ("b", ""), ("b", "trend")}
    good = rows["a", "trend"]
    assert (good.currency, good.trades, good.wins, good.losses) == ("EUR", 3, 2, 1)
    assert (good.gross_profit, good.gross_loss, good.net) == (D("3.9998"), D("1.0001"), D("2.9997"))
    assert good.win_rate == D("0.666667")
    assert good.profit_factor == D("3.999400")
    assert good.expectancy == D("0.9999")
    assert good.mean_r == D(1)
    bad = rows["b", "trend"]
    assert (bad.win_rate, bad.profit_factor, bad.worst) == (D(0), D(0), D("-2.0001"))
    assert [row.account_id for row in store.queries.performance("b", "trend")] == ["b"]


def test_performance_without_a_loss_has_no_profit_factor(store: Any) -> None:
    samples.append(store, samples.adopted(), *samples.path(), *samples.closing(8, "4"))
    (row,) = store.queries.performance(strategy="trend")
    assert (row.profit_factor, row.mean_r, row.best) == (None, None, D("3.9999"))

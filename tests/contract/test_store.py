"""What every store must do: one suite, run against each implementation of the port."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st

from orchestrator.model.errors import StoreConflict, StoreError, StoreLocked
from orchestrator.model.facts import (
    IntentWritten,
    SignalAccepted,
)
from orchestrator.model.journal import RecordFilter
from orchestrator.model.signals import Outcome
from tests.contract.stores import MakeStore, applied, ended
from tests.unit.adapters.store import samples

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

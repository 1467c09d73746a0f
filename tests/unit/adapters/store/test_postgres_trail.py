"""The journal on PostgreSQL read from end to end: in pages, one of which is always on its way."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from orchestrator.adapters.store import postgres_reading
from orchestrator.adapters.store.postgres_trail import PostgresTrail
from orchestrator.model.errors import StoreError
from orchestrator.model.facts import SignalAccepted
from tests.servers.postgres import PostgresServer
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import Make, notes


@pytest.fixture(autouse=True)
def _small_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres_reading, "_PAGE", 3)


@pytest.fixture
def trail(make: Make, fresh_database: str) -> Iterator[PostgresTrail]:
    make().close()
    reader = PostgresTrail(lambda: fresh_database)
    yield reader
    reader.close()


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 6, 7])
def test_pages_meet_without_a_gap_or_a_double(make: Make, trail: PostgresTrail, count: int) -> None:
    facts = notes(*map(str, range(count)))
    records = samples.chained(facts)
    make().append(records, facts)
    assert list(trail.records()) == records
    for after in range(count + 2):
        for upto in range(count + 2):
            assert list(trail.records(after, upto)) == records[after : max(after, upto)]


def test_signs_that_the_database_does_not_know_come_back(make: Make, trail: PostgresTrail) -> None:
    store = make()
    for strange in ("nul \0", "escape \x1b", "both \x1b0\0"):
        samples.append(store, SignalAccepted(signal=samples.signal(strange), accounts=()))
    assert list(trail.records()) == [record for record, _ in store.facts_after(0)]


@pytest.mark.parametrize("before", [1, 3, 5])
def test_a_journal_that_grows_is_read_to_its_end(
    make: Make, trail: PostgresTrail, before: int
) -> None:
    store = make()
    for number in range(before):
        samples.append(store, samples.note(str(number)))
    reading = trail.records()
    seen = [next(reading).seq for _ in range(before)]
    for number in range(4):
        samples.append(store, samples.note(f"late {number}"))
    seen += [record.seq for record in reading]
    assert seen == list(range(1, before + 5))


def test_a_reading_that_is_given_up_is_in_nobodys_way(make: Make, trail: PostgresTrail) -> None:
    samples.append(make(), *notes(*map(str, range(20))))
    for _ in range(5):  # more than there are connections
        reading = trail.records()
        assert next(reading).seq == 1
        reading.close()
    last = trail.last()
    assert last is not None
    assert last.seq == 20
    left = trail.records()
    next(left)
    trail.close()
    del left


def test_a_server_that_dies_within_a_reading_is_told(
    own_postgres: PostgresServer, make: Make
) -> None:
    url = own_postgres.create()
    samples.append(make(url), *notes(*map(str, range(20))))
    trail = PostgresTrail(lambda: url)
    reading = trail.records()
    next(reading)
    own_postgres.kill()
    with pytest.raises(StoreError, match="the store cannot be read"):
        list(reading)
    trail.close()

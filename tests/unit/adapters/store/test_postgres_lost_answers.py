"""An append to PostgreSQL whose answer is lost: it stands once, or not at all, and is told so."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.model.errors import StoreConflict, StoreError
from orchestrator.model.facts import SignalAccepted
from tests.servers.postgres import PostgresServer
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import (
    Make,
    committed_and_cut,
    cut,
    instead_of_an_append,
    notes,
    numbers,
    told,
)


def test_a_commit_whose_answer_was_lost_counts_as_done(make: Make, fresh_database: str) -> None:
    store = make()
    instead_of_an_append(store, committed_and_cut)
    samples.append(store, samples.note("once"))
    samples.append(store, samples.note("twice"))
    assert numbers(fresh_database) == [1, 2]


def test_a_server_that_ends_the_session_within_a_commit_has_not_said_no(
    make: Make, fresh_database: str
) -> None:
    from asyncpg import AdminShutdownError

    async def committed_and_ended(session: Any, message: str) -> None:
        await session.execute(message)
        last_words = AdminShutdownError("terminating connection")
        last_words.severity_en = "FATAL"
        raise last_words

    store = make()
    instead_of_an_append(store, committed_and_ended)
    samples.append(store, samples.note("once"))
    assert numbers(fresh_database) == [1]


def test_a_write_that_nobody_waited_for_is_not_written_twice(
    make: Make, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    facts = notes("a")
    records = samples.chained(facts)

    async def slow(session: Any, message: str) -> str:
        await asyncio.sleep(0.3)
        return str(await session.execute(message))

    instead_of_an_append(store, slow)
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.adapters.store.postgres._CALL_S", 0.1)
        patched.setattr(store, "_call", lambda work: store._thread.call(work, 0.1))
        # Cancelled too late: as if its answer had come in this moment.
        patched.setattr("concurrent.futures.Future.cancel", lambda _: True)
        with pytest.raises(StoreError, match="did not answer"):
            store.append(records, facts)
    more = notes("a", "b")
    store.append(samples.chained(more), more)
    assert numbers(fresh_database) == [1, 2]


def test_a_commit_that_never_arrived_is_told_and_may_be_tried_again(
    make: Make, fresh_database: str
) -> None:
    store = make()
    instead_of_an_append(store, cut)
    facts = notes("a", "b")
    records = samples.chained(facts)
    with pytest.raises(StoreError, match="not written"):
        store.append(records, facts)
    assert told(fresh_database) == []
    store.append(records, facts)
    assert numbers(fresh_database) == [1, 2]


@pytest.mark.usefixtures("impatient")
def test_what_landed_unheard_is_not_written_twice_by_the_retry(
    own_postgres: PostgresServer, make: Make
) -> None:
    url = own_postgres.create()
    store = make(url)
    samples.append(store, samples.note("first"))

    async def committed_and_killed(session: Any, message: str) -> None:
        await session.execute(message)
        own_postgres.kill()
        raise ConnectionResetError("cut")

    facts = [SignalAccepted(signal=samples.signal("s1"), accounts=()), samples.note("b")]
    records = samples.chained(facts, store.last_record())
    instead_of_an_append(store, committed_and_killed)
    with pytest.raises(StoreError, match="not written"):
        store.append(records, facts)
    with pytest.raises(StoreError):
        store.append(records, facts)
    own_postgres.start()
    more = [*facts, samples.note("c")]
    store.append(samples.chained(more, samples.chained(notes("first"))[0]), more)
    assert numbers(url) == [1, 2, 3, 4]
    assert store.signal_seen("s1")
    with pytest.raises(StoreConflict):  # the leave to skip was for that batch alone
        store.append(records, facts)


def test_other_records_than_those_that_landed_are_refused(make: Make, fresh_database: str) -> None:
    store = make()
    store._writer._doubt = None
    instead_of_an_append(store, committed_and_cut)
    samples.append(store, samples.note("mine"))
    store._writer._unclaimed = store._writer.head
    other = notes("yours")
    with pytest.raises(StoreConflict):
        store.append(samples.chained(other), other)
    assert len(told(fresh_database)) == 1

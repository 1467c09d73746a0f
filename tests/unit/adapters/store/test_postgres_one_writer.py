"""The store on PostgreSQL when it belongs to another node, or soon will."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.adapters.store import postgres_writer
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced, StoreLocked
from tests.servers.postgres import execute
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import (
    Make,
    cut_sessions,
    numbers,
    probed,
    told,
    until_written,
)


def test_an_epoch_that_is_over_writes_nothing(make: Make, fresh_database: str) -> None:
    store = make()
    assert store.next_epoch() == 1
    samples.append(store, samples.note("mine"))
    execute(fresh_database, "UPDATE meta SET value = '2' WHERE key = 'epoch'")
    for write in (
        lambda: samples.append(store, samples.note("late")),
        lambda: store.save_snapshot(1, b"late"),
        store.next_epoch,
    ):
        with pytest.raises(StoreFenced, match="another node leads"):
            write()
    assert len(told(fresh_database)) == 1
    assert store.load_snapshot() is None


def test_a_takeover_waits_for_an_append_that_has_begun(
    make: Make, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that nothing of the old leader comes after it. The append is held up by a trigger, behind
    what it has locked, until the takeover is seen waiting for it.
    """
    patient(monkeypatch)
    store = make()
    execute(
        fresh_database,
        "CREATE FUNCTION hold() RETURNS TRIGGER LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_advisory_xact_lock(7); RETURN new; END $$",
        "CREATE TRIGGER hold BEFORE INSERT ON journal FOR EACH ROW EXECUTE FUNCTION hold()",
    )

    async def live() -> None:
        import asyncpg

        holder = await asyncpg.connect(fresh_database, ssl=False)
        await holder.execute("SELECT pg_advisory_lock(7)")
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.to_thread(samples.append_after, store, None, samples.note()))
            await until_waiting(holder, 1)
            raised = "UPDATE meta SET value = '7' WHERE key = 'epoch'"
            takeover = tasks.create_task(asyncio.to_thread(execute, fresh_database, raised))
            await until_waiting(holder, 2)
            assert not takeover.done()
            await holder.execute("SELECT pg_advisory_unlock(7)")
            await takeover
            assert await holder.fetchval("SELECT count(*) FROM journal") == 1
        await holder.close()

    asyncio.run(live())
    with pytest.raises(StoreFenced):
        samples.append(store, samples.note("late"))
    assert numbers(fresh_database) == [1]


def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is busy elsewhere is no reason to give a write up."""
    session = {**postgres_writer._SESSION, "statement_timeout": "60s", "lock_timeout": "60s"}
    monkeypatch.setattr(postgres_writer, "_SESSION", session)
    monkeypatch.setattr(postgres_writer, "WRITE_S", 60.0)
    monkeypatch.setattr("orchestrator.adapters.store.postgres._CALL_S", 60.0)
    monkeypatch.setattr(
        PostgresStore, "_call", lambda self, work, bound_s=60.0: self._thread.call(work, bound_s)
    )


async def until_waiting(session: Any, count: int) -> None:
    """Until so many sessions of this database wait for a lock."""
    asked = (
        "SELECT count(*) FROM pg_stat_activity"
        " WHERE datname = current_database() AND wait_event_type = 'Lock'"
    )
    async with asyncio.timeout(60):
        while await session.fetchval(asked) < count:
            await session.fetchval("SELECT pg_sleep(0.01)")


def test_who_stands_by_reads_and_writes_only_when_told_to_lead(make: Make) -> None:
    leader, other = make(lease=True), make(lease=True)
    for store in (leader, other):
        with pytest.raises(StoreError, match="does not lead"):
            samples.append(store, samples.note())
    leader.lead(0)
    samples.append(leader, *samples.path())
    assert other.last_record() == leader.last_record()
    assert other.queries.signal("s1") is not None
    assert leader.next_epoch() == 1
    with pytest.raises(StoreFenced):
        other.lead(0)


def test_a_new_leader_knows_what_was_written_before_it(make: Make) -> None:
    leader, other = make(lease=True), make(lease=True)
    leader.lead(0)
    samples.append(leader, *samples.path())
    assert not other.signal_seen("s1")
    other.lead(0)
    assert other.signal_seen("s1")
    samples.append(other, samples.note("mine"))
    with pytest.raises(
        StoreConflict
    ):  # the same epoch twice is a bug; the chain holds all the same
        samples.append_after(leader, samples.chained(samples.path())[-1], samples.note("yours"))


def test_a_writer_whose_session_died_notices_who_came_after_it(
    make: Make, fresh_database: str
) -> None:
    store = make()
    assert store.next_epoch() == 1
    cut_sessions(fresh_database)
    other = make()
    with pytest.raises(StoreLocked, match="in use by the service"):
        samples.append(store, samples.note("mine"))
    assert other.next_epoch() == 2
    other.close()
    with pytest.raises(StoreFenced):
        samples.append(store, samples.note("mine"))
    assert told(fresh_database) == []


def test_a_session_that_died_alone_is_opened_anew(make: Make, fresh_database: str) -> None:
    store = make()
    samples.append(store, samples.note("a"))
    cut_sessions(fresh_database)
    until_written(lambda: samples.append(store, samples.note("b")))
    assert numbers(fresh_database) == [1, 2]


def test_a_probe_finds_out_that_another_node_leads(make: Make, fresh_database: str) -> None:
    store = make(lease=True)
    store.lead(0)
    assert probed(store) is None
    execute(fresh_database, "UPDATE meta SET value = '7' WHERE key = 'epoch'")
    assert probed(store) is None  # its own session is good: a write would be refused
    store._writer._session.terminate()
    assert isinstance(probed(store), StoreFenced)


def test_a_tool_does_not_work_beside_a_leader(make: Make, fresh_database: str) -> None:
    make(lease=True)
    lead = "UPDATE leader_lease SET node = 'north', holder = 'x', expires_at = now() + '{}'"
    execute(fresh_database, lead.format("1 hour"))
    with pytest.raises(StoreLocked, match="node north leads"):
        make()
    execute(fresh_database, lead.format("-1 hour"))
    make()


def test_two_that_open_an_empty_database_at_once_make_one_store(make: Make) -> None:
    with ThreadPoolExecutor(4) as pool:
        stores = list(pool.map(lambda _: make(lease=True), range(4)))
    assert len({store.installation_id() for store in stores}) == 1

"""The store on PostgreSQL when its server dies, hangs, lies still, or has no room."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.adapters.store import postgres_writer
from orchestrator.model.errors import StoreConflict, StoreError
from tests.servers.postgres import PostgresServer, execute
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import (
    Make,
    instead_of_an_append,
    notes,
    numbers,
    probed,
    told,
    until_written,
)


@pytest.mark.usefixtures("impatient")
def test_a_killed_server_loses_nothing_that_was_promised(
    own_postgres: PostgresServer, make: Make
) -> None:
    url = own_postgres.create()
    store = make(url)
    records = samples.append(store, *samples.path())
    own_postgres.kill()
    with pytest.raises(StoreError, match=r"DATABASE_URL|not written"):
        samples.append_after(store, records[-1], samples.note("lost"))
    own_postgres.start()
    samples.append_after(store, records[-1], samples.note("kept"))
    assert numbers(url) == list(range(1, 14))
    assert "kept" in told(url)[-1][1]


@pytest.mark.usefixtures("impatient")
def test_a_frozen_server_ends_the_wait_and_a_late_commit_is_found(
    own_postgres: PostgresServer, make: Make
) -> None:
    url = own_postgres.create()
    store = make(url)
    facts = notes("a")
    records = samples.chained(facts)
    own_postgres.freeze()
    for _ in range(2):
        with pytest.raises(StoreError):
            store.append(records, facts)
    own_postgres.thaw()
    more = notes("a", "b")
    until_written(lambda: store.append(samples.chained(more), more))
    assert numbers(url) == [1, 2]


@pytest.mark.usefixtures("impatient")
def test_who_must_not_wait_is_called_back_once_whatever_the_server_does(
    own_postgres: PostgresServer, make: Make
) -> None:
    store = make(own_postgres.create())
    told_back: list[StoreError | None] = []

    async def live() -> None:
        facts = notes("a")
        answered = asyncio.Event()

        def done(error: StoreError | None) -> None:
            told_back.append(error)
            answered.set()

        own_postgres.freeze()
        try:
            store.append_soon(samples.chained(facts), facts, done)
            assert told_back == []  # it has returned, and nobody has answered
            await answered.wait()
        finally:
            own_postgres.thaw()
        answered.clear()
        while told_back[-1] is not None:
            store.append_soon(samples.chained(facts), facts, done)
            await answered.wait()
            answered.clear()
        store.save_snapshot_soon(1, b"state", done)
        await answered.wait()

    asyncio.run(live())
    assert isinstance(told_back[0], StoreError)
    assert told_back[-2:] == [None, None]
    assert store.load_snapshot() == (1, b"state")


@pytest.mark.parametrize("lease", [False, True])
def test_a_server_that_is_killed_is_noticed_without_a_write_and_found_again(
    own_postgres: PostgresServer, make: Make, *, lease: bool
) -> None:
    store = make(own_postgres.create(), lease=lease)
    assert probed(store) is None
    own_postgres.kill()
    assert probed(store) is not None
    assert probed(store) is not None
    own_postgres.start()
    assert probed(store) is None


def test_a_server_that_lies_still_is_noticed_without_a_write_and_found_again(
    own_postgres: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make(own_postgres.create())
    own_postgres.freeze()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(postgres_writer, "PROBE_S", 0.4)
            found = [probed(store), probed(store)]  # of the old session, and of a new one
    finally:
        own_postgres.thaw()
    assert all(isinstance(each, StoreError) for each in found)
    assert probed(store) is None
    facts = notes("a")
    store.append(samples.chained(facts), facts)


@pytest.mark.usefixtures("impatient")
def test_what_waits_behind_a_hanging_write_is_told_as_well(
    own_postgres: PostgresServer, make: Make
) -> None:
    store = make(own_postgres.create())
    told_back: list[StoreError | None] = []

    async def live() -> None:
        facts = notes("a")
        all_told = asyncio.Event()

        def done(error: StoreError | None) -> None:
            told_back.append(error)
            if len(told_back) == 4:
                all_told.set()

        own_postgres.freeze()
        try:
            for _ in range(2):
                store.save_snapshot_soon(0, b"state", done)
                store.append_soon(samples.chained(facts), facts, done)
            await all_told.wait()
        finally:
            own_postgres.thaw()

    asyncio.run(live())
    assert all(isinstance(error, StoreError) for error in told_back)


def test_a_close_waits_for_what_is_being_written(make: Make, fresh_database: str) -> None:
    store = make()
    facts = notes("a")

    async def slow(session: Any, message: str) -> Any:
        await asyncio.sleep(0.2)
        return await session.execute(message)

    async def live() -> StoreError | None:
        answered: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        instead_of_an_append(store, slow)
        store.append_soon(samples.chained(facts), facts, answered.set_result)
        await asyncio.to_thread(store.close)
        return await answered

    assert asyncio.run(live()) is None
    assert numbers(fresh_database) == [1]


def test_a_full_disk_is_told_and_got_over(make: Make, fresh_database: str) -> None:
    store = make()
    execute(
        fresh_database,
        "CREATE FUNCTION no_room() RETURNS TRIGGER LANGUAGE plpgsql AS"
        " $$ BEGIN RAISE EXCEPTION 'no space left' USING ERRCODE = 'disk_full'; END $$",
        "CREATE TRIGGER no_room BEFORE INSERT ON journal EXECUTE FUNCTION no_room()",
    )
    with pytest.raises(StoreError, match=r"not written: the disk of .* is full") as caught:
        samples.append(store, samples.note())
    assert not isinstance(caught.value, StoreConflict)
    execute(fresh_database, "DROP TRIGGER no_room ON journal")
    samples.append(store, samples.note())
    assert len(told(fresh_database)) == 1


@pytest.mark.usefixtures("impatient")
def test_an_append_that_waits_for_a_lock_ends(make: Make, fresh_database: str) -> None:
    import asyncpg

    store = make()

    async def hold(ready: asyncio.Event, end: asyncio.Event) -> None:
        other = await asyncpg.connect(fresh_database, ssl=False)
        await other.execute("BEGIN; LOCK TABLE journal")
        ready.set()
        await end.wait()
        await other.close()

    async def live() -> None:
        ready, end = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(hold(ready, end))
            await ready.wait()
            with pytest.raises(StoreError):
                await asyncio.to_thread(samples.append_after, store, None, samples.note("x"))
            end.set()

    asyncio.run(live())
    until_written(lambda: samples.append_after(store, None, samples.note("x")))
    assert numbers(fresh_database) == [1]

"""The store on PostgreSQL when its server dies, hangs, lies still, or belongs to another node."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from orchestrator.adapters.store import postgres_ids, postgres_schema, postgres_writer, signal_ids
from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.adapters.store.signal_ids import SignalIds, digest
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced, StoreLocked
from orchestrator.model.facts import SignalAccepted
from tests.servers.postgres import Databases, PostgresServer, execute
from tests.unit.adapters.store import samples

Make = Callable[..., PostgresStore]


@pytest.fixture
def make(fresh_database: str) -> Iterator[Make]:
    """Opens a store on the test's own database each time."""
    opened: list[PostgresStore] = []

    def open_store(url: str = fresh_database, **options: Any) -> PostgresStore:
        opened.append(PostgresStore(url, **options))
        return opened[-1]

    yield open_store
    for store in opened:
        store.close()


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Bounds of tenths of a second."""
    for name in ("TURN_S", "WRITE_S", "REOPEN_S"):
        monkeypatch.setattr(postgres_writer, name, 0.4)


def notes(*texts: str) -> list[Any]:
    return [samples.note(text) for text in texts]


def told(url: str) -> list[tuple[int, str]]:
    """What really stands in the journal."""
    rows = execute(url, "SELECT seq, data FROM journal ORDER BY seq")
    return [(seq, data) for seq, data in rows]


def fail_at(store: PostgresStore, statement: str, how: Callable[[Any], Any]) -> None:
    """The next time that this is executed, `how` is awaited instead, with the session."""
    session = store._writer._session

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        async def execute(self, query: str, *args: object) -> Any:
            if query == statement:
                return await how(session)
            return await session.execute(query, *args)

    store._writer._session = Failing()


async def committed_and_cut(session: Any) -> None:
    """The server does it; its answer gets lost."""
    await session.execute("COMMIT")
    session.terminate()
    raise ConnectionResetError("cut")


async def cut(session: Any) -> None:
    """The connection breaks before the server hears of it."""
    session.terminate()
    raise ConnectionResetError("cut")


# -- answers that are lost -------------------------------------------------------------------------


def test_a_commit_whose_answer_was_lost_counts_as_done(make: Make, fresh_database: str) -> None:
    store = make()
    fail_at(store, "COMMIT", committed_and_cut)
    samples.append(store, samples.note("once"))
    samples.append(store, samples.note("twice"))
    assert [seq for seq, _ in told(fresh_database)] == [1, 2]


def test_a_server_that_ends_the_session_within_a_commit_has_not_said_no(
    make: Make, fresh_database: str
) -> None:
    from asyncpg import AdminShutdownError

    async def committed_and_ended(session: Any) -> None:
        await session.execute("COMMIT")
        last_words = AdminShutdownError("terminating connection")
        last_words.severity_en = "FATAL"
        raise last_words

    store = make()
    fail_at(store, "COMMIT", committed_and_ended)
    samples.append(store, samples.note("once"))
    assert [seq for seq, _ in told(fresh_database)] == [1]


def test_a_write_that_nobody_waited_for_is_not_written_twice(
    make: Make, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = make()
    facts = notes("a")
    records = samples.chained(facts)

    async def slow(session: Any) -> str:
        await asyncio.sleep(0.3)
        return str(await session.execute("COMMIT"))

    fail_at(store, "COMMIT", slow)
    with monkeypatch.context() as patched:
        patched.setattr("orchestrator.adapters.store.postgres._CALL_S", 0.1)
        patched.setattr(store, "_call", lambda work: store._thread.call(work, 0.1))
        # Cancelled too late: as if its answer had come in this moment.
        patched.setattr("concurrent.futures.Future.cancel", lambda _: True)
        with pytest.raises(StoreError, match="did not answer"):
            store.append(records, facts)
    more = notes("a", "b")
    store.append(samples.chained(more), more)
    assert [seq for seq, _ in told(fresh_database)] == [1, 2]


def test_a_commit_that_never_arrived_is_told_and_may_be_tried_again(
    make: Make, fresh_database: str
) -> None:
    store = make()
    fail_at(store, "COMMIT", cut)
    facts = notes("a", "b")
    records = samples.chained(facts)
    with pytest.raises(StoreError, match="not written"):
        store.append(records, facts)
    assert told(fresh_database) == []
    store.append(records, facts)
    assert [seq for seq, _ in told(fresh_database)] == [1, 2]


@pytest.mark.usefixtures("impatient")
def test_what_landed_unheard_is_not_written_twice_by_the_retry(
    own_postgres: PostgresServer, make: Make
) -> None:
    url = own_postgres.create()
    store = make(url)
    samples.append(store, samples.note("first"))

    async def committed_and_killed(session: Any) -> None:
        await session.execute("COMMIT")
        own_postgres.kill()
        raise ConnectionResetError("cut")

    facts = [SignalAccepted(signal=samples.signal("s1"), accounts=()), samples.note("b")]
    records = samples.chained(facts, store.last_record())
    fail_at(store, "COMMIT", committed_and_killed)
    with pytest.raises(StoreError, match="not written"):
        store.append(records, facts)
    with pytest.raises(StoreError):
        store.append(records, facts)
    own_postgres.start()
    more = [*facts, samples.note("c")]
    store.append(samples.chained(more, samples.chained(notes("first"))[0]), more)
    assert [seq for seq, _ in told(url)] == [1, 2, 3, 4]
    assert store.signal_seen("s1")
    with pytest.raises(StoreConflict):  # the leave to skip was for that batch alone
        store.append(records, facts)


def test_other_records_than_those_that_landed_are_refused(make: Make, fresh_database: str) -> None:
    store = make()
    store._writer._doubt = None
    fail_at(store, "COMMIT", committed_and_cut)
    samples.append(store, samples.note("mine"))
    store._writer._unclaimed = store._writer.head
    other = notes("yours")
    with pytest.raises(StoreConflict):
        store.append(samples.chained(other), other)
    assert len(told(fresh_database)) == 1


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
    assert [seq for seq, _ in told(url)] == list(range(1, 14))
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
    for _ in range(50):  # the server has to wake up
        try:
            store.append(samples.chained(more), more)
        except StoreConflict:
            raise
        except StoreError:
            continue
        break
    assert [seq for seq, _ in told(url)] == [1, 2]


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


def probed(store: PostgresStore) -> StoreError | None:
    """What the store says of itself when nothing is written."""

    async def ask() -> StoreError | None:
        answered: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        store.probe_soon(answered.set_result)
        return await answered

    return asyncio.run(ask())


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


def test_a_probe_finds_out_that_another_node_leads(make: Make, fresh_database: str) -> None:
    store = make(lease=True)
    store.lead(0)
    assert probed(store) is None
    execute(fresh_database, "UPDATE meta SET value = '7' WHERE key = 'epoch'")
    assert probed(store) is None  # its own session is good: a write would be refused
    store._writer._session.terminate()
    assert isinstance(probed(store), StoreFenced)


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

    async def slow(session: Any) -> Any:
        await asyncio.sleep(0.2)
        return await session.execute("COMMIT")

    async def live() -> StoreError | None:
        answered: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        fail_at(store, "COMMIT", slow)
        store.append_soon(samples.chained(facts), facts, answered.set_result)
        await asyncio.to_thread(store.close)
        return await answered

    assert asyncio.run(live()) is None
    assert [seq for seq, _ in told(fresh_database)] == [1]


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
    for _ in range(50):
        try:
            samples.append_after(store, None, samples.note("x"))
        except StoreError:
            continue
        break
    assert [seq for seq, _ in told(fresh_database)] == [1]


# -- one writer ------------------------------------------------------------------------------------


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


def test_a_takeover_waits_for_an_append_that_has_begun(make: Make, fresh_database: str) -> None:
    """So that nothing of the old leader comes after it."""
    store = make()
    seen: list[str] = []

    async def raced(session: Any) -> None:
        def take_over() -> None:
            execute(fresh_database, "UPDATE meta SET value = '7' WHERE key = 'epoch'")
            seen.append("taken over")

        other = asyncio.get_running_loop().run_in_executor(None, take_over)
        await asyncio.wait([other], timeout=0.3)
        seen.append("committed")
        await session.execute("COMMIT")
        await other

    fail_at(store, "COMMIT", raced)
    samples.append(store, samples.note("in time"))
    assert seen == ["committed", "taken over"]
    with pytest.raises(StoreFenced):
        samples.append(store, samples.note("late"))


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
    for _ in range(50):
        try:
            samples.append(store, samples.note("b"))
        except StoreError:
            continue
        break
    assert [seq for seq, _ in told(fresh_database)] == [1, 2]


def cut_sessions(url: str) -> None:
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


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


# -- append-only, and whose it is ------------------------------------------------------------------


@pytest.mark.parametrize(
    "sql",
    [
        "UPDATE journal SET data = '{}'",
        "DELETE FROM journal WHERE seq = 2",
        "TRUNCATE journal",
        "SET session_replication_role = replica; DELETE FROM journal WHERE seq = 2",
        "SET session_replication_role = replica; UPDATE journal SET data = '{}'",
        "INSERT INTO journal TABLE journal ON CONFLICT (seq) DO UPDATE SET data = '{}'",
        "UPDATE prunings SET upto = 7",
        "DELETE FROM prunings",
        "TRUNCATE prunings",
        "INSERT INTO prunings VALUES (1, '', '', '', 0, '')",
    ],
)
def test_nothing_that_stands_is_changed_or_deleted(
    make: Make, fresh_database: str, sql: str
) -> None:
    samples.append(make(), *notes("gone", "stands"))
    execute(fresh_database, "INSERT INTO prunings VALUES (1, '', '', '', 0, '')")
    before = told(fresh_database)
    with pytest.raises(Exception, match=r"append-only|further than"):
        execute_script(fresh_database, sql)
    assert told(fresh_database) == before


def execute_script(url: str, sql: str) -> None:
    import asyncpg

    from tests.servers.postgres import in_thread

    async def work() -> None:
        connection = await asyncpg.connect(url, ssl=False)
        try:
            await connection.execute(sql)
        finally:
            await connection.close()

    in_thread(work)


# -- schema ----------------------------------------------------------------------------------------


def test_a_newer_schema_is_refused(make: Make, fresh_database: str) -> None:
    make().close()
    execute(fresh_database, "UPDATE alembic_version_store SET version_num = '0099'")
    with pytest.raises(StoreError, match=r"DATABASE_URL: the journal has schema 99, .* newer"):
        make()


def test_an_older_schema_is_left_alone_and_told(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    make().close()
    steps = postgres_schema.JOURNAL.steps()
    more = [*steps, (len(steps) + 1, "9999_more.sql", "SELECT 1")]
    monkeypatch.setattr(postgres_schema, "migrations", lambda _: more)
    with pytest.raises(StoreError, match=r"this version needs .*orchestrator db upgrade"):
        make()


def test_a_node_that_stood_by_over_an_upgrade_does_not_lead(
    make: Make, fresh_database: str
) -> None:
    other = make(lease=True)
    execute(fresh_database, "UPDATE alembic_version_store SET version_num = '0099'")
    with pytest.raises(StoreError, match="newer version"):
        other.lead(0)


def test_a_step_that_fails_leaves_an_empty_database(
    make: Make, fresh_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    steps = postgres_schema.JOURNAL.steps()
    with monkeypatch.context() as patched:
        broken = [*steps, (len(steps) + 1, "9999_broken.sql", "SELECT 1 / 0")]
        patched.setattr(postgres_schema, "migrations", lambda _: broken)
        with pytest.raises(StoreError, match="division by zero"):
            make()
    assert execute(fresh_database, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'")[
        0
    ] == (0,)
    samples.append(make(), samples.note())


def test_a_foreign_table_of_the_same_name_is_left_alone(make: Make, fresh_database: str) -> None:
    execute(fresh_database, "CREATE TABLE journal (mine INTEGER)")
    with pytest.raises(StoreError, match="not ours; give it a database of its own"):
        make()
    assert execute(fresh_database, "SELECT count(*) FROM journal")[0] == (0,)


def test_a_user_who_may_make_no_tables_is_told(
    make: Make, fresh_database: str, databases: Databases
) -> None:
    execute(
        fresh_database,
        "DO $$ BEGIN CREATE ROLE poor LOGIN PASSWORD 'p'; EXCEPTION WHEN duplicate_object THEN"
        " NULL; END $$",
        "REVOKE CREATE ON SCHEMA public FROM PUBLIC",
    )
    url = databases.as_user(fresh_database, "poor", "p")
    with pytest.raises(StoreError, match=r"its user may not make tables .*orchestrator db upgrade"):
        make(url)


# -- texts and ids ---------------------------------------------------------------------------------


def test_signs_that_the_database_does_not_know_come_back(make: Make) -> None:
    store = make()
    strange = "nul \0, escape \x1b, both \x1b0\0 and \U0001f4b6"
    fact = SignalAccepted(signal=samples.signal(strange, strategy=strange), accounts=())
    (record,) = samples.append(store, fact)
    store.close()
    again = make()
    assert again.last_record() == record
    assert next(iter(again.facts_after(0)))[1] == fact
    assert again.queries.signal(strange).signal_id == strange
    assert again.signal_seen(strange)
    assert not again.signal_seen("nul ")


def test_ids_too_many_for_memory_are_asked_for(make: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    store = make()
    for number in range(5):
        samples.append(store, SignalAccepted(signal=samples.signal(f"s{number}"), accounts=()))
    store.close()
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 2)
    again = make()
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)  # of a machine that is busy with other tests
    assert len(again._writer.ids) == 2
    assert [again.signal_seen(f"s{number}") for number in range(6)] == [True] * 5 + [False]


def test_a_server_that_lies_still_does_not_hold_up_who_asks_for_an_old_id(
    own_postgres: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The event loop asks: it hears a StoreError soon, and then at once for a while."""
    url = own_postgres.create()
    store = make(url)
    for number in range(3):
        samples.append(store, SignalAccepted(signal=samples.signal(f"s{number}"), accounts=()))
    store.close()
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 2)
    again = make(url)
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)
    assert again.signal_seen("s0")
    monkeypatch.setattr(postgres_ids, "ASK_S", 0.2)
    monkeypatch.setattr(postgres_ids, "REST_S", 3_600.0)
    own_postgres.freeze()
    try:
        with pytest.raises(StoreError, match="did not answer within"):
            again.signal_seen("other")
        monkeypatch.setattr(postgres_ids, "ASK_S", 3_600.0)
        with pytest.raises(StoreError, match="too slow"):
            again.signal_seen("other")  # not asked at all
        assert again.signal_seen("s2")  # what is in memory is known
    finally:
        own_postgres.thaw()


def test_a_server_that_is_back_says_old_ids_again(
    own_postgres: PostgresServer, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_writer, "IDS_MAX", 0)
    monkeypatch.setattr(postgres_ids, "REST_S", 0.0)
    store = make(own_postgres.create())
    samples.append(store, SignalAccepted(signal=samples.signal("s0"), accounts=()))
    store._writer.ids = SignalIds(total=1)  # as an opening would find it
    monkeypatch.setattr(postgres_ids, "ASK_S", 30.0)
    assert [store.signal_seen(name) for name in ("s0", "s1")] == [True, False]
    own_postgres.kill()
    for _ in range(2):
        with pytest.raises(StoreError):
            store.signal_seen("s0")
    own_postgres.start()
    while True:
        try:
            assert store.signal_seen("s0")
        except StoreError:
            continue  # the last failure's pause
        break


def test_ids_beyond_what_memory_may_hold_are_let_go_and_asked_for(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(signal_ids, "_FRESH_MAX", 10)
    monkeypatch.setattr(signal_ids, "IDS_MAX", 10)
    ids = SignalIds()
    for number in range(100):
        ids.add(f"new{number}")
    assert len(ids) <= 22
    assert not ids.complete


def test_ids_in_memory_are_merged_and_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal_ids, "_FRESH_MAX", 10)
    old = sorted(digest(f"old{number}") for number in range(100))
    ids = SignalIds(b"".join(number.to_bytes(8, "big") for number in old), total=100)
    for number in range(55):
        ids.add(f"new{number}")
    assert ids.complete
    assert len(ids) == 155
    assert all(ids.has(f"old{number}") for number in range(100))
    assert all(ids.has(f"new{number}") for number in range(55))
    assert not any(ids.has(f"other{number}") for number in range(1000))

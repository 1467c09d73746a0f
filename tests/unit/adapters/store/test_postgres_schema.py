"""The tables on PostgreSQL: kept as they are, made once, and refused where they are not ours."""

from __future__ import annotations

import pytest

from orchestrator.adapters.store import postgres_schema
from orchestrator.model.errors import StoreError
from tests.servers.postgres import Databases, execute
from tests.unit.adapters.store import samples
from tests.unit.adapters.store.postgres_stores import (
    Make,
    notes,
    told,
)


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

"""All that a journal's database holds: out of it in one view, or into an empty one at once."""

from __future__ import annotations

from collections.abc import (
    AsyncGenerator,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
    Iterator,
    Sequence,
)
from contextlib import asynccontextmanager
from typing import Any, Protocol, TypeAlias

import msgspec

from orchestrator.adapters.store.postgres_connection import Session
from orchestrator.adapters.store.postgres_schema import (
    JOURNAL,
    LOCK,
    MIGRATING,
    refuse_newer,
    version,
    write_version,
)
from orchestrator.adapters.store.postgres_sql import ask, coded, postgres_statements, record_from
from orchestrator.adapters.store.trail import Pruned, pruned_of
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError, StoreLocked
from orchestrator.model.journal import Record

# Each table with the columns that order it; without the lease: nobody leads what lies in a file.
TABLES = {
    "meta": "key", "prunings": "upto", "journal": "seq", "snapshots": "seq",
    "accounts": "account_id", "signals": "seq", "signal_outcomes": "signal_id, account_id",
    "intents": "seq", "transactions": "account_id, transaction_id",
    "transaction_links": "account_id, kind, ref, transaction_id", "trades": "id",
    "outcomes": "seq", "breakers": "breaker, subject", "alerts": "seq",
    "control_stops": "raised_at, stop_id",
}  # fmt: skip
# A table that an older schema does not have, by the first one that has it.
SINCE = {"control_stops": 2}

Write: TypeAlias = Callable[[bytes], None]
_SQL = postgres_statements("journal")
_BATCH = 2_000


class BulkSession(Session, Protocol):
    """What else the driver's connection does."""

    async def copy_from_query(
        self, query: str, *, output: Callable[[bytes], Awaitable[None]]
    ) -> str: ...

    async def copy_to_table(
        self, table_name: str, *, source: AsyncIterator[bytes], columns: Sequence[str]
    ) -> str: ...

    async def copy_records_to_table(
        self, table_name: str, *, records: Iterable[Sequence[Any]], columns: Sequence[str]
    ) -> str: ...


class Place(msgspec.Struct, frozen=True, kw_only=True):
    """What a copy is measured by."""

    installation_id: str
    schema: int
    records: int


@asynccontextmanager
async def one_view(session: Session) -> AsyncGenerator[None]:
    """All that is read inside is of one moment; nothing is kept from writing."""
    await session.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
    await session.execute("SET LOCAL statement_timeout = 0")
    try:
        yield
    finally:
        if not session.is_closed():
            await session.execute("ROLLBACK")


async def place(session: Session) -> Place:
    """StoreError for a database without a store of a version that we know."""
    found = await version(session, JOURNAL)
    if found == 0:
        raise StoreError("there is no store in that database")
    refuse_newer(found, JOURNAL)
    text, given = ask(_SQL["get_meta"], ("installation_id",))
    return Place(
        installation_id=str(await session.fetchval(text, *given)),
        schema=found,
        records=int(await session.fetchval("SELECT count(*) FROM journal")),
    )


async def refuse_leader(session: Session) -> None:
    """StoreLocked while a node of an older version works on a schema that is to be changed."""
    found = await version(session, JOURNAL)
    if not SINCE["control_stops"] <= found < len(JOURNAL.steps()):
        return
    leads = await session.fetchrow(_SQL["who_leads"])
    if leads is not None:
        raise StoreLocked(f"node {leads[0]} leads; stop the service on every node first")


async def walk(session: Session, heard: Callable[[Record], None]) -> None:
    """Every record in order."""
    after = 0
    text, _ = ask(_SQL["after"])
    while rows := await session.fetch(text, after, _BATCH):
        for row in rows:
            heard(record_from(row))
        after = rows[-1][0]


async def prunings(session: Session) -> tuple[Pruned, ...]:
    return tuple(pruned_of(tuple(row)) for row in await session.fetch(_SQL["prunings"]))


def tables(schema: int) -> Iterator[str]:
    """Those that this schema has, in the order in which they are filled."""
    yield from (name for name in TABLES if SINCE.get(name, 1) <= schema)


async def columns(session: Session, table: str) -> tuple[str, ...]:
    rows = await session.fetch(
        "SELECT column_name FROM information_schema.columns"
        " WHERE table_name = $1 AND table_schema = current_schema() ORDER BY ordinal_position",
        table,
    )
    return tuple(str(row[0]) for row in rows)


async def export(session: BulkSession, table: str, write: Write) -> int:
    """Its rows in COPY's text form; how many."""

    async def take(data: bytes) -> None:
        write(data)

    names = ", ".join(await columns(session, table))
    query = f"SELECT {names} FROM {table} ORDER BY {TABLES[table]}"  # noqa: S608 -- names of ours
    return _count(await session.copy_from_query(query, output=take))


async def load(
    session: BulkSession, table: str, names: Sequence[str], data: Iterable[bytes]
) -> int:
    """What `export` wrote; how many rows."""

    async def given() -> AsyncIterator[bytes]:
        for part in data:
            yield part

    return _count(await session.copy_to_table(table, source=given(), columns=names))


async def insert(
    session: BulkSession, table: str, names: Sequence[str], rows: Iterable[Sequence[Any]]
) -> int:
    """Rows as SQLite has them; how many."""
    there = (tuple(map(coded, row)) for row in rows)
    return _count(await session.copy_records_to_table(table, records=there, columns=names))


@asynccontextmanager
async def filling(session: Session, schema: int) -> AsyncGenerator[None]:
    """An empty database gets the tables of this schema, and what is written into them inside; at
    its end all of it stands, or nothing. StoreError for a database that is not empty.
    """
    wanted = msgspec.structs.replace(JOURNAL, upto=schema)
    await session.execute("BEGIN")
    try:
        await session.execute("SET LOCAL statement_timeout = 0")
        await session.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, MIGRATING)
        await _refuse_full(session)
        for _, _, text in wanted.steps():
            await session.execute(text)
        await write_version(session, wanted, schema)
        await session.execute("DELETE FROM meta")
        yield
        await session.execute(
            "SELECT setval(pg_get_serial_sequence('trades', 'id'),"
            " (SELECT coalesce(max(id), 0) + 1 FROM trades), false)"
        )
        failpoints.before("journal.migrate")
        await session.execute("COMMIT")
        failpoints.after("journal.migrate")
    except BaseException:
        if not session.is_closed():
            await session.execute("ROLLBACK")
        raise


async def _refuse_full(session: Session) -> None:
    if await version(session, JOURNAL):
        raise StoreError("that database holds a store already; give an empty one, nothing is mixed")


def _count(status: str) -> int:
    """Of "COPY 5"."""
    return int(status.rpartition(" ")[2])

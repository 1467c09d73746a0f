"""The schema of a PostgreSQL database: made where there is none, refused where it is not ours.

Its steps are plain SQL files, each applied once, in order, in one transaction. An empty database is
filled by whoever opens it first. An older one is brought up by `orchestrator db upgrade` only:
others may still work with it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeAlias

import msgspec

from orchestrator.adapters.store.postgres_connection import Session
from orchestrator.adapters.store.statements import Migration, migrations
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError

Settle: TypeAlias = Callable[[Session], Awaitable[None]]

# Two that migrate at once wait for each other. The number says nothing to anybody else.
LOCK = 0x54_53_4F  # "TSO"
MIGRATING = 2


class Schema(msgspec.Struct, frozen=True, kw_only=True):
    """One kind of database. `table` keeps its version, as Alembic writes it."""

    name: str  # what it holds, for a person
    variable: str  # the setting that says where it is
    folder: str  # of its steps, within migrations/
    table: str
    upto: int = 0  # only the steps up to this one; 0: all

    def steps(self) -> list[Migration]:
        found = migrations(self.folder)
        return found[: self.upto] if self.upto else found


JOURNAL = Schema(
    name="journal", variable="DATABASE_URL", folder="postgres", table="alembic_version_store"
)


async def version(session: Session, schema: Schema) -> int:
    """0: there is nothing of ours."""
    # Not to_regclass: it may remember a name as missing that another session has just made.
    there = "SELECT count(*) FROM pg_tables WHERE tablename = $1 AND schemaname = current_schema()"
    if not await session.fetchval(there, schema.table):
        return 0
    found = await session.fetchval(f"SELECT max(version_num) FROM {schema.table}")  # noqa: S608
    try:
        return int(found or 0)
    except ValueError:
        raise StoreError(f"{schema.variable}: {schema.table} says {found!r}: not ours") from None


async def ensure(session: Session, schema: Schema, settle: Settle | None = None) -> None:
    """An empty database is filled; `settle` adds to it in the same transaction.

    StoreError for a database of an older or newer version, or with tables of somebody else.
    """
    found = await version(session, schema)
    if found == 0:
        await _create(session, schema, settle)
        return
    refuse_other(found, schema)


def refuse_newer(found: int, schema: Schema) -> None:
    """StoreError for a schema that only a later version knows."""
    known = len(schema.steps())
    if found > known:
        raise StoreError(
            f"{schema.variable}: the {schema.name} has schema {found}, this version knows {known}:"
            " it was written by a newer version; run that one"
        )


def refuse_other(found: int, schema: Schema) -> None:
    """StoreError unless `found` is this version's."""
    refuse_newer(found, schema)
    known = len(schema.steps())
    if found < known:
        raise StoreError(
            f"{schema.variable}: the {schema.name} has schema {found}, this version needs {known}:"
            " stop the service on every node, then run `orchestrator db upgrade`"
        )


_NOT_ALLOWED = (
    "its user may not make tables there ({why}); let the owner run `orchestrator db upgrade`, or"
    " GRANT CREATE, USAGE ON SCHEMA public"
)
_HINTS = {
    "42P07": "there is something in that database that is not ours; give it a database of its own"
    " ({why})",
    "42501": _NOT_ALLOWED,
    "3F000": _NOT_ALLOWED,
}


async def _create(session: Session, schema: Schema, settle: Settle | None) -> None:
    await session.execute("BEGIN")
    try:
        await _fill(session, schema, settle)
        failpoints.before("journal.migrate")
        await session.execute("COMMIT")
        failpoints.after("journal.migrate")
    except BaseException as exc:
        if not session.is_closed():
            await session.execute("ROLLBACK")
        text = _HINTS.get(getattr(exc, "sqlstate", None) or "")
        if text is not None:
            raise StoreError(f"{schema.variable}: {text.format(why=exc)}") from exc
        raise


async def _fill(session: Session, schema: Schema, settle: Settle | None) -> None:
    await session.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, MIGRATING)
    if await version(session, schema) > 0:
        return  # another node was quicker
    for _, _, text in schema.steps():
        await session.execute(text)
    await write_version(session, schema, len(schema.steps()))
    if settle is not None:
        await settle(session)


async def write_version(session: Session, schema: Schema, number: int) -> None:
    """As Alembic does, so that either may read what the other wrote."""
    await session.execute(
        f"CREATE TABLE IF NOT EXISTS {schema.table} (version_num VARCHAR(32) NOT NULL,"
        f" CONSTRAINT {schema.table}_pkc PRIMARY KEY (version_num))"
    )
    await session.execute(f"DELETE FROM {schema.table}")  # noqa: S608 -- a name of ours
    await session.execute(
        f"INSERT INTO {schema.table} VALUES ($1)",  # noqa: S608 -- as above
        f"{number:04d}",
    )

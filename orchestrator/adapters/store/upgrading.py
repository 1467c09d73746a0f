"""Brings an older PostgreSQL database to this version's schema, forward only, by Alembic.

Imported by `orchestrator db upgrade` alone. The steps are the same SQL files that fill an empty
database; Alembic writes each as one script, with the version that it leads to, and each runs in one
transaction of its own.
"""

from __future__ import annotations

import io
from types import ModuleType
from typing import TYPE_CHECKING

from alembic.runtime.migration import MigrationContext, RevisionStep
from alembic.script.base import Script
from alembic.script.revision import RevisionMap

from orchestrator.adapters.store.postgres_connection import Session
from orchestrator.adapters.store.postgres_schema import (
    LOCK,
    MIGRATING,
    Schema,
    Settle,
    ensure,
    refuse_newer,
    version,
)
from orchestrator.adapters.store.statements import Migration
from orchestrator.model import failpoints

if TYPE_CHECKING:
    from collections.abc import Callable, Collection


async def upgrade(
    session: Session, schema: Schema, settle: Settle | None = None
) -> tuple[int, int]:
    """The versions before and after. Two at once wait for each other; killed anywhere, each step
    is done or not begun.

    StoreError for a database that is not ours or of a newer version.
    """
    before = await version(session, schema)
    if before == 0:
        await ensure(session, schema, settle)
        return 0, len(schema.steps())
    refuse_newer(before, schema)
    for number, _, _ in schema.steps()[before:]:
        await _step(session, schema, number)
    return before, await version(session, schema)


async def _step(session: Session, schema: Schema, number: int) -> None:
    await session.execute("BEGIN")
    try:
        await session.execute("SET LOCAL statement_timeout = 0")
        await session.execute("SET LOCAL lock_timeout = '60s'")
        await session.execute("SELECT pg_advisory_xact_lock($1, $2)", LOCK, MIGRATING)
        if await version(session, schema) == number - 1:  # else another was quicker
            await session.execute(script(schema, number))
        failpoints.before("journal.migrate")
        await session.execute("COMMIT")
        failpoints.after("journal.migrate")
    except BaseException:
        if not session.is_closed():
            await session.execute("ROLLBACK")
        raise


def script(schema: Schema, number: int) -> str:
    """The SQL that leads from the step before to this one, its new version included."""
    out = io.StringIO()
    context: list[MigrationContext] = []

    def say(text: str) -> None:
        # As it stands: no text of ours is taken for a statement with parameters.
        context[0].impl.static_output(f"{text.rstrip().removesuffix(';')};")

    revisions = RevisionMap(lambda: [_revision(step, say) for step in schema.steps()])
    wanted = revisions.get_revision(f"{number:04d}")
    assert isinstance(wanted, Script)

    def steps(heads: Collection[str], _: MigrationContext) -> list[RevisionStep]:
        del heads
        return [RevisionStep(revisions, wanted, is_upgrade=True)]

    context.append(
        MigrationContext.configure(
            dialect_name="postgresql",
            opts={
                "as_sql": True, "output_buffer": out, "fn": steps, "version_table": schema.table,
                "starting_rev": f"{number - 1:04d}" if number > 1 else None,
                "transactional_ddl": False,
            },
        )
    )  # fmt: skip
    context[0].run_migrations()
    return out.getvalue()


def _revision(step: Migration, say: Callable[[str], None]) -> Script:
    number, name, text = step
    module = ModuleType(name.removesuffix(".sql"))
    vars(module).update(
        revision=f"{number:04d}",
        down_revision=f"{number - 1:04d}" if number > 1 else None,
        upgrade=lambda: say(text),
    )
    return Script(module, f"{number:04d}", name)

"""Who may do what in the journal's database (SAFETY D3)."""

from __future__ import annotations

from orchestrator.adapters.store.postgres_connection import Session
from orchestrator.adapters.store.postgres_sql import ask
from orchestrator.adapters.store.statements import statements
from orchestrator.model import failpoints

_SQL = statements("postgres/rights")
_GRANTS = ("reach", "read", "write", "change", "forget")
TRIGGERS = 3


async def grant(session: Session, role: str) -> None:
    """What the service needs, and not more: so that it cannot drop what keeps the journal."""
    text, given = ask(_SQL["quoted"], (role,))
    row = await session.fetchrow(text, *given)
    assert row is not None
    tables = str(await session.fetchval(_SQL["changed"]))
    names = {"role": str(row[0]), "schema": str(row[1]), "tables": tables}
    await session.execute("BEGIN")
    for name in _GRANTS:
        await session.execute(_SQL[name].format(**names))
    failpoints.before("journal.migrate")
    await session.execute("COMMIT")
    failpoints.after("journal.migrate")


async def owns(session: Session) -> bool:
    """Whether the connected role could drop the journal's triggers."""
    return bool(await session.fetchval(_SQL["owns"]))


async def guarded(session: Session) -> bool:
    """Whether the triggers that keep the journal append-only are there and at work."""
    return int(await session.fetchval(_SQL["triggers"])) == TRIGGERS

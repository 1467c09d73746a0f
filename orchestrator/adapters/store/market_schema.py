"""The market database's schema, in the layout that its server allows: TimescaleDB's hypertables
and continuous aggregates, or plain partitions.
"""

from __future__ import annotations

from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    driver,
    in_words,
    parse,
    troubles,
)
from orchestrator.adapters.store.postgres_schema import Schema, ensure, refuse_other, version
from orchestrator.adapters.store.statements import statements
from orchestrator.model.errors import StoreError

VARIABLE = "TIMESCALE_URL"
TIMESCALE = "timescale"
PARTITIONS = "partitions"
SCHEMAS = {
    layout: Schema(
        name="market data", variable=VARIABLE, folder=f"market_{layout}",
        table="alembic_version_market",
    )
    for layout in (TIMESCALE, PARTITIONS)
}  # fmt: skip
NOTES = {
    TIMESCALE: "TimescaleDB: hypertable with compression, minutes as a continuous aggregate",
    PARTITIONS: (
        "no TimescaleDB on this server: ticks in a partition for each day, without compression;"
        " minutes are rolled up by this service"
    ),
}
_COMMUNITY = "timescale"  # the license under which compression and aggregates work
_SQL = statements("market_postgres")


async def ready(session: Session) -> str:
    """The layout that is there; in an empty database it is chosen and made. StoreError."""
    layout = await layout_of(session) or await choose(session)
    if layout not in SCHEMAS:
        raise StoreError(f"{VARIABLE}: its layout {layout!r} is not known: run a newer version")
    await ensure(session, SCHEMAS[layout])
    return layout


async def schema_of(session: Session) -> Schema:
    """That of this database, or the one that it would get."""
    return SCHEMAS[await layout_of(session) or await choose(session)]


async def layout_of(session: Session) -> str:
    """ "" in a database without our tables."""
    if await session.fetchval("SELECT to_regclass('market_layout')") is None:
        return ""
    return str(await session.fetchval(_SQL["layout"]))


async def told(url: UrlSource) -> str:
    """What is there, for a person. StoreError for what a service could not work with."""
    session = await connect(url, VARIABLE, name="orchestrator doctor")
    try:
        layout = await layout_of(session)
        if not layout:
            return "an empty database; the first start makes its schema"
        schema = SCHEMAS.get(layout, SCHEMAS[PARTITIONS])
        refuse_other(await version(session, schema), schema)
        return NOTES.get(layout, layout)
    except troubles() as exc:
        raise StoreError(f"{VARIABLE}: {in_words(exc, parse(url(), VARIABLE))}") from exc
    finally:
        session.terminate()


async def choose(session: Session) -> str:
    """TimescaleDB where it is installed in this database, or may be."""
    row = await session.fetchrow(_SQL["timescale"])
    if row is None:
        return PARTITIONS
    if row[1] is None:
        try:
            await session.execute("CREATE EXTENSION IF NOT EXISTS timescaledb")
        except driver().PostgresError:
            return PARTITIONS  # not preloaded by the server, or not ours to install
        row = await session.fetchrow(_SQL["timescale"])
    return TIMESCALE if row is not None and row[2] == _COMMUNITY else PARTITIONS

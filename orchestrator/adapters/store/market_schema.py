"""The market database's schema, in the layout that its server allows: TimescaleDB's hypertables
and continuous aggregates, or plain partitions.
"""

from __future__ import annotations

from orchestrator.adapters.store.postgres_connection import Session, driver
from orchestrator.adapters.store.statements import migrations, statements
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreError

TIMESCALE = "timescale"
PARTITIONS = "partitions"
FOLDERS = {TIMESCALE: "market_timescale", PARTITIONS: "market_partitions"}
_COMMUNITY = "timescale"  # the license under which compression and aggregates work
_SQL = statements("market_postgres")
_LOCK = 7_261_001  # nobody else may make the schema meanwhile

NOTES = {
    TIMESCALE: "TimescaleDB: hypertable with compression, minutes as a continuous aggregate",
    PARTITIONS: (
        "no TimescaleDB on this server: ticks in a partition for each day, without compression;"
        " minutes are rolled up by this service"
    ),
}


async def ready(connection: Session, variable: str) -> str:
    """The layout that is there; in an empty database it is chosen and made. StoreError."""
    await connection.execute("BEGIN")
    await connection.execute(f"SELECT pg_advisory_xact_lock({_LOCK})")
    layout = await _layout(connection)
    if not layout:
        layout = await choose(connection)
        await _make(connection, layout)
    await _refuse_other(connection, layout, variable)
    failpoints.before("journal.migrate")
    await connection.execute("COMMIT")
    failpoints.after("journal.migrate")
    return layout


async def _layout(connection: Session) -> str:
    """ "" in a database without our tables."""
    if await connection.fetchval("SELECT to_regclass('market_layout')") is None:
        return ""
    return str(await connection.fetchval(_SQL["layout"]))


async def choose(connection: Session) -> str:
    """TimescaleDB where it is installed in this database, or may be."""
    row = await connection.fetchrow(_SQL["timescale"])
    if row is None:
        return PARTITIONS
    if row[1] is None:
        await connection.execute("SAVEPOINT extension")
        try:
            await connection.execute("CREATE EXTENSION timescaledb")
        except driver().PostgresError:
            # Not preloaded by the server, or not ours to install.
            await connection.execute("ROLLBACK TO SAVEPOINT extension")
            return PARTITIONS
        row = await connection.fetchrow(_SQL["timescale"])
    return TIMESCALE if row is not None and row[2] == _COMMUNITY else PARTITIONS


async def _make(connection: Session, layout: str) -> None:
    steps = migrations(FOLDERS[layout])
    for _, _, text in steps:
        await connection.execute(text)
    await connection.execute(_SQL["make_version"])
    await connection.execute(_SQL["set_version"], f"{len(steps):04d}")


async def _refuse_other(connection: Session, layout: str, variable: str) -> None:
    if layout not in FOLDERS:
        raise StoreError(f"{variable}: its layout {layout!r} is not known: run a newer version")
    known = len(migrations(FOLDERS[layout]))
    version = int(await connection.fetchval(_SQL["version"]))
    if version > known:
        raise StoreError(
            f"{variable}: its schema is {version}, this version knows {known}: it was written by a"
            " newer version; run that one"
        )
    if version < known:
        raise StoreError(
            f"{variable}: its schema is {version}, this version needs {known}; run"
            " `orchestrator db upgrade`"
        )

"""What the tests of the store on PostgreSQL share: looks at what really stands, and accidents."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

from orchestrator.adapters.store.postgres import PostgresStore
from orchestrator.model.errors import StoreConflict, StoreError
from tests.servers.postgres import execute
from tests.unit.adapters.store import samples

Make: TypeAlias = Callable[..., PostgresStore]
# Does with a session and the message of an append what the network or the server would.
Accident: TypeAlias = Callable[[Any, str], Awaitable[Any]]


def notes(*texts: str) -> list[Any]:
    return [samples.note(text) for text in texts]


def told(url: str) -> list[tuple[int, str]]:
    """What really stands in the journal."""
    rows = execute(url, "SELECT seq, data FROM journal ORDER BY seq")
    return [(seq, data) for seq, data in rows]


def numbers(url: str) -> list[int]:
    """Of the records that really stand."""
    return [seq for seq, _ in told(url)]


def instead_of_an_append(store: PostgresStore, accident: Accident) -> None:
    """The session's next append is given to `accident`."""
    session = store._writer._session

    class Failing:
        def __getattr__(self, name: str) -> Any:
            return getattr(session, name)

        async def execute(self, query: str, *args: object) -> Any:
            if "INSERT INTO journal" in query:
                return await accident(session, query)
            return await session.execute(query, *args)

    store._writer._session = Failing()


async def committed_and_cut(session: Any, message: str) -> None:
    """The server does it; its answer gets lost."""
    await session.execute(message)
    session.terminate()
    raise ConnectionResetError("cut")


async def cut(session: Any, message: str) -> None:
    """The connection breaks before the server hears of it."""
    del message
    session.terminate()
    raise ConnectionResetError("cut")


def cut_sessions(url: str) -> None:
    """By the server, all but the one that asks."""
    execute(
        url,
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
        " WHERE datname = current_database() AND pid <> pg_backend_pid()",
    )


def until_written(write: Callable[[], object]) -> None:
    """Tried again as the service does, while the server comes to itself; a conflict is an error."""
    for _ in range(50):
        try:
            write()
        except StoreConflict:
            raise
        except StoreError:
            continue
        return
    raise AssertionError("never written")


def probed(store: PostgresStore) -> StoreError | None:
    """What the store says of itself when nothing is written."""

    async def ask() -> StoreError | None:
        answered: asyncio.Future[StoreError | None] = asyncio.get_running_loop().create_future()
        store.probe_soon(answered.set_result)
        return await answered

    return asyncio.run(ask())

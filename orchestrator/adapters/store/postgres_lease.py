"""The leader's lease and the board of stops on PostgreSQL, over one direct session of their own.

"Direct": not through a pooler that changes sessions between statements, since the session listens.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar, cast

from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    never_asked,
    plain,
    troubles,
)
from orchestrator.adapters.store.statements import statements
from orchestrator.model import failpoints
from orchestrator.model.errors import LeaseError, StoreError
from orchestrator.model.leading import LeaseView, StopNotice

T = TypeVar("T")

TTL_S = 5.0
_ASK_S = 1.2
_CONNECT_S = 2.0
_CHANNEL = "tso_stop"
# As long as a leader's term: one that was silent for it is frozen or cut off, and may send nothing
# more. The server ends his session, and who stands by sees it.
_SILENCE_MAX = "3s"
# Neither a row that a frozen process holds nor a server that thinks for long may hold us up.
_SESSION = {"lock_timeout": "1s", "statement_timeout": "1200ms",
            "idle_in_transaction_session_timeout": "2s", "idle_session_timeout": _SILENCE_MAX,
            "synchronous_commit": "on"}  # fmt: skip


class PostgresLease:
    """Meets `ports.Lease` and `ports.StopBoard`. `node`: who we are on this folder and machine.

    `holder` names this life of the process. Each question is bounded; a session that fails is cut
    off, and the next question opens another. What was cut off may have been carried out: a lease
    that was taken so is found to be our node's, and is taken again.
    """

    def __init__(self, url: UrlSource, *, node: str, holder: str, address: str) -> None:
        self._url = url
        self._node = node
        self._holder = holder
        self._address = address
        self._sql = statements("leading")
        self._session: Session | None = None
        self._turn = asyncio.Lock()
        self._leads = False
        self._hear: Callable[[], None] | None = None

    # -- the lease -------------------------------------------------------------------------------

    async def look(self) -> LeaseView:
        rows = await self._ask("look")
        if not rows:
            raise LeaseError("the table leader_lease has lost its row")
        node, holder, address, renewal, left_ms, lives = rows[0]
        return LeaseView(
            node=node, holder=holder, address=address, renewal=renewal, left_ms=left_ms,
            lives=lives,
        )  # fmt: skip

    async def take(self, seen: LeaseView) -> int | None:
        wanted = (self._node, self._holder, self._address, TTL_S, seen.holder, int(seen.renewal))

        async def taking(session: Session) -> int | None:
            await session.execute("BEGIN")
            taken = await session.fetch(self._sql["take"], *wanted)
            raised = await session.fetch(self._sql["raise_epoch"]) if taken else []
            failpoints.before("lease.take")
            await session.execute("COMMIT" if raised else "ROLLBACK")
            failpoints.after("lease.take")
            if not raised:
                return None
            await session.fetch(self._sql["live"])
            return raised[0][0]

        epoch = await self._within("take", taking)
        self._leads = epoch is not None
        return epoch

    async def renew(self) -> bool:
        failpoints.before("lease.renew")
        self._leads = bool(await self._ask("renew", self._holder, self._address, TTL_S))
        failpoints.after("lease.renew")
        if not self._leads:
            self._drop()  # and with the session what says that this leader lives
        return self._leads

    async def release(self) -> None:
        self._leads = False
        failpoints.before("lease.release")
        await self._ask("release", self._holder)
        failpoints.after("lease.release")
        self._drop()

    # -- the board of stops ----------------------------------------------------------------------

    async def standing(self) -> tuple[StopNotice, ...]:
        return tuple(map(_notice, await self._ask("standing")))

    async def find(self, stop_id: str) -> StopNotice | None:
        rows = await self._ask("find", stop_id)
        return _notice(rows[0]) if rows else None

    async def put(self, notice: StopNotice) -> None:
        failpoints.before("board.put")
        await self._ask(
            "put", notice.stop_id, notice.node, notice.actor, notice.reason, notice.liquidate,
            list(notice.accounts), notice.closed_ns, notice.joined_to,
        )  # fmt: skip
        failpoints.after("board.put")

    async def show(self, stop_id: str, receipt: str) -> None:
        await self._ask("show", stop_id, receipt)

    async def end(self, stop_id: str, actor: str) -> None:
        failpoints.before("board.end")
        await self._ask("end", stop_id, actor)
        failpoints.after("board.end")

    def on_told(self, hear: Callable[[], None]) -> None:
        self._hear = hear

    # -- the session -----------------------------------------------------------------------------

    async def close(self) -> None:
        """Idempotent; a later question opens a session again."""
        self._drop()

    def _drop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            session.terminate()

    async def _ask(self, name: str, *values: object) -> Sequence[Sequence[Any]]:
        """One statement, in its own transaction, durable when this returns."""

        async def asking(session: Session) -> Sequence[Sequence[Any]]:
            return await session.fetch(self._sql[name], *values)

        return await self._within(name, asking)

    async def _within(self, name: str, work: Callable[[Session], Awaitable[T]]) -> T:
        try:
            async with asyncio.timeout(_CONNECT_S + _ASK_S), self._turn:
                session = self._session
                if session is not None and not session.is_closed():
                    try:
                        return await self._asked(session, work)
                    except troubles() as exc:
                        if not never_asked(exc):
                            raise
                # The server ends who is silent, and the driver may see that at the next question.
                self._drop()
                return await self._asked(await self._open(), work)
        except StoreError as exc:
            self._drop()
            raise LeaseError(str(exc)) from exc
        except troubles() as exc:
            self._drop()
            raise LeaseError(f"the database did not carry out {name!r}: {plain(exc)}") from exc
        except BaseException:
            self._drop()  # cut off in the middle: nobody knows what the session would say next
            raise

    async def _asked(self, session: Session, work: Callable[[Session], Awaitable[T]]) -> T:
        async with asyncio.timeout(_ASK_S):
            return await work(session)

    async def _open(self) -> Session:
        session = await connect(
            self._url, name="orchestrator lease", session=_SESSION, timeout_s=_CONNECT_S
        )
        self._session = session  # from now on it is cut off by whatever fails
        # The protocol has no words for it: the driver's own connection listens.
        await cast("Any", session).add_listener(_CHANNEL, self._notified)
        if self._leads:
            await session.fetch(self._sql["live"])
        self._notified()  # what was said while nobody listened is to be read
        return session

    def _notified(self, *_: object) -> None:
        if self._hear is not None:
            self._hear()


def _notice(row: Sequence[Any]) -> StopNotice:
    (stop_id, node, actor, reason, liquidate, accounts, closed_ns, joined_to, receipt, ended_by) = (
        row
    )
    return StopNotice(
        stop_id=stop_id, node=node, actor=actor, reason=reason, liquidate=liquidate,
        accounts=tuple(accounts), closed_ns=closed_ns, joined_to=joined_to, receipt=receipt,
        ended_by=ended_by,
    )  # fmt: skip

"""Ids of signals too old for memory, asked of the database with a bound that a loop can bear.

Who asks is the event loop, at a signal (C04). A server that is slow or gone must not hold it: what
is not known in time is unknown, and the signal is not taken.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from typing import Any

from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    in_words,
    parse,
    troubles,
)
from orchestrator.adapters.store.postgres_sql import ask
from orchestrator.model.errors import StoreError

# An answer takes a tenth of a millisecond. G4 takes a loop that is silent for 2 s for dead.
ASK_S = 0.1
# Once it has not answered, it is not asked again for so long: together a tenth of the loop's time.
REST_S = 1.0
_SESSION = {"default_transaction_read_only": "on", "statement_timeout": "1s"}


class OldIds:
    """One session of its own, opened beside the loop: a write that is out does not hold it up."""

    def __init__(self, url: UrlSource, variable: str, thread: LoopThread, sql: str) -> None:
        self._url = url
        self._variable = variable
        self._thread = thread
        self._sql = sql
        self._opening: concurrent.futures.Future[Session] | None = None
        self._resting: concurrent.futures.Future[None] | None = None
        self._sessions: list[Session] = []  # open, whoever still waits for them; the thread's own

    def has(self, signal_id: str) -> bool:
        """StoreError when that is not known within `ASK_S`."""
        if self._resting is not None and not self._resting.done():
            raise StoreError("the store was too slow to say which signals it knows")
        try:
            return self._asked(self._session(), signal_id)
        except StoreError:
            self._rest()
            raise
        except troubles() as exc:
            self._rest()
            words = in_words(exc, parse(self._url(), self._variable))
            raise StoreError(f"the store cannot be asked for a signal: {words}") from exc

    def open(self) -> None:
        """Beside the loop, so that the first question finds a session."""
        self._opening = self._opening or self._thread.start(self._connect)

    def _session(self) -> Session:
        """What takes longer than `ASK_S` to open goes on, for who asks later."""
        self.open()
        assert self._opening is not None
        try:
            return self._opening.result(ASK_S)
        except concurrent.futures.TimeoutError as exc:
            raise StoreError("the store does not say yet which signals it knows") from exc

    def _asked(self, session: Session, signal_id: str) -> bool:
        text, given = ask(self._sql, (signal_id,))

        async def fetch() -> list[tuple[Any, ...]]:
            return await session.fetch(text, *given)

        return bool(self._thread.call(fetch, ASK_S))

    async def _connect(self) -> Session:
        session = await connect(
            self._url, self._variable, name="orchestrator ids", writer=False, session=_SESSION
        )
        self._sessions.append(session)
        return session

    def _rest(self) -> None:
        """Nobody asks for a while, and then by another session; one that still opens is kept."""
        opened = self._opening
        if opened is not None and opened.done():
            self._opening = None

        async def rest() -> None:
            self._cut()
            await asyncio.sleep(REST_S)

        self._resting = self._thread.start(rest)

    def close(self) -> None:
        """Idempotent; a later question connects again."""
        opened, self._opening = self._opening, None
        if opened is not None:

            async def cut() -> None:
                opened.cancel()
                self._cut()

            self._thread.start(cut)

    def _cut(self) -> None:
        """In the thread: not by their futures, which may be cancelled when a session is there."""
        for session in self._sessions:
            session.terminate()
        self._sessions.clear()

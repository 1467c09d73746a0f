"""Reads for people on PostgreSQL: a few connections of their own that cannot write."""

from __future__ import annotations

import concurrent.futures
import queue
from collections.abc import Callable, Coroutine, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any, TypeVar

from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    in_words,
    parse,
    troubles,
)
from orchestrator.adapters.store.postgres_sql import ask, row_of
from orchestrator.model.errors import StoreError

T = TypeVar("T")

_READERS = 3
_PAGE = 2_000
_WAIT_S = 10.0
_ANSWER_S = 12.0
_SESSION = {"default_transaction_read_only": "on", "statement_timeout": "10s"}


class PostgresSource:
    """Meets `reading.Source`; from any thread, three reads at a time."""

    def __init__(self, url: UrlSource, variable: str, thread: LoopThread) -> None:
        self._url = url
        self._variable = variable
        self._thread = thread
        self._free: queue.LifoQueue[Session | None] = queue.LifoQueue()
        self._reading: list[Session] = []  # those of `pages`
        for _ in range(_READERS):
            self._free.put(None)

    @contextmanager
    def snapshot(self) -> Generator[Answers]:
        with self._borrowed() as session:
            answers = Answers(session, self._thread)
            answers.run("BEGIN ISOLATION LEVEL REPEATABLE READ")
            yield answers
            answers.run("ROLLBACK")

    def run(self, work: Callable[[Session], Coroutine[Any, Any, T]]) -> T:
        """What `work` makes of a connection, in the driver's thread."""
        with self._borrowed() as session:
            return self._thread.call(lambda: work(session), _ANSWER_S)

    def pages(self, sql: str, after: int, upto: int) -> Iterator[Sequence[Sequence[Any]]]:
        """The driver's own rows, whose first column is a number, from `after` (exclusive) to `upto`
        in pages: while one is looked at, the server and the driver's thread read the next.

        `sql`: asks for what comes after a number, and for so many at most. Each page is a view of
        its own, so that a long read holds up nothing in the database.
        """
        text, _ = ask(sql)
        with self._borrowed() as session, self._ended_by_close(session):

            def ask_for(after: int) -> concurrent.futures.Future[list[tuple[Any, ...]]]:
                count = max(0, min(_PAGE, upto - after))
                return self._thread.start(lambda: session.fetch(text, after, count))

            ahead = ask_for(after)
            # Nothing ahead: perhaps there is something by now.
            while rows := (self._answer(ahead) or self._answer(ask_for(after))):
                after = rows[-1][0]
                ahead = ask_for(after)
                yield rows

    @contextmanager
    def _ended_by_close(self, session: Session) -> Generator[None]:
        """There is always a question out, which must not outlive the thread."""
        self._reading.append(session)
        try:
            yield
        finally:
            self._reading.remove(session)

    def _answer(self, asked: concurrent.futures.Future[T]) -> T:
        return self._thread.wait(asked, _ANSWER_S)

    @contextmanager
    def _borrowed(self) -> Generator[Session]:
        """A connection that is given back, or cut where something went wrong with it."""
        session = self._take()
        good = False
        try:
            if session is None or session.is_closed():
                session = self._thread.call(self._connect, _ANSWER_S)
            yield session
            good = True
        except troubles() as exc:
            words = in_words(exc, parse(self._url(), self._variable))
            raise StoreError(f"the store cannot be read: {words}") from exc
        finally:
            if session is not None and not good:
                self._cut(session)
            self._free.put(session if good else None)

    def close(self) -> None:
        """Idempotent; a later question connects again."""
        for session in tuple(self._reading):
            self._cut(session)
        for _ in range(_READERS):
            try:
                session = self._free.get_nowait()
            except queue.Empty:
                continue  # in use: it ends with the thread
            if session is not None:
                self._cut(session)
            self._free.put(None)

    def _take(self) -> Session | None:
        try:
            return self._free.get(timeout=_WAIT_S)
        except queue.Empty:
            raise StoreError("too many ask the store at once; try again") from None

    async def _connect(self) -> Session:
        return await connect(
            self._url, self._variable, name="orchestrator reader", writer=False, session=_SESSION
        )

    def _cut(self, session: Session) -> None:
        async def cut() -> None:
            session.terminate()

        with suppress(StoreError):  # the thread has ended, and the session with it
            self._thread.call(cut, _ANSWER_S)


class Answers:
    """Meets `reading.Database`."""

    def __init__(self, session: Session, thread: LoopThread) -> None:
        self._session = session
        self._thread = thread

    def run(self, statement: str) -> None:
        self._thread.call(lambda: self._session.execute(statement), _ANSWER_S)

    def execute(self, sql: str, parameters: Sequence[Any] | Mapping[str, Any] = (), /) -> Rows:
        text, given = ask(sql, parameters)
        found = self._thread.call(lambda: self._session.fetch(text, *given), _ANSWER_S)
        return Rows([row_of(row) for row in found])


class Rows:
    """Meets `reading.Cursor`: all rows of an answer."""

    def __init__(self, rows: list[tuple[Any, ...]]) -> None:
        self._rows = rows
        self._next = iter(rows)

    def fetchone(self) -> tuple[Any, ...] | None:
        return next(self._next, None)

    def fetchall(self) -> list[tuple[Any, ...]]:
        return list(self._next)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return self._next

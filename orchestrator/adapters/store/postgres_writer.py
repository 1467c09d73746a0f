"""The one session that writes the journal on PostgreSQL, and what it knows of the journal's end.

Its methods run in the driver's thread, one at a time.
"""

from __future__ import annotations

import asyncio
import os
import platform
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from orchestrator.adapters.store.codec import record_of, refuse_break
from orchestrator.adapters.store.postgres_batch import FENCED, SESSION, appending, preparing
from orchestrator.adapters.store.postgres_connection import (
    Session,
    UrlSource,
    connect,
    driver,
    in_words,
    parse,
    plain,
    troubles,
)
from orchestrator.adapters.store.postgres_schema import (
    JOURNAL,
    LOCK,
    ensure,
    refuse_other,
    version,
)
from orchestrator.adapters.store.postgres_sql import ask, postgres_statements, row_of
from orchestrator.adapters.store.signal_ids import IDS_MAX, SignalIds
from orchestrator.model import failpoints
from orchestrator.model.errors import StoreConflict, StoreError, StoreFenced, StoreLocked
from orchestrator.model.facts import Fact, SignalAccepted, SignalEnded
from orchestrator.model.journal import Record

T = TypeVar("T")

# The caller's bound is 10 s: who waits for their turn, a write that hangs, and then finding out
# whether it stands.
TURN_S = 2.0
WRITE_S = 3.0
REOPEN_S = 4.0
# S5 is to know of a store that is gone within 5 s, of which a second may pass before it is asked.
PROBE_S = 2.5
_LONG_S = 3_600.0
_CLAIM_S = 1.0
_RETRY_S = 0.02
_SINGLE = 1
_SESSION = {
    **SESSION,
    "synchronous_commit": "on",
    "statement_timeout": "3s",
    "idle_in_transaction_session_timeout": "2s",  # a frozen leader must not hold up the next one
}
# By their classes (PostgreSQL, appendix A): what will be refused again however often it is tried.
_REFUSED = ("22", "23")


class PostgresWriter:
    """`lease` False: the only writer, from its opening to its end, or StoreLocked.

    `lease` True: opens beside others, and writes only after `lead`.
    """

    def __init__(
        self, url: UrlSource, variable: str, *, lease: bool, installation_id: str = ""
    ) -> None:
        self._url = url
        self._variable = variable
        self._lease = lease
        self._installation_id = installation_id
        self._sql = postgres_statements("journal")
        self._turn = asyncio.Lock()
        self._session: Session | None = None
        self._opened = False
        self._name = ""
        self._lock = _SINGLE
        self._head: Record | None = None
        # Epochs that may be in force without another node having led: after a lost answer, two.
        self._epochs: tuple[str, ...] = ()
        self._doubt: Record | None = None  # of a batch whose fate the server did not tell
        self._unclaimed: Record | None = None  # it stands, and its writer was told of a failure
        self.abandoned = b""  # the last hash of a batch that its caller no longer waited for
        self._closed = False
        self.ids = SignalIds()

    @property
    def place(self) -> str:
        """Where the store is, for a person."""
        return parse(self._url(), self._variable).place

    # -- writing ---------------------------------------------------------------------------------

    async def append(self, records: Sequence[Record], facts: Sequence[Fact]) -> None:
        """As `ports.Store.append`. What a lost answer left behind is found first: records of the
        same numbers and hashes that stand already are not written again.
        """
        async with self._taking_turns():
            session = await self._ready()
            epoch = self._epoch()
            stands, self.abandoned = self._standing(records), b""
            if stands < len(records):
                rest, said = records[stands:], facts[stands:]
                refuse_break(self._head, rest, said)
                await self._write(session, epoch, rest, said)
            self._unclaimed = None
            self._remember(facts)

    def _standing(self, records: Sequence[Record]) -> int:
        """How many of them were written by an append whose answer was lost."""
        last = self._unclaimed
        if self._head is not None and self._head.hash == self.abandoned:
            last = self._head
        if last is None or not records[0].seq <= last.seq <= records[-1].seq:
            return 0
        count = last.seq - records[0].seq + 1
        return count if records[count - 1].hash == last.hash else 0

    async def _write(
        self, session: Session, epoch: str, records: Sequence[Record], facts: Sequence[Fact]
    ) -> None:
        try:
            text = appending(epoch, records, facts)
            async with asyncio.timeout(WRITE_S):
                failpoints.before("journal.append")
                await self._asked(session, text)
                failpoints.after("journal.append")
        except troubles() as exc:
            if _fenced(exc):
                raise StoreFenced(f"another node leads: epoch {epoch} of this one is over") from exc
            if _refused(exc):
                raise StoreConflict(f"refused, nothing was written: {plain(exc)}") from exc
            if not await self._landed(session, records[-1], exc):
                raise StoreError(f"not written: {self._words(exc)}") from exc
        except BaseException:
            self._lose(session, records[-1])
            raise
        self._head = records[-1]

    async def _asked(self, session: Session, text: str) -> None:
        # Heard once the words are sent and the loop turns: before it can read the answer.
        asyncio.get_running_loop().call_soon(_on_its_way)
        await session.execute(text)
        failpoints.after("journal.answer")

    async def _landed(self, session: Session, record: Record, exc: Exception) -> bool:
        """Whether a write that reported a failure stands all the same.

        A server that answers with an error has rolled back. One that did not answer is asked again,
        after its old session is known to be dead: nothing of it can come later.
        """
        if _answered_no(exc):
            return False
        self._lose(session, record)
        with suppress(StoreError):
            await self._ready()
            stands = self._unclaimed is not None
            self._unclaimed = None
            return stands
        return False

    async def save_snapshot(self, seq: int, digest: str, state: bytes) -> None:
        async with self._taking_turns(), self._transaction() as session:
            await session.execute(*_with(self._sql["save_snapshot"], seq, digest, state))
            await session.execute(self._sql["drop_old_snapshots"])

    async def probe(self) -> None:
        """Whether the server is there, and this node's session or a new one: a round trip that
        writes nothing. StoreError when not, or not in time; the session is given up then.
        """
        try:
            async with asyncio.timeout(PROBE_S), self._taking_turns():
                session = await self._ready()
                async with self._guarded(session):
                    await session.fetchval(self._sql["probe"])
        except TimeoutError as exc:
            raise StoreError(f"{self._variable}: {self.place} does not answer in time") from exc

    async def next_epoch(self, above: int) -> int:
        async with self._taking_turns():
            session = await self._ready()
            mine = self._epoch()
            # Known before it is asked for: the answer may be lost.
            expected = str(max(int(mine), above) + 1)
            self._epochs = (mine, expected)
            async with self._guarded(session):
                text, _ = ask(self._sql["raise_epoch"])
                failpoints.before("journal.epoch")
                found = await session.fetchval(text, above, mine)
                failpoints.after("journal.epoch")
            if found is None:
                raise StoreFenced(f"another node leads: epoch {mine} of this one is over")
            self._epochs = (str(found),)
            return int(found)

    async def lead(self, epoch: int) -> None:
        """From now on this node writes, under this epoch."""
        async with self._turn:
            self._epochs = (str(epoch),)
            session = await self._ready()
            async with self._guarded(session, _LONG_S):
                # It may have been upgraded while this node stood by.
                refuse_other(await version(session, JOURNAL), JOURNAL)
                await self._look(session)
                await self._load_ids(session)

    async def prune(self, pruned: Sequence[object], upto: int) -> int:
        """How many rows went."""
        async with self._turn, self._transaction(_LONG_S) as session:
            await session.execute(self._sql["no_time_limit"])
            await session.execute(*_with(self._sql["add_pruning"], *pruned))
            done = await session.execute(*_with(self._sql["delete_pruned"], upto))
            return int(done.rpartition(" ")[2])

    async def compact(self) -> None:
        async with self._turn:
            session = await self._ready()
            async with self._guarded(session, _LONG_S):
                await session.execute("SET statement_timeout = 0")
                await session.execute(self._sql["compact"])

    # -- reading ---------------------------------------------------------------------------------

    async def rows(self, sql: str, given: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """In SQLite's spelling; read by the session that writes."""
        async with self._taking_turns():
            session = await self._ready()
            text, values = ask(sql, given)
            async with self._guarded(session):
                return [row_of(row) for row in await session.fetch(text, *values)]

    @property
    def head(self) -> Record | None:
        return self._head

    # -- the session -----------------------------------------------------------------------------

    async def open(self) -> None:
        async with self._turn:
            await self._ready()

    async def close(self) -> None:
        """What is being written is waited for, with the bound of a write."""
        with suppress(StoreError):
            async with self._taking_turns():
                self._closed = True
        self._closed = True
        session, self._session = self._session, None
        if session is not None:
            with suppress(Exception):
                async with asyncio.timeout(1.0):
                    await session.close()
            session.terminate()

    @asynccontextmanager
    async def _taking_turns(self) -> AsyncGenerator[None]:
        """StoreError when another's work takes too long: nothing was begun then."""
        try:
            async with asyncio.timeout(TURN_S):
                await self._turn.acquire()
        except TimeoutError as exc:
            raise StoreError(f"{self._variable}: {self.place} is slow; not begun") from exc
        try:
            yield
        finally:
            self._turn.release()

    async def _ready(self) -> Session:
        if self._closed:
            raise StoreError("the store is closed")
        if self._session is not None and not self._session.is_closed():
            return self._session
        self._session = None
        try:
            async with asyncio.timeout(REOPEN_S if self._opened else None):
                self._session = await self._open()
        except TimeoutError as exc:
            raise StoreError(f"{self._variable}: {self.place} does not answer in time") from exc
        self._opened = True
        return self._session

    async def _open(self) -> Session:
        session = await connect(
            self._url, self._variable, name=self._name or "orchestrator", session=_SESSION
        )
        try:
            await self._settle_in(session)
        except BaseException as exc:
            session.terminate()
            if isinstance(exc, troubles()):
                raise StoreError(f"{self._variable}: {self._words(exc)}") from exc
            raise
        return session

    async def _settle_in(self, session: Session) -> None:
        await self._name_itself(session)
        await self._claim(session)
        if not self._opened:
            await ensure(session, JOURNAL, self._install)
        await session.execute(preparing())
        if self._opened:
            await self._look(session)
            return
        if not self._lease:
            await self._refuse_leader(session)
            self._epochs = (await self._stored_epoch(session),)
        await self._look(session)
        await self._load_ids(session)

    async def _install(self, session: Session) -> None:
        if self._installation_id:
            sql = self._sql["set_installation_id"]
            await session.execute(*_with(sql, self._installation_id))

    async def _name_itself(self, session: Session) -> None:
        """One name for all sessions of this object: so it knows its own dead ones."""
        if not self._name:
            token = str(await session.fetchval(self._sql["new_token"]))
            self._name = f"orchestrator {os.getpid()}@{platform.node()[:30]} {token}"
            if self._lease:
                self._lock = 2 + int(token, 16) // 4
        await session.fetchval(*_with(self._sql["name_session"], self._name))

    async def _claim(self, session: Session) -> None:
        """The writer's lock, which an earlier session of ours may hold that the server still takes
        for alive: it is ended, and its transaction with it, before anything is read.
        """
        key = (LOCK, self._lock)
        loop = asyncio.get_running_loop()
        end = loop.time() + _CLAIM_S
        while not await session.fetchval(*_with(self._sql["claim_writing"], *key)):
            holder = await session.fetchrow(*_with(self._sql["who_writes"], *key))
            if holder is not None and holder[1] == self._name:
                await session.fetchval(*_with(self._sql["end_session"], holder[0]))
            elif loop.time() > end:
                raise StoreLocked(_locked(self.place, str(holder[1] if holder else "")))
            if loop.time() > end + _CLAIM_S:
                raise StoreError("an earlier session of this service does not end")
            await asyncio.sleep(_RETRY_S)

    async def _refuse_leader(self, session: Session) -> None:
        """Nodes that share the store take turns by a lease, not by this lock."""
        leads = await session.fetchrow(self._sql["who_leads"])
        if leads is not None:
            raise StoreLocked(
                f"the store {self.place} is in use: node {leads[0]} leads"
                f" ({leads[1] or 'no address'}); stop the service on every node first"
            )

    async def _look(self, session: Session) -> None:
        """The journal's end; and whether another node has led meanwhile, or a lost batch landed."""
        stored = await self._stored_epoch(session)
        if self._epochs and stored not in self._epochs:
            raise StoreFenced(f"another node leads: epoch {stored}, not {self._epochs[-1]}")
        if self._epochs:
            self._epochs = (stored,)
        row = await session.fetchrow(ask(self._sql["last"])[0])
        self._head = None if row is None else record_of(row_of(row))
        doubt, self._doubt = self._doubt, None
        if doubt is not None and self._head is not None and self._head.hash == doubt.hash:
            self._unclaimed = self._head

    async def _stored_epoch(self, session: Session) -> str:
        found = await session.fetchval(*_with(self._sql["get_meta"], "epoch"))
        if found is None:
            raise StoreError(f"{self._variable}: the store has no epoch")
        return str(found)

    async def _load_ids(self, session: Session) -> None:
        await session.execute(self._sql["begin"])
        await session.execute(self._sql["no_time_limit"])
        row = await session.fetchrow(*_with(self._sql["signal_digests"], IDS_MAX))
        total = await session.fetchval(self._sql["count_signals"])
        await session.execute(self._sql["rollback"])
        self.ids = SignalIds((row[0] if row else None) or b"", int(total))

    # -- plumbing --------------------------------------------------------------------------------

    def _epoch(self) -> str:
        if not self._epochs:
            raise StoreError("this node does not lead: it does not write")
        return self._epochs[-1]

    def _remember(self, facts: Sequence[Fact]) -> None:
        for fact in facts:
            if isinstance(fact, SignalAccepted):
                self.ids.add(fact.signal.signal_id)
            elif isinstance(fact, SignalEnded):
                self.ids.add(fact.signal_id)

    def _lose(self, session: Session, record: Record | None = None) -> None:
        """The session is given up; what it was told last is in doubt."""
        session.terminate()
        self._session = None
        self._doubt = record or self._doubt

    async def _roll_back(self, session: Session) -> None:
        try:
            async with asyncio.timeout(1.0):
                await session.execute(self._sql["rollback"])
        except BaseException as exc:
            self._lose(session)
            if not isinstance(exc, troubles()):
                raise

    @asynccontextmanager
    async def _transaction(self, limit_s: float | None = None) -> AsyncGenerator[Session]:
        """Fenced, and durable at its end; StoreError for a trouble of the server's."""
        session = await self._ready()
        epoch = self._epoch()
        async with self._guarded(session, limit_s):
            await session.execute(self._sql["begin"])
            if await session.fetchval(*_with(self._sql["fence"], epoch)) is None:
                raise StoreFenced(f"another node leads: epoch {epoch} of this one is over")
            yield session
            failpoints.before("journal.snapshot")
            await self._asked(session, self._sql["commit"])
            failpoints.after("journal.snapshot")

    @asynccontextmanager
    async def _guarded(
        self, session: Session, limit_s: float | None = None
    ) -> AsyncGenerator[None]:
        try:
            async with asyncio.timeout(limit_s or WRITE_S):
                yield
        except BaseException as exc:
            if isinstance(exc, StoreError) or _answered_no(exc):
                await self._roll_back(session)
            else:
                self._lose(session)
            if isinstance(exc, troubles()):
                raise StoreError(f"not done: {self._words(exc)}") from exc
            raise

    def _words(self, exc: BaseException) -> str:
        return in_words(exc, parse(self._url(), self._variable))


def _on_its_way() -> None:
    failpoints.before("journal.answer")


def _with(sql: str, *given: object) -> tuple[Any, ...]:
    text, values = ask(sql, given)
    return (text, *values)


def _answered_no(exc: BaseException) -> bool:
    """The server said that it has rolled back. Its last words before it ends a session (FATAL) say
    nothing of a commit that was under way.
    """
    return getattr(exc, "severity_en", None) == "ERROR"


def _fenced(exc: Exception) -> bool:
    """Another node's epoch is in force."""
    return getattr(exc, "sqlstate", None) == FENCED and _answered_no(exc)


def _refused(exc: Exception) -> bool:
    """By the server's rules or by the driver's: nothing that time could mend."""
    state = getattr(exc, "sqlstate", None) or ""
    return (state[:2] in _REFUSED and _answered_no(exc)) or isinstance(
        exc, driver().DataError | UnicodeError
    )


def _locked(place: str, holder: str) -> str:
    who, _, _ = holder.removeprefix("orchestrator ").partition(" ")
    process, _, host = who.partition("@")
    known = f"the service with process id {process} on {host}" if host else "another service"
    return (
        f"the store {place} is in use by {known}; stop that one, or give this one a database of"
        " its own"
    )

"""Market data on PostgreSQL or TimescaleDB: written by a thread, never waited for.

While the server is away, rows wait in memory for a moment and then in files of the state folder;
when it is back they go first. A batch whose answer was lost is sent again and stored once.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
from collections.abc import Callable, Coroutine
from contextlib import suppress
from pathlib import Path
from typing import Any

import msgspec

from orchestrator.adapters.store.loop_thread import LoopThread
from orchestrator.adapters.store.market_postgres_reading import MarketReads
from orchestrator.adapters.store.market_queue import MarketQueue
from orchestrator.adapters.store.market_schema import NOTES, VARIABLE
from orchestrator.adapters.store.market_server import MarketServer
from orchestrator.adapters.store.market_spool import Batch, Spool
from orchestrator.adapters.store.postgres_connection import UrlSource, parse
from orchestrator.model.errors import StoreError
from orchestrator.model.market import Candle, MarketCondition, MarketSpan, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import DAY_NS, Instant

_OPEN_S = 5.0
_WRITE_S = 5.0
_END_S = 2.0
_REST_S = (0.5, 1.0, 2.0, 5.0, 10.0)  # between two attempts to reach the server
_ASIDE_S = 5.0  # a batch for the disk is at least so old, unless it is full
_HOUR_S = 3_600.0
_KNOWN = "known"


class Timer:
    """Whether some seconds have passed, by the loop's own clock; passed at first."""

    def __init__(self, loop: LoopThread) -> None:
        self._loop = loop
        self._sleep: concurrent.futures.Future[None] | None = None

    @property
    def passed(self) -> bool:
        return self._sleep is None or self._sleep.done()

    def begin(self, seconds: float) -> None:
        self._sleep = self._loop.start(lambda: asyncio.sleep(seconds))


class PostgresMarketStore(MarketQueue):
    """Meets `ports.MarketStore` and `ports.MarketReader`.

    `url` is asked for each connection. `folder` is where rows wait while the server is away, at
    most `spool_bytes_max` bytes, the oldest go first. `writer` names this life of the service, and
    no other. `retention_days` 0 keeps ticks for ever; they age by market time.

    StoreError when the server does not answer, unless this folder has worked with it before: then
    it is met whenever it comes back, since a recovery must not wait for market data.
    """

    def __init__(
        self,
        url: UrlSource,
        folder: Path,
        *,
        writer: str,
        retention_days: int = 30,
        rows_max: int = 20_000,
        flush_s: float = 0.5,
        rows_a_commit: int = 4_000,
        spool_bytes_max: int = 256 * 1024 * 1024,
    ) -> None:
        super().__init__(rows_max=rows_max, flush_s=flush_s, rows_a_commit=rows_a_commit)
        self._url = url
        self._folder = folder
        self._writer = writer
        self._retention_ns = retention_days * DAY_NS
        self._spool = Spool(folder, spool_bytes_max)
        self._held: Batch | None = None
        self._number = 0
        self._misses = 0
        self._up = False
        self._keeping: concurrent.futures.Future[None] | None = None
        self._loop = LoopThread("market database")
        self._server = MarketServer(url, VARIABLE)
        self._reads = MarketReads(url, VARIABLE, self._loop)
        self._rest, self._aside, self._hour = (Timer(self._loop) for _ in range(3))
        try:
            self._meet()
        except BaseException:
            self._loop.close()
            raise
        self._thread.start()

    def condition(self) -> MarketCondition:
        problem = self.stats.problem or self._server.trouble
        told, held = super().condition(), self._held
        return msgspec.structs.replace(
            told, problem=problem, layout=NOTES.get(self._server.layout, ""),
            waiting=told.waiting + (0 if held is None else len(held.items)),
        )  # fmt: skip

    # -- the thread ------------------------------------------------------------------------------

    def _write_waiting(self) -> None:
        try:
            if self._reach():
                while batch := self._next():
                    self._store(batch)
                self._keep()
        except StoreError as exc:
            self._lost(exc)
        if not self._up:
            self._set_aside()
        self.stats.spooled = self._spool.rows

    def _end(self) -> None:
        if self._keeping is not None:
            concurrent.futures.wait((self._keeping,), _END_S)
        with suppress(StoreError):
            self._call(self._quit, _END_S)
        self._loop.close()

    async def _quit(self) -> None:
        self._server.end()
        await self._reads.end()

    def _reach(self) -> bool:
        """Connected, if need be anew; not more often than the rests allow."""
        if not self._up and self._rest.passed:
            self._open()
        return self._up

    def _meet(self) -> None:
        place = parse(self._url(), VARIABLE).place
        known = self._folder / _KNOWN
        try:
            if known.exists() and known.read_text("utf-8") == place:
                return
            self._open()
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            known.write_text(place, "utf-8")
        except OSError as exc:
            raise StoreError(f"{self._folder} cannot be written: {exc.strerror}") from exc

    def _open(self) -> None:
        self._call(self._server.open, _OPEN_S)
        self._up = True
        self._misses = 0
        self.stats.problem = ""

    def _lost(self, exc: StoreError) -> None:
        self._up = False
        self.stats.problem = str(exc)
        self._call(self._drop_connection, _WRITE_S)
        self._rest.begin(_REST_S[min(self._misses, len(_REST_S) - 1)])
        self._misses += 1

    async def _drop_connection(self) -> None:
        self._server.end()

    def _next(self) -> Batch | None:
        """The oldest: what could not be put aside, what is on the disk, what is in memory."""
        if self._held is not None:
            return self._held
        while len(self._spool):
            try:
                return self._spool.first()
            except (OSError, ValueError) as exc:
                self.stats.failed += self._spool.drop_first()
                self.stats.problem = f"a batch on the disk: {exc}"
        self._held = self._batch()
        return self._held

    def _batch(self) -> Batch | None:
        items = self._take()
        if not items:
            return None
        self._number += 1
        return Batch(self._writer, self._number, items)

    def _store(self, batch: Batch) -> None:
        try:
            self._call(lambda: self._server.write(batch), _WRITE_S)
        except ValueError as exc:
            self.stats.failed += len(batch.items)
            self.stats.problem = str(exc)
            self._call(self._server.open, _OPEN_S)
        else:
            self.stats.written += len(batch.items)
            self.stats.problem = ""
        if batch is self._held:
            self._held = None
        else:
            self._spool.drop_first()

    def _keep(self) -> None:
        """Begun here, never waited for: a server may take its time over it."""
        due = self._server.late or (self._server.newest_ns and self._hour.passed)
        if due and (self._keeping is None or self._keeping.done()):
            self._keeping = self._loop.start(lambda: self._server.keep(self._retention_ns))
            self._hour.begin(_HOUR_S)

    def _set_aside(self) -> None:
        """From memory to the disk, in order. What the disk does not take stays, bounded."""
        while self._held is not None or self._worth_a_file():
            self._held = self._held or self._batch()
            if self._held is None:
                return
            try:
                self.stats.dropped += self._spool.put(self._held)
            except OSError as exc:
                self.stats.problem = f"{self.stats.problem}; {self._folder}: {exc.strerror}"
                return
            self._held = None
            self._aside.begin(_ASIDE_S)

    def _worth_a_file(self) -> bool:
        waiting = len(self._queue)
        return waiting >= self._rows_a_commit or (
            waiting > 0 and (self._closing or self._aside.passed)
        )

    def _call(self, work: Callable[[], Coroutine[Any, Any, None]], timeout_s: float) -> None:
        try:
            self._loop.call(work, timeout_s)
        except StoreError as exc:
            text = str(exc)
            raise StoreError(text if VARIABLE in text else f"{VARIABLE}: {text}") from exc

    # -- reading ---------------------------------------------------------------------------------

    def ticks(
        self, instrument: str, since_ns: Instant, until_ns: Instant, limit: int = 100_000
    ) -> list[Tick]:
        """From `since_ns`, before `until_ns`, oldest first."""
        return self._reads.ticks(instrument, since_ns, until_ns, limit)

    def candles(
        self,
        instrument: str,
        granularity: str,
        since_ns: Instant,
        until_ns: Instant,
        limit: int = 100_000,
    ) -> list[Candle]:
        """From `since_ns`, before `until_ns`, oldest first; rolled up where none were given."""
        return self._reads.candles(instrument, granularity, since_ns, until_ns, limit)

    def outcomes(self, since_ns: Instant = 0, limit: int = 100_000) -> list[TradeOutcome]:
        """Closed since `since_ns`, oldest first."""
        return self._reads.outcomes(since_ns, limit)

    def spans(self) -> list[MarketSpan]:
        """What is there of each instrument."""
        return self._reads.spans()

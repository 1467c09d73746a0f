"""Streams in: prices and transactions become events of the engine; the beat goes on beside them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

import structlog

from orchestrator.model.acts import FetchTransactions
from orchestrator.model.conversion import links
from orchestrator.model.events import Drained, Event, TransactionsSeen
from orchestrator.model.market import Beat, StreamDown, StreamUp, Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.ports import Clock, StreamItem, VenueReader
from orchestrator.model.safety import SystemMode
from orchestrator.model.venue import Transaction
from orchestrator.service.execution_engine import ExecutionEngine
from orchestrator.service.price_gap import PriceGap

log = structlog.get_logger()

# Beats come each market second, but never more often than this on the machine's clock.
_BEAT_S_MIN = 0.02
_DRAIN_NS = 10_000_000_000


class Feeds:
    """One price stream for all instruments, one transaction stream for each account.

    `keep_tick` is given each price that arrived, for the market store.
    """

    def __init__(
        self, engine: ExecutionEngine, reader: VenueReader, clock: Clock,
        instruments: Sequence[InstrumentName],
        keep_ticks: Callable[[tuple[Tick, ...]], None],
    ) -> None:  # fmt: skip
        self._engine = engine
        self._reader = reader
        self._clock = clock
        self._instruments = instruments
        self._keep_ticks = keep_ticks
        self.last_tick_mono_ns = 0
        self._drain_mono_ns = 0

    async def prices(self, account_id: AccountId) -> None:
        """Runs until cancelled. All accounts of an owner see the same book, so one stream does.

        After an outage agents are given its candles before they hear on.
        """
        wanted = self._wanted()
        gap = PriceGap(self._engine, self._reader, self._instruments)

        def sink(items: tuple[StreamItem, ...]) -> None:
            minutes = gap.begins(items)
            if minutes:
                tasks.create_task(gap.fill(minutes), name="price gap")
            self._engine.handle(*(i for i in items if not isinstance(i, Transaction)))
            ticks = tuple(i for i in items if type(i) is Tick)
            if ticks:
                self.last_tick_mono_ns = self._clock.mono_ns()
                self._keep_ticks(ticks)
            _log_stream(items)

        async with asyncio.TaskGroup() as tasks:
            await self._reader.stream_prices(account_id, wanted, sink)

    def _wanted(self) -> tuple[InstrumentName, ...]:
        """What we trade, and what converts its currencies into the accounts' home currencies."""
        known = self._engine.kernel.known_instruments()
        wanted = dict.fromkeys(self._instruments)
        for book in self._engine.kernel.books.values():
            for name in (*self._instruments, *book.sides()):
                for currency in name.split("_"):
                    wanted.update(dict.fromkeys(links(Currency(currency), book.currency, known)))
        return tuple(wanted)

    async def transactions(self, account_id: AccountId) -> None:
        """Runs until cancelled; each (re)connection is followed by a read of what was missed."""

        def sink(items: tuple[StreamItem, ...]) -> None:
            self._engine.handle(*self._events_of(account_id, items))
            if any(isinstance(i, StreamUp) for i in items):
                self._fill_gap(account_id)
            _log_stream(items)

        await self._reader.stream_transactions(account_id, sink)

    def _fill_gap(self, account_id: AccountId) -> None:
        book = self._engine.kernel.books.get(account_id)
        if book is not None:
            self._engine.fetch(FetchTransactions(account_id=account_id, since=book.last_id))

    def _events_of(self, account_id: AccountId, items: tuple[StreamItem, ...]) -> list[Event]:
        found = tuple(i for i in items if isinstance(i, Transaction))
        events: list[Event] = [i for i in items if not isinstance(i, Transaction)]
        if found:
            events.append(
                TransactionsSeen(
                    account_id=account_id, transactions=found, source="stream",
                    last_transaction_id=max(t.number for t in found),
                )
            )  # fmt: skip
        return events

    async def beat(self, speed: Callable[[], float]) -> None:
        """Runs until cancelled: a Beat each market second."""
        while True:
            await self._clock.sleep(max(_BEAT_S_MIN, 1.0 / max(speed(), 1.0)))
            self._engine.retry_commit()
            self._engine.handle(Beat(now_ns=self._clock.now()))
            self._keep_draining()
            self._engine.maybe_snapshot()

    def _keep_draining(self) -> None:
        """A drain ends when nothing is in flight, or its time is over."""
        if self._engine.kernel.mode is not SystemMode.DRAINING:
            self._drain_mono_ns = 0
            return
        now = self._clock.mono_ns()
        self._drain_mono_ns = self._drain_mono_ns or now
        idle = not self._engine.kernel.in_flight() and not self._engine.kernel.signals_in_flight()
        if idle or now - self._drain_mono_ns > _DRAIN_NS:
            self._engine.handle(Drained())


def _log_stream(items: tuple[StreamItem, ...]) -> None:
    for item in items:
        if isinstance(item, StreamUp):
            log.info("stream.connected", stream=item.stream, account=item.account_id)
        elif isinstance(item, StreamDown):
            log.warning(
                "stream.lost", stream=item.stream, account=item.account_id, reason=item.reason
            )

"""What agents miss while the price stream is down, read as candles before they hear on."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from orchestrator.model.errors import VenueError
from orchestrator.model.market import History, StreamBeat, StreamDown, StreamUp, Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.ports import StreamItem, VenueReader
from orchestrator.model.time import MINUTE_NS, Instant
from orchestrator.service.execution_engine import ExecutionEngine

log = structlog.get_logger()

_FILL_S = 5.0  # agents wait so long for their candles, then go on with a hole, which is told
_CANDLES_MAX = 1500  # what they are given at the start, too


class PriceGap:
    """Follows one price stream. Between `StreamUp` and the candles agents hear no price.

    The kernel hears every price at once: only opinions wait.
    """

    def __init__(
        self, engine: ExecutionEngine, reader: VenueReader, instruments: Sequence[InstrumentName]
    ) -> None:
        self._engine = engine
        self._reader = reader
        self._instruments = instruments
        self._heard_ns: Instant = 0
        self._down = False
        self._filling = False

    def begins(self, items: tuple[StreamItem, ...]) -> int:
        """Minutes to be read now, and prices held from these items on; mostly 0."""
        minutes = 0
        for item in items:
            if isinstance(item, StreamDown):
                self._down = self._heard_ns > 0
            elif isinstance(item, StreamUp) and self._down:
                self._down = False
                minutes = self._minutes(item.seen_ns)
            elif isinstance(item, Tick | StreamBeat):
                self._heard_ns = item.seen_ns
        if not minutes or self._filling:
            return 0
        self._filling = True
        self._engine.hold_prices()
        return minutes

    def _minutes(self, now_ns: Instant) -> int:
        """From the one in which the last price was heard to the running one."""
        gone = now_ns // MINUTE_NS - self._heard_ns // MINUTE_NS
        return min(_CANDLES_MAX, max(0, gone) + 1)

    async def fill(self, minutes: int) -> None:
        """Whatever comes of the reads, agents hear prices again afterwards."""
        found: list[History] = []
        try:
            async with asyncio.timeout(_FILL_S):
                for instrument in self._instruments:
                    found += [await self._history(instrument, minutes)]
        except (VenueError, TimeoutError) as exc:
            log.warning("prices.gap_left", minutes=minutes, reason=str(exc) or "no time left")
        self._filling = False
        self._engine.release_prices(found)

    async def _history(self, instrument: InstrumentName, minutes: int) -> History:
        candles = await self._reader.candles(instrument, "M1", minutes)
        return History(instrument=instrument, granularity="M1", candles=candles)

"""Market data on its way into the store: beside the path of orders, which never waits for it."""

from __future__ import annotations

from collections.abc import Sequence

import structlog

from orchestrator.model.errors import ListenerTooSlow
from orchestrator.model.market import Candle, MarketCondition, Tick
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.ports import Bus, Clock, MarketStore

log = structlog.get_logger()

_BATCH = 500
_FLUSH_S = 1.0
_OUTCOMES = frozenset(("trade.outcome",))


class Recorder:
    """Keeps ticks until a batch is full or a second has passed."""

    def __init__(self, store: MarketStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ticks: list[Tick] = []
        self._told = MarketCondition()
        self.kept = 0

    def keep(self, ticks: tuple[Tick, ...]) -> None:
        """Never blocks; the store's own thread writes."""
        self._ticks.extend(ticks)
        self.kept += len(ticks)
        if len(self._ticks) >= _BATCH:
            self.flush()

    def keep_candles(self, candles: Sequence[Candle]) -> None:
        """The venue's own, as agents were given them."""
        if candles:
            self._store.write_candles(candles)

    def flush(self) -> None:
        if self._ticks:
            self._store.write_ticks(self._ticks)
            self._ticks = []

    def condition(self) -> MarketCondition:
        return self._store.condition()

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._clock.sleep(_FLUSH_S)
            self.flush()
            self._tell(self._store.condition())

    async def follow(self, bus: Bus) -> None:
        """Runs until cancelled, or the bus is closed: what trades came to goes into the store."""
        missed = True
        while missed:
            missed = False
            try:
                async for _, fact in bus.listen(types=_OUTCOMES):
                    if isinstance(fact, TradeOutcome):
                        self._store.write_outcomes((fact,))
            except ListenerTooSlow as exc:
                log.warning("market_data.outcomes_missed", after=exc.last_seq)
                missed = True

    def _tell(self, seen: MarketCondition) -> None:
        """What has changed since the last look, once."""
        told, self._told = self._told, seen
        if seen.layout != told.layout:
            log.info("market_data.opened", layout=seen.layout)
        if seen.problem and not told.problem:
            log.warning("market_data.away", reason=seen.problem, spooled=seen.spooled)
        elif told.problem and not seen.problem:
            log.info("market_data.back", spooled=seen.spooled, waiting=seen.waiting)
        lost = seen.dropped + seen.failed - told.dropped - told.failed
        if lost > 0:
            log.warning("market_data.lost", rows=lost, reason=seen.problem)

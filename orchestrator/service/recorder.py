"""Market data on its way into the store: ticks in batches, beside the path of orders."""

from __future__ import annotations

from orchestrator.model.market import Tick
from orchestrator.model.ports import Clock, MarketStore

_BATCH = 500
_FLUSH_S = 1.0


class Recorder:
    """Keeps what arrived until a batch is full or a second has passed."""

    def __init__(self, store: MarketStore, clock: Clock) -> None:
        self._store = store
        self._clock = clock
        self._ticks: list[Tick] = []
        self.kept = 0

    def keep(self, ticks: tuple[Tick, ...]) -> None:
        """Never blocks; the store's own thread writes."""
        self._ticks.extend(ticks)
        self.kept += len(ticks)
        if len(self._ticks) >= _BATCH:
            self.flush()

    def flush(self) -> None:
        if self._ticks:
            self._store.write_ticks(self._ticks)
            self._ticks = []

    async def run(self) -> None:
        """Runs until cancelled."""
        while True:
            await self._clock.sleep(_FLUSH_S)
            self.flush()

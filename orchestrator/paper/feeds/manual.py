"""A feed without prices of its own: all of them come by hand (POST /control/prices)."""

from __future__ import annotations

from collections.abc import Iterable

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.paper.feeds.base import History


class ManualFeed:
    """Never says a price; market time runs on."""

    def __init__(self, start_ns: Instant, instruments: tuple[InstrumentName, ...]) -> None:
        self.start_ns = start_ns
        self.instruments = instruments
        self._next = start_ns

    def history(self) -> Iterable[History]:
        return ()

    def next_ns(self) -> Instant | None:
        return self._next

    def due(self, now: Instant) -> list[Tick]:
        self._next = now + NS_PER_S
        return []

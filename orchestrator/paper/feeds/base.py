"""What a feed is: it tells when its next prices are due, and gives those that have come."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import Instant
from orchestrator.paper.candles import Bar

History = tuple[InstrumentName, int, Iterable[Bar]]  # instrument, length of a bar, bars


class Feed(Protocol):
    """A source of prices on market time."""

    start_ns: Instant
    instruments: tuple[InstrumentName, ...]

    def history(self) -> Iterable[History]:
        """Candles from before the start."""
        ...

    def next_ns(self) -> Instant | None:
        """When the next prices are due; None when there are no more."""
        ...

    def due(self, now: Instant) -> list[Tick]:
        """The prices up to now, oldest first."""
        ...

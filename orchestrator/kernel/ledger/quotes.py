"""The last good price of each instrument, and what currencies are worth by them."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.conversion import BidAsk, Factors, factors
from orchestrator.model.market import Tick
from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.time import Instant

_HIGHEST = Decimal(1_000_000_000)  # no price of this world; keeps every product in range


class Quotes:
    """Volatile market view: rebuilt from live prices after a start, never stored."""

    def __init__(self) -> None:
        self._ticks: dict[InstrumentName, Tick] = {}
        self._pairs: dict[InstrumentName, BidAsk] = {}
        self._factors: dict[tuple[Currency, Currency], Factors | None] = {}

    def put(self, tick: Tick) -> bool:
        """Keep a tick; False, and nothing kept, for one that is no price (M5 is the judge)."""
        bid, ask = tick.bid, tick.ask
        if not (bid.is_finite() and ask.is_finite() and 0 < bid < ask < _HIGHEST):
            return False
        self._ticks[tick.instrument] = tick
        self._pairs[tick.instrument] = (bid, ask)
        self._factors.clear()
        return True

    def tick(self, name: InstrumentName) -> Tick | None:
        return self._ticks.get(name)

    def bid_ask(self, name: InstrumentName) -> BidAsk | None:
        """As `conversion.QuoteOf` asks for it."""
        return self._pairs.get(name)

    def seen_ns(self, name: InstrumentName) -> Instant | None:
        """When the last good tick arrived, market clock."""
        tick = self._ticks.get(name)
        return None if tick is None else tick.seen_ns

    def factors(self, frm: Currency, home: Currency) -> Factors | None:
        """`conversion.factors` by these quotes, remembered until the next tick."""
        key = (frm, home)
        if key not in self._factors:
            self._factors[key] = factors(frm, home, self.bid_ask)
        return self._factors[key]

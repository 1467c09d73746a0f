"""A small, quick, seeded market: three instruments, restless enough to reach stops in minutes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.paper.feeds.base import History
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS
from orchestrator.research.simulate.fates import Fates

INSTRUMENTS = (InstrumentName("EUR_USD"), InstrumentName("GBP_USD"), InstrumentName("USD_JPY"))
_PACE_S = (0.4, 1.8)
_NOISE_STEPS = 20.0  # standard deviation of a move, in steps of a price (10 steps are a pip)
_SPREAD_STEPS = (9, 14)
_JUMP_STEPS = (100, 500)


class SimFeed:
    """Meets `paper.feeds.base.Feed`."""

    def __init__(self, start_ns: Instant, rolls: random.Random, fates: Fates) -> None:
        self.start_ns = start_ns
        self.instruments = INSTRUMENTS
        self._rolls = rolls
        self._fates = fates
        self._mids = {
            name: round(float(REFERENCE_MIDS[name]) * 10 ** SPECS[name].display_precision)
            for name in INSTRUMENTS
        }
        self._next = {name: start_ns + self._pause() for name in INSTRUMENTS}

    def _pause(self) -> int:
        return round(self._rolls.uniform(*_PACE_S) * NS_PER_S)

    def history(self) -> Iterable[History]:
        return ()

    def next_ns(self) -> Instant | None:
        return min(self._next.values())

    def due(self, now: Instant) -> list[Tick]:
        ticks: list[Tick] = []
        for name in INSTRUMENTS:
            while self._next[name] <= now:
                ticks.append(self._tick(name, self._next[name]))
                self._next[name] += self._pause()
        ticks.sort(key=lambda tick: tick.venue_ns)
        return ticks

    def _tick(self, name: InstrumentName, at_ns: Instant) -> Tick:
        move = round(self._rolls.gauss(0.0, _NOISE_STEPS))
        if self._fates.strikes("wild_market"):
            wild = self._fates.dice("wild_market")
            move += wild.choice((-1, 1)) * wild.randint(*_JUMP_STEPS)
        self._mids[name] += move
        spread = self._rolls.randint(*_SPREAD_STEPS)
        bid = self._mids[name] - spread // 2
        digits = -SPECS[name].display_precision
        return Tick(
            instrument=name, bid=Price(Decimal(bid).scaleb(digits)),
            ask=Price(Decimal(bid + spread).scaleb(digits)), venue_ns=at_ns, seen_ns=at_ns,
        )  # fmt: skip

"""A small, quick, seeded market: three instruments, restless enough to reach stops in minutes."""

from __future__ import annotations

import random
from collections.abc import Iterable
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import NS_PER_S, Instant, new_york
from orchestrator.paper.feeds.base import History
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS
from orchestrator.paper.market import weekend
from orchestrator.research.simulate.fates import Fates

INSTRUMENTS = (InstrumentName("EUR_USD"), InstrumentName("GBP_USD"), InstrumentName("USD_JPY"))
_PACE_S = (0.4, 1.8)
_NOISE_STEPS = 20.0  # standard deviation of a move, in steps of a price (10 steps are a pip)
_SPREAD_STEPS = (9, 14)
_JUMP_STEPS = (100, 500)
_BREAK = (16 * 3600 + 59 * 60, 17 * 3600 + 5 * 60)  # New York: no prices at the end of each day
_WIDE = (16 * 3600 + 55 * 60, 17 * 3600 + 10 * 60)  # and wide spreads around it
_WIDER = 5
_LOOK_NS = 60 * NS_PER_S
_ASLEEP_NS = 120 * NS_PER_S  # prices of a longer absence are not made up one by one


def closed(at_ns: Instant) -> bool:
    """Whether nothing is quoted then, by FX hours."""
    _, second = new_york(at_ns)
    return weekend(at_ns) or _BREAK[0] <= second < _BREAK[1]


def opening(at_ns: Instant) -> Instant:
    """The first minute from then on in which something is quoted."""
    while closed(at_ns):
        at_ns += _LOOK_NS
    return at_ns


class SimFeed:
    """Meets `paper.feeds.base.Feed`. `calendar`: as the market's."""

    def __init__(
        self, start_ns: Instant, rolls: random.Random, fates: Fates, calendar: str = "always"
    ) -> None:
        self.start_ns = start_ns
        self._fx = calendar == "fx"
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

    def shift(self, name: InstrumentName, steps: int) -> None:
        """The price moves, and nobody is told before the next tick."""
        self._mids[name] += steps

    def _after(self, name: InstrumentName, at_ns: Instant) -> Instant:
        """When the next tick comes."""
        following = at_ns + self._pause()
        if self._fx and closed(following):
            self.shift(name, round(self._rolls.gauss(0.0, 10 * _NOISE_STEPS)))
            return opening(following) + self._pause()
        return following

    def _wake(self, name: InstrumentName, now: Instant) -> None:
        """After a long absence only the last price of it is told."""
        if now - self._next[name] > _ASLEEP_NS:
            self.shift(name, round(self._rolls.gauss(0.0, 10 * _NOISE_STEPS)))
            self._next[name] = self._after(name, now - 2 * NS_PER_S)

    def history(self) -> Iterable[History]:
        return ()

    def next_ns(self) -> Instant | None:
        return min(self._next.values())

    def due(self, now: Instant) -> list[Tick]:
        ticks: list[Tick] = []
        for name in INSTRUMENTS:
            self._wake(name, now)
            while self._next[name] <= now:
                ticks.append(self._tick(name, self._next[name]))
                self._next[name] = self._after(name, self._next[name])
        ticks.sort(key=lambda tick: tick.venue_ns)
        return ticks

    def _tick(self, name: InstrumentName, at_ns: Instant) -> Tick:
        move = round(self._rolls.gauss(0.0, _NOISE_STEPS))
        if self._fates.strikes("wild_market"):
            wild = self._fates.dice("wild_market")
            move += wild.choice((-1, 1)) * wild.randint(*_JUMP_STEPS)
        self._mids[name] += move
        spread = self._rolls.randint(*_SPREAD_STEPS)
        if self._fx and _WIDE[0] <= new_york(at_ns)[1] < _WIDE[1]:
            spread *= _WIDER
        bid = self._mids[name] - spread // 2
        digits = -SPECS[name].display_precision
        return Tick(
            instrument=name, bid=Price(Decimal(bid).scaleb(digits)),
            ask=Price(Decimal(bid + spread).scaleb(digits)), venue_ns=at_ns, seen_ns=at_ns,
        )  # fmt: skip

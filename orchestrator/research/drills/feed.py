"""The market of a drill: quiet, seeded, and pushed about by the story."""

from __future__ import annotations

import random
from collections.abc import Iterable, Sequence
from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, Price
from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.paper.feeds.base import History
from orchestrator.paper.instruments import REFERENCE_MIDS, spec_of

_PACE_S = (0.4, 1.1)
_NOISE = 1.2e-5  # of the price, a tick: calm
_SPREAD = 8e-5  # of the price


class _Path:
    """One instrument: its level, where a push drives it, how wide it is quoted."""

    def __init__(self, level: float) -> None:
        self.level = level
        self.base = level
        self.target = level
        self.left_ns = 0
        self.width = 1.0

    def move(self, passed_ns: int, noise: float) -> None:
        if self.left_ns > 0:
            self.base += (self.target - self.base) * min(1.0, passed_ns / self.left_ns)
            self.left_ns -= passed_ns
            self.level = self.base
        # Noise stays near the base: a drill is about its story, not about luck.
        self.level += 0.05 * (self.base - self.level) + self.base * noise


class DrillFeed:
    """Meets `paper.feeds.base.Feed`."""

    def __init__(
        self, start_ns: Instant, instruments: Sequence[InstrumentName], rolls: random.Random
    ) -> None:
        self.start_ns = start_ns
        self.instruments = tuple(instruments)
        self._rolls = rolls
        self._paths = {name: _Path(float(REFERENCE_MIDS[name])) for name in self.instruments}
        self._last = dict.fromkeys(self.instruments, start_ns)
        self._next = {name: start_ns + self._pause() for name in self.instruments}
        self.silent = False

    # -- what a story does ------------------------------------------------------------------------

    def push(self, name: InstrumentName, fraction: float, over_s: float) -> None:
        """The price goes to (1 + fraction) of what it is now, in so many seconds; 0: at once."""
        path = self._paths[name]
        path.base = path.level
        path.target = path.level * (1.0 + fraction)
        path.left_ns = max(1, round(over_s * NS_PER_S))

    def widen(self, name: InstrumentName, times: float) -> None:
        """Quoted so many times as wide as on a quiet day."""
        self._paths[name].width = times

    def skip_to(self, at_ns: Instant) -> None:
        """Nothing was quoted until then."""
        for name in self.instruments:
            self._last[name] = at_ns
            self._next[name] = at_ns + self._pause()

    # -- the port ---------------------------------------------------------------------------------

    def history(self) -> Iterable[History]:
        return ()

    def next_ns(self) -> Instant | None:
        return min(self._next.values())

    def due(self, now: Instant) -> list[Tick]:
        ticks: list[Tick] = []
        for name in self.instruments:
            while self._next[name] <= now:
                at_ns = self._next[name]
                self._paths[name].move(at_ns - self._last[name], self._rolls.gauss(0.0, _NOISE))
                self._last[name] = at_ns
                self._next[name] = at_ns + self._pause()
                ticks.append(self._tick(name, at_ns))
        ticks.sort(key=lambda tick: tick.venue_ns)
        return [] if self.silent else ticks

    def _pause(self) -> int:
        return round(self._rolls.uniform(*_PACE_S) * NS_PER_S)

    def _tick(self, name: InstrumentName, at_ns: Instant) -> Tick:
        path, spec = self._paths[name], spec_of(name)
        scale = 10**spec.display_precision
        bid = round(path.level * scale)
        spread = max(2, round(path.level * _SPREAD * path.width * scale))
        digits = -spec.display_precision
        return Tick(
            instrument=name, bid=Price(Decimal(bid).scaleb(digits)),
            ask=Price(Decimal(bid + spread).scaleb(digits)), venue_ns=at_ns, seen_ns=at_ns,
        )  # fmt: skip

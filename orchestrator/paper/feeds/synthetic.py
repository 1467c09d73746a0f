"""A seeded market that is worth trading: correlated instruments, regimes, news, hours and spreads.

Every asset has a value; instruments are quotients of them, so that EUR_GBP is always
EUR_USD / GBP_USD. Floats live in these files only; prices leave as decimals on the grid. An
instrument says the same whichever others are asked for, and however often the feed is asked.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName
from orchestrator.model.time import DAY_NS, MINUTE_NS, NS_PER_S, Instant
from orchestrator.paper.candles import Bar
from orchestrator.paper.feeds.assets import ASSETS, SPREADS, legs_of, log_start
from orchestrator.paper.feeds.base import History
from orchestrator.paper.feeds.seasons import market_open, moves, opening, width
from orchestrator.paper.feeds.voice import Voice
from orchestrator.paper.feeds.world import Values, World
from orchestrator.paper.instruments import SPECS, USUAL

HISTORY_NS = 3 * DAY_NS
_STEP_S = 0.25
_STEP_NS = round(_STEP_S * NS_PER_S)
_BLOCK_STEPS = 240
_BLOCK_NS = _BLOCK_STEPS * _STEP_NS
_PAST_STEP_S = 10
_PAST_MINUTES = 5  # of history in one block
_BEHIND_MAX_NS = 600 * NS_PER_S
_WEEKEND_NS = DAY_NS  # closed for longer than this is a weekend
_PAST_VOLUME = 50
_STIRRED = 0.35  # how much a stirred market widens spreads


class _Past(NamedTuple):
    """Minutes before the start, those in which the market was open, and each instrument's mids."""

    starts: list[Instant]
    kept: list[int]
    mids: Values


class SyntheticFeed:
    """Prices told four times a second, each with its own time in between.

    `hours`: "fx" keeps the FX week, "always" never closes. `instruments`: those to price.
    """

    def __init__(
        self,
        start_ns: Instant,
        seed: int,
        *,
        hours: str = "always",
        history_ns: int = HISTORY_NS,
        instruments: Sequence[InstrumentName] = USUAL,
    ) -> None:
        self.start_ns = start_ns
        self.hours = hours
        self.instruments: tuple[InstrumentName, ...] = tuple(instruments)
        self._world = World(seed, every_day=hours == "always")
        self._voices = [Voice(name, seed) for name in self.instruments]
        self._legs = np.zeros((len(self.instruments), len(ASSETS)))
        for row, name in enumerate(self.instruments):
            for place, sign in legs_of(name):
                self._legs[row, place] = sign
        self._logs: Values = np.array([log_start(name) for name in self.instruments])
        self._scales: Values = np.array(
            [10.0 ** SPECS[name].display_precision for name in self.instruments]
        )
        self._leaders = [_leader(name) for name in self.instruments]
        self._past = self._walk_past(history_ns)
        self._at_ns = start_ns
        self._open = True
        self._opens_ns = start_ns
        self._block_ns = start_ns - _BLOCK_NS
        self._mids: list[list[float]] = []
        self._next_block()
        self._queue = [
            (start_ns + round(voice.first_s() * NS_PER_S), row)
            for row, voice in enumerate(self._voices)
        ]
        heapq.heapify(self._queue)

    def history(self) -> Iterable[History]:
        """Three days of M1 candles that end at the start's prices."""
        past = self._past
        for row, name in enumerate(self.instruments):
            yield name, MINUTE_NS, _bars(name, self._leaders[row][1], past, past.mids[row])

    def next_ns(self) -> Instant | None:
        return max(self._queue[0][0], self._at_ns + _STEP_NS)

    def due(self, now: Instant) -> list[Tick]:
        """Advance to `now`; after a long sleep of the machine only the last minute is told."""
        if now - max(self._at_ns, self._opens_ns) > _BEHIND_MAX_NS:
            self._wake(now)
        ticks: list[Tick] = []
        while self._queue[0][0] <= now:
            at_ns, row = self._queue[0]
            if self.hours == "fx" and not market_open(at_ns):
                ticks += self._close(at_ns)
                continue
            self._open = True
            while at_ns > self._block_ns + _BLOCK_NS:
                self._next_block()
            voice = self._voices[row]
            ticks.append(voice.tick(self._mid(row, at_ns), at_ns))
            heapq.heapreplace(self._queue, (at_ns + voice.wait_ns(), row))
        self._at_ns = max(self._at_ns, now)
        return ticks

    # --- time --------------------------------------------------------------------------------

    def _wake(self, now: Instant) -> None:
        """Nobody asked for long: prices are elsewhere, and what was not told is not told later."""
        since = now - 60 * NS_PER_S
        self._world.absent((since - self._at_ns) / NS_PER_S)
        self._at_ns = since
        self._queue = [(max(at_ns, since), row) for at_ns, row in self._queue]
        heapq.heapify(self._queue)
        self._block_ns = since - _BLOCK_NS
        self._next_block()

    def _close(self, at_ns: Instant) -> list[Tick]:
        """One last word of each, not tradeable; then silence until the market opens again."""
        self._opens_ns = opens_ns = opening(at_ns)
        last: list[Tick] = []
        if self._open:
            self._open = False
            while at_ns > self._block_ns + _BLOCK_NS:
                self._next_block()
            last = [
                voice.tick(self._mid(row, at_ns), at_ns, tradeable=False)
                for row, voice in enumerate(self._voices)
            ]
            if opens_ns - at_ns > _WEEKEND_NS:
                self._world.gap(1.0)
            self._block_ns = opens_ns - _BLOCK_NS
            self._next_block()
        self._queue = [
            (max(then_ns, opens_ns + round(self._voices[row].first_s() * NS_PER_S)), row)
            for then_ns, row in self._queue
        ]
        heapq.heapify(self._queue)
        return last

    # --- prices ------------------------------------------------------------------------------

    def _next_block(self) -> None:
        """Walk another minute."""
        self._block_ns += _BLOCK_NS
        begins = self._world.values
        walked = self._world.block(self._block_ns, _BLOCK_NS / NS_PER_S, _BLOCK_STEPS)
        logs = self._legs @ np.column_stack((begins, walked)) + self._logs[:, None]
        self._mids = (np.exp(logs) * self._scales[:, None]).tolist()
        for voice, (place, season) in zip(self._voices, self._leaders, strict=True):
            nervous = (
                1 + _STIRRED * float(self._world.stir[place]) + float(self._world.fright[place])
            )
            voice.wide = width(season, self._block_ns) * nervous
            voice.liveliness = moves(season, self._block_ns) * float(self._world.restless[place])

    def _mid(self, row: int, at_ns: Instant) -> float:
        """In steps of a price, between those of two steps of time."""
        step, rest = divmod(at_ns - self._block_ns, _STEP_NS)
        mids = self._mids[row]
        if step >= _BLOCK_STEPS:
            return mids[-1]
        return mids[step] + (mids[step + 1] - mids[step]) * (rest / _STEP_NS)

    # --- the days before the start -----------------------------------------------------------

    def _walk_past(self, history_ns: int) -> _Past:
        """Walk up to the start, then shift every path so that it ends at the start's price."""
        first = (self.start_ns - history_ns) // MINUTE_NS * MINUTE_NS
        minutes = (self.start_ns - first) // MINUTE_NS
        parts = [self._world.values[:, None]]
        closed = False
        for number in range(0, minutes, _PAST_MINUTES):
            length = min(_PAST_MINUTES, minutes - number) * 60
            at_ns = first + number * MINUTE_NS
            steps = length // _PAST_STEP_S
            if self.hours == "fx" and opening(at_ns) - at_ns > _PAST_MINUTES * 2 * MINUTE_NS:
                closed = True
                parts.append(np.repeat(self._world.values[:, None], steps, axis=1))
                continue
            if closed:
                self._world.gap(1.0)
                closed = False
            parts.append(self._world.block(at_ns, float(length), steps))
        walked = np.concatenate(parts, axis=1) - self._world.rebase()[:, None]
        starts = [first + i * MINUTE_NS for i in range(minutes)]
        kept = [i for i, at in enumerate(starts) if self.hours != "fx" or market_open(at)]
        mids = np.exp(self._legs @ walked + self._logs[:, None]) * self._scales[:, None]
        return _Past(starts, kept, mids)


def _leader(name: InstrumentName) -> tuple[int, str]:
    """The asset that gives an instrument its pace: the first that is not the dollar."""
    place, _ = legs_of(name)[0]
    return place, tuple(ASSETS.values())[place].season


def _bars(name: InstrumentName, season: str, past: _Past, mids: Values) -> Iterator[Bar]:
    spec = SPECS[name]
    per_minute = 60 // _PAST_STEP_S
    rows = np.column_stack((mids[:-1].reshape(-1, per_minute), mids[per_minute::per_minute]))
    ohlc = np.column_stack((rows[:, 0], rows.max(axis=1), rows.min(axis=1), rows[:, -1]))
    steps = SPREADS[name] * 10.0 ** (spec.pip_location + spec.display_precision)
    wide = np.array([width(season, at_ns) for at_ns in past.starts])
    spreads = np.maximum(1, np.rint(steps * wide))
    bids = np.maximum(1, np.rint(ohlc - spreads[:, None] / 2)).astype(np.int64)
    asks = bids + spreads.astype(np.int64)[:, None]
    digits = -spec.display_precision
    for index in past.kept:
        bid = [Decimal(n).scaleb(digits) for n in bids[index].tolist()]
        ask = [Decimal(n).scaleb(digits) for n in asks[index].tolist()]
        mid = [(low + high) / 2 for low, high in zip(bid, ask, strict=True)]
        yield Bar(past.starts[index], _PAST_VOLUME, bid, ask, mid)

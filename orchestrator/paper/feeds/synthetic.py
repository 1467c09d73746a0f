"""A seeded market that is worth trading: correlated instruments, regimes, spreads by the hour.

Eight instruments have a price process of their own; the crosses are made of them, so that
EUR_GBP is always EUR_USD / GBP_USD. Floats live here only; prices leave as decimals on the grid.
"""

from __future__ import annotations

import math
import random
from collections.abc import Iterable
from decimal import Decimal

import msgspec
import numpy as np

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, InstrumentSpec, Price
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Instant, new_york
from orchestrator.paper.candles import Bar
from orchestrator.paper.feeds.base import History
from orchestrator.paper.instruments import REFERENCE_MIDS, SPECS

STEP_S = 0.25
_STEP_NS = round(STEP_S * NS_PER_S)
_HISTORY_STEP_S = 10.0
HISTORY_NS = 3 * DAY_NS
_SECONDS_A_DAY = 86_400.0
_BEHIND_MAX_NS = 600 * NS_PER_S
_GAP_S = (0.3, 2.0)
_CALMER = 0.85  # trends add to the noise; with this a day of EUR_USD comes to about 0.6 %

# Common shocks, in standard deviations of a day (percent): dollar, Europe, commodities; own.
_FACTORS = 3
_LOADS: dict[str, tuple[float, float, float, float]] = {
    "EUR_USD": (-0.42, 0.32, 0.0, 0.28),
    "GBP_USD": (-0.42, 0.32, 0.0, 0.34),
    "USD_JPY": (0.42, 0.0, 0.0, 0.48),
    "NZD_USD": (-0.42, 0.0, 0.35, 0.33),
    "AUD_USD": (-0.42, 0.0, 0.35, 0.30),
    "USD_CAD": (0.42, 0.0, -0.20, 0.28),
    "USD_CHF": (0.42, -0.25, 0.0, 0.30),
    "XAU_USD": (-0.35, 0.0, 0.25, 0.80),
}
_CROSSES = {
    "EUR_GBP": ("EUR_USD", "GBP_USD", -1.0),
    "EUR_JPY": ("EUR_USD", "USD_JPY", 1.0),
    "GBP_JPY": ("GBP_USD", "USD_JPY", 1.0),
}
_SPREADS = {  # in pips, in a quiet hour
    "EUR_USD": 1.1, "GBP_USD": 1.5, "USD_JPY": 1.2, "NZD_USD": 1.6, "AUD_USD": 1.4,
    "USD_CAD": 1.7, "USD_CHF": 1.6, "XAU_USD": 28.0, "EUR_GBP": 1.4, "EUR_JPY": 1.8,
    "GBP_JPY": 2.6,
}  # fmt: skip
# Activity and spread by UTC hour: Asia quiet, London and New York lively, a wide roll at 21-22.
_ACTIVITY = (
    0.8, 0.8, 0.75, 0.75, 0.75, 0.8, 0.95, 1.15, 1.25, 1.2, 1.1, 1.1,
    1.25, 1.35, 1.35, 1.25, 1.15, 1.0, 0.95, 0.9, 0.85, 0.75, 0.75, 0.8,
)  # fmt: skip
_WIDTH = (1.0,) * 20 + (1.3, 1.6, 1.3, 1.0)

# What a regime does: its share of time, the noise it leaves, its drift per minute in units of a
# minute's standard deviation, and the half-life in minutes with which prices return to its anchor.
_FOLLOWERS = 0.75
_REGIMES = (
    ("trend", 0.40, 0.75, 0.25, 0.0),
    ("range", 0.30, 0.90, 0.0, 5.0),
    ("volatile", 0.15, 1.90, 0.0, 0.0),
    ("quiet", 0.15, 0.45, 0.0, 12.0),
)


class Path:
    """The log price of one instrument, relative to its start, and the regime it is in."""

    __slots__ = ("anchor", "drift_s", "left_s", "noise", "pull_s", "regime", "value", "vol_s")

    def __init__(self, loads: tuple[float, float, float, float]) -> None:
        self.value = 0.0
        self.anchor = 0.0
        self.left_s = 0.0
        self.noise = 1.0
        self.drift_s = 0.0
        self.pull_s = 0.0
        self.regime = ""
        day = math.sqrt(sum(load * load for load in loads)) * _CALMER / 100.0
        self.vol_s = day / math.sqrt(_SECONDS_A_DAY)

    def enter(self, dice: random.Random, lean: float) -> None:
        """Draw the next regime, for 10 to 60 minutes; most trends follow `lean`."""
        shares = [regime[1] for regime in _REGIMES]
        name, _, noise, drift, half_life = dice.choices(_REGIMES, weights=shares)[0]
        self.regime, self.noise = name, noise
        self.left_s = dice.uniform(600.0, 3600.0)
        self.anchor = self.value
        minute = self.vol_s * math.sqrt(60.0)
        direction = lean if dice.random() < _FOLLOWERS else -lean
        self.drift_s = direction * drift * minute / 60.0
        self.pull_s = math.log(2.0) / (half_life * 60.0) if half_life else 0.0

    def step(self, shock: float, seconds: float, dice: random.Random, lean: float) -> None:
        """Move on by a shock (log return before the regime's word on it)."""
        if self.left_s <= 0:
            self.enter(dice, lean)
        self.left_s -= seconds
        pull = min(1.0, self.pull_s * seconds) * (self.anchor - self.value)
        self.value += self.drift_s * seconds + pull + shock * self.noise


class Shown(msgspec.Struct, frozen=True, gc=False):
    """How an instrument's prices are printed: whole steps to a decimal."""

    spec: InstrumentSpec
    scale: float
    spread_steps: float


class SyntheticFeed:
    """Prices on steps of 250 ms; each instrument speaks every 0.3 to 2 s."""

    def __init__(
        self,
        start_ns: Instant,
        seed: int,
        *,
        hours: str = "always",
        history_ns: int = HISTORY_NS,
    ) -> None:
        self.start_ns = start_ns
        self._history_ns = history_ns
        self.hours = hours
        self.instruments: tuple[InstrumentName, ...] = tuple(SPECS)
        self._dice = random.Random(seed)  # prices, not secrets
        self._paths = {name: Path(loads) for name, loads in _LOADS.items()}
        self._logs = {
            name: math.log(float(REFERENCE_MIDS[InstrumentName(name)])) for name in _LOADS
        }
        self._shown = {name: _shown(name) for name in self.instruments}
        self._mood = 1.0  # where trends tend to take the dollar
        self._mood_left_s = 0.0
        self._history = self._make_history()
        self._at_ns = start_ns
        self._speaks_ns = {
            name: start_ns + round(self._dice.uniform(0.0, 1.0) * NS_PER_S)
            for name in self.instruments
        }
        self._open = True

    def history(self) -> Iterable[History]:
        """Three days of M1 candles that end at the start's prices."""
        return self._history

    def next_ns(self) -> Instant | None:
        return self._at_ns + _STEP_NS

    def due(self, now: Instant) -> list[Tick]:
        """Advance to `now`; after a long sleep of the machine only the last minute is told."""
        if now - self._at_ns > _BEHIND_MAX_NS:
            self._at_ns = now - 60 * NS_PER_S
            for name, speaks_ns in self._speaks_ns.items():
                self._speaks_ns[name] = max(speaks_ns, self._at_ns)
        ticks: list[Tick] = []
        while self._at_ns + _STEP_NS <= now:
            self._at_ns += _STEP_NS
            self._move(_ACTIVITY[self._at_ns // HOUR_NS % 24], STEP_S)
            ticks += self._speak()
        ticks.sort(key=lambda tick: tick.venue_ns)
        return ticks

    # --- prices ------------------------------------------------------------------------------

    def _move(self, activity: float, seconds: float) -> None:
        dice, root = self._dice, math.sqrt(seconds / _SECONDS_A_DAY)
        root *= activity * _CALMER / 100.0
        self._mood_left_s -= seconds
        if self._mood_left_s <= 0:
            self._mood = dice.choice((-1.0, 1.0))
            self._mood_left_s = dice.uniform(1800.0, 7200.0)
        common = [dice.gauss(0.0, 1.0) for _ in range(_FACTORS)]
        for name, loads in _LOADS.items():
            own = dice.gauss(0.0, 1.0)
            shock = (
                loads[0] * common[0] + loads[1] * common[1] + loads[2] * common[2] + loads[3] * own
            )
            lean = self._mood if loads[0] > 0 else -self._mood
            self._paths[name].step(shock * root, seconds, dice, lean)

    def log_mid(self, name: str) -> float:
        """The logarithm of an instrument's mid now."""
        cross = _CROSSES.get(name)
        if cross is not None:
            first, second, sign = cross
            return self.log_mid(first) + sign * self.log_mid(second)
        return self._logs[name] + self._paths[name].value

    def _speak(self) -> list[Tick]:
        at_ns, dice = self._at_ns, self._dice
        if self.hours == "fx" and not market_open(at_ns):
            was_open, self._open = self._open, False
            # One last word: not tradeable; then silence until the market opens again.
            return [self._tick(n, at_ns, tradeable=False) for n in self.instruments] * was_open
        self._open = True
        said: list[Tick] = []
        for name, speaks_ns in self._speaks_ns.items():
            if speaks_ns <= at_ns:
                said.append(self._tick(name, speaks_ns, tradeable=True))
                self._speaks_ns[name] = max(speaks_ns, at_ns - _STEP_NS) + round(
                    dice.uniform(*_GAP_S) * NS_PER_S
                )
        return said

    def _tick(self, name: InstrumentName, at_ns: Instant, *, tradeable: bool) -> Tick:
        shown = self._shown[name]
        width = shown.spread_steps * _WIDTH[at_ns // HOUR_NS % 24] * self._dice.uniform(0.9, 1.15)
        spread = max(1, round(width))
        bid = round(math.exp(self.log_mid(name)) * shown.scale - spread / 2)
        digits = -shown.spec.display_precision
        return Tick(
            instrument=name,
            bid=Price(Decimal(bid).scaleb(digits)),
            ask=Price(Decimal(bid + spread).scaleb(digits)),
            venue_ns=at_ns,
            seen_ns=at_ns,
            tradeable=tradeable,
        )

    # --- the days before the start -----------------------------------------------------------

    def _make_history(self) -> list[History]:
        """Walk the three days on steps of 10 s, then shift each path to end at its start price."""
        per_minute = round(60.0 / _HISTORY_STEP_S)
        first = (self.start_ns - self._history_ns) // MINUTE_NS * MINUTE_NS
        minutes = (self.start_ns - first) // MINUTE_NS
        walked = {name: np.empty(minutes * per_minute + 1) for name in _LOADS}
        for name in _LOADS:
            walked[name][0] = 0.0
        step_ns = round(_HISTORY_STEP_S * NS_PER_S)
        for index in range(1, minutes * per_minute + 1):
            hour = (first + index * step_ns) // HOUR_NS % 24
            self._move(_ACTIVITY[hour], _HISTORY_STEP_S)
            for name, path in self._paths.items():
                walked[name][index] = path.value
        for name, path in self._paths.items():
            walked[name] += self._logs[name] - path.value
            path.anchor -= path.value
            path.value = 0.0
        for name, (one, other, sign) in _CROSSES.items():
            walked[name] = walked[one] + sign * walked[other]
        starts = [first + i * MINUTE_NS for i in range(minutes)]
        if self.hours == "fx":
            kept = [i for i, at_ns in enumerate(starts) if market_open(at_ns)]
        else:
            kept = list(range(minutes))
        return [
            (name, MINUTE_NS, self._bars(name, np.exp(walked[name]), per_minute, starts, kept))
            for name in self.instruments
        ]

    def _bars(
        self,
        name: InstrumentName,
        mids: np.ndarray,
        per_minute: int,
        starts: list[Instant],
        kept: list[int],
    ) -> list[Bar]:
        shown = self._shown[name]
        steps = mids * shown.scale
        rows = np.column_stack((steps[:-1].reshape(-1, per_minute), steps[per_minute::per_minute]))
        ohlc = np.column_stack((rows[:, 0], rows.max(axis=1), rows.min(axis=1), rows[:, -1]))
        hours = np.array([at_ns // HOUR_NS % 24 for at_ns in starts])
        spreads = np.maximum(1, np.rint(shown.spread_steps * np.array(_WIDTH)[hours]))
        bids = np.rint(ohlc - spreads[:, None] / 2).astype(np.int64)
        asks = bids + spreads.astype(np.int64)[:, None]
        digits = -shown.spec.display_precision
        # Prices repeat: one decimal for each of them keeps the history small.
        grid = {n: Decimal(n).scaleb(digits) for n in np.unique((bids, asks)).tolist()}
        halves = {n: Decimal(n).scaleb(digits) / 2 for n in np.unique(bids + asks).tolist()}
        made: list[Bar] = []
        for index in kept:
            low, high = bids[index].tolist(), asks[index].tolist()
            mid = [halves[b + a] for b, a in zip(low, high, strict=True)]
            made.append(
                Bar(starts[index], 50, [grid[n] for n in low], [grid[n] for n in high], mid)
            )
        return made


def _shown(name: InstrumentName) -> Shown:
    spec = SPECS[name]
    scale = 10.0**spec.display_precision
    steps = _SPREADS[name] * 10.0 ** (spec.pip_location + spec.display_precision)
    return Shown(spec, scale, steps)


_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_FIVE_PM = 17 * 3600


def market_open(at_ns: Instant) -> bool:
    """The FX week: closed Fri 16:59 to Sun 17:05 and daily 16:59 to 17:05, New York."""
    weekday, second = new_york(at_ns)
    if weekday == _SATURDAY or (weekday == _SUNDAY and second < _FIVE_PM + 300):
        return False
    if weekday == _FRIDAY and second >= _FIVE_PM - 60:
        return False
    return not _FIVE_PM - 60 <= second < _FIVE_PM + 300

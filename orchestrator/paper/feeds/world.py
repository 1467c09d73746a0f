"""How the synthetic market's assets move: shared shocks, regimes, restless days, news and gaps.

What moves are the forces: the factors that assets share, and a part of each asset's own. Trends
and spells of calm are the forces', so that neighbours go through them together. One walk serves
the past (in steps of ten seconds) and the present (a quarter of a second).
"""

from __future__ import annotations

import math
import random

import numpy as np
from numpy.typing import NDArray

from orchestrator.model.time import NS_PER_S, Instant
from orchestrator.paper.feeds.assets import ASSETS, FACTORS, INDEX
from orchestrator.paper.feeds.news import News, NewsDesk
from orchestrator.paper.feeds.seasons import SEASONS, moves

Values = NDArray[np.float64]

_DAY_S = 86_400.0
_PERCENT = 100.0
_CALMER = 0.80  # trends and news add to the noise; with this a day is as large as the loads say

# How restless days are: log standard deviation, and the time in which it is half forgotten.
_MOODS = ((0.24, 15 * _DAY_S), (0.27, 0.5 * _DAY_S), (0.30, 5400.0))
_BLOCK_MOOD = 0.35  # the same for a single block: tails of minutes

# What a regime does to a force: its share of time, the noise it leaves, its drift per minute in
# standard deviations of a minute, and the half-life in minutes of the way back to its anchor.
_REGIMES = (
    ("trend", 0.40, 0.75, 0.14, 0.0),
    ("range", 0.30, 0.90, 0.0, 5.0),
    ("volatile", 0.15, 1.90, 0.0, 0.0),
    ("quiet", 0.15, 0.45, 0.0, 12.0),
)
_REGIME_S = (600.0, 3600.0)

_AT_ONCE = 0.65  # of a surprise; the rest within the next half minute
_REST_S = 12.0
_STIR, _STIR_MAX, _STIR_HALF_S = 2.2, 3.0, 480.0
_FRIGHT, _FRIGHT_MAX, _FRIGHT_HALF_S = 6.0, 12.0, 40.0
_WEEKEND_GAP = 0.30  # of a day's standard deviation; now and then three times as much
_WIDE_GAP, _WIDE_CHANCE = 3.0, 0.12
_ABSENCE_MAX_S = 5 * _DAY_S


class World:
    """All assets' log values, relative to their start.

    By asset: `stir` and `fright`, the restlessness and the wide spreads that news has left, and
    `restless`, how much the running block moves against what is usual for the hour.
    """

    def __init__(self, seed: int, *, every_day: bool) -> None:
        self._dice = random.Random(f"{seed}:world")  # prices, not secrets
        self._noise = np.random.default_rng([seed, 1])
        self._desk = NewsDesk(seed, every_day=every_day)
        assets = tuple(ASSETS.values())
        count = len(assets)
        own = np.diag([each.own for each in assets])
        # What a standard deviation of each force moves each asset, as a log return of a day.
        self._loads: Values = np.hstack(([each.loads for each in assets], own)) / _PERCENT
        self._day: Values = np.sqrt((self._loads**2).sum(axis=1))
        self._season = [SEASONS.index(each.season) for each in assets]
        self._rides = [(i, INDEX[each.rides]) for i, each in enumerate(assets) if each.rides]
        self.stir: Values = np.zeros(count)
        self.fright: Values = np.zeros(count)
        self.restless: Values = np.ones(count)
        self._values: Values = np.zeros(count)  # of a pegged asset: without what it rides on
        forces = len(FACTORS) + count
        self._from_anchor: Values = np.zeros(forces)  # standard deviations of a day
        self._left_s: Values = np.zeros(forces)
        self._regime_noise: Values = np.ones(forces)
        self._drift: Values = np.zeros(forces)  # standard deviations of a minute, per minute
        self._pull: Values = np.zeros(forces)  # per second
        self._moods = [self._dice.gauss(0.0, size) for size, _ in _MOODS]

    @property
    def values(self) -> Values:
        """Now."""
        return self._riding(self._values.copy())

    def rebase(self) -> Values:
        """What was walked so far becomes the start: values are zero again. Returns what it was."""
        walked = self.values
        self._values = np.zeros_like(walked)
        return walked

    def _riding(self, values: Values) -> Values:
        for place, ridden in self._rides:
            values[place] += values[ridden]
        return values

    def block(self, at_ns: Instant, seconds: float, steps: int) -> Values:
        """All assets' log values at the ends of so many steps from `at_ns`; the market moves on."""
        self._turn(seconds)
        self._calm(seconds)
        news = self._desk.between(at_ns, at_ns + round(seconds * NS_PER_S))
        for each in news:
            self._hear(each)
        mood = self._mood()
        season = [moves(name, at_ns) for name in SEASONS]
        lively = np.array([season[each] for each in self._season]) * _CALMER
        felt = np.sqrt((self._loads**2) @ (self._regime_noise**2)) / self._day
        self.restless = felt * (mood + self.stir)
        pushed = self._push(seconds, steps, mood)
        walked = (self._loads @ pushed) * (lively * (1 + self.stir / mood))[:, None]
        for each in news:
            self._strike(walked, each, at_ns, seconds / steps)
        walked += self._values[:, None]
        self._values = walked[:, -1].copy()
        return self._riding(walked)

    def _push(self, seconds: float, steps: int, mood: float) -> Values:
        """How far each force goes from here, step by step, in standard deviations of a day."""
        root = math.sqrt(seconds / steps / _DAY_S)
        drawn = self._noise.standard_normal((len(self._left_s), steps))
        pushed = (drawn * (self._regime_noise * mood * root)[:, None]).cumsum(axis=1)
        drift = self._drift * math.sqrt(60.0 / _DAY_S) * (seconds / 60.0)
        back = (1.0 - np.exp(-self._pull * seconds)) * self._from_anchor
        pushed += (drift - back)[:, None] * (np.arange(1, steps + 1) / steps)
        self._from_anchor = self._from_anchor + pushed[:, -1]
        return pushed

    def gap(self, weekends: float) -> None:
        """The market opens elsewhere than it closed. `weekends`: 1 for one, less for an absence."""
        size = _WEEKEND_GAP * weekends
        if self._dice.random() < _WIDE_CHANCE:
            size *= _WIDE_GAP
        self._leap(size)

    def absent(self, seconds: float) -> None:
        """Time in which nobody looked (the machine slept): the values moved on all the same."""
        self._leap(math.sqrt(min(seconds, _ABSENCE_MAX_S) / _DAY_S))

    def _leap(self, size: float) -> None:
        self._values = self._values + self._loads @ (
            size * self._noise.standard_normal(len(self._left_s))
        )

    # --- what changes slowly -----------------------------------------------------------------

    def _turn(self, seconds: float) -> None:
        self._left_s -= seconds
        for place in np.flatnonzero(self._left_s <= 0).tolist():
            self._enter(place)
        for number, (size, half_s) in enumerate(_MOODS):
            kept = 0.5 ** (seconds / half_s)
            fresh = self._dice.gauss(0.0, size * math.sqrt(1 - kept * kept))
            self._moods[number] = self._moods[number] * kept + fresh

    def _enter(self, place: int) -> None:
        """Draw a force's next regime, for 10 to 60 minutes."""
        dice = self._dice
        shares = [regime[1] for regime in _REGIMES]
        _, _, noise, drift, half_life = dice.choices(_REGIMES, weights=shares)[0]
        self._left_s[place] = dice.uniform(*_REGIME_S)
        self._regime_noise[place] = noise
        self._from_anchor[place] = 0.0
        self._drift[place] = dice.choice((-drift, drift))
        self._pull[place] = math.log(2.0) / (half_life * 60.0) if half_life else 0.0

    def _mood(self) -> float:
        """How restless the block is; its mean square is 1, so that it makes tails, not size."""
        told = math.fsum(self._moods) + self._dice.gauss(0.0, _BLOCK_MOOD)
        return math.exp(told - math.fsum(s * s for s in (*(m[0] for m in _MOODS), _BLOCK_MOOD)))

    # --- news --------------------------------------------------------------------------------

    def _reach(self, news: News) -> Values:
        """What the news is worth to each asset, as a log return."""
        if news.moves in FACTORS:
            return self._loads[:, FACTORS.index(news.moves)] * news.size
        worth = np.zeros_like(self._day)
        place = INDEX[news.moves]
        worth[place] = self._day[place] * news.size
        return worth

    def _hear(self, news: News) -> None:
        """Even what surprises nobody stirs the market for a while."""
        felt = np.sqrt(np.abs(self._reach(news)) / self._day)
        self.stir = np.minimum(_STIR_MAX, self.stir + _STIR * felt)
        self.fright = np.minimum(_FRIGHT_MAX, self.fright + _FRIGHT * felt)

    def _calm(self, seconds: float) -> None:
        self.stir = self.stir * 0.5 ** (seconds / _STIR_HALF_S)
        self.fright = self.fright * 0.5 ** (seconds / _FRIGHT_HALF_S)

    def _strike(self, walked: Values, news: News, at_ns: Instant, step_s: float) -> None:
        steps = walked.shape[1]
        place = min(steps - 1, int((news.at_ns - at_ns) / NS_PER_S / step_s))
        after: Values = np.arange(steps - place, dtype=np.float64) * step_s
        share = _AT_ONCE + (1 - _AT_ONCE) * (1 - np.exp(-after / _REST_S))
        share[-1] = 1.0  # what is left of it when the block ends
        walked[:, place:] += np.outer(self._reach(news), share)

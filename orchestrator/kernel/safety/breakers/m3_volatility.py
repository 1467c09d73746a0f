"""M3: a market that moves far more than it did over the last day."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import deque

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.money import Price
from orchestrator.model.safety import Effect
from orchestrator.model.time import MINUTE_NS, Instant

_KEEP = 0.9  # weight of the past in the EWMA of absolute one-minute returns: six minutes' half-life
_DAY = 1_440  # samples, one a minute
_SAMPLES_MIN = 60
_PAUSE_MINUTES = 5  # after so long without a price the next return says nothing of a minute


class Volatility:
    """EWMA of an instrument's one-minute returns, and its median of 24 h; live view only.

    Cheap but for one tick a minute. Statistics, so floats; no order is made of them.
    """

    __slots__ = ("_ewma", "_minute", "_ordered", "_price", "_samples")

    def __init__(self) -> None:
        self._minute = 0
        self._price = 0.0
        self._ewma: float | None = None
        self._samples: deque[float] = deque()
        self._ordered: list[float] = []

    def minute_over(self, price: Price, at: Instant) -> None:
        """The first price of a minute, `at` on the market's clock."""
        minute, now = at // MINUTE_NS, float(price)
        before, passed = self._price, minute - self._minute
        self._minute, self._price = minute, now
        if before <= 0 or not 0 < passed <= _PAUSE_MINUTES:
            return
        moved = abs(math.log(now / before)) / math.sqrt(passed)
        self._ewma = moved if self._ewma is None else _KEEP * self._ewma + (1 - _KEEP) * moved
        self._keep(self._ewma)

    def _keep(self, sample: float) -> None:
        if len(self._samples) >= _DAY:
            oldest = self._samples.popleft()
            del self._ordered[bisect_left(self._ordered, oldest)]
        self._samples.append(sample)
        insort(self._ordered, sample)

    @property
    def ratio(self) -> float | None:
        """EWMA over its median; None with less than an hour of minutes, or a market at rest."""
        if self._ewma is None or len(self._ordered) < _SAMPLES_MIN:
            return None
        median = self._ordered[len(self._ordered) // 2]
        return self._ewma / median if median > 0 else None


def m3_volatility(volatility: Volatility, limits: BreakerLimits) -> tuple[Effect, str] | None:
    """EWMA of 1-min returns > 4 x its 24 h median: scale 0.5; > 8 x: block."""
    ratio = volatility.ratio
    if ratio is None or ratio <= limits.volatility_scale_at:
        return None
    text = f"one-minute returns are {ratio:.1f} x their 24 h median"
    if ratio > limits.volatility_block_at:
        return Effect.BLOCK, f"{text}, limit {limits.volatility_block_at}"
    return Effect.SCALE, f"{text}, over {limits.volatility_scale_at}"

"""M2: the spread against its own median of the last hour, kept incrementally."""

from __future__ import annotations

from collections import deque
from decimal import Decimal

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import NS_PER_S, Instant

_SAMPLE_NS = 10 * NS_PER_S
_SAMPLES_MAX = 360  # one hour
_SAMPLES_MIN = 30
# Before there is a median only a spread far beyond the smallest seen can be called blown out.
_EARLY_FACTOR = Decimal(10)


class SpreadRing:
    """One sample of an instrument's spread every 10 s for an hour; bounded, live view only.

    `cap`: the instrument's widest spread by the settings. `suspect`: a spread above it may be too
    wide; below it nothing has to be worked out.
    """

    __slots__ = ("_samples", "cap", "due_ns", "median", "smallest", "suspect")

    def __init__(self, cap: Decimal | None = None) -> None:
        self._samples: deque[Decimal] = deque(maxlen=_SAMPLES_MAX)
        self.due_ns: Instant = 0  # of the next sample
        self.cap = cap
        self.median: Decimal | None = None
        self.smallest: Decimal | None = None
        self.suspect = Decimal(0)

    def add(self, spread: Decimal, at: Instant) -> None:
        """One tick in 10 s sorts at most 360 numbers; one that is not due and not smaller than
        `smallest` changes nothing and need not be given.
        """
        if self.smallest is None or spread < self.smallest:
            self.smallest = spread
            self._suspect()
        if at < self.due_ns:
            return
        self.due_ns = at + _SAMPLE_NS
        self._samples.append(spread)
        if len(self._samples) >= _SAMPLES_MIN:
            ordered = sorted(self._samples)
            self.median = ordered[len(ordered) // 2]
            self._suspect()

    def _suspect(self) -> None:
        """No factor is below 1: what is not wider than the median, or the smallest, is fine."""
        usual = self.smallest if self.median is None else self.median
        if usual is not None:
            self.suspect = usual if self.cap is None else min(usual, self.cap)


def m2_spread(spread: Decimal, ring: SpreadRing, limits: BreakerLimits) -> str | None:
    """> 4 x the 1 h median, or the instrument's cap; with < 30 samples > 10 x the smallest seen."""
    if spread <= ring.suspect:
        return None
    if ring.cap is not None and spread > ring.cap:
        return f"spread {spread} is over its cap {ring.cap}"
    if ring.median is not None:
        if spread > limits.spread_factor * ring.median:
            return f"spread {spread} is over {limits.spread_factor} x its median {ring.median}"
        return None
    if ring.smallest is not None and spread > _EARLY_FACTOR * ring.smallest:
        return f"spread {spread} is over {_EARLY_FACTOR} x the smallest seen {ring.smallest}"
    return None

"""Small statistics that grow value by value: no history is walked, every memory has a bound."""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections import OrderedDict, deque
from collections.abc import Hashable
from statistics import NormalDist
from typing import Generic, TypeVar

_NORMAL = NormalDist()
_EULER_GAMMA = 0.5772156649015329
_SPREADLESS = 1e-12  # a variance below this is a constant series

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


def clamp(value: float, low: float, high: float) -> float:
    """`value` inside [low, high]; a NaN gives `low`."""
    return low if math.isnan(value) else min(high, max(low, value))


def normal_cdf(z: float) -> float:
    """Probability that a standard normal lies below z."""
    return 0.5 * (1 + math.erf(z / math.sqrt(2)))


def normal_quantile(p: float) -> float:
    """The z below which a standard normal lies with probability p, 0 < p < 1 (Wichura AS241)."""
    return _NORMAL.inv_cdf(p)


def t_quantile(p: float, freedom: float) -> float:
    """Student's t quantile by its Cornish-Fisher series (Abramowitz and Stegun 26.7.5).

    Within 1 % for p in [0.01, 0.99] and freedom >= 5.
    """
    z = normal_quantile(p)
    first = (z**3 + z) / 4
    second = (5 * z**5 + 16 * z**3 + 3 * z) / 96
    return z + first / freedom + second / freedom**2


class Ewma:
    """Exponentially weighted mean; the first values count equally, so that it starts unbiased."""

    __slots__ = ("_keep", "count", "value")

    def __init__(self, half_life: float) -> None:
        """`half_life`: in values."""
        self._keep = 0.5 ** (1 / half_life)
        self.value = 0.0
        self.count = 0

    def add(self, value: float) -> None:
        self.count += 1
        share = max(1 - self._keep, 1 / self.count)
        self.value += share * (value - self.value)


class WindowMedian:
    """The median of the last `size` values."""

    __slots__ = ("_order", "_size", "_sorted")

    def __init__(self, size: int) -> None:
        self._size = size
        self._order: deque[float] = deque()
        self._sorted: list[float] = []

    def __len__(self) -> int:
        return len(self._order)

    def add(self, value: float) -> None:
        if len(self._order) == self._size:
            gone = self._order.popleft()
            del self._sorted[bisect_left(self._sorted, gone)]
        self._order.append(value)
        insort(self._sorted, value)

    @property
    def value(self) -> float:
        """0 when empty."""
        half, odd = divmod(len(self._sorted), 2)
        if not self._sorted:
            return 0.0
        return self._sorted[half] if odd else (self._sorted[half - 1] + self._sorted[half]) / 2


class PageHinkley:
    """Tells when the mean of a series has fallen (Page 1954; Hinkley 1971).

    Adds up how far values lie below their running mean less `tolerance`; an excess of the sum
    over its own minimum by more than a threshold is a fall.
    """

    __slots__ = ("_low", "_sum", "_tolerance", "count", "mean")

    def __init__(self, tolerance: float) -> None:
        self._tolerance = tolerance
        self.reset()

    def reset(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._sum = 0.0
        self._low = 0.0

    def add(self, value: float) -> None:
        self.count += 1
        self.mean += (value - self.mean) / self.count
        self._sum += self.mean - value - self._tolerance
        self._low = min(self._low, self._sum)

    @property
    def fall(self) -> float:
        """How far the sum stands above its minimum, >= 0; compare it with a threshold."""
        return self._sum - self._low


class Moments:
    """Count, mean and the higher moments of a series (Pebay 2008, one value at a time)."""

    __slots__ = ("_m2", "_m3", "_m4", "count", "mean")

    def __init__(self) -> None:
        self.count = 0
        self.mean = 0.0
        self._m2 = self._m3 = self._m4 = 0.0

    def add(self, value: float) -> None:
        before = self.count
        self.count = n = before + 1
        delta = value - self.mean
        step = delta / n
        term = delta * step * before
        self.mean += step
        self._m4 += (
            term * step**2 * (n * n - 3 * n + 3) + 6 * step**2 * self._m2 - 4 * step * self._m3
        )
        self._m3 += term * step * (n - 2) - 3 * step * self._m2
        self._m2 += term

    @property
    def deviation(self) -> float:
        """Sample standard deviation; 0 below two values."""
        return math.sqrt(max(0.0, self._m2) / (self.count - 1)) if self.count > 1 else 0.0

    @property
    def sharpe(self) -> float:
        """Mean over standard deviation, per value, not annualised; 0 for a constant series."""
        deviation = self.deviation
        return self.mean / deviation if deviation * deviation > _SPREADLESS else 0.0

    @property
    def skewness(self) -> float:
        if self._m2 <= _SPREADLESS:
            return 0.0
        return math.sqrt(self.count) * self._m3 / self._m2**1.5

    @property
    def kurtosis(self) -> float:
        """Not the excess: 3 for a normal."""
        return self.count * self._m4 / self._m2**2 if self._m2 > _SPREADLESS else 3.0

    def mean_bound(self, probability: float) -> float:
        """Student's bound below which the true mean lies with `probability`; +-inf if unknown."""
        side = math.copysign(1.0, probability - 0.5)
        if self.count < 3:  # noqa: PLR2004  a t of at least two degrees of freedom
            return side * math.inf
        error = self.deviation / math.sqrt(self.count)
        return self.mean + t_quantile(probability, self.count - 1) * error


def expected_best_sharpe(trials: int, variance: float) -> float:
    """The Sharpe ratio to expect of the best of `trials` worthless ones.

    `variance`: of the trials' Sharpe ratios. Source: Bailey and Lopez de Prado, "The Deflated
    Sharpe Ratio" (2014), equation 1.
    """
    if trials < 2:  # noqa: PLR2004  a single trial has no best
        return 0.0
    first = normal_quantile(1 - 1 / trials)
    second = normal_quantile(1 - 1 / (trials * math.e))
    return math.sqrt(max(0.0, variance)) * ((1 - _EULER_GAMMA) * first + _EULER_GAMMA * second)


def deflated_sharpe(
    *, sharpe: float, count: int, skewness: float, kurtosis: float, benchmark: float
) -> float:
    """Probability that the true Sharpe ratio is above `benchmark` (the best expected by luck).

    `sharpe` and `benchmark` per value, not annualised. Source: Bailey and Lopez de Prado (2014),
    equation 2. 0 when there is too little to judge by.
    """
    if count < 2:  # noqa: PLR2004  no deviation of one value
        return 0.0
    spread = 1 - skewness * sharpe + (kurtosis - 1) / 4 * sharpe * sharpe
    if spread <= 0:
        return 0.0
    return normal_cdf((sharpe - benchmark) * math.sqrt(count - 1) / math.sqrt(spread))


class Recent(Generic[K, V]):
    """A mapping that holds the `size` keys that were set last and forgets the oldest."""

    __slots__ = ("_items", "_size")

    def __init__(self, size: int) -> None:
        self._items: OrderedDict[K, V] = OrderedDict()
        self._size = size

    def __len__(self) -> int:
        return len(self._items)

    def __contains__(self, key: object) -> bool:
        return key in self._items

    def get(self, key: K) -> V | None:
        return self._items.get(key)

    def set(self, key: K, value: V) -> None:
        self._items[key] = value
        self._items.move_to_end(key)
        if len(self._items) > self._size:
            self._items.popitem(last=False)

    def pop(self, key: K) -> V | None:
        return self._items.pop(key, None)

    def values(self) -> tuple[V, ...]:
        """Oldest first."""
        return tuple(self._items.values())

    def items(self) -> tuple[tuple[K, V], ...]:
        """Oldest first."""
        return tuple(self._items.items())


class Once:
    """Whether a key is new; remembers the last `size` of them, for what may be delivered twice."""

    __slots__ = ("_keys",)

    def __init__(self, size: int = 10_000) -> None:
        self._keys: Recent[Hashable, None] = Recent(size)

    def is_new(self, key: Hashable) -> bool:
        if key in self._keys:
            return False
        self._keys.set(key, None)
        return True

"""Corrects what strategies claim by what became of it: a confidence of 0.5 should win half.

For each strategy, and for each regime of it, the mean difference between hits and claims is kept
(the residual), forgotten with time. The correction is that mean, shrunk towards nothing by a
prior of `prior_trades` trades that went exactly as claimed; a regime's is shrunk towards its
strategy's. So ten lucky trades change little, two hundred much.
"""

from __future__ import annotations

from collections import OrderedDict

from orchestrator.model.time import DAY_NS, Instant

_LOWEST, _HIGHEST = 0.01, 0.95
_REMEMBERED = 4096


class _Residuals:
    """Weighted sums of (hit - claim), halved each half-life of market time."""

    __slots__ = ("_at_ns", "_half_life_ns", "_sum", "_weight")

    def __init__(self, half_life_ns: int) -> None:
        self._half_life_ns = half_life_ns
        self._at_ns: Instant = 0
        self._weight = 0.0
        self._sum = 0.0

    def at(self, now_ns: Instant) -> tuple[float, float]:
        """(weight, sum) as they count now."""
        kept = 0.5 ** (max(0, now_ns - self._at_ns) / self._half_life_ns)
        return self._weight * kept, self._sum * kept

    def add(self, residual: float, now_ns: Instant) -> None:
        weight, total = self.at(now_ns)
        self._weight, self._sum = weight + 1.0, total + residual
        self._at_ns = max(self._at_ns, now_ns)


class Calibration:
    """Online; bounded by strategies times regimes.

    Time heals: a strategy whose claims were cut so far that nobody trades it is believed again,
    a half-life at a time.
    """

    def __init__(self, *, prior_trades: float = 30.0, half_life_days: float = 10.0) -> None:
        if prior_trades <= 0 or half_life_days <= 0:
            raise ValueError("prior_trades and half_life_days must be above 0")
        self._prior = prior_trades
        self._half_life_ns = round(half_life_days * DAY_NS)
        self._kept: dict[tuple[str, str], _Residuals] = {}
        self._learned: OrderedDict[str, None] = OrderedDict()

    def learn(
        self,
        *,
        signal_id: str,
        strategy: str,
        regime: str,
        claim: float,
        hit: bool,
        at_ns: Instant,
    ) -> None:
        """One signal counts once, on however many accounts it was traded."""
        if signal_id in self._learned:
            return
        self._learned[signal_id] = None
        if len(self._learned) > _REMEMBERED:
            self._learned.popitem(last=False)
        residual = float(hit) - claim
        for key in ((strategy, ""), (strategy, regime)):
            kept = self._kept.setdefault(key, _Residuals(self._half_life_ns))
            kept.add(residual, at_ns)

    def confidence(self, strategy: str, regime: str, claim: float, now_ns: Instant) -> float:
        """The claim, corrected; between 0.01 and 0.95."""
        overall = self._shrunk((strategy, ""), 0.0, now_ns)
        correction = self._shrunk((strategy, regime), overall, now_ns)
        return min(_HIGHEST, max(_LOWEST, claim + correction))

    def _shrunk(self, key: tuple[str, str], prior: float, now_ns: Instant) -> float:
        kept = self._kept.get(key)
        if kept is None:
            return prior
        weight, total = kept.at(now_ns)
        return (total + self._prior * prior) / (weight + self._prior)

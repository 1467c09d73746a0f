"""Drift: has a strategy stopped earning what it used to?"""

from __future__ import annotations

from orchestrator.agents.quotes import teaches
from orchestrator.agents.statistics import Once, PageHinkley, Recent, clamp
from orchestrator.model.outcomes import TradeOutcome
from orchestrator.model.time import HOUR_NS, Instant

_STRATEGIES_MAX = 500
_R_MAX = 5.0  # one outcome alone must not look like a drift
_OUTCOMES_MIN = 8


class _Watch:
    __slots__ = ("at_ns", "test")

    def __init__(self, tolerance: float) -> None:
        self.test = PageHinkley(tolerance)
        self.at_ns: Instant = 0


class Drift:
    """Page-Hinkley on R, for each strategy.

    A fall of more than `threshold` R (summed below the running mean) halves the size; one of more
    than twice that refuses. The sum falls by itself as outcomes return to the mean. A strategy
    that is refused has no more outcomes, so after `rest_h` hours it starts anew, at half size
    until it has closed `_OUTCOMES_MIN` trades.
    """

    def __init__(self, *, threshold: float, tolerance: float, rest_h: float) -> None:
        self._threshold = threshold
        self._tolerance = tolerance
        self._rest_ns = round(rest_h * HOUR_NS)
        self._watches: Recent[str, _Watch] = Recent(_STRATEGIES_MAX)
        self._rested: Recent[str, None] = Recent(_STRATEGIES_MAX)
        self._once = Once()

    def learn(self, outcome: TradeOutcome) -> None:
        if not teaches(outcome) or not self._once.is_new((outcome.account_id, outcome.trade_id)):
            return
        watch = self._watches.get(outcome.strategy) or _Watch(self._tolerance)
        watch.test.add(clamp(float(outcome.r_multiple), -_R_MAX, _R_MAX))
        watch.at_ns = max(watch.at_ns, outcome.closed_ns)
        self._watches.set(outcome.strategy, watch)
        if watch.test.count >= _OUTCOMES_MIN:
            self._rested.pop(outcome.strategy)

    def scale(self, strategy: str, now_ns: Instant) -> tuple[float, str]:
        """0 refuses; 0.5 or 1; and why."""
        watch = self._watches.get(strategy)
        if watch is None or watch.test.count < _OUTCOMES_MIN:
            if strategy in self._rested:
                return 0.5, f"{strategy} starts anew after a drift: half size"
            return 1.0, ""
        fall, limit = watch.test.fall, self._threshold
        if fall <= limit:
            return 1.0, ""
        text = f"{strategy} drifted: {fall:.1f} R below its mean of {watch.test.mean:+.2f} R"
        if fall <= 2 * limit:
            return 0.5, f"{text}, limit {limit:.1f}: half size"
        if now_ns - watch.at_ns < self._rest_ns:
            return 0.0, f"{text}, limit {2 * limit:.1f}"
        watch.test.reset()
        self._rested.set(strategy, None)
        return 0.5, f"{strategy} starts anew after a drift: half size"

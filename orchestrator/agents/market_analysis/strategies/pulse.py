"""For showing the path only: every few bars a wish in the direction of the last ones.

It is not among the shipped strategies, has no edge and claims one so that the stages let it pass:
on the paper venue a newcomer then sees a signal at almost every minute. Not for money.
"""

from __future__ import annotations

from orchestrator.agents.market_analysis.indicators import Ema
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)
from orchestrator.model.time import MINUTE_NS


class Pulse(Strategy):
    """Every `every` minutes, at a minute of its own for each instrument, with the fast average."""

    summary = "A regular wish, to show the path on the paper venue"

    def __init__(self, *, every: int = 4, average: int = 5, reward_to_risk: float = 1.5) -> None:
        """`every` in minutes, at least 2; `average` in bars of M1."""
        if every < 2 or reward_to_risk <= 0:  # noqa: PLR2004 - between two wishes there is none
            raise ValueError("every must be at least 2 and reward_to_risk above 0")
        self.timeframe = "M1"
        self._every = every
        self._average = Ema(average)
        self._reward = reward_to_risk

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        average = self._average.update(bar.close)
        turn = bar.end_ns // MINUTE_NS + sum(map(ord, context.instrument))
        if average is None or turn % self._every:
            return None
        stop = context.stop(2.5)
        return Wish(
            side=Side.BUY if bar.close > average else Side.SELL,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=min(0.95, fair(self._reward) + 0.09),
            note="the regular wish of the demonstration",
        )

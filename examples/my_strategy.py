"""A strategy of your own: buys a row of rising bars, sells a row of falling ones.

Set it going in orchestrator.toml:

    [strategies.my_strategy]
    path = "examples/my_strategy.py:MyStrategy"
    params = { timeframe = "M1", row = 4 }
"""

from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)


class MyStrategy(Strategy):
    """`row` bars in one direction, each closing beyond the one before, while nothing storms."""

    def __init__(self, *, timeframe: str = "M5", row: int = 3, reward_to_risk: float = 1.5) -> None:
        self.timeframe = timeframe
        self._row = row
        self._reward = reward_to_risk
        self._count = 0  # above 0: rising bars in a row; below 0: falling ones

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        step = 1 if bar.close > bar.open else -1
        self._count = self._count + step if self._count * step > 0 else step
        if abs(self._count) < self._row or context.regime == "volatile":
            return None
        stop = context.stop(2.0)  # 2 ATRs, but never so near that the spread eats it
        return Wish(
            side=Side.BUY if self._count > 0 else Side.SELL,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=fair(self._reward) + 0.06,
            note=f"{abs(self._count)} bars in a row",
            features=(("row", float(self._count)),),
        )

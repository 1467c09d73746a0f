"""Joins a trend when a step back against it ends."""

from __future__ import annotations

from orchestrator.agents.market_analysis.indicators import Ema
from orchestrator.agents.market_analysis.regime import TREND_DOWN, TREND_UP, VOLATILE
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)


class Pullback(Strategy):
    """A bar dips beyond the fast EMA against the trend, and a later one closes past its other end.

    The trend: fast EMA beyond slow EMA, and the regime of `above` (a coarser timeframe) does not
    say the opposite.
    """

    summary = "Resumption of a trend after a step back"

    def __init__(
        self,
        *,
        timeframe: str = "M5",
        above: str = "M15",
        fast: int = 9,
        slow: int = 34,
        adx_min: float = 18.0,
        patience: int = 3,
        stop_atrs: float = 2.5,
        reward_to_risk: float = 1.5,
        edge: float = 0.07,
        edge_max: float = 0.12,
    ) -> None:
        """`fast`, `slow` in bars; `patience`: within so many bars the dip must end.

        `edge`, `edge_max`: see TrendFollowing.
        """
        if not fast < slow:
            raise ValueError(f"fast ({fast}) must be below slow ({slow})")
        if reward_to_risk <= 0 or stop_atrs <= 0 or patience < 1:
            raise ValueError("reward_to_risk and stop_atrs must be above 0, patience at least 1")
        self.timeframe = timeframe
        self._above = above
        self._fast = Ema(fast)
        self._slow = Ema(slow)
        self._adx_min = adx_min
        self._patience = patience
        self._stop_atrs = stop_atrs
        self._reward = reward_to_risk
        self._edge = edge
        self._edge_max = edge_max
        self._dip: tuple[Side, float, int] | None = None  # side to join, price to pass, bars left

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        fast, slow = self._fast.update(bar.close), self._slow.update(bar.close)
        if fast is None or slow is None:
            return None
        side = Side.BUY if fast > slow else Side.SELL
        joined = self._dip_ends(side, bar)
        self._look_for_dip(side, bar, fast)
        if not joined or context.adx < self._adx_min or context.regime == VOLATILE:
            return None
        opposite = TREND_DOWN if side is Side.BUY else TREND_UP
        if context.regime_of(self._above) == opposite:
            return None
        return self._wish(side, context)

    def _dip_ends(self, side: Side, bar: Bar) -> bool:
        """Whether this bar's close passes the far end of a dip that still counts."""
        if self._dip is None or self._dip[0] is not side or self._dip[2] == 0:
            self._dip = None
            return False
        _, level, left = self._dip
        passed = bar.close > level if side is Side.BUY else bar.close < level
        self._dip = None if passed else (side, level, left - 1)
        return passed

    def _look_for_dip(self, side: Side, bar: Bar, fast: float) -> None:
        if side is Side.BUY and bar.low < fast and bar.close < bar.open:
            self._dip = (side, bar.high, self._patience)
        elif side is Side.SELL and bar.high > fast and bar.close > bar.open:
            self._dip = (side, bar.low, self._patience)

    def _wish(self, side: Side, context: Context) -> Wish:
        stop = context.stop(self._stop_atrs)
        strength = min(1.0, max(0.0, (context.adx - self._adx_min) / 22.0))
        return Wish(
            side=side,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=min(
                0.95,
                fair(self._reward) + self._edge + (self._edge_max - self._edge) * strength,
            ),
            note=f"a step back against the trend ended, ADX {context.adx:.0f}",
            features=(("plus_di", context.plus_di), ("minus_di", context.minus_di)),
        )

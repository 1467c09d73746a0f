"""Buys new highs and sells new lows of a channel while a trend is strong and averages agree."""

from __future__ import annotations

from orchestrator.agents.market_analysis.indicators import Donchian, Ema
from orchestrator.agents.market_analysis.regime import VOLATILE
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)


class TrendFollowing(Strategy):
    """Breakout of the Donchian channel, in the direction of two EMAs, with enough ADX."""

    summary = "Breakout of a price channel in the direction of a trend"

    def __init__(
        self,
        *,
        timeframe: str = "M5",
        channel: int = 20,
        fast: int = 10,
        slow: int = 40,
        adx_min: float = 18.0,
        stop_atrs: float = 2.5,
        reward_to_risk: float = 1.5,
        edge: float = 0.07,
        edge_max: float = 0.14,
    ) -> None:
        """`channel`, `fast`, `slow` in bars; `stop_atrs` in ATRs.

        `edge`: what the weakest setup is claimed to add to the chance of a driftless price;
        `edge_max`: what the strongest does (ADX far above its minimum, and a straight line).
        """
        if not fast < slow:
            raise ValueError(f"fast ({fast}) must be below slow ({slow})")
        if reward_to_risk <= 0 or stop_atrs <= 0:
            raise ValueError("reward_to_risk and stop_atrs must be above 0")
        self.timeframe = timeframe
        self._channel = Donchian(channel)
        self._fast = Ema(fast)
        self._slow = Ema(slow)
        self._adx_min = adx_min
        self._stop_atrs = stop_atrs
        self._reward = reward_to_risk
        self._edge = edge
        self._edge_max = edge_max

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        before = self._channel.value
        self._channel.update(bar.high, bar.low)
        fast, slow = self._fast.update(bar.close), self._slow.update(bar.close)
        if before is None or fast is None or slow is None:
            return None
        if context.adx < self._adx_min or context.regime == VOLATILE:
            return None
        lower, upper = before
        if bar.close > upper and fast > slow:
            return self._wish(Side.BUY, bar.close - upper, context)
        if bar.close < lower and fast < slow:
            return self._wish(Side.SELL, lower - bar.close, context)
        return None

    def _wish(self, side: Side, beyond: float, context: Context) -> Wish:
        stop = context.stop(self._stop_atrs)
        strength = min(1.0, max(0.0, (context.adx - self._adx_min) / 22.0)) * context.er
        edge = self._edge + (self._edge_max - self._edge) * strength
        return Wish(
            side=side,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=min(0.95, fair(self._reward) + edge),
            note=f"close beyond the channel, ADX {context.adx:.0f}, ER {context.er:.2f}",
            features=(("beyond_atr", beyond / context.atr if context.atr > 0 else 0.0),),
        )

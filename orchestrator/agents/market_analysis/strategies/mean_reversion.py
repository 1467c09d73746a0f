"""Fades a stretch away from the mean while the market has no direction."""

from __future__ import annotations

from orchestrator.agents.market_analysis.indicators import Bollinger
from orchestrator.agents.market_analysis.regime import QUIET, RANGE
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)

_RSI_MIDDLE = 50.0


class MeanReversion(Strategy):
    """A close outside the Bollinger bands with an extreme RSI, in a range or quiet regime."""

    summary = "Return to the mean after a stretch, in a market without direction"

    def __init__(
        self,
        *,
        timeframe: str = "M5",
        bands: int = 20,
        width: float = 1.8,
        rsi_low: float = 36.0,
        adx_max: float = 28.0,
        stop_atrs: float = 2.5,
        reward_to_risk: float = 1.2,
        edge: float = 0.075,
        edge_max: float = 0.14,
    ) -> None:
        """`bands` in bars, `width` in standard deviations; `rsi_low` to buy, 100 less it to sell.

        `edge` and `edge_max` as in TrendFollowing: the strongest setup is one RSI-low beyond.
        """
        if not 0 < rsi_low < _RSI_MIDDLE:
            raise ValueError(f"rsi_low must lie between 0 and 50, not {rsi_low}")
        if reward_to_risk <= 0 or stop_atrs <= 0:
            raise ValueError("reward_to_risk and stop_atrs must be above 0")
        self.timeframe = timeframe
        self._bands = Bollinger(bands, width)
        self._rsi_low = rsi_low
        self._adx_max = adx_max
        self._stop_atrs = stop_atrs
        self._reward = reward_to_risk
        self._edge = edge
        self._edge_max = edge_max

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        bands = self._bands.update(bar.close)
        if bands is None or context.regime not in (RANGE, QUIET) or context.adx > self._adx_max:
            return None
        lower, middle, upper = bands
        if bar.close < lower and context.rsi <= self._rsi_low:
            return self._wish(Side.BUY, context.rsi, middle - bar.close, context)
        if bar.close > upper and context.rsi >= 100 - self._rsi_low:
            return self._wish(Side.SELL, 100 - context.rsi, bar.close - middle, context)
        return None

    def _wish(self, side: Side, rsi: float, stretch: float, context: Context) -> Wish:
        stop = context.stop(self._stop_atrs)
        strength = min(1.0, max(0.0, (self._rsi_low - rsi) / self._rsi_low * 2))
        edge = self._edge + (self._edge_max - self._edge) * strength
        return Wish(
            side=side,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=min(0.95, fair(self._reward) + edge),
            note=f"outside the bands in a {context.regime} market, RSI {context.rsi:.0f}",
            features=(("stretch_atr", stretch / context.atr if context.atr > 0 else 0.0),),
        )

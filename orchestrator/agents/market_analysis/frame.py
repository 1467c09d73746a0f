"""One instrument in one timeframe: the indicators that all strategies share, and the regime."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.agents.market_analysis.indicators import (
    Adx,
    Atr,
    EfficiencyRatio,
    Ema,
    PercentileRank,
    Rsi,
)
from orchestrator.agents.market_analysis.regime import Regime
from orchestrator.agents.market_analysis.strategies.base import Bar, Context

if TYPE_CHECKING:
    from orchestrator.model.money import InstrumentName

_PERIOD = 14
_ER_PERIOD = 20
_SPREAD_PERIOD = 10


class Frame:
    """Updated once for each finished bar; `context` is what strategies are shown."""

    def __init__(self, instrument: InstrumentName) -> None:
        self._instrument = instrument
        self._atr = Atr(_PERIOD)
        self._adx = Adx(_PERIOD)
        self._rsi = Rsi(_PERIOD)
        self._er = EfficiencyRatio(_ER_PERIOD)
        self._rank = PercentileRank()
        self._spread = Ema(_SPREAD_PERIOD)
        self._regime = Regime()
        self.context = Context(instrument=instrument)

    @property
    def regime(self) -> str:
        return self._regime.value

    def update(self, bar: Bar) -> None:
        atr = self._atr.update(bar.high, bar.low, bar.close)
        adx = self._adx.update(bar.high, bar.low, bar.close)
        rsi = self._rsi.update(bar.close)
        er = self._er.update(bar.close)
        spread = self._spread.update(bar.spread)
        rank = None if atr is None else self._rank.update(atr)
        if atr is None or adx is None or rsi is None or er is None or spread is None:
            return
        percentile = 0.5 if rank is None else rank
        self.context = Context(
            instrument=self._instrument,
            ready=atr > 0,
            regime=self._regime.update(adx, er, self._er.net, percentile),
            atr=atr,
            adx=adx,
            plus_di=self._adx.plus_di,
            minus_di=self._adx.minus_di,
            rsi=rsi,
            er=er,
            atr_percentile=percentile,
            spread=max(spread, bar.spread),
        )

"""The shape of a strategy: a finished bar and its surroundings come in, perhaps a wish goes out."""

from __future__ import annotations

from typing import ClassVar

import msgspec

from orchestrator.agents.market_analysis.candles import Bar
from orchestrator.agents.market_analysis.regime import UNKNOWN
from orchestrator.model.money import InstrumentName, Side

__all__ = ["Bar", "Context", "InstrumentName", "Side", "Strategy", "Wish"]

STOP_SPREADS = 8.0  # check C06 refuses a spread above 25 % of the stop: twice that, for its jumps


class Context(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of the instrument in the bar's timeframe, the bar included.

    `atr` and `spread` (a mean over bars) are prices; `adx`, `plus_di`, `minus_di`, `rsi` run from
    0 to 100; `er` (efficiency ratio) and `atr_percentile` from 0 to 1. While `ready` is false
    these are not all known yet and stand at neutral values; wishes are then not passed on, so a
    strategy should only feed its own indicators. `regimes`: (timeframe, regime) of each timeframe.
    """

    instrument: InstrumentName
    ready: bool = False
    regime: str = UNKNOWN
    atr: float = 0.0
    adx: float = 0.0
    plus_di: float = 0.0
    minus_di: float = 0.0
    rsi: float = 50.0
    er: float = 0.0
    atr_percentile: float = 0.5
    spread: float = 0.0
    regimes: tuple[tuple[str, str], ...] = ()

    def stop(self, atrs: float, at_least: float = 0.0) -> float:
        """A stop distance of `atrs` ATRs that the kernel's spread checks can accept."""
        return max(atrs * self.atr, STOP_SPREADS * self.spread, at_least)

    def regime_of(self, timeframe: str) -> str:
        """Another timeframe's regime; "unknown" where it is not kept."""
        return next((regime for name, regime in self.regimes if name == timeframe), UNKNOWN)


class Wish(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What a strategy would trade at the next price. Distances are positive prices.

    `confidence`: the probability, 0 < c < 1, that the target is reached before the stop. For a
    price that wanders without direction it is 1 / (1 + reward to risk): see `fair`.
    `features`: (name, number) pairs of what it saw, kept for learning.
    """

    side: Side
    stop_distance: float
    target_distance: float | None
    confidence: float
    note: str = ""
    features: tuple[tuple[str, float], ...] = ()


def fair(reward_to_risk: float) -> float:
    """The chance that a driftless price meets the target before the stop (gambler's ruin)."""
    return 1.0 / (1.0 + reward_to_risk)


class Strategy:
    """A small plug-in: one instance for each instrument, called with each finished bar in order.

    Parameters are keyword arguments of `__init__` with defaults; `timeframe` may be one of them.
    `on_bar` is first called with history (its wishes are then discarded), so that indicators are
    warm when prices come. It may return the same wish while a setup lasts: the agent passes on
    only the first. An exception ends the strategy's work on that instrument, and is an alert.
    """

    summary: ClassVar[str] = ""
    timeframe: str = "M1"

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        """None, or what to trade now."""
        raise NotImplementedError

"""The shipped strategies, and how a strategy of any origin is given its parameters."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TypeAlias, cast

from orchestrator.agents.market_analysis.candles import MINUTES
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    InstrumentName,
    Side,
    Strategy,
    Wish,
    fair,
)
from orchestrator.agents.market_analysis.strategies.mean_reversion import MeanReversion
from orchestrator.agents.market_analysis.strategies.pullback import Pullback
from orchestrator.agents.market_analysis.strategies.pulse import Pulse
from orchestrator.agents.market_analysis.strategies.session_breakout import SessionBreakout
from orchestrator.agents.market_analysis.strategies.trend_following import TrendFollowing

__all__ = [
    "DEMO", "SHIPPED", "Bar", "Context", "InstrumentName", "MeanReversion", "Pullback", "Pulse",
    "SessionBreakout", "Side", "Strategy", "StrategyMaker", "TrendFollowing", "Wish",
    "check_maker", "check_name", "demo_makers", "fair", "maker_of", "shipped_makers",
]  # fmt: skip

StrategyMaker: TypeAlias = Callable[[], Strategy]  # one instance for each instrument

SHIPPED: dict[str, type[Strategy]] = {
    "trend_following": TrendFollowing,
    "mean_reversion": MeanReversion,
    "pullback": Pullback,
    "session_breakout": SessionBreakout,
}

# For the paper venue: minutes instead of five, and easy thresholds, so that a newcomer sees the
# whole path within two minutes. Far too busy for money: the spread alone is an eighth of each stop.
DEMO: dict[str, dict[str, object]] = {
    "trend_following": {"timeframe": "M1", "channel": 8, "fast": 5, "slow": 20, "adx_min": 10.0},
    "mean_reversion": {"timeframe": "M1", "width": 1.3, "rsi_low": 45.0, "adx_max": 40.0},
    "pullback": {"timeframe": "M1", "fast": 5, "slow": 13, "adx_min": 8.0, "patience": 4},
}

_NAME = re.compile(r"[a-z][a-z0-9_]{0,23}")  # it is a part of every signal's id


def check_name(name: str) -> None:
    """ValueError for a name that a signal's id cannot hold."""
    if _NAME.fullmatch(name) is None:
        raise ValueError(f"strategy name {name!r} must match {_NAME.pattern}")


def maker_of(
    name: str, kind: type[Strategy], parameters: Mapping[str, object] | None = None
) -> StrategyMaker:
    """Makes instances of `kind` with these parameters, one for each instrument.

    Lists become tuples, as TOML has no other. One instance is made at once, so that a mistake in
    the settings is found at start: ValueError says which strategy and what is wrong.
    """
    if not _is_strategy(kind):
        raise ValueError(f"strategy {name}: {kind!r} is not a subclass of Strategy")
    given = {key: _frozen(value) for key, value in (parameters or {}).items()}

    def make() -> Strategy:
        return kind(**given)

    check_maker(name, make)
    return make


def _is_strategy(kind: object) -> bool:
    return isinstance(kind, type) and issubclass(kind, Strategy)


def _frozen(value: object) -> object:
    return tuple(cast("list[object]", value)) if isinstance(value, list) else value


def check_maker(name: str, make: StrategyMaker) -> None:
    """Makes an instance to see whether it can be: ValueError names the strategy and the trouble."""
    check_name(name)
    try:
        timeframe = make().timeframe
    except (TypeError, ValueError) as exc:
        raise ValueError(f"strategy {name}: {exc}") from exc
    if timeframe not in MINUTES:
        raise ValueError(
            f"strategy {name}: timeframe {timeframe!r} is not one of {', '.join(MINUTES)}"
        )


def shipped_makers(
    parameters: Mapping[str, Mapping[str, object]] | None = None,
) -> dict[str, StrategyMaker]:
    """Every shipped strategy; `parameters` by name where they differ from the defaults.

    ValueError for a name that is not shipped, and for parameters that a strategy does not take.
    """
    given = parameters or {}
    unknown = sorted(given.keys() - SHIPPED.keys())
    if unknown:
        raise ValueError(f"strategy {unknown[0]!r} is not one of {', '.join(SHIPPED)}")
    return {name: maker_of(name, kind, given.get(name)) for name, kind in SHIPPED.items()}


def demo_makers() -> dict[str, StrategyMaker]:
    """The set for the paper venue where the user chose none: DEMO, and a regular `pulse`."""
    return {**shipped_makers(DEMO), "pulse": maker_of("pulse", Pulse)}

"""Market Analysis: candles, indicators, regimes, and strategies as small plug-ins."""

from orchestrator.agents.market_analysis.agent import MarketAnalysis
from orchestrator.agents.market_analysis.strategies import (
    DEMO,
    SHIPPED,
    demo_makers,
    maker_of,
    shipped_makers,
)

__all__ = ["DEMO", "SHIPPED", "MarketAnalysis", "demo_makers", "maker_of", "shipped_makers"]

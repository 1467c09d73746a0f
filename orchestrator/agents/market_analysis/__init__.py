"""Market Analysis: candles, indicators, regimes, and strategies as small plug-ins."""

from orchestrator.agents.market_analysis.agent import MarketAnalysis

__all__ = ["MarketAnalysis"]

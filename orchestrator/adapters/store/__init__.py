"""The journal, its projections, and market data on disk."""

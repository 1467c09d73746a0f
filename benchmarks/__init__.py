"""Figures for SPEC 14, each beside a floor of the same run: `python -m benchmarks`."""

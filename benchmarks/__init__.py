"""First figures for SPEC 14, each beside a floor measured in the same run: `python -m benchmarks`."""

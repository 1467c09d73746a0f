"""Recorded runs: all that a kernel heard, prices included, and what it decided (SAFETY R7)."""

"""M1: an instrument's prices are too old to trust."""

from __future__ import annotations

from orchestrator.kernel.safety.view import seconds_text
from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


def m1_stale(
    tick_ns: Instant | None, stream_ns: Instant, now: Instant, limits: BreakerLimits
) -> str | None:
    """Pricing stream silent > 7 s, or the last tick > 60 s old (or none in this life)."""
    if tick_ns is None:
        return "no price yet"
    silent = now - stream_ns
    if silent > seconds(limits.stale_stream_s):
        return f"pricing stream silent for {seconds_text(silent)}"
    age = now - tick_ns
    if age > seconds(limits.stale_tick_s):
        return f"last tick {seconds_text(age)} ago"
    return None

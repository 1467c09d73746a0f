"""S6: the broker is away, or delivers later than a signal lives."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits


def s6_bus(silent_ms: int, lag_ms: int, ttl_ms: int, limits: BreakerLimits) -> str | None:
    """Unreachable > 2 s, or delivery lag > the longest time to live of a signal."""
    if silent_ms > limits.bus_silent_ms_max:
        return f"the broker is away for {silent_ms} ms, limit {limits.bus_silent_ms_max} ms"
    if lag_ms > ttl_ms:
        return f"the broker delivers {lag_ms} ms late, a signal lives {ttl_ms} ms"
    return None

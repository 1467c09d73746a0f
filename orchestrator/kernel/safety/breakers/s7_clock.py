"""S7: our UTC cannot be trusted: it stepped, or it is not the venue's."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits


def s7_clock(stepped_ms: int, venue_off_ms: int | None, limits: BreakerLimits) -> str | None:
    """UTC stepped against monotonic by > 250 ms; UTC against the venue's `Date` > 2 s."""
    if abs(stepped_ms) > limits.clock_step_ms_max:
        return f"UTC stepped by {stepped_ms} ms, limit {limits.clock_step_ms_max} ms"
    if venue_off_ms is not None and abs(venue_off_ms) > limits.clock_venue_ms_max:
        return f"the venue's clock is {venue_off_ms} ms off, limit {limits.clock_venue_ms_max} ms"
    return None

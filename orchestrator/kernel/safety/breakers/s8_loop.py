"""S8: the event loop comes late: whatever it would decide is late as well."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits


def s8_loop(lag_ms: int, limits: BreakerLimits) -> str | None:
    """Event-loop lag > 250 ms. Beats that are missing altogether are the guard's matter (G4)."""
    if lag_ms > limits.loop_lag_ms_max:
        return f"the event loop was {lag_ms} ms late, limit {limits.loop_lag_ms_max} ms"
    return None

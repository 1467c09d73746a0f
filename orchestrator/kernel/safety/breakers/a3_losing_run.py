"""A3: an account that loses one trade after another takes a break."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


def a3_losing_run(
    run: int, stop_outs: Sequence[Instant], now: Instant, limits: BreakerLimits
) -> str | None:
    """5 losing trades in a row, or 3 stop-outs (at a loss) in 30 min."""
    if run >= limits.losing_run:
        return f"{run} losing trades in a row, limit {limits.losing_run}"
    window = seconds(limits.stop_outs_window_s)
    recent = sum(1 for at in stop_outs if now - at <= window)
    if recent >= limits.stop_outs:
        return f"{recent} stop-outs in {limits.stop_outs_window_s} s, limit {limits.stop_outs}"
    return None

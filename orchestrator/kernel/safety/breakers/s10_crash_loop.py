"""S10: the service dies again and again."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


def s10_crash_loop(unclean: Sequence[Instant], now: Instant, limits: BreakerLimits) -> str | None:
    """3 unclean starts in 10 min; `unclean` are their times, this start's included."""
    recent = sum(1 for at in unclean if 0 <= now - at <= seconds(limits.unclean_window_s))
    if recent < limits.unclean_starts:
        return None
    return f"{recent} unclean starts in {limits.unclean_window_s} s, limit {limits.unclean_starts}"

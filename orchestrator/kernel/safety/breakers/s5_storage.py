"""S5: a durable write failed; it takes good writes and time to trust the store again."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


def s5_healed(good_writes: int, failed_ns: Instant, now: Instant, limits: BreakerLimits) -> bool:
    """10 good writes in a row, and 10 s since the last failure."""
    enough = good_writes >= limits.storage_good_writes
    return enough and now - failed_ns >= seconds(limits.storage_clear_s)

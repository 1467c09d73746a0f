"""S5: a durable write failed, is slow, or has no room; it takes good writes and time to heal."""

from __future__ import annotations

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


def s5_storage(flush_ms: int | None, free_mb: int | None, limits: BreakerLimits) -> str | None:
    """Flush p99 > 500 ms over 10 s, or less than 500 MB free on the disk; None: not known."""
    if flush_ms is not None and flush_ms > limits.storage_flush_ms_max:
        return f"flush p99 is {flush_ms} ms, limit {limits.storage_flush_ms_max} ms"
    if free_mb is not None and free_mb < limits.storage_free_mb_min:
        return f"{free_mb} MB are free on the disk, needed {limits.storage_free_mb_min} MB"
    return None


def s5_healed(good_writes: int, failed_ns: Instant, now: Instant, limits: BreakerLimits) -> bool:
    """10 good writes in a row, and 10 s since the last failure."""
    enough = good_writes >= limits.storage_good_writes
    return enough and now - failed_ns >= seconds(limits.storage_clear_s)

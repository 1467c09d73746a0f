"""A5: the venue refuses what we send: to go on would be noise, or worse."""

from __future__ import annotations

from collections import deque

from orchestrator.model.limits import BreakerLimits
from orchestrator.model.time import Instant, seconds


class Rejects:
    """Times of an account's rejections within the window; bounded, live view only."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: deque[Instant] = deque(maxlen=1_000)

    def count(self, at: Instant, limits: BreakerLimits) -> int:
        """Count one more; how many there were within the window."""
        self._times.append(at)
        while at - self._times[0] > seconds(limits.rejects_window_s):
            self._times.popleft()
        return len(self._times)


def a5_rejects(count: int, reason: str, limits: BreakerLimits, *, probing: bool) -> str | None:
    """5 venue rejections in 60 s; while it probes, the first one is enough."""
    if count < limits.rejects and not probing:
        return None
    return f"{count} rejections in {limits.rejects_window_s} s, limit {limits.rejects}: {reason}"

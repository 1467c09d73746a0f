"""What the guard makes of what it sees: hold the gate, let it go, or end a service that is stuck.

Pure: the guard process and the tests look through the same eyes (SAFETY G4, G5).
"""

from __future__ import annotations

from enum import Enum

import msgspec

NS_PER_S = 1_000_000_000
HOLD_AFTER_NS = 2 * NS_PER_S
KILL_AFTER_NS = 5 * NS_PER_S
GOOD_FOR_NS = 5 * NS_PER_S
# A life that has not begun to beat reads its journal and meets its venue; no order leaves in it.
START_NS = 60 * NS_PER_S
_GOOD_BEAT_NS = NS_PER_S
_OWN_GAP_NS = NS_PER_S


class Verdict(Enum):
    """What is to be done now."""

    HOLD = "hold"
    RELEASE = "release"
    KILL = "kill"


class Seen(msgspec.Struct, frozen=True, kw_only=True):
    """One look. `beat_ns` 0: none yet. Times are monotonic."""

    now_ns: int
    beat_ns: int
    held: bool
    held_since_ns: int
    fit_ns: int
    flat: bool  # a stop has done its work
    liquidates: bool  # a stop stands, and wants positions closed


class Vigil:
    """The memory between looks."""

    def __init__(self, now_ns: int) -> None:
        self._since_ns = now_ns  # from when on this guard has looked without a gap
        self._last_ns = now_ns
        self._good_since_ns = now_ns

    def look(self, seen: Seen) -> Verdict | None:
        """KILL is said at each look until the service is gone."""
        now = seen.now_ns
        if now - self._last_ns > _OWN_GAP_NS:
            # Frozen ourselves: what we did not see missing was perhaps not missing.
            self._since_ns = self._good_since_ns = now
        self._last_ns = now
        if not seen.beat_ns or now - seen.beat_ns > _GOOD_BEAT_NS:
            self._good_since_ns = now
        if self._stuck(seen):
            return Verdict.KILL
        if seen.beat_ns and now - seen.beat_ns >= HOLD_AFTER_NS:
            return Verdict.HOLD
        return Verdict.RELEASE if seen.held and self._well(seen) else None

    def patience_is_over(self, seen: Seen) -> bool:
        """Whether the beats have been missing for so long that a stop cannot wait for them."""
        limit_ns = KILL_AFTER_NS if seen.beat_ns else START_NS
        return seen.now_ns - max(seen.beat_ns, self._since_ns) >= limit_ns

    def _stuck(self, seen: Seen) -> bool:
        return seen.liquidates and not seen.flat and self.patience_is_over(seen)

    def _well(self, seen: Seen) -> bool:
        """Five seconds of good beats, and a reconciliation after the last that was missing."""
        return seen.now_ns - self._good_since_ns >= GOOD_FOR_NS and seen.fit_ns > seen.held_since_ns

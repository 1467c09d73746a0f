"""The market clock of the paper venue: it owns market time, everyone else follows it."""

from __future__ import annotations

from collections.abc import Callable

from orchestrator.model.time import NS_PER_S, Instant


class VenueTime:
    """Market now = start + (mono - mono at start) x speed; never goes back.

    Speed 0 means "as fast as the prices are read": then only `advance_to` moves it. A held clock
    stands at its start until `release`, so that a replay loses nothing before it is listened to.
    """

    def __init__(
        self,
        start_ns: Instant,
        speed: float,
        mono: Callable[[], int],
        *,
        held: bool = False,
        mono_start: int | None = None,
    ) -> None:
        self.start_ns = start_ns
        self.speed = speed
        self._mono = mono
        self._mono_start = mono() if mono_start is None else mono_start
        self._held = held
        self._base_ns = start_ns  # market time at `mono_start`
        self._last = start_ns

    @property
    def held(self) -> bool:
        """Whether the clock still waits for its release."""
        return self._held

    def release(self) -> None:
        """Let a held clock run, from its start."""
        if self._held:
            self._held = False
            self._mono_start = self._mono()

    def now(self) -> Instant:
        """Market time, nanoseconds."""
        if self._held or self.speed == 0:
            return self._last
        elapsed = self._mono() - self._mono_start
        if self.speed != 1.0:
            elapsed = int(elapsed * self.speed)
        self._last = max(self._last, self._base_ns + elapsed)
        return self._last

    def set_speed(self, speed: float) -> None:
        """From now on; the clock must run already."""
        self._base_ns = self.now()
        self._mono_start = self._mono()
        self.speed = speed

    def jump(self, ahead_ns: int) -> None:
        """Forward, at once; a held clock waits there."""
        self._base_ns += ahead_ns
        if self._held:
            self._last = self._base_ns

    def advance_to(self, at_ns: Instant) -> None:
        """Market time is at least this (a price was stamped with it)."""
        self._last = max(self._last, at_ns)

    def machine_seconds_until(self, at_ns: Instant) -> float:
        """How long the machine has to wait for that market time; 0 when it has come."""
        if self.speed == 0:
            return 0.0
        return max(0.0, (at_ns - self.now()) / self.speed / NS_PER_S)

"""What the service and its guard show each other, beside the gate's word in the same mapped page.

All times are the machine's monotonic clock, which every process of the machine shares. Each number
has one writer, and is one aligned store: neither side ever waits for the other.
"""

from __future__ import annotations

from pathlib import Path

from orchestrator.service.gate import map_word

_BEAT, _GUARD_BEAT, _FIT, _FLAT, _HELD_SINCE = range(8, 13)  # of eight bytes each


class Pulse:
    """The page of one state folder."""

    def __init__(self, folder: Path) -> None:
        self._numbers = memoryview(map_word(folder)).cast("q")

    # -- written by the service -------------------------------------------------------------------

    def begin(self) -> None:
        """A new life: nothing of the last one's counts (the clock itself may have begun anew)."""
        for number in (_BEAT, _FIT, _FLAT, _GUARD_BEAT):
            self._numbers[number] = 0

    def beat(self, now_ns: int, *, flat: bool) -> None:
        """The main loop turns; `flat`: a stop stands, and the venue was read to be empty since."""
        self._numbers[_FLAT] = flat
        self._numbers[_BEAT] = now_ns

    def fit(self, now_ns: int) -> None:
        """All accounts have been reconciled afresh (G5)."""
        self._numbers[_FIT] = now_ns

    # -- written by the guard ---------------------------------------------------------------------

    def guard_beat(self, now_ns: int) -> None:
        self._numbers[_GUARD_BEAT] = now_ns

    def held(self, now_ns: int) -> None:
        """Since when the guard holds the gate."""
        self._numbers[_HELD_SINCE] = now_ns

    # -- read by the other ------------------------------------------------------------------------

    @property
    def beat_ns(self) -> int:
        """0: this life's loop has not begun to beat."""
        return self._numbers[_BEAT]

    @property
    def flat(self) -> bool:
        """Only a liquidation that has ended knows it; an order may leave between two beats."""
        return self._numbers[_FLAT] == 1

    @property
    def fit_ns(self) -> int:
        return self._numbers[_FIT]

    @property
    def guard_beat_ns(self) -> int:
        """0: no guard of this life has looked yet."""
        return self._numbers[_GUARD_BEAT]

    @property
    def held_since_ns(self) -> int:
        return self._numbers[_HELD_SINCE]

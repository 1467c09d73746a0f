"""How far the venue's clock is from ours, from what its answers and streams prove. Pure."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

import msgspec

from orchestrator.model.time import NS_PER_S, Instant

_GENERATION_NS = 60 * NS_PER_S
_PAUSE_NS = NS_PER_S // 10  # more answers a second prove nothing new


class _Bounds(msgspec.Struct, gc=False):
    """The venue's clock less ours lies between these, as far as one generation of proofs tells."""

    low: int | None = None
    high: int | None = None

    def narrow(self, low: int, high: int | None) -> None:
        self.low = low if self.low is None else max(self.low, low)
        if high is not None:
            self.high = high if self.high is None else min(self.high, high)


class ClockOffset:
    """Intersects intervals: one answer's `Date` tells whole seconds, some dozen tell milliseconds.

    What a stream carries was stamped before we read it, so it bounds from below only. Proofs are
    forgotten after one to two minutes, and at once when a newer one contradicts them: a clock
    was set.
    """

    def __init__(self, mono: Callable[[], int]) -> None:
        self._mono = mono
        self._began_ns: int | None = None
        self._now = _Bounds()
        self._before = _Bounds()
        self._asked_ns = -_PAUSE_NS

    @property
    def ns(self) -> int | None:
        """Venue's less ours: of what is possible the nearest to 0; None while nothing is proven."""
        self._age()
        low, high = self._both()
        if low is None or high is None:
            return None
        return min(max(0, low), high)

    def answered(self, from_ns: Instant, to_ns: Instant, sent_ns: Instant, got_ns: Instant) -> None:
        """Between our `sent_ns` and `got_ns` the venue's clock stood within [from, to]."""
        self._prove(from_ns - got_ns, to_ns - sent_ns)

    def heard(self, venue_ns: Instant, seen_ns: Instant) -> None:
        """A line stamped `venue_ns` was read at our `seen_ns`."""
        self._prove(venue_ns - seen_ns, None)

    def wants(self) -> bool:
        """False just after an answer was looked at."""
        now_ns = self._mono()
        if now_ns - self._asked_ns < _PAUSE_NS:
            return False
        self._asked_ns = now_ns
        return True

    def _prove(self, low: int, high: int | None) -> None:
        self._age()
        known_low, known_high = self._both()
        if (known_high is not None and low > known_high) or (
            known_low is not None and high is not None and high < known_low
        ):
            self._now, self._before = _Bounds(), _Bounds()
        self._now.narrow(low, high)

    def _both(self) -> tuple[int | None, int | None]:
        lows = [b.low for b in (self._now, self._before) if b.low is not None]
        highs = [b.high for b in (self._now, self._before) if b.high is not None]
        return max(lows, default=None), min(highs, default=None)

    def _age(self) -> None:
        now_ns = self._mono()
        if self._began_ns is None:
            self._began_ns = now_ns
        age_ns = now_ns - self._began_ns
        if age_ns < _GENERATION_NS:
            return
        self._before = self._now if age_ns < 2 * _GENERATION_NS else _Bounds()
        self._now = _Bounds()
        self._began_ns = now_ns


@lru_cache(maxsize=16)
def date_of(header: bytes) -> Instant | None:
    """The instant of a `Date` header's second; None when it is no date."""
    try:
        moment = parsedate_to_datetime(header.decode("ascii"))
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:  # "-0000": UTC all the same
        moment = moment.replace(tzinfo=dt.UTC)
    return round(moment.timestamp()) * NS_PER_S

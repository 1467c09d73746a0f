"""Trades the break of the range that formed in the hours before a session's open.

London opens at 08:00 on London's wall clock, New York at 08:30 on its own (most American figures
come then). Daylight saving is followed, also in the weeks when only one of the two has changed.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from orchestrator.agents.market_analysis.regime import VOLATILE
from orchestrator.agents.market_analysis.strategies.base import (
    Bar,
    Context,
    Side,
    Strategy,
    Wish,
    fair,
)
from orchestrator.model.time import NS_PER_S, Instant, london, new_york

_MINUTE = 60
_SATURDAY = 5
_SHARE_OF_BARS = 0.5  # a range of fewer bars than this says nothing

WallClock: TypeAlias = Callable[[Instant], tuple[int, int]]
SESSIONS: dict[str, tuple[WallClock, int]] = {
    "london": (london, 8 * 3600),
    "new_york": (new_york, 8 * 3600 + 30 * _MINUTE),
}


class _Session:
    """The range before one open, and whether it was broken already."""

    def __init__(self, name: str, range_s: int, window_s: int) -> None:
        if name not in SESSIONS:
            raise ValueError(f"session {name!r} is not one of {', '.join(SESSIONS)}")
        self.name = name
        self._clock, self._open_s = SESSIONS[name]
        self._range_s = range_s
        self._window_s = window_s
        self._low: float | None = None
        self._high = 0.0
        self._bars = 0
        self._broken = False
        self._since_ns: Instant = 0

    def on_bar(self, bar: Bar) -> tuple[float, float] | None:
        """(low, high) while the bar ends inside the window after the open, before the break."""
        weekday, end_s = self._clock(bar.end_ns)
        if bar.end_ns - self._since_ns > (self._range_s + self._window_s) * NS_PER_S:
            self._forget()  # also after a gap of a day: yesterday's range is nobody's
        if self._open_s - self._range_s < end_s <= self._open_s:
            self._widen(bar)
            return None
        if not self._open_s < end_s <= self._open_s + self._window_s:
            return None
        wanted = _SHARE_OF_BARS * self._range_s * NS_PER_S / (bar.end_ns - bar.start_ns)
        if self._low is None or self._broken or self._bars < wanted or weekday >= _SATURDAY:
            return None
        return self._low, self._high

    def break_now(self) -> None:
        self._broken = True

    def _forget(self) -> None:
        self._low, self._bars, self._broken = None, 0, False

    def _widen(self, bar: Bar) -> None:
        if self._low is None:
            self._low, self._high, self._since_ns = bar.low, bar.high, bar.start_ns
        self._low, self._high = min(self._low, bar.low), max(self._high, bar.high)
        self._bars += 1


class SessionBreakout(Strategy):
    """The first close outside the range before the open; one wish for each session and day."""

    summary = "Break of the range before the London and the New York open"

    def __init__(
        self,
        *,
        timeframe: str = "M5",
        sessions: tuple[str, ...] = ("london", "new_york"),
        range_minutes: int = 180,
        window_minutes: int = 120,
        range_atrs_max: float = 8.0,
        stop_atrs: float = 2.0,
        reward_to_risk: float = 1.5,
        edge: float = 0.08,
    ) -> None:
        """A range higher than `range_atrs_max` ATRs is no range. `edge`: see TrendFollowing.

        The stop is half of the range, or `stop_atrs` ATRs where that is more.
        """
        if range_minutes <= 0 or window_minutes <= 0:
            raise ValueError("range_minutes and window_minutes must be above 0")
        if reward_to_risk <= 0 or stop_atrs <= 0:
            raise ValueError("reward_to_risk and stop_atrs must be above 0")
        self.timeframe = timeframe
        self._sessions = tuple(
            _Session(name, range_minutes * _MINUTE, window_minutes * _MINUTE) for name in sessions
        )
        self._range_atrs_max = range_atrs_max
        self._stop_atrs = stop_atrs
        self._reward = reward_to_risk
        self._edge = edge

    def on_bar(self, bar: Bar, context: Context) -> Wish | None:
        wish: Wish | None = None
        for session in self._sessions:
            bounds = session.on_bar(bar)
            if bounds is not None and wish is None:
                wish = self._broken(session, bounds, bar, context)
        return wish

    def _broken(
        self, session: _Session, bounds: tuple[float, float], bar: Bar, context: Context
    ) -> Wish | None:
        low, high = bounds
        if low <= bar.close <= high:
            return None
        session.break_now()  # the first break decides, also where it is not traded
        height = high - low
        if height > self._range_atrs_max * context.atr or context.regime == VOLATILE:
            return None
        stop = context.stop(self._stop_atrs, at_least=height / 2)
        return Wish(
            side=Side.BUY if bar.close > high else Side.SELL,
            stop_distance=stop,
            target_distance=self._reward * stop,
            confidence=min(0.95, fair(self._reward) + self._edge),
            note=f"broke the range before the {session.name} open",
            features=(("range_atr", height / context.atr if context.atr > 0 else 0.0),),
        )

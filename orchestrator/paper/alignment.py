"""Where candles begin: on the clock, on a day's hour in some zone, on a weekday, on the first.

Source: fact sheet, section 14.
"""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from zoneinfo import ZoneInfo

from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, NS_PER_S, Instant

_S5 = 5 * NS_PER_S
_PLAIN = {
    "S5": _S5, "S10": 10 * NS_PER_S, "S15": 15 * NS_PER_S, "S30": 30 * NS_PER_S,
    "M1": MINUTE_NS, "M2": 2 * MINUTE_NS, "M4": 4 * MINUTE_NS, "M5": 5 * MINUTE_NS,
    "M10": 10 * MINUTE_NS, "M15": 15 * MINUTE_NS, "M30": 30 * MINUTE_NS, "H1": HOUR_NS,
}  # fmt: skip
_DAILY = {"H2": 2, "H3": 3, "H4": 4, "H6": 6, "H8": 8, "H12": 12, "D": 24}
GRANULARITIES = (*_PLAIN, *_DAILY, "W", "M")
_WEEKDAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
WEEKDAYS = frozenset(_WEEKDAYS)

_EPOCH = dt.date(1970, 1, 1)
_THURSDAY = 3  # the epoch's weekday
_NOON = 12
_QUARTER_NS = 15 * MINUTE_NS  # zones shift on quarters of an hour


@lru_cache(maxsize=8192)
def _offset_ns(zone: str, quarter: int) -> int:
    moment = dt.datetime.fromtimestamp(quarter * 900, ZoneInfo(zone))
    offset = moment.utcoffset()
    return round(offset.total_seconds()) * NS_PER_S if offset is not None else 0


def known_zone(zone: str) -> bool:
    """Whether the name stands in the time zone tables."""
    try:
        ZoneInfo(zone)
    except (KeyError, ValueError, OSError):
        return False
    return True


class Alignment:
    """dailyAlignment, alignmentTimezone and weeklyAlignment of a request for candles."""

    def __init__(self, hour: int = 17, zone: str = "America/New_York", day: str = "Friday") -> None:
        self.hour = hour
        self.zone = zone
        self.weekday = _WEEKDAYS.index(day)

    def start_of(self, granularity: str, at_ns: Instant) -> Instant:
        """Start of the candle that covers this instant."""
        plain = _PLAIN.get(granularity)
        if plain is not None:
            return at_ns - at_ns % plain
        if granularity == "W":
            return self.week_start(at_ns)
        if granularity == "M":
            return self.month_start(at_ns)
        day, length = self.day_start(at_ns), _DAILY[granularity] * HOUR_NS
        # On the day that clocks go back, the last candle of the day takes the hour too many.
        return day + min((at_ns - day) // length, DAY_NS // length - 1) * length

    def shortest(self, granularity: str) -> int:
        """What a candle lasts at least: where clocks go forward an hour is missing."""
        return period_of(granularity) - (0 if granularity in _PLAIN else HOUR_NS)

    def base_of(self, granularity: str) -> int:
        """A length of which every candle is a whole number, wherever its day begins."""
        if granularity in _PLAIN:
            return _PLAIN[granularity]
        # Some zones differ by half an hour or a quarter: their days are no whole hours of UTC.
        return MINUTE_NS if self._instant(0) % HOUR_NS else HOUR_NS

    def day_start(self, at_ns: Instant) -> Instant:
        """Start of the day of candles that holds this instant."""
        return self._instant(self._day(at_ns))

    def week_start(self, at_ns: Instant) -> Instant:
        day = self._day(at_ns)
        return self._instant(day - (day + _THURSDAY - self.weekday) % 7)

    def month_start(self, at_ns: Instant) -> Instant:
        """A day that starts after noon belongs to the date on which it ends."""
        late = int(self.hour >= _NOON)
        date = _EPOCH + dt.timedelta(days=self._day(at_ns) + late)
        return self._instant((date.replace(day=1) - _EPOCH).days - late)

    def _day(self, at_ns: Instant) -> int:
        """The local date, as days since the epoch, on which the candle's day began."""
        local = at_ns + _offset_ns(self.zone, at_ns // _QUARTER_NS)
        day = (local - self.hour * HOUR_NS) // DAY_NS
        return day if self._instant(day) <= at_ns else day - 1

    def _instant(self, day: int) -> Instant:
        local = day * DAY_NS + self.hour * HOUR_NS
        guess = local - _offset_ns(self.zone, local // _QUARTER_NS)
        return local - _offset_ns(self.zone, guess // _QUARTER_NS)


NEW_YORK = Alignment()


def period_of(granularity: str) -> int:
    """Nominal length."""
    plain = _PLAIN.get(granularity)
    if plain is not None:
        return plain
    long = {"W": 7 * DAY_NS, "M": 28 * DAY_NS}
    return long.get(granularity) or _DAILY.get(granularity, 24) * HOUR_NS

"""Instants (integer nanoseconds, UTC), their texts, and New York's trading calendar."""

from __future__ import annotations

import datetime as dt
from functools import lru_cache
from typing import TypeAlias
from zoneinfo import ZoneInfo

Instant: TypeAlias = int  # nanoseconds since 1970-01-01T00:00:00Z

NS_PER_S = 1_000_000_000
NS_PER_MS = 1_000_000
MINUTE_NS = 60 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
DAY_NS = 24 * HOUR_NS

_FRACTION_Z = len("123456789Z")
_EPOCH = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_NEW_YORK = ZoneInfo("America/New_York")
_LONDON = ZoneInfo("Europe/London")


def seconds(value: float) -> int:
    """Nanoseconds in `value` seconds."""
    return round(value * NS_PER_S)


@lru_cache(maxsize=4096)
def _second_of(text: str) -> int:
    moment = dt.datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"time without a zone: {text!r}")
    return round((moment - _EPOCH).total_seconds())


def parse_time(text: str) -> Instant:
    """RFC 3339 with up to nine decimals, or OANDA's UNIX form ("1512446222.248676455").

    ValueError when the text is neither. "0" (an unset time of OANDA's) gives 0.
    """
    if "T" not in text:
        whole, _, fraction = text.partition(".")
        return int(whole) * NS_PER_S + int(fraction[:9].ljust(9, "0") or 0)
    head, dot, rest = text.partition(".")
    if not dot:
        return _second_of(text) * NS_PER_S
    if len(rest) == _FRACTION_Z and rest[-1] == "Z" and rest[:9].isascii() and rest[:9].isdigit():
        return _second_of(head + "Z") * NS_PER_S + int(rest[:9])  # OANDA's own form, quickly
    digits = 0
    while digits < len(rest) and rest[digits].isdigit():
        digits += 1
    return _second_of(head + rest[digits:]) * NS_PER_S + int(rest[:digits][:9].ljust(9, "0"))


@lru_cache(maxsize=4096)
def _text_of_second(second: int) -> str:
    moment = _EPOCH + dt.timedelta(seconds=second)
    return moment.strftime("%Y-%m-%dT%H:%M:%S")


def format_time(at_ns: Instant) -> str:
    """RFC 3339 as OANDA prints it: nine decimals and Z."""
    second, fraction = divmod(at_ns, NS_PER_S)
    return f"{_text_of_second(second)}.{fraction:09d}Z"


def format_time_unix(at_ns: Instant) -> str:
    """OANDA's UNIX form: seconds with nine decimals."""
    second, fraction = divmod(at_ns, NS_PER_S)
    return f"{second}.{fraction:09d}"


def to_datetime(at_ns: Instant) -> dt.datetime:
    """An aware UTC datetime, for the rim only (microseconds; digits below are cut)."""
    return _EPOCH + dt.timedelta(microseconds=at_ns // 1000)


def from_datetime(moment: dt.datetime) -> Instant:
    """ValueError for a naive datetime."""
    if moment.tzinfo is None:
        raise ValueError("naive datetime")
    delta = moment - _EPOCH
    return ((delta.days * 86400 + delta.seconds) * 1_000_000 + delta.microseconds) * 1000


@lru_cache(maxsize=4096)
def _new_york_offset_ns(quarter: int) -> int:
    moment = _EPOCH + dt.timedelta(minutes=15 * quarter)
    offset = moment.astimezone(_NEW_YORK).utcoffset()
    if offset is None:
        raise ValueError("New York has no offset")
    return round(offset.total_seconds()) * NS_PER_S


def _local_ns(at_ns: Instant) -> int:
    return at_ns + _new_york_offset_ns(at_ns // (15 * MINUTE_NS))


def new_york(at_ns: Instant) -> tuple[int, int]:
    """(weekday, second of the day) on New York's wall clock; Monday is 0."""
    day, rest = divmod(_local_ns(at_ns), DAY_NS)
    return (day + 3) % 7, rest // NS_PER_S  # 1970-01-01 was a Thursday


@lru_cache(maxsize=4096)
def _london_offset_ns(quarter: int) -> int:
    moment = _EPOCH + dt.timedelta(minutes=15 * quarter)
    offset = moment.astimezone(_LONDON).utcoffset()
    if offset is None:
        raise ValueError("London has no offset")
    return round(offset.total_seconds()) * NS_PER_S


def london(at_ns: Instant) -> tuple[int, int]:
    """(weekday, second of the day) on London's wall clock; Monday is 0."""
    day, rest = divmod(at_ns + _london_offset_ns(at_ns // (15 * MINUTE_NS)), DAY_NS)
    return (day + 3) % 7, rest // NS_PER_S


@lru_cache(maxsize=256)
def _new_york_instant(day: int, second: int) -> Instant:
    local = dt.datetime(1970, 1, 1) + dt.timedelta(days=day, seconds=second)  # noqa: DTZ001
    return from_datetime(local.replace(tzinfo=_NEW_YORK).astimezone(dt.UTC))


def trading_day(at_ns: Instant) -> tuple[str, Instant, Instant]:
    """(name, start, end) of the trading day: 17:00 to 17:00 New York, named by its last date.

    Source: SAFETY B4. The name is the date ("2014-05-08") on which the day ends.
    """
    day, rest = divmod(_local_ns(at_ns), DAY_NS)
    if rest >= 17 * HOUR_NS:
        day += 1
    name = (dt.date(1970, 1, 1) + dt.timedelta(days=day)).isoformat()
    return name, _new_york_instant(day - 1, 17 * 3600), _new_york_instant(day, 17 * 3600)


class Session:
    """What the FX week says of an instant (SAFETY T1): open, quiet (no new risk) or closed."""

    OPEN = "open"
    QUIET = "quiet"
    CLOSED = "closed"


_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
# Seconds of New York's day: quiet from 16:45, closed 16:58 to 17:05, quiet to 17:15 (T1).
_QUIET_FROM_S, _CLOSES_S, _OPENS_S, _QUIET_TO_S = 60_300, 61_080, 61_500, 62_100


def fx_session(at_ns: Instant) -> str:
    """`closed` 16:58-17:05 daily and Fri 16:58-Sun 17:05; `quiet` 16:45-17:15; else `open`."""
    weekday, second = new_york(at_ns)
    if weekday == _SATURDAY or (weekday == _SUNDAY and second < _OPENS_S):
        return Session.CLOSED
    if weekday == _FRIDAY and second >= _CLOSES_S:
        return Session.CLOSED
    if _CLOSES_S <= second < _OPENS_S:
        return Session.CLOSED
    if _QUIET_FROM_S <= second < _QUIET_TO_S:
        return Session.QUIET
    return Session.OPEN

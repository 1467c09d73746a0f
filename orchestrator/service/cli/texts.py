"""How numbers, money, times and ids are written for a person."""

from __future__ import annotations

import datetime as dt
from decimal import Decimal

UNKNOWN = "-"
_MINUTE_S = 60
_HOUR_S = 3600
_DAY_S = 86400


def clean(text: str) -> str:
    """One printable line: nothing from outside may steer the terminal."""
    return "".join(c if c.isprintable() else " " for c in text)


def money(amount: Decimal | None, currency: str = "", *, signed: bool = False) -> str:
    """`1,234.50 USD`; `signed` writes a plus, too."""
    if amount is None:
        return UNKNOWN
    number = format(amount, "+,.2f" if signed and amount else ",.2f")
    return f"{number} {currency}".rstrip()


def units(amount: Decimal | None) -> str:
    """Signed: `+1,000` bought, `-1,000` sold."""
    if amount is None:
        return UNKNOWN
    plain = amount.to_integral_value() if _is_whole(amount) else amount
    return format(plain, "+,f") if plain else "0"


def _is_whole(amount: Decimal) -> bool:
    return amount.is_finite() and amount == amount.to_integral_value()


def number(value: Decimal | None) -> str:
    return UNKNOWN if value is None else format(value, ",f")


def percent(fraction: Decimal | None) -> str:
    """`0.0123` -> `1.23 %`."""
    return UNKNOWN if fraction is None else f"{fraction * 100:.2f} %"


def ratio(value: Decimal | None) -> str:
    return UNKNOWN if value is None else f"{value:.2f}"


def moment(text: str | None) -> str:
    """RFC 3339 as `2026-01-31 12:00:00`, UTC by the column's or line's own words."""
    return UNKNOWN if not text else f"{text[:10]} {text[11:19]}"


def day(text: str | None) -> str:
    return UNKNOWN if not text else text[:10]


def clock(text: str | None) -> str:
    """`12:00:00.123`, UTC."""
    return UNKNOWN if not text else text[11:23].rstrip("Z")


def microseconds(text: str) -> int | None:
    """Since the epoch; None for what is no time."""
    try:
        at = dt.datetime.fromisoformat(text)
    except ValueError:
        return None
    if at.tzinfo is None:
        return None
    return (at - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)) // dt.timedelta(microseconds=1)


def after(start: str | None, end: str | None) -> str:
    """From one time to another: `+0.812 ms`, `+2.314 s`, `+3 h 05 min`."""
    begun, ended = microseconds(start or ""), microseconds(end or "")
    if begun is None or ended is None:
        return UNKNOWN
    passed = ended - begun
    sign, passed = ("-" if passed < 0 else "+"), abs(passed)
    if passed < 1_000_000:  # noqa: PLR2004 -- a second in microseconds
        return f"{sign}{passed / 1000:.3f} ms"
    if passed < _MINUTE_S * 1_000_000:
        return f"{sign}{passed / 1e6:.3f} s"
    return sign + span(passed / 1e6)


def span(seconds: float) -> str:
    """`45 s`, `3 min 05 s`, `2 h 03 min`, `4 d 02 h`."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S:02d} s"
    if whole < _DAY_S:
        return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S:02d} min"
    return f"{whole // _DAY_S} d {whole % _DAY_S // _HOUR_S:02d} h"


def latency(us: float) -> str:
    """`812 us`, `1.2 ms`, `3.4 s`."""
    if us < 1_000:  # noqa: PLR2004 -- a millisecond
        return f"{us:.0f} us"
    return f"{us / 1000:.1f} ms" if us < 1_000_000 else f"{us / 1e6:.1f} s"  # noqa: PLR2004


def count(number_of: int, thing: str) -> str:
    """`1 trade`, `2 trades`."""
    return f"{number_of:,} {thing}" if number_of == 1 else f"{number_of:,} {thing}s"

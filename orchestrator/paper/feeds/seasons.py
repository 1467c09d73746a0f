"""The market's day by New York's clock: how much moves, how far bid and ask stand apart.

FX by the recordings of EUR_USD ("europe") and NZD_USD ("pacific"): standard deviations of an
hour's return 2012-2014, median spreads of May 2014 (docs/paper-venue.md).
"""

from __future__ import annotations

import math

from orchestrator.model.time import MINUTE_NS, Instant, new_york

# By the hour of New York's day, root of the mean square 1.
_MOVES: dict[str, tuple[float, ...]] = {
    "europe": (
        0.44, 0.65, 0.95, 1.28, 1.23, 1.08, 1.00, 1.08, 1.75, 1.44, 1.60, 1.14,
        0.92, 0.93, 1.10, 0.73, 0.60, 0.44, 0.62, 0.61, 0.70, 0.67, 0.59, 0.51,
    ),
    "pacific": (
        0.65, 0.67, 0.95, 1.12, 1.00, 0.95, 0.89, 0.84, 1.34, 1.21, 1.45, 1.06,
        0.83, 0.78, 1.20, 0.95, 0.90, 0.90, 0.86, 0.88, 1.02, 1.08, 0.97, 0.75,
    ),
    "america": (
        0.40, 0.45, 0.60, 0.80, 0.75, 0.70, 0.70, 0.85, 1.50, 1.90, 1.80, 1.35,
        1.10, 1.10, 1.35, 1.45, 0.60, 0.30, 0.45, 0.50, 0.50, 0.45, 0.45, 0.40,
    ),
    "metals": (
        0.50, 0.60, 0.85, 1.10, 1.00, 0.95, 0.95, 1.10, 1.80, 1.65, 1.75, 1.30,
        1.00, 0.95, 0.90, 0.70, 0.55, 0.35, 0.65, 0.75, 0.85, 0.80, 0.65, 0.50,
    ),
}  # fmt: skip
_WIDTHS: dict[str, tuple[float, ...]] = {
    "europe": (
        1.09, 1.07, 1.05, 1.04, 1.02, 1.02, 1.02, 1.05, 1.04, 1.00, 1.01, 0.99,
        0.99, 1.00, 1.01, 1.00, 1.05, 1.65, 1.48, 1.22, 1.15, 1.14, 1.12, 1.10,
    ),
    "pacific": (
        1.18, 1.16, 1.13, 1.06, 1.04, 1.02, 1.01, 1.04, 1.03, 0.98, 0.98, 0.97,
        1.03, 1.03, 1.03, 1.08, 1.30, 1.90, 1.48, 1.15, 1.13, 1.22, 1.22, 1.19,
    ),
    "america": (
        1.15, 1.12, 1.08, 1.04, 1.03, 1.03, 1.03, 1.02, 1.00, 0.95, 0.95, 0.96,
        0.97, 0.98, 0.98, 1.00, 1.30, 1.80, 1.50, 1.25, 1.20, 1.18, 1.16, 1.15,
    ),
}  # fmt: skip
_WIDTHS["metals"] = _WIDTHS["america"]

_FRIDAY, _SATURDAY, _SUNDAY = 4, 5, 6
_FIVE_PM = 17 * 3600
_BEFORE_ROLL_S, _AFTER_ROLL_S = 300, 900
_OPENING_S = 7200
_HOUR_S = 3600


def _normal(hours: tuple[float, ...]) -> tuple[float, ...]:
    root = math.sqrt(math.fsum(x * x for x in hours) / len(hours))
    return tuple(x / root for x in hours)


_BY_HOUR = {season: _normal(hours) for season, hours in _MOVES.items()}
SEASONS = tuple(_BY_HOUR)


def market_open(at_ns: Instant) -> bool:
    """The FX week: closed Fri 16:59 to Sun 17:05 and daily 16:59 to 17:05, New York."""
    weekday, second = new_york(at_ns)
    if weekday == _SATURDAY or (weekday == _SUNDAY and second < _FIVE_PM + 300):
        return False
    if weekday == _FRIDAY and second >= _FIVE_PM - 60:
        return False
    return not _FIVE_PM - 60 <= second < _FIVE_PM + 300


def opening(at_ns: Instant) -> Instant:
    """When the market that is closed now opens: a whole minute; now, if it is open."""
    if market_open(at_ns):
        return at_ns
    at_ns -= at_ns % MINUTE_NS
    while not market_open(at_ns):
        at_ns += MINUTE_NS
    return at_ns


def moves(season: str, at_ns: Instant) -> float:
    """How much moves now, against the day's root mean square; from hour to hour without a step."""
    hours, (_, second) = _BY_HOUR[season], new_york(at_ns)
    # An hour's figure holds in its middle.
    place = (second - _HOUR_S / 2) / _HOUR_S
    before = math.floor(place)
    share = place - before
    return hours[before % 24] * (1 - share) + hours[(before + 1) % 24] * share


def width(season: str, at_ns: Instant) -> float:
    """The usual spread now, against that of a quiet hour of the day."""
    weekday, second = new_york(at_ns)
    wide = _WIDTHS[season][second // _HOUR_S]
    from_roll = second - _FIVE_PM
    if -_BEFORE_ROLL_S <= from_roll < 0:
        nearer = 1 + from_roll / _BEFORE_ROLL_S
        wide *= 1 + (2.0 if weekday == _FRIDAY else 0.6) * nearer
    if weekday == _SUNDAY and 0 <= from_roll < _OPENING_S:
        # The week's first prices: six times as wide, as usual after two hours.
        return max(wide, 1 + 5.5 * math.exp(-from_roll / 1200))
    if 0 <= from_roll < _AFTER_ROLL_S:
        wide *= 1 + 1.2 * (1 - from_roll / _AFTER_ROLL_S)
    return wide

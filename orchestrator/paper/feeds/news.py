"""News of the synthetic market: at the hours of agencies and central banks, and at random.

Drawn by the day from the seed, so that they do not depend on how prices went or who listens.
"""

from __future__ import annotations

import datetime as dt
import math
import random
from typing import NamedTuple
from zoneinfo import ZoneInfo

from orchestrator.model.time import HOUR_NS, Instant, from_datetime, to_datetime

_NEW_YORK = ZoneInfo("America/New_York")


class News(NamedTuple):
    """`size`: signed, in standard deviations of the day of what it moves: a factor or an asset."""

    at_ns: Instant
    moves: str
    size: float


class _Date(NamedTuple):
    """An appointment: New York's time, how often a day has one (Monday to Friday), how large."""

    hour: int
    minute: int
    moves: str
    chance: float
    size: float


_CALENDAR = (
    _Date(8, 30, "dollar", 0.55, 0.30),  # labour market, prices, retail sales
    _Date(10, 0, "dollar", 0.35, 0.12),
    _Date(14, 0, "dollar", 0.035, 0.60),  # the Federal Reserve
    _Date(7, 45, "europe", 0.035, 0.60),  # the European Central Bank
    _Date(4, 0, "europe", 0.35, 0.16),
    _Date(2, 0, "GBP", 0.30, 0.28),
    _Date(7, 0, "GBP", 0.035, 0.70),  # the Bank of England
    _Date(8, 30, "CAD", 0.25, 0.30),
    _Date(22, 0, "JPY", 0.035, 0.70),  # the Bank of Japan
    _Date(19, 50, "JPY", 0.25, 0.15),
    _Date(20, 30, "AUD", 0.30, 0.30),
    _Date(17, 45, "NZD", 0.15, 0.40),
    _Date(3, 30, "SEK", 0.05, 0.60),
    _Date(4, 0, "NOK", 0.05, 0.50),
    _Date(7, 0, "TRY", 0.035, 1.20),
    _Date(10, 30, "oil", 0.20, 0.40),  # inventories
    _Date(10, 30, "NATGAS", 0.20, 0.50),
    _Date(12, 0, "CORN", 0.05, 0.70),
)
_SURPRISES = (  # (what they move, how many an average day has, how large)
    ("risk", 0.30, 0.35), ("dollar", 0.20, 0.25), ("europe", 0.15, 0.25), ("oil", 0.20, 0.40),
    ("metals", 0.20, 0.30), ("asia", 0.10, 0.35), ("EUR", 0.10, 0.30), ("GBP", 0.12, 0.35),
    ("JPY", 0.12, 0.45), ("AUD", 0.08, 0.30), ("NZD", 0.08, 0.35), ("CHF", 0.05, 0.40),
    ("TRY", 0.10, 1.00), ("ZAR", 0.10, 0.60), ("MXN", 0.10, 0.60),
)  # fmt: skip
_TAIL = 4.0  # degrees of freedom of a surprise
_WEEKEND = 5


def _surprise(dice: random.Random) -> float:
    """Student's t, scaled to a standard deviation of 1; at most 6 of them."""
    chi = math.fsum(dice.gauss(0.0, 1.0) ** 2 for _ in range(int(_TAIL)))
    drawn = dice.gauss(0.0, 1.0) / math.sqrt(max(chi, 1e-9) / _TAIL) * math.sqrt(0.5)
    return max(-6.0, min(6.0, drawn))


class NewsDesk:
    """Tells the news of a stretch of time; each day is drawn once, from the seed and its date."""

    def __init__(self, seed: int, *, every_day: bool) -> None:
        self._seed = seed
        self._every_day = every_day  # a market that never closes has news on Sundays too
        self._days: dict[int, list[News]] = {}

    def between(self, from_ns: Instant, to_ns: Instant) -> list[News]:
        """From `from_ns` on, before `to_ns`; at most a day apart."""
        first = _day_of(from_ns)
        found = [news for day in (first, first + 1) for news in self._of(day)]
        return [news for news in found if from_ns <= news.at_ns < to_ns]

    def _of(self, day: int) -> list[News]:
        kept = self._days.get(day)
        if kept is None:
            for old in [each for each in self._days if each < day - 2]:
                del self._days[old]
            kept = self._days[day] = self._draw(day)
        return kept

    def _draw(self, day: int) -> list[News]:
        dice = random.Random(f"{self._seed}:news:{day}")
        date = dt.date.fromordinal(day)
        midnight = dt.datetime(date.year, date.month, date.day, tzinfo=_NEW_YORK)
        news: list[News] = []
        for one in _CALENDAR:
            comes, size = dice.random() < one.chance, one.size * _surprise(dice)
            late_s = dice.uniform(0.0, 3.0)  # as the wires are
            if comes and (self._every_day or date.weekday() < _WEEKEND):
                at = midnight.replace(hour=one.hour, minute=one.minute)
                news.append(News(from_datetime(at) + round(late_s * 1e9), one.moves, size))
        begins = from_datetime(midnight)
        for moves, rate, scale in _SURPRISES:
            at_ns = begins + round(dice.uniform(0.0, 24.0) * HOUR_NS)
            size = scale * _surprise(dice)
            if dice.random() < rate:
                news.append(News(at_ns, moves, size))
        return sorted(news)


def _day_of(at_ns: Instant) -> int:
    return to_datetime(at_ns).astimezone(_NEW_YORK).toordinal()

"""The rules of an account beyond its limits: how its peak counts, targets, days, hours, news.

A profile can only tighten (SAFETY B6): its numbers are the smaller of its own and the account's.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from enum import StrEnum

import msgspec

from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.safety import Effect
from orchestrator.model.time import DAY_NS, NS_PER_S, Instant, london, new_york

_THURSDAY = 3  # 1970-01-01


def utc(at_ns: Instant) -> tuple[int, int]:
    """(weekday, second of the day) by UTC; Monday is 0."""
    day, rest = divmod(at_ns, DAY_NS)
    return (day + _THURSDAY) % 7, rest // NS_PER_S


CLOCKS: dict[str, Callable[[Instant], tuple[int, int]]] = {
    "New York": new_york,
    "London": london,
    "UTC": utc,
}


class Drawdown(StrEnum):
    """What P of SAFETY B4 is: from where the drawdown is measured."""

    TRAILING = "trailing"  # the highest NAV so far
    STATIC = "static"  # the start balance
    END_OF_DAY = "end_of_day"  # the highest NAV with which a trading day began


class Window(msgspec.Struct, frozen=True, kw_only=True):
    """Hours of a week by one clock of CLOCKS; `to_s` not after `from_s`: over midnight.

    `days` are those on which it begins, Monday 0; seconds count from the day's midnight.
    """

    days: tuple[int, ...] = (0, 1, 2, 3, 4, 5, 6)
    from_s: int = 0
    to_s: int = 86_400
    zone: str = "New York"

    def holds(self, at_ns: Instant) -> bool:
        weekday, second = CLOCKS[self.zone](at_ns)
        if self.from_s < self.to_s:
            return weekday in self.days and self.from_s <= second < self.to_s
        before = (weekday - 1) % 7
        return (weekday in self.days and second >= self.from_s) or (
            before in self.days and second < self.to_s
        )


class Span(msgspec.Struct, frozen=True, kw_only=True):
    """A time without new risk: news or a holiday. `currencies` empty: for every instrument."""

    from_ns: Instant
    to_ns: Instant
    text: str
    currencies: tuple[Currency, ...] = ()

    def holds(self, at_ns: Instant, instrument: InstrumentName | None) -> bool:
        """Without an instrument: whether it holds for all of them."""
        if not self.from_ns <= at_ns < self.to_ns:
            return False
        if not self.currencies:
            return True
        return instrument is not None and any(
            currency in self.currencies for currency in instrument.split("_", 1)
        )


class Tide(msgspec.Struct, frozen=True, kw_only=True):
    """A schedule that tightens: within the window risk per trade is multiplied by `scale`."""

    window: Window
    scale: Decimal  # above 0, at most 1
    text: str = ""


class Profile(msgspec.Struct, frozen=True, kw_only=True):
    """An account's rules. Empty tuples and None: no such rule.

    `start_balance`: home money from which static drawdown and target are measured; None: the NAV
    with which the account was first seen. `profit_target`: fraction of it. `days_min`: trading
    days that a target needs; `days_max`: trading days after which it ends.
    """

    name: str = "plain"
    drawdown: Drawdown = Drawdown.TRAILING
    start_balance: Decimal | None = None
    profit_target: Decimal | None = None
    on_target: Effect = Effect.BLOCK  # or flatten
    days_min: int = 0
    days_max: int = 0
    hours: tuple[Window, ...] = ()
    off_hours: Effect = Effect.BLOCK  # or flatten
    news: tuple[Span, ...] = ()
    weekend_flat: bool = False
    instruments: tuple[InstrumentName, ...] = ()
    strategies: tuple[str, ...] = ()
    orders_a_day: int = 0
    tides: tuple[Tide, ...] = ()
    regimes: tuple[tuple[str, Decimal], ...] = ()  # a signal's regime -> scale of its risk

    def off(self, at_ns: Instant) -> str | None:
        """Why the account takes no new risk at this hour; None: it may."""
        if self.hours and not any(window.holds(at_ns) for window in self.hours):
            return f"outside the hours of profile {self.name}"
        return None

    def newsworthy(self, at_ns: Instant, instrument: InstrumentName | None) -> str | None:
        """The news or holiday that forbids new risk, on all instruments if none is given."""
        for span in self.news:
            if span.holds(at_ns, instrument):
                return span.text
        return None


PLAIN = Profile()

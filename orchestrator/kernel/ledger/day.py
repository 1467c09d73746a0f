"""An account's trading day: where it began, how high it has been, what is lost (SAFETY B4)."""

from __future__ import annotations

from decimal import Decimal

import msgspec

from orchestrator.model.money import ONE, ZERO

PEAK_STEP = Decimal("0.0001")  # a new peak is worth a record from 0.01 % on


class DayBook(msgspec.Struct, kw_only=True):
    """E0, P and what moved them; changed only by facts, so it survives a restart."""

    day: str
    equity_start: Decimal
    peak: Decimal
    transfers: Decimal = ZERO
    realized: Decimal = ZERO
    orders: int = 0  # intents written on this day
    traded: bool = False  # whether a trade was opened on this day
    days: int = 0  # earlier trading days on which one was
    profile: str = ""  # by which rules P is measured
    start: Decimal = ZERO  # start balance: base of a static drawdown and of a target; 0: unknown
    high: Decimal = ZERO  # highest NAV so far, where P is another

    @property
    def highest(self) -> Decimal:
        """The highest NAV so far: what the totals' peak is made of."""
        return max(self.high, self.peak)

    @property
    def trading_days(self) -> int:
        """Days with a trade, this one included."""
        return self.days + self.traded

    def start_day(self, day: str, equity: Decimal) -> None:
        """A new trading day; the peak goes on."""
        self.day, self.equity_start = day, equity
        self.transfers = self.realized = ZERO
        self.days, self.orders, self.traded = self.trading_days, 0, False

    def shift(self, amount: Decimal) -> None:
        """A fund movement is neither profit nor loss: E0 and P move with it."""
        self.equity_start += amount
        self.peak += amount
        self.high += amount if self.high else ZERO
        self.start += amount if self.start else ZERO
        self.transfers += amount

    def new_peak(self, nav: Decimal) -> Decimal | None:
        """A highest NAV that is worth a record, or None."""
        high = self.highest
        return nav if nav > high and nav - high >= PEAK_STEP * high else None

    def loss(self, nav: Decimal) -> Decimal:
        """L = max(0, E0 - NAV)."""
        return max(ZERO, self.equity_start - nav)

    def loss_fraction(self, nav: Decimal) -> Decimal | None:
        """L / E0; None (unknown) where the day began with nothing."""
        return None if self.equity_start <= 0 else self.loss(nav) / self.equity_start

    def drawdown_fraction(self, nav: Decimal) -> Decimal | None:
        """1 - NAV / P, never below 0; None (unknown) without a positive peak."""
        return None if self.peak <= 0 else max(ZERO, ONE - nav / self.peak)

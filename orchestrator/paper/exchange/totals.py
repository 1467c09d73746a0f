"""What the sides of a position made in their whole life."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.money import ZERO


class SideTotals:
    """What one side of a position made in its whole life."""

    __slots__ = ("dividends", "financing", "guaranteed_fees", "pl", "pl_at_reset")

    def __init__(self) -> None:
        self.pl = ZERO
        self.pl_at_reset = ZERO
        self.dividends = ZERO
        self.financing = ZERO
        self.guaranteed_fees = ZERO


class PositionTotals:
    """Both sides of an instrument that was traded at least once."""

    __slots__ = ("commission", "long", "short")

    def __init__(self) -> None:
        self.commission = ZERO
        self.long = SideTotals()
        self.short = SideTotals()

    def side_of(self, units: Decimal) -> SideTotals:
        return self.long if units > 0 else self.short

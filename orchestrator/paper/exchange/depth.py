"""How much the book offers at which price: an order walks its levels, and pays their average.

Source: fact sheet, section 8 ("larger sizes walk the levels, fullVWAP is the average").
"""

from __future__ import annotations

from decimal import ROUND_HALF_EVEN, Decimal

import msgspec

from orchestrator.model.market import Tick
from orchestrator.model.money import ONE, ZERO, InstrumentSpec
from orchestrator.paper.instruments import LIQUIDITY


class Level(msgspec.Struct, frozen=True, gc=False):
    """So many units, so many pips worse than the best price."""

    units: int
    pips: Decimal


class Depth(msgspec.Struct, frozen=True, gc=False):
    """The levels on each side, best first. Not `limited`: the last one takes any size."""

    levels: tuple[Level, ...] = (Level(LIQUIDITY, ZERO),)
    limited: bool = False

    def offers(
        self, tick: Tick, spec: InstrumentSpec, *, buying: bool
    ) -> tuple[tuple[Decimal, int], ...]:
        """Price and units of each level of the side that a buyer, or a seller, meets."""
        best, sign = (tick.ask, ONE) if buying else (tick.bid, -ONE)
        if len(self.levels) == 1:
            return ((best, self.levels[0].units),)
        steps = ((best + sign * level.pips * spec.pip, level.units) for level in self.levels)
        return tuple((price.quantize(spec.tick), units) for price, units in steps if price > 0)

    def walk(
        self, tick: Tick, spec: InstrumentSpec, units: Decimal, worst: Decimal | None
    ) -> tuple[Decimal, Decimal]:
        """(units that are to be had, signed as asked, and their average price on the grid)."""
        buying = units > 0
        best = tick.ask if buying else tick.bid
        if worst is not None and (best > worst if buying else best < worst):
            return ZERO, best
        if not self.limited:
            return units, best
        left, paid = abs(units), ZERO
        for price, offered in self.offers(tick, spec, buying=buying):
            if not left or (worst is not None and (price > worst if buying else price < worst)):
                break
            part = min(left, Decimal(offered))
            left -= part
            paid += part * price
        had = abs(units) - left
        if not had:
            return ZERO, best
        average = (paid / had).quantize(spec.tick, rounding=ROUND_HALF_EVEN)
        return (had if buying else -had), average

    def away(self, spec: InstrumentSpec, units: Decimal) -> Decimal:
        """How much worse than the best price so many units are, on average; at most the book's."""
        left, paid, had = units, ZERO, ZERO
        for level in self.levels:
            part = min(left, Decimal(level.units))
            paid, had, left = paid + part * level.pips * spec.pip, had + part, left - part
        return (paid / had).quantize(spec.tick, rounding=ROUND_HALF_EVEN) if had else ZERO


DEEP = Depth()  # one level of the largest order, which takes any size

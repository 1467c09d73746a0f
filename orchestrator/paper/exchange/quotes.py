"""The latest price of each instrument, and what currencies are worth by them."""

from __future__ import annotations

from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal

from orchestrator.model.conversion import SAME, BidAsk, Factors, factors
from orchestrator.model.market import Tick
from orchestrator.model.money import Currency, InstrumentName, InstrumentSpec, step_of

FILL_DIGITS = 12
PRICING_DIGITS = 8
_MID_DIGITS = 5


class Quotes:
    """Latest ticks. `version` changes with each, so that what depends on them can be kept."""

    def __init__(self) -> None:
        self._ticks: dict[InstrumentName, Tick] = {}

    def put(self, tick: Tick) -> None:
        self._ticks[tick.instrument] = tick

    def get(self, instrument: InstrumentName) -> Tick | None:
        return self._ticks.get(instrument)

    def instruments(self) -> tuple[InstrumentName, ...]:
        return tuple(self._ticks)

    def bid_ask(self, instrument: InstrumentName) -> BidAsk | None:
        tick = self._ticks.get(instrument)
        return None if tick is None else (tick.bid, tick.ask)

    def factors(self, frm: Currency, home: Currency, charge: Decimal) -> Factors | None:
        """Gain, loss and value factors; with a charge, mid x (1 -/+ charge) (sheet, section 10)."""
        if frm == home:
            return SAME
        found = factors(frm, home, self.bid_ask)
        if found is None or not charge:
            return found
        mid = found.value.quantize(step_of(_MID_DIGITS), rounding=ROUND_DOWN)
        return Factors(mid * (1 - charge), mid * (1 + charge), mid)


def rounded(found: Factors, digits: int) -> Factors:
    """The factors as they are printed, and used (the identity stays a plain 1)."""
    if found is SAME:
        return SAME
    step = step_of(digits)
    return Factors(
        found.gain.quantize(step, rounding=ROUND_HALF_UP),
        found.loss.quantize(step, rounding=ROUND_HALF_UP),
        found.value.quantize(step, rounding=ROUND_HALF_UP),
    )


def mid_rounded(tick: Tick, spec: InstrumentSpec) -> Decimal:
    """The mid at display precision, half up: the closeout price (vector 3 of section 17)."""
    return ((tick.bid + tick.ask) / 2).quantize(spec.tick, rounding=ROUND_HALF_UP)


def half_spread(tick: Tick, spec: InstrumentSpec, *, buying: bool) -> Decimal:
    """Half of the spread with the mid cut to display precision (section 10)."""
    mid = ((tick.bid + tick.ask) / 2).quantize(spec.tick, rounding=ROUND_DOWN)
    return tick.ask - mid if buying else mid - tick.bid

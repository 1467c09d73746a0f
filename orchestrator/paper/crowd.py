"""Order and position books: what a pretended crowd wants and holds, each 20 minutes.

Made of dice that are seeded by instrument and snapshot, around the price of that moment; nothing
of it is traded. Source of the shapes: OANDA's `OrderBook` and `PositionBook`.
"""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from decimal import Decimal

from orchestrator.model.money import InstrumentName, InstrumentSpec
from orchestrator.model.time import DAY_NS, HOUR_NS, MINUTE_NS, Instant, format_time
from orchestrator.paper.candles import CandleStore
from orchestrator.paper.instruments import USUAL

EVERY_NS = 20 * MINUTE_NS
KINDS = ("orderBook", "positionBook")
_RECENT_NS = 4 * DAY_NS  # over a weekend
_WIDTH_PIPS = 5
_BUCKETS = 80  # on each side of the price
_CROWD = 10_000  # so that each of them is 0.01 %
_HUNDRED = Decimal(100)
_ROUND = 10  # each tenth bucket is a round number, where orders gather


def has_books(instrument: InstrumentName) -> bool:
    """OANDA has them for few instruments; the venue for its eleven usual ones."""
    return instrument in USUAL


def snapshot_time(at_ns: Instant) -> Instant:
    """The snapshot that was the latest then."""
    return at_ns - at_ns % EVERY_NS


def price_at(candles: CandleStore, instrument: InstrumentName, at_ns: Instant) -> Decimal | None:
    """The mid before that time; of the first price ever, if it came soon after. None: no price."""
    minutes = candles.bars(instrument, "M1", start_ns=at_ns - _RECENT_NS)
    past = [bar for bar in minutes if bar.start_ns < at_ns] or [
        bar for bar in candles.bars(instrument, "H1") if bar.start_ns + HOUR_NS <= at_ns
    ]
    if past:
        return past[-1].mid[3]
    soon = minutes and minutes[0].start_ns < at_ns + EVERY_NS
    return minutes[0].mid[0] if soon else None


def book_of(kind: str, spec: InstrumentSpec, at_ns: Instant, price: Decimal) -> dict[str, object]:
    """The snapshot as it is sent; all percentages together are 100."""
    dice = random.Random(f"{kind} {spec.name} {at_ns}")
    width = _WIDTH_PIPS * spec.pip
    middle = int(price // width)
    steps = [step for step in range(middle - _BUCKETS, middle + _BUCKETS + 1) if step > 0]
    weigh = _wanted if kind == "orderBook" else _held
    drift = dice.gauss(0.0, 8.0)  # where the crowd got in, in buckets from here
    weights = [weigh(step, step - middle, long, drift, dice) for long in (1, -1) for step in steps]
    counts = _counted(weights)
    shown: list[dict[str, object]] = [
        {
            "price": (step * width).quantize(spec.tick),
            "longCountPercent": _percent(long),
            "shortCountPercent": _percent(short),
        }
        for step, long, short in zip(steps, counts, counts[len(steps) :], strict=False)
        if long or short
    ]
    return {
        "instrument": spec.name,
        "time": format_time(at_ns),
        "price": price.quantize(spec.tick),
        "bucketWidth": width.quantize(spec.tick),
        "buckets": shown,
    }


def _wanted(step: int, away: int, long: int, _drift: float, dice: random.Random) -> float:
    """Buyers wait below the price (limits) and above it (stops); few stand right at it."""
    near = 1.0 - math.exp(-abs(away) / 3.0)
    limits = 1.3 if away * long < 0 else 1.0
    crowded = 2.5 if step % _ROUND == 0 else 1.0
    return near * limits * crowded * math.exp(-abs(away) / 25.0) * dice.expovariate(1.0)


def _held(step: int, away: int, long: int, drift: float, dice: random.Random) -> float:
    """Positions were opened where the price has been; who is losing holds on."""
    losing = 1.4 if away * long > 0 else 1.0
    crowded = 1.3 if step % _ROUND == 0 else 1.0
    return losing * crowded * math.exp(-(((away - drift) / 18.0) ** 2)) * dice.expovariate(1.0)


def _counted(weights: Sequence[float]) -> list[int]:
    """Whole people, as many as the crowd has: the largest remainders are rounded up."""
    total = sum(weights)
    exact = [weight / total * _CROWD for weight in weights]
    counts = [int(value) for value in exact]
    by_rest = sorted(range(len(exact)), key=lambda i: (counts[i] - exact[i], i))
    for index in by_rest[: _CROWD - sum(counts)]:
        counts[index] += 1
    return counts


def _percent(count: int) -> Decimal:
    return (Decimal(count) * _HUNDRED / _CROWD).quantize(Decimal("0.0001"))

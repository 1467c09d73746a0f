"""Candles: by count or range, smoothed or not, aligned anywhere; and the latest of several."""

from __future__ import annotations

from decimal import Decimal, InvalidOperation

from orchestrator.model.money import ZERO, InstrumentName, InstrumentSpec
from orchestrator.model.time import format_time
from orchestrator.paper.alignment import (
    GRANULARITIES,
    WEEKDAYS,
    Alignment,
    known_zone,
    period_of,
)
from orchestrator.paper.call import Answer, Call, Refused, bad, moment, ok, whole_number, yes
from orchestrator.paper.candles import Bar, complete

COUNT_MAX = 5000
SPECIFICATIONS_MAX = 100
_SPEC_PARTS = 3


def candles(call: Call) -> Answer:
    name, granularity = InstrumentName(call.rest[0]), call.query.get("granularity", "S5")
    sides = call.query.get("price", "M")
    if name not in call.market.instruments:
        raise bad("instrument")
    if granularity not in GRANULARITIES:
        raise bad("granularity")
    if not sides or set(sides) - set("MBA"):
        raise bad("price")
    alignment = _alignment(call)
    bars, before = _wanted(call, name, granularity, alignment)
    return ok(**_response(call, name, granularity, sides, alignment, bars, before))


def latest(call: Call) -> Answer:
    """The running candle and the one before it, for each "EUR_USD:S10:BM" that is asked for."""
    wanted = [w for w in call.query.get("candleSpecifications", "").split(",") if w]
    if not 0 < len(wanted) <= SPECIFICATIONS_MAX:
        raise bad("candleSpecifications")
    alignment = _alignment(call)
    found: list[dict[str, object]] = []
    for text in wanted:
        name, granularity, sides = _specification(call, text)
        bars = call.market.candles.bars(name, granularity, alignment, count=3)
        shown, before = bars[-2:], bars[-3] if len(bars) == _SPEC_PARTS else None
        found.append(_response(call, name, granularity, sides, alignment, shown, before))
    return ok(latestCandles=found)


def _specification(call: Call, text: str) -> tuple[InstrumentName, str, str]:
    name, granularity, sides, *more = [*text.split(":"), "", ""]
    known = InstrumentName(name) in call.market.instruments and granularity in GRANULARITIES
    if not known or not sides or set(sides) - set("MBA") or any(more):
        raise bad("candleSpecifications")
    return InstrumentName(name), granularity, sides


def _away(call: Call, spec: InstrumentSpec) -> Decimal:
    """`units`: how much worse than the best price the average for so many is (accounts only)."""
    text = call.query.get("units", "1")
    if call.books is None:
        return ZERO
    try:
        units = Decimal(text)
    except InvalidOperation as error:
        raise bad("units") from error
    if not (units.is_finite() and 0 < units <= spec.maximum_order_units):
        raise bad("units")
    return call.market.depth.away(spec, units)


def _alignment(call: Call) -> Alignment:
    zone = call.query.get("alignmentTimezone", "America/New_York")
    day = call.query.get("weeklyAlignment", "Friday")
    if not known_zone(zone):
        raise bad("alignmentTimezone")
    if day not in WEEKDAYS:
        raise bad("weeklyAlignment")
    return Alignment(whole_number(call, "dailyAlignment", 17, 0, 23), zone, day)


def _wanted(
    call: Call, name: InstrumentName, granularity: str, alignment: Alignment
) -> tuple[list[Bar], Bar | None]:
    """The bars that are asked for, and the one before them (for `smooth`)."""
    count = whole_number(call, "count", 500, 1, COUNT_MAX)
    start, end = moment(call, "from"), moment(call, "to")
    _check_range(call, granularity, start, end)
    store = call.market.candles
    if start is None:
        made = store.bars(name, granularity, alignment, count=None if end else count + 1)
        if end is not None:
            made = [bar for bar in made if bar.start_ns < end]
        return made[-count:], made[-count - 1] if len(made) > count else None
    covering = alignment.start_of(granularity, start)
    made = store.bars(name, granularity, alignment, start_ns=covering)
    if end is not None:
        made = [bar for bar in made if bar.start_ns < end]
    if not yes(call, "includeFirst", default=True):
        made = [bar for bar in made if bar.start_ns > covering]
    before = None
    if yes(call, "smooth", default=False):
        earlier = store.bars(name, granularity, alignment)
        first = made[0].start_ns if made else covering
        before = next((bar for bar in reversed(earlier) if bar.start_ns < first), None)
    return made if end is not None else made[:count], before


def _check_range(call: Call, granularity: str, start: int | None, end: int | None) -> None:
    for name, at_ns in (("from", start), ("to", end)):
        if at_ns is not None and at_ns > call.now:
            raise bad(name, ". Time is in the future")
    if start is None or end is None:
        return
    if "count" in call.query:
        raise Refused(400, "'count' cannot be specified when 'to' and 'from' are set")
    if start > end:
        raise bad("from")
    if (end - start) // period_of(granularity) > COUNT_MAX:
        raise Refused(400, "Maximum value for 'count' exceeded")


def _response(
    call: Call,
    name: InstrumentName,
    granularity: str,
    sides: str,
    alignment: Alignment,
    bars: list[Bar],
    before: Bar | None,
) -> dict[str, object]:
    smooth, now, spec = yes(call, "smooth", default=False), call.now, call.market.spec(name)
    away = _away(call, spec)
    shown: list[dict[str, object]] = []
    for bar in bars:
        whole = complete(bar, granularity, now, alignment)
        shown.append(_candle(bar, before if smooth else None, sides, spec.tick, away, whole))
        before = bar
    return {"instrument": name, "granularity": granularity, "candles": shown}


def _candle(
    bar: Bar, before: Bar | None, sides: str, step: Decimal, away: Decimal, whole: bool
) -> dict[str, object]:
    from_time = format_time(bar.start_ns)
    shown: dict[str, object] = {"complete": whole, "volume": bar.volume, "time": from_time}
    for letter, name, shift in (("B", "bid", -away), ("M", "mid", ZERO), ("A", "ask", away)):
        if letter in sides:
            ohlc: list[Decimal] = getattr(bar, name)
            opened: Decimal = getattr(before, name)[3] if before is not None else ohlc[0]
            high, low = max(opened, ohlc[1]), min(opened, ohlc[2])
            values = (v + shift for v in (opened, high, low, ohlc[3]))
            shown[name] = dict(zip("ohlc", (v.quantize(step) for v in values), strict=True))
    return shown

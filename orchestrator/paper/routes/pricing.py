"""Prices of an account, and candles."""

from __future__ import annotations

from decimal import Decimal

from orchestrator.model.market import Tick
from orchestrator.model.money import Currency, InstrumentName
from orchestrator.model.time import Instant, format_time, parse_time
from orchestrator.paper.call import (
    Answer,
    Call,
    Refused,
    bad,
    instruments_of,
    ok,
    whole_number,
    yes,
)
from orchestrator.paper.candles import (
    GRANULARITIES,
    WEEKDAYS,
    Alignment,
    Bar,
    complete,
    period_of,
)
from orchestrator.paper.exchange.quotes import PRICING_DIGITS, rounded
from orchestrator.paper.instruments import LIQUIDITY

COUNT_MAX = 5000
_ZONES = frozenset({"America/New_York", "UTC"})


def price_line(tick: Tick) -> bytes:
    """A ClientPrice as the stream sends it."""
    bid, ask = tick.bid, tick.ask
    status = "tradeable" if tick.tradeable else "non-tradeable"
    return (
        f'{{"type":"PRICE","time":"{format_time(tick.venue_ns)}",'
        f'"bids":[{{"price":"{bid}","liquidity":{LIQUIDITY}}}],'
        f'"asks":[{{"price":"{ask}","liquidity":{LIQUIDITY}}}],'
        f'"closeoutBid":"{bid}","closeoutAsk":"{ask}","status":"{status}",'
        f'"tradeable":{"true" if tick.tradeable else "false"},"instrument":"{tick.instrument}"}}'
    ).encode()


def prices(call: Call) -> Answer:
    wanted = instruments_of(call)
    if not wanted:
        raise bad("instruments")
    since = _time(call, "since")
    found = [(name, call.exchange.quotes.get(name)) for name in wanted]
    body: dict[str, object] = {
        "prices": [
            _price(call, tick)
            for _, tick in found
            if tick is not None and (since is None or tick.venue_ns > since)
        ],
        "time": format_time(call.now),
    }
    if yes(call, "includeHomeConversions", default=False):
        currencies = dict.fromkeys(
            c
            for name in wanted
            for c in (call.market.spec(name).base, call.market.spec(name).quote)
        )
        body["homeConversions"] = [h for c in currencies if (h := _conversion(call, c)) is not None]
    return ok(**body)


def _price(call: Call, tick: Tick) -> dict[str, object]:
    found = call.exchange.quotes.factors(
        call.market.spec(tick.instrument).quote,
        call.account.currency,
        call.account.config.conversion_charge,
    )
    price: dict[str, object] = {
        "type": "PRICE",
        "time": format_time(tick.venue_ns),
        "bids": [{"price": tick.bid, "liquidity": LIQUIDITY}],
        "asks": [{"price": tick.ask, "liquidity": LIQUIDITY}],
        "closeoutBid": tick.bid,
        "closeoutAsk": tick.ask,
        "status": "tradeable" if tick.tradeable else "non-tradeable",
        "tradeable": tick.tradeable,
        "instrument": tick.instrument,
    }
    if found is not None:
        used = rounded(found, PRICING_DIGITS)
        price["quoteHomeConversionFactors"] = {
            "positiveUnits": used.gain, "negativeUnits": used.loss,
        }  # fmt: skip
    return price


def _conversion(call: Call, currency: Currency) -> dict[str, object] | None:
    books = call.account
    found = call.exchange.quotes.factors(currency, books.currency, books.config.conversion_charge)
    if found is None:
        return None
    used = rounded(found, PRICING_DIGITS)
    return {
        "currency": currency,
        "accountGain": used.gain,
        "accountLoss": used.loss,
        "positionValue": used.value,
    }


def candles(call: Call) -> Answer:
    name = InstrumentName(call.rest[0])
    if name not in call.market.instruments:
        raise bad("instrument")
    granularity, sides = call.query.get("granularity", "S5"), call.query.get("price", "M")
    if granularity not in GRANULARITIES:
        raise bad("granularity")
    if not sides or set(sides) - set("MBA"):
        raise bad("price")
    bars = _wanted(call, call.market.candles.bars(name, granularity, _alignment(call)), granularity)
    smooth = yes(call, "smooth", default=False)
    spec = call.market.spec(name)
    step, now = spec.tick, call.now
    return ok(
        instrument=name,
        granularity=granularity,
        candles=[
            _candle(bar, bars[i - 1] if smooth and i else None, sides, step,
                    whole=complete(bar, granularity, now))
            for i, bar in enumerate(bars)
        ],
    )  # fmt: skip


def _alignment(call: Call) -> Alignment:
    zone = call.query.get("alignmentTimezone", "America/New_York")
    day = call.query.get("weeklyAlignment", "Friday")
    if zone not in _ZONES:
        raise bad("alignmentTimezone")
    if day not in WEEKDAYS:
        raise bad("weeklyAlignment")
    return Alignment(whole_number(call, "dailyAlignment", 17, 0, 23), zone, day)


def _wanted(call: Call, bars: list[Bar], granularity: str) -> list[Bar]:
    count = whole_number(call, "count", 500, 1, COUNT_MAX)
    start, end, now = _time(call, "from"), _time(call, "to"), call.now
    for name, at_ns in (("from", start), ("to", end)):
        if at_ns is not None and at_ns > now:
            raise bad(name, ". Time is in the future")
    if start is not None and end is not None:
        if "count" in call.query:
            raise Refused(400, "'count' cannot be specified when 'to' and 'from' are set")
        if start > end:
            raise bad("from")
        if (end - start) // period_of(granularity) > COUNT_MAX:
            raise Refused(400, "Maximum value for 'count' exceeded")
    if start is not None:
        first = yes(call, "includeFirst", default=True)
        bars = [b for b in bars if b.start_ns > start or (first and b.start_ns == start)]
    if end is not None:
        bars = [b for b in bars if b.start_ns < end]
    if start is not None:
        return bars if end is not None else bars[:count]
    return bars[-count:]


def _candle(
    bar: Bar, before: Bar | None, sides: str, step: Decimal, *, whole: bool
) -> dict[str, object]:
    shown: dict[str, object] = {
        "complete": whole, "volume": bar.volume, "time": format_time(bar.start_ns),
    }  # fmt: skip
    for letter, name in (("B", "bid"), ("M", "mid"), ("A", "ask")):
        if letter in sides:
            ohlc: list[Decimal] = getattr(bar, name)
            opened: Decimal = getattr(before, name)[3] if before is not None else ohlc[0]
            high, low = max(opened, ohlc[1]), min(opened, ohlc[2])
            values = (opened, high, low, ohlc[3])
            shown[name] = dict(zip("ohlc", (v.quantize(step) for v in values), strict=True))
    return shown


def _time(call: Call, name: str) -> Instant | None:
    text = call.query.get(name)
    if not text:
        return None
    try:
        at_ns = parse_time(text.replace(" ", "+"))  # a "+00:00" that was not escaped
        format_time(at_ns)
    except (ValueError, ArithmeticError) as error:
        raise bad(name) from error
    return at_ns

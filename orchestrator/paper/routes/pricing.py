"""Prices of an account, with what they mean for it."""

from __future__ import annotations

from collections.abc import Sequence

from orchestrator.model.market import Tick
from orchestrator.model.money import InstrumentName, InstrumentSpec
from orchestrator.model.time import format_time
from orchestrator.paper.call import (
    Answer,
    Call,
    bad,
    encode,
    instruments_of,
    moment,
    ok,
    yes,
)
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.depth import DEEP, Depth
from orchestrator.paper.exchange.quotes import PRICING_DIGITS, rounded
from orchestrator.paper.exchange.units import units_available
from orchestrator.paper.instruments import LIQUIDITY
from orchestrator.paper.market import Market


def price_line(tick: Tick, spec: InstrumentSpec | None = None, depth: Depth = DEEP) -> bytes:
    """A ClientPrice as the stream sends it; `spec` for a book of more than one level."""
    bid, ask = tick.bid, tick.ask
    bids = f'[{{"price":"{bid}","liquidity":{LIQUIDITY}}}]'
    asks = f'[{{"price":"{ask}","liquidity":{LIQUIDITY}}}]'
    if depth is not DEEP and spec is not None:
        bids = encode(_buckets(tick, spec, depth, buying=False)).decode()
        asks = encode(_buckets(tick, spec, depth, buying=True)).decode()
    status = "tradeable" if tick.tradeable else "non-tradeable"
    return (
        f'{{"type":"PRICE","time":"{format_time(tick.venue_ns)}",'
        f'"bids":{bids},"asks":{asks},'
        f'"closeoutBid":"{bid}","closeoutAsk":"{ask}","status":"{status}",'
        f'"tradeable":{"true" if tick.tradeable else "false"},"instrument":"{tick.instrument}"}}'
    ).encode()


def _buckets(
    tick: Tick, spec: InstrumentSpec, depth: Depth, *, buying: bool
) -> list[dict[str, object]]:
    offers = depth.offers(tick, spec, buying=buying)
    return [{"price": price, "liquidity": units} for price, units in offers]


def prices(call: Call) -> Answer:
    wanted = instruments_of(call)
    if not wanted:
        raise bad("instruments")
    units = yes(call, "includeUnitsAvailable", default=True)
    since = moment(call, "since")
    found = [(name, call.exchange.quotes.get(name)) for name in wanted]
    body: dict[str, object] = {
        "prices": [
            _price(call, tick, with_units=units)
            for _, tick in found
            if tick is not None and (since is None or tick.venue_ns > since)
        ],
        "time": format_time(call.now),
    }
    if yes(call, "includeHomeConversions", default=False):
        body["homeConversions"] = home_conversions(call.market, call.account, wanted)
    return ok(**body)


def _price(call: Call, tick: Tick, *, with_units: bool) -> dict[str, object]:
    spec = call.market.spec(tick.instrument)
    found = call.exchange.quotes.factors(
        spec.quote,
        call.account.currency,
        call.account.config.conversion_charge,
    )
    price: dict[str, object] = {
        "type": "PRICE",
        "time": format_time(tick.venue_ns),
        "bids": _buckets(tick, spec, call.market.depth, buying=False),
        "asks": _buckets(tick, spec, call.market.depth, buying=True),
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
        if with_units:
            price["unitsAvailable"] = units_available(call.exchange, call.account, tick, found)
    return price


def home_conversions(
    market: Market, books: Books, names: Sequence[InstrumentName]
) -> list[dict[str, object]]:
    """One for each base and quote currency of these instruments that can be converted."""
    specs = [market.spec(name) for name in names]
    currencies = dict.fromkeys(c for spec in specs for c in (spec.base, spec.quote))
    charge, made = books.config.conversion_charge, list[dict[str, object]]()
    for currency in currencies:
        found = market.exchange.quotes.factors(currency, books.currency, charge)
        if found is None:
            continue
        used = rounded(found, PRICING_DIGITS)
        shown = {"accountGain": used.gain, "accountLoss": used.loss, "positionValue": used.value}
        made.append({"currency": currency, **shown})
    return made

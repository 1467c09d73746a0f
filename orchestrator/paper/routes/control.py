"""What stands outside /v3, only with --control: clock, prices by hand, faults, shutdown."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.money import InstrumentName
from orchestrator.paper.call import Answer, Call, Refused, bad, encode, ok
from orchestrator.paper.exchange.requests import read_body
from orchestrator.paper.faults import Fault, Faults

_PRICE_MAX = Decimal(1_000_000_000)


class PriceBody(msgspec.Struct, frozen=True):
    """`release`: the feed prices the instrument again."""

    instrument: InstrumentName
    bid: Decimal | None = None
    ask: Decimal | None = None
    tradeable: bool = True
    release: bool = False


def clock(call: Call) -> Answer:
    """VenueClock, with the constant quotes that are no prices of the feed."""
    told: dict[str, object] = msgspec.to_builtins(call.market.clock())
    told["references"] = call.market.references
    return Answer(200, encode(told))


def prices(call: Call) -> Answer:
    body = read_body(call.body, PriceBody)
    if body.instrument not in call.exchange.specs:
        raise bad("instrument")
    if body.release:
        call.market.let_go(body.instrument)
        return ok(instrument=body.instrument, released=True)
    bid, ask = body.bid, body.ask
    if bid is None or not bid.is_finite() or not 0 < bid < _PRICE_MAX:
        raise bad("bid")
    if ask is None or not ask.is_finite() or not bid <= ask < _PRICE_MAX:
        raise bad("ask")
    tick = call.market.put_price(body.instrument, bid, ask, tradeable=body.tradeable)
    return ok(instrument=tick.instrument, bid=tick.bid, ask=tick.ask, at_ns=tick.venue_ns)


def faults(waiting: Faults) -> Callable[[Call], Answer]:
    """POST /control/faults adds one; DELETE forgets all that wait."""

    def route(call: Call) -> Answer:
        if call.method == "DELETE":
            waiting.waiting.clear()
            return ok(waiting=0)
        fault = read_body(call.body, Fault)
        objection = fault.objection()
        if objection is not None:
            raise bad(objection)
        if not waiting.add(fault):
            raise Refused(400, "Too many faults wait already")
        return ok(waiting=len(waiting.waiting))

    return route


def shutdown(stop: Callable[[], None]) -> Callable[[Call], Answer]:
    """POST /control/shutdown answers, then the venue ends."""

    def route(_call: Call) -> Answer:
        stop()
        return ok(stopping=True)

    return route

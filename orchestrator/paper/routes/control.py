"""What stands outside /v3, only with --control: clock, prices, instruments, funds, faults."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import msgspec

from orchestrator.model.money import AccountId, InstrumentName
from orchestrator.model.time import NS_PER_S
from orchestrator.paper.call import Answer, Call, Refused, answer_of, bad, encode, ok
from orchestrator.paper.exchange.requests import read_body
from orchestrator.paper.exchange.restrictions import SIDES
from orchestrator.paper.faults import Fault, Faults
from orchestrator.paper.feeds.live import LiveFeed

_PRICE_MAX = Decimal(10_000_000)  # keeps what an account can win or lose within its books
_SPEEDS = (0.001, 1_000_000.0)
_JUMP_MAX_S = 31 * 86_400.0


class PriceBody(msgspec.Struct, frozen=True):
    """`release`: the feed prices the instrument again."""

    instrument: InstrumentName
    bid: Decimal | None = None
    ask: Decimal | None = None
    tradeable: bool = True
    release: bool = False


class ClockBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A new speed (market seconds a second), a jump forward, or both: first the jump."""

    speed: float | None = None
    jump_s: float = 0.0


class InstrumentBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Halts an instrument, or opens it again; or only one side: open, reduceOnly, halted."""

    instrument: InstrumentName
    tradeable: bool | None = None
    bid: str | None = None
    ask: str | None = None


class FundsBody(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A deposit, or with a negative amount a withdrawal, in the account's currency."""

    account: AccountId
    amount: Decimal
    comment: str | None = None


def clock(call: Call) -> Answer:
    """VenueClock, with the constant quotes that are no prices of the feed."""
    told: dict[str, object] = msgspec.to_builtins(call.market.clock())
    told["references"] = call.market.references
    if isinstance(call.market.feed, LiveFeed):
        told["source"] = call.market.feed.state()
    return Answer(200, encode(told))


def set_clock(call: Call) -> Answer:
    """Market time never goes back; a market that runs as fast as it can has no speed to set."""
    body, market = read_body(call.body, ClockBody), call.market
    if not 0 <= body.jump_s <= _JUMP_MAX_S:
        raise bad("jump_s")
    if body.speed is not None and not _SPEEDS[0] <= body.speed <= _SPEEDS[1]:
        raise bad("speed")
    if isinstance(market.feed, LiveFeed):
        raise Refused(400, "The clock follows the source of live prices")
    if market.time.held or market.time.speed == 0:
        raise Refused(400, "The clock is held, or runs as fast as it can")
    if body.jump_s:
        market.jump(round(body.jump_s * NS_PER_S))
    if body.speed is not None:
        market.time.set_speed(body.speed)
    return clock(call)


def prices(call: Call) -> Answer:
    body = read_body(call.body, PriceBody)
    if body.instrument not in call.market.instruments:
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


def instruments(call: Call) -> Answer:
    body = read_body(call.body, InstrumentBody)
    if body.instrument not in call.market.instruments:
        raise bad("instrument")
    sides = {name: state for name, state in (("bid", body.bid), ("ask", body.ask)) if state}
    for name, state in sides.items():
        if state not in SIDES:
            raise bad(name)
    if body.tradeable is None and not sides:
        raise bad("tradeable")
    for name, state in sides.items():
        call.exchange.restrictions.set_side(body.instrument, name, state)
    if body.tradeable is None:
        return ok(instrument=body.instrument, **sides)
    call.market.set_tradeable(body.instrument, tradeable=body.tradeable)
    return ok(instrument=body.instrument, tradeable=body.tradeable, **sides)


def funds(call: Call) -> Answer:
    body = read_body(call.body, FundsBody)
    books = call.exchange.accounts.get(body.account)
    if books is None:
        raise bad("account")
    reply = call.exchange.transfer(books, body.amount, body.comment, call.request_id, call.now)
    return answer_of(call, reply)


def faults(waiting: Faults) -> Callable[[Call], Answer]:
    """POST /control/faults adds one, GET lists them; DELETE forgets all and re-seeds the dice."""

    def route(call: Call) -> Answer:
        if call.method == "DELETE":
            waiting.clear()
            return ok(waiting=0)
        if call.method == "GET":
            return ok(faults=waiting.shown())
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

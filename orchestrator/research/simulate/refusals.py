"""A venue that says no: windows in which it refuses everything, and orders that it rejects."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from orchestrator.model.errors import VenueRefused
from orchestrator.model.money import InstrumentName
from orchestrator.model.orders import NotSent, Rejected, Unknown, WriteOutcome, WriteRequest
from orchestrator.research.simulate.world import World

_TEXTS = {
    401: "Insufficient authorization to perform request.",
    403: "The provided request was forbidden.",
    429: "Too many requests",
    503: "Service Unavailable",
}
_TOO_MANY = 429
_ERRORS = 500


def refusal(world: World) -> VenueRefused | None:
    """What everything is answered with now; None as long as requests are heard."""
    if world.inside("maintenance"):
        return _refused(503)
    if world.inside("throttled"):
        return _refused(_TOO_MANY)
    if world.inside("credentials"):
        return _refused(401 if world.seed % 2 else 403)
    return None


def _refused(status: int) -> VenueRefused:
    return VenueRefused(status, "", _TEXTS[status])


def as_answer(no: VenueRefused) -> WriteOutcome:
    """To a write (O4): a 429 proves that it was not accepted, a 503 proves nothing."""
    if no.status == _TOO_MANY:
        return NotSent(reason="HTTP 429")
    if no.status >= _ERRORS:
        return Unknown(reason=f"HTTP {no.status} {no.message}")
    return Rejected(status=no.status, code=no.code, message=no.message)


def reject(world: World, request: WriteRequest, submit: Callable[[WriteRequest], None]) -> None:
    """Let the venue reject this order with a transaction, or take it and cancel it at once."""
    order = msgspec.json.decode(request.body)
    if world.fates.dice("rejects").random() < 1 / 2:
        order["order"]["timeInForce"] = "GTC"  # which a market order must not be
        body = msgspec.json.encode(order).decode()
        submit(msgspec.structs.replace(request, body=body))
        return
    name = InstrumentName(order["order"]["instrument"])
    world.market.set_tradeable(name, tradeable=False)
    submit(request)
    world.loop.call_later(0.001, _let_go, world, name)


def _let_go(world: World, name: InstrumentName) -> None:
    world.market.set_tradeable(name, tradeable=not world.inside("halted"))

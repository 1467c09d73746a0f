"""Positions: list, open ones, one, close."""

from __future__ import annotations

from orchestrator.model.money import InstrumentName
from orchestrator.paper.call import Answer, Call, Refused, answer_of, bad, ok
from orchestrator.paper.exchange.requests import ClosePositionBody, read_body
from orchestrator.paper.exchange.valuation import account_value
from orchestrator.paper.exchange.views import position_of, positions_of


def list_positions(call: Call) -> Answer:
    books = call.account
    return ok(positions=positions_of(call.exchange, books), lastTransactionID=str(books.last_id))


def open_positions(call: Call) -> Answer:
    books = call.account
    value = account_value(books, call.exchange.specs, call.exchange.quotes)
    return ok(
        positions=[position_of(books, value, name) for name in books.trades_in],
        lastTransactionID=str(books.last_id),
    )


def get(call: Call) -> Answer:
    books, name = call.account, _instrument(call)
    if name not in books.positions:
        raise Refused(404, "The Position requested does not exist", "NO_SUCH_POSITION")
    value = account_value(books, call.exchange.specs, call.exchange.quotes)
    return ok(position=position_of(books, value, name), lastTransactionID=str(books.last_id))


def close(call: Call) -> Answer:
    body = read_body(call.body, ClosePositionBody)
    reply = call.exchange.close_position(
        call.account, _instrument(call), body, call.request_id, call.now
    )
    return answer_of(call, reply)


def _instrument(call: Call) -> InstrumentName:
    name = InstrumentName(call.rest[0])
    if name not in call.exchange.specs:
        raise bad("instrument")
    return name

"""Orders: create, list, get, replace, cancel, client extensions."""

from __future__ import annotations

from orchestrator.model.venue import Order
from orchestrator.paper.call import (
    Answer,
    Call,
    Refused,
    answer_of,
    bad,
    listed,
    next_page,
    ok,
    whole_number,
)
from orchestrator.paper.exchange.requests import ExtensionsBody, OrderBody, read_body

COUNT_MAX = 500
_STATES = frozenset({"PENDING", "FILLED", "TRIGGERED", "CANCELLED", "ALL"})


def create(call: Call) -> Answer:
    body = read_body(call.body, OrderBody)
    reply = call.exchange.create_order(call.account, body.order, call.request_id, call.now)
    return answer_of(call, reply)


def replace(call: Call) -> Answer:
    body = read_body(call.body, OrderBody)
    reply = call.exchange.replace_order(
        call.account, call.rest[0], body.order, call.request_id, call.now
    )
    return answer_of(call, reply)


def cancel(call: Call) -> Answer:
    reply = call.exchange.cancel_order(call.account, call.rest[0], call.request_id, call.now)
    return answer_of(call, reply)


def extensions(call: Call) -> Answer:
    body = read_body(call.body, ExtensionsBody)
    reply = call.exchange.order_extensions(
        call.account, call.rest[0], body, call.request_id, call.now
    )
    return answer_of(call, reply)


def pending(call: Call) -> Answer:
    orders = sorted(call.account.pending.values(), key=lambda o: -int(o.id))
    return ok(orders=orders, lastTransactionID=str(call.account.last_id))


def get(call: Call) -> Answer:
    books, specifier = call.account, call.rest[0]
    order = books.pending_order(specifier) or books.finished_orders.get(specifier)
    if order is None:
        raise Refused(404, "The order ID specified does not exist", "NO_SUCH_ORDER")
    return ok(order=order, lastTransactionID=str(books.last_id))


def list_orders(call: Call) -> Answer:
    books, state = call.account, call.query.get("state", "PENDING")
    if state not in _STATES:
        raise bad("state")
    orders: list[Order] = []
    if state in {"PENDING", "ALL"}:
        orders += books.pending.values()
    if state != "PENDING":
        finished = books.finished_orders.values()
        orders += [o for o in finished if state in {"ALL", o.state}]
    count = whole_number(call, "count", 50, 1, COUNT_MAX)
    chosen = _chosen(call, orders)
    more = next_page(call, chosen[count - 1].id) if len(chosen) > count else ""
    return listed(more, orders=chosen[:count], lastTransactionID=str(books.last_id))


def _chosen(call: Call, orders: list[Order]) -> list[Order]:
    before = whole_number(call, "beforeID", 10**15, 1, 10**17)
    wanted = call.query.get("instrument")
    ids = frozenset(part for part in call.query.get("ids", "").split(",") if part)
    kept = [
        order
        for order in orders
        if int(order.id) <= before
        and (wanted is None or call.account.instrument_of(order) == wanted)
        and (not ids or order.id in ids)
    ]
    return sorted(kept, key=lambda o: -int(o.id))

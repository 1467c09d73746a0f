"""Trades: list, get, close, dependent orders, client extensions."""

from __future__ import annotations

from orchestrator.model.venue import Trade
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
from orchestrator.paper.exchange.requests import (
    CloseTradeBody,
    ExtensionsBody,
    TradeOrdersBody,
    read_body,
)
from orchestrator.paper.exchange.views import trade_full

COUNT_MAX = 500
_STATES = frozenset({"OPEN", "CLOSED", "CLOSE_WHEN_TRADEABLE", "ALL"})


def open_trades(call: Call) -> Answer:
    return _listed(call, list(call.account.trades.values()))


def list_trades(call: Call) -> Answer:
    books, state = call.account, call.query.get("state", "OPEN")
    if state not in _STATES:
        raise bad("state")
    trades: list[Trade] = []
    if state != "CLOSED":
        trades += [t for t in books.trades.values() if state in {t.state, "ALL"}]
    if state in {"CLOSED", "ALL"}:
        trades += books.closed_trades.values()
    count = whole_number(call, "count", 50, 1, COUNT_MAX)
    before = whole_number(call, "beforeID", 10**15, 1, 10**17)
    wanted = call.query.get("instrument")
    ids = frozenset(part for part in call.query.get("ids", "").split(",") if part)
    kept = [
        trade
        for trade in trades
        if int(trade.id) <= before
        and (wanted is None or trade.instrument == wanted)
        and (not ids or trade.id in ids)
    ]
    return _listed(call, kept, count)


def _listed(call: Call, trades: list[Trade], count: int | None = None) -> Answer:
    newest, books = sorted(trades, key=lambda t: -int(t.id)), call.account
    more = ""
    if count is not None and len(newest) > count:
        more = next_page(call, newest[count - 1].id)
    return listed(
        more,
        trades=[trade_full(call.exchange, books, trade) for trade in newest[:count]],
        lastTransactionID=str(books.last_id),
    )


def get(call: Call) -> Answer:
    books, specifier = call.account, call.rest[0]
    trade = books.trade(specifier) or books.closed_trades.get(specifier)
    if trade is None:
        raise Refused(404, "The trade ID specified does not exist", "NO_SUCH_TRADE")
    return ok(trade=trade_full(call.exchange, books, trade), lastTransactionID=str(books.last_id))


def close(call: Call) -> Answer:
    body = read_body(call.body, CloseTradeBody)
    reply = call.exchange.close_trade(call.account, call.rest[0], body, call.request_id, call.now)
    return answer_of(call, reply)


def orders(call: Call) -> Answer:
    body = read_body(call.body, TradeOrdersBody)
    reply = call.exchange.trade_orders(call.account, call.rest[0], body, call.request_id, call.now)
    return answer_of(call, reply)


def extensions(call: Call) -> Answer:
    body = read_body(call.body, ExtensionsBody)
    reply = call.exchange.trade_extensions(
        call.account, call.rest[0], body, call.request_id, call.now
    )
    return answer_of(call, reply)

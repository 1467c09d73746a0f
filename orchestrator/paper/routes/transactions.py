"""Transactions: pages, one, by range, since an id; kept encoded and answered as they are."""

from __future__ import annotations

import bisect

import msgspec

from orchestrator.model.time import DAY_NS, Instant, format_time, parse_time
from orchestrator.paper.call import Answer, Call, Refused, bad, encode, moment, whole_number
from orchestrator.paper.exchange.books import Books

PAGE_MAX = 1000
RANGE_MAX_NS = 366 * DAY_NS  # 365 days, and one of grace
_FUNDING = frozenset({"TRANSFER_FUNDS", "TRANSFER_FUNDS_REJECT", "DAILY_FINANCING"})
_ADMIN = frozenset({"CREATE", "CLOSE", "REOPEN", "CLIENT_CONFIGURE", "CLIENT_CONFIGURE_REJECT"})


_ORDERS = (
    "MARKET_ORDER", "LIMIT_ORDER", "STOP_ORDER", "MARKET_IF_TOUCHED_ORDER", "TAKE_PROFIT_ORDER",
    "STOP_LOSS_ORDER", "GUARANTEED_STOP_LOSS_ORDER", "TRAILING_STOP_LOSS_ORDER",
    "ONE_CANCELS_ALL_ORDER", "ORDER_CANCEL", "ORDER_CLIENT_EXTENSIONS_MODIFY",
    "TRADE_CLIENT_EXTENSIONS_MODIFY",
)  # fmt: skip
_KNOWN = frozenset(
    {
        "ORDER", "FUNDING", "ADMIN", *_ORDERS, *(f"{kind}_REJECT" for kind in _ORDERS),
        *_FUNDING, *_ADMIN, "ONE_CANCELS_ALL_ORDER_TRIGGERED", "FIXED_PRICE_ORDER", "ORDER_FILL",
        "MARGIN_CALL_ENTER", "MARGIN_CALL_EXTEND", "MARGIN_CALL_EXIT", "DELAYED_TRADE_CLOSURE",
        "DIVIDEND_ADJUSTMENT", "RESET_RESETTABLE_PL",
    }
)  # fmt: skip


class _Stamped(msgspec.Struct):
    time: str


def time_of(books: Books, number: int) -> Instant:
    """When transaction `number` was made."""
    return parse_time(msgspec.json.decode(books.history[number - 1], type=_Stamped).time)


def get(call: Call) -> Answer:
    books, text = call.account, call.rest[0]
    number = int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0  # noqa: PLR2004
    if not 1 <= number <= books.last_id:
        raise Refused(404, "The transaction ID specified does not exist", "NO_SUCH_TRANSACTION")
    body = b'{"transaction":%b,"lastTransactionID":"%d"}' % (
        books.history[number - 1], books.last_id,
    )  # fmt: skip
    return Answer(200, body)


def since(call: Call) -> Answer:
    if "id" not in call.query:
        raise bad("id")
    last = whole_number(call, "id", 0, 0, 10**17)
    if last > call.account.last_id:
        raise Refused(416, "The transaction ID specified is beyond the account's history")
    return _several(call, last + 1, call.account.last_id)


def by_range(call: Call) -> Answer:
    if "from" not in call.query or "to" not in call.query:
        raise bad("from" if "from" not in call.query else "to")
    first = whole_number(call, "from", 1, 1, 10**17)
    last = whole_number(call, "to", 1, 1, 10**17)
    if first > last:
        raise bad("from")
    if last > call.account.last_id:
        raise Refused(416, "The transaction ID range cannot be served")
    return _several(call, first, last)


def _several(call: Call, first: int, last: int) -> Answer:
    books = call.account
    kinds = _types(call)
    chosen = (
        books.history[first - 1 : last]
        if kinds is None
        else [books.history[n - 1] for n in range(first, last + 1) if _is(books, n, kinds)]
    )
    body = b'{"transactions":[%b],"lastTransactionID":"%d"}' % (b",".join(chosen), books.last_id)
    return Answer(200, body)


def _types(call: Call) -> frozenset[str] | None:
    text = call.query.get("type", "")
    kinds = frozenset(part.strip() for part in text.split(","))
    if text and kinds - _KNOWN:
        raise bad("type")
    return kinds if text else None


def _is(books: Books, number: int, kinds: frozenset[str]) -> bool:
    kind = books.kinds[number - 1]
    return (
        kind in kinds
        or ("ORDER" in kinds and "ORDER" in kind)
        or ("FUNDING" in kinds and kind in _FUNDING)
        or ("ADMIN" in kinds and kind in _ADMIN)
    )


def pages(call: Call) -> Answer:
    """The urls of the pages that hold the range of time; no transactions inside (section 3)."""
    books = call.account
    size = whole_number(call, "pageSize", 100, 1, 10**17)
    if size > PAGE_MAX:
        raise Refused(400, "The page size specified is invalid", "INVALID_PAGESIZE")
    start, end = moment(call, "from"), moment(call, "to")
    start = parse_time(books.created_time) if start is None else start
    end = call.now if end is None else end
    if end > call.now:
        raise bad("to", ". Time is in the future")
    if start > end:
        raise bad("from")
    if end - start > RANGE_MAX_NS and "from" in call.query:
        raise Refused(400, "The time range specified is longer than 365 days")
    numbers = range(1, books.last_id + 1)
    first = bisect.bisect_left(numbers, start, key=lambda n: time_of(books, n)) + 1
    last = bisect.bisect_right(numbers, end, key=lambda n: time_of(books, n))
    kinds = _types(call)
    url = f"{call.base}/v3/accounts/{books.account_id}/transactions/idrange"
    body: dict[str, object] = {
        "from": format_time(start),
        "to": format_time(end),
        "pageSize": size,
        "count": sum(1 for n in range(first, last + 1) if kinds is None or _is(books, n, kinds)),
        "pages": [
            f"{url}?from={n}&to={min(last, n + size - 1)}"
            + (f"&type={call.query['type']}" if kinds else "")
            for n in range(first, last + 1, size)
        ],
        "lastTransactionID": str(books.last_id),
    }
    if kinds is not None:
        body["type"] = sorted(kinds)
    return Answer(200, encode(body))

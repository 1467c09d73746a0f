"""Order and position books of an instrument: the latest snapshot, or that of a time."""

from __future__ import annotations

from urllib.parse import quote

from orchestrator.model.money import InstrumentName
from orchestrator.model.time import Instant, format_time
from orchestrator.paper.call import Answer, Call, Refused, bad, encode, moment
from orchestrator.paper.crowd import EVERY_NS, book_of, has_books, price_at, snapshot_time

_NO_BOOK = "The book of the instrument and time specified does not exist"


def order_book(call: Call) -> Answer:
    return _book(call, "orderBook")


def position_book(call: Call) -> Answer:
    return _book(call, "positionBook")


def _book(call: Call, kind: str) -> Answer:
    name = InstrumentName(call.rest[0])
    if name not in call.market.instruments:
        raise bad("instrument")
    asked, latest = moment(call, "time"), snapshot_time(call.now)
    if asked is not None and asked > call.now:
        raise bad("time", ". Time is in the future")
    at_ns = latest if asked is None else snapshot_time(asked)
    price = price_at(call.market.candles, name, at_ns) if has_books(name) else None
    if price is None:
        raise Refused(404, _NO_BOOK, "NO_SUCH_BOOK")
    links = [_link(call, at_ns - EVERY_NS, "prev")]
    if at_ns < latest:
        links.append(_link(call, at_ns + EVERY_NS, "next"))
    body = encode({kind: book_of(kind, call.market.spec(name), at_ns, price)})
    # OANDA zips books for everyone, whatever was asked for.
    return Answer(200, body, f"Link: {', '.join(links)}\r\n", always_zipped=True)


def _link(call: Call, at_ns: Instant, rel: str) -> str:
    return f'<{call.base}{call.path}?time={quote(format_time(at_ns))}>; rel="{rel}"'

"""A request as the routes see it, and what they answer."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec

from orchestrator.model.money import InstrumentName
from orchestrator.model.time import Instant, format_time, parse_time
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.exchange import Exchange
from orchestrator.paper.exchange.reply import Reply
from orchestrator.paper.market import Market

_encoder = msgspec.json.Encoder(decimal_format="string")
encode = _encoder.encode


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer; `headers` are ready lines, each ending with CRLF."""

    status: int
    body: bytes
    headers: str = ""
    always_zipped: bool = False  # whatever the client said


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """`rest` is what stands in the path after the fixed words: ids and names."""

    market: Market
    books: Books | None
    method: str
    path: str
    rest: tuple[str, ...]
    query: dict[str, str]
    body: bytes
    request_id: str
    base: str = ""  # how the client called us: scheme and host

    @property
    def exchange(self) -> Exchange:
        return self.market.exchange

    @property
    def account(self) -> Books:
        assert self.books is not None
        return self.books

    @property
    def now(self) -> int:
        return self.market.time.now()


class Refused(Exception):  # it is an answer, not a failure
    """An answer that ends the handling of a request."""

    def __init__(self, status: int, message: str, code: str = "", headers: str = "") -> None:
        super().__init__(message)
        self.headers = headers
        self.status = status
        self.message = message
        self.code = code


def bad(parameter: str, why: str = "") -> Refused:
    """OANDA's wording for a parameter that cannot be used."""
    return Refused(400, f"Invalid value specified for '{parameter}'{why}")


def ok(**fields: object) -> Answer:
    """200 with these keys."""
    return Answer(200, encode(fields))


def listed(headers: str, **fields: object) -> Answer:
    """200 with these keys, and the header that leads to the next page."""
    return Answer(200, encode(fields), headers)


def refused(status: int, message: str, code: str = "", headers: str = "") -> Answer:
    """An error that carries no transaction."""
    body = {"errorMessage": message}
    if code:
        body["errorCode"] = code
    return Answer(status, encode(body), headers)


def answer_of(call: Call, reply: Reply, *, related: bool = True) -> Answer:
    """A write's outcome with its transactions, related ids, last id; Location for a creation."""
    body: dict[str, object] = dict(reply.named)
    if related and (reply.made or reply.status < 400):  # noqa: PLR2004
        body["relatedTransactionIDs"] = [transaction.id for transaction in reply.made]
    if reply.last_id:
        body["lastTransactionID"] = str(reply.last_id)
    if reply.error_message:
        body["errorMessage"] = reply.error_message
    if reply.error_code:
        body["errorCode"] = reply.error_code
    location = ""
    if reply.status == 201:  # noqa: PLR2004
        path = f"/v3/accounts/{call.account.account_id}/orders/{reply.created_id}"
        location = f"Location: {call.base}{path}\r\n"
    return Answer(reply.status, encode(body), location)


def instruments_of(call: Call, name: str = "instruments") -> tuple[InstrumentName, ...]:
    """A list of instruments from the query. Refused when one is unknown."""
    text = call.query.get(name, "")
    names = tuple(InstrumentName(part.strip()) for part in text.split(",") if part.strip())
    for one in names:
        if one not in call.market.instruments:
            raise bad(name)
    return names


def whole_number(call: Call, name: str, default: int, low: int, high: int) -> int:
    """A count from the query. Refused when it is no number or out of range."""
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 18:  # noqa: PLR2004
        raise bad(name)
    value = int(text)
    if value > high:
        raise Refused(400, f"Maximum value for '{name}' exceeded")
    if value < low:
        raise bad(name)
    return value


def yes(call: Call, name: str, *, default: bool) -> bool:
    """true/false, or True/False as Python's clients send it."""
    text = call.query.get(name)
    if text is None:
        return default
    if text.lower() not in {"true", "false"}:
        raise bad(name)
    return text.lower() == "true"


def next_page(call: Call, last_id: str) -> str:
    """The Link header of a list that has more: what is older than the last one shown."""
    query = urlencode(call.query | {"beforeID": str(int(last_id) - 1)})
    return f'Link: <{call.base}{call.path}?{query}>; rel="next"\r\n'


def moment(call: Call, name: str) -> Instant | None:
    """A time from the query, if given. Refused when it cannot be read."""
    text = call.query.get(name)
    if not text:
        return None
    try:
        at_ns = parse_time(text.replace(" ", "+"))  # a "+00:00" that was not escaped
        format_time(at_ns)
    except (ValueError, ArithmeticError) as error:
        raise bad(name) from error
    return at_ns

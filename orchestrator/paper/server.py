"""OANDA v20 over HTTP/1.1: one protocol object a connection, each answer in one write."""

from __future__ import annotations

import asyncio
import hmac
import os
import re
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote

import httptools
import msgspec

from orchestrator.model.time import format_time_unix, parse_time
from orchestrator.paper.call import (
    Answer,
    Call,
    Refused,
    bad,
    instruments_of,
    refused,
    yes,
)
from orchestrator.paper.exchange.books import Books
from orchestrator.paper.exchange.requests import BadBody
from orchestrator.paper.faults import Fault, Faults
from orchestrator.paper.market import Market
from orchestrator.paper.routes import accounts, control
from orchestrator.paper.routes.table import INSTRUMENT, Route, find
from orchestrator.paper.streams import LineCache, PriceStream, TransactionStream

BODY_MAX = 1_000_000
URL_MAX = 65_536
HEADERS_MAX = 200
BUFFER_MAX = 64_000_000  # a stream that nobody reads is cut off here

_REASONS = {
    200: "OK", 201: "Created", 400: "Bad Request", 401: "Unauthorized", 403: "Forbidden",
    404: "Not Found", 405: "Method Not Allowed", 413: "Payload Too Large",
    415: "Unsupported Media Type", 416: "Range Not Satisfiable",
    500: "Internal Server Error", 503: "Service Unavailable",
}  # fmt: skip
_RFC3339 = re.compile(rb'"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z)"')
_ACCOUNT_ID = re.compile(r"^\d+-\d+-\d+-\d+$")
_BY_HAND = frozenset({"POST", "PUT", "PATCH", "DELETE"})


class WriteLog:
    """Append-only witness of every write that was asked for, when, and what was answered."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def note(self, **fields: object) -> None:
        os.write(self._fd, msgspec.json.encode(fields) + b"\n")

    def close(self) -> None:
        os.close(self._fd)


class Server:
    """What all connections share."""

    def __init__(
        self,
        market: Market,
        token: str,
        *,
        with_control: bool = False,
        log: WriteLog | None = None,
        stop: Callable[[], None] = lambda: None,
    ) -> None:
        self.market = market
        self.with_control = with_control
        self.log = log
        self.lines = LineCache()
        self.connections: set[Connection] = set()
        self.faults = Faults()
        self._expected = f"Bearer {token}".encode()
        self._control: dict[tuple[str, ...], dict[str, Route]] = {
            ("clock",): {"GET": control.clock},
            ("prices",): {"POST": control.prices},
            ("faults",): dict.fromkeys(("POST", "DELETE"), control.faults(self.faults)),
            ("shutdown",): {"POST": control.shutdown(stop)},
        }
        self._requests = 0

    def next_request_id(self) -> str:
        self._requests += 1
        return f"{self._requests:018d}"

    def authorised(self, header: bytes) -> bool:
        return hmac.compare_digest(header, self._expected)

    def route(self, method: str, path: str) -> tuple[Route, Books | None, tuple[str, ...]]:
        """Who answers; Refused with 403, 404 or 405."""
        parts = tuple(unquote(part) for part in path.strip("/").split("/"))
        if parts[0] == "control" and self.with_control:
            found = self._control.get(parts[1:])
            return _method(found, method), None, ()
        if parts[:2] == ("v3", "accounts"):
            if parts[2:] == ():
                return _method({"GET": accounts.list_accounts}, method), None, ()
            books = self.books(parts[2])
            below = find(parts[3:])
            return _method(below[0] if below else None, method), books, below[1] if below else ()
        if parts[:2] == ("v3", "instruments") and len(parts) == 4:  # noqa: PLR2004
            return _method(INSTRUMENT.get(parts[3]), method), None, parts[2:3]
        raise Refused(404, "The path requested does not exist")

    def books(self, account_id: str) -> Books:
        if not _ACCOUNT_ID.match(account_id):
            raise bad("accountID")
        books = self.market.exchange.accounts.get(account_id)  # pyright: ignore[reportArgumentType]  # any text may be asked for
        if books is None:
            raise Refused(403, "The provided request was forbidden.")
        return books

    def close(self) -> None:
        """Cut every connection."""
        for connection in tuple(self.connections):
            connection.abort()


def _method(found: dict[str, Route] | None, method: str) -> Route:
    if found is None:
        raise Refused(404, "The path requested does not exist")
    if method not in found:
        raise Refused(405, "The method is not supported on this path")
    return found[method]


class Connection(asyncio.Protocol):
    """One TCP connection: requests are answered in order, a stream takes it over for good."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._parser = httptools.HttpRequestParser(self)
        self._stream: PriceStream | TransactionStream | None = None
        self._held: list[tuple[Answer, str, bool]] | None = None
        self._reset()

    def _reset(self) -> None:
        self._url = b""
        self._body = b""
        self._headers: dict[bytes, bytes] = {}
        self._too_big = False
        self._began_ns = 0

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport) or hasattr(transport, "write")
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue]  # uvloop's own class
        self._server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._server.connections.discard(self)
        self._transport = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            return  # nothing more is expected on a stream's connection
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self.abort()
        except httptools.HttpParserError:
            self._send(refused(400, "The request could not be parsed"), close=True)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()

    # --- httptools ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset()
        self._began_ns = time.time_ns()

    def on_url(self, url: bytes) -> None:
        self._url += url
        self._too_big = self._too_big or len(self._url) > URL_MAX

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) < HEADERS_MAX:
            self._headers[name.lower()] = value
        else:
            self._too_big = True

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > BODY_MAX:
            self._too_big = True
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._stream is not None or self._transport is None:
            return
        method = self._parser.get_method().decode("ascii", "replace")
        request_id = self._server.next_request_id()
        fault = self._fault(method)
        if fault is not None and fault.drop == "before":
            self.abort()
            return
        if fault is not None and fault.status:
            answer = refused(fault.status, "A fault that was asked for")
        else:
            answer = self._answer(method, request_id)
        if answer is None:
            return
        if self._headers.get(b"accept-datetime-format", b"").upper() == b"UNIX":
            answer = Answer(answer.status, _unix(answer.body), answer.headers)
        if method in _BY_HAND and self._server.log is not None:
            self._note(method, request_id, answer)
        if fault is not None and fault.drop == "after":
            self.abort()
            return
        if fault is not None and fault.delay_ms:
            self._hold_back(fault.delay_ms / 1000)
        self._send(answer, request_id, close=not self._parser.should_keep_alive())

    def _fault(self, method: str) -> Fault | None:
        if not self._server.faults.waiting:
            return None
        return self._server.faults.take(method, self._url.decode("latin-1"))

    def _hold_back(self, seconds: float) -> None:
        """Answers of this connection wait, in order, until the time has passed."""
        if self._held is None:
            self._held = []
            asyncio.get_running_loop().call_later(seconds, self._let_go)

    def _let_go(self) -> None:
        held, self._held = self._held or [], None
        for answer, request_id, close in held:
            self._send(answer, request_id, close=close)

    # --- answering ---------------------------------------------------------------------------

    def _answer(self, method: str, request_id: str) -> Answer | None:
        """None when a stream has taken the connection over."""
        try:
            self._admit()
            path, _, query = self._url.decode("ascii").partition("?")
            return self._dispatch(method, path, _query(query), request_id)
        except Refused as error:
            return refused(error.status, error.message, error.code)
        except BadBody as error:
            return refused(400, str(error))
        except UnicodeDecodeError:
            return refused(400, "The request could not be parsed")
        except Exception:  # noqa: BLE001  # the last door: a fault of ours, shown and answered
            sys.stderr.write(f"{method} {self._url!r}\n{traceback.format_exc()}")
            return refused(500, "Internal server error", "INTERNAL_SERVER_ERROR")

    def _admit(self) -> None:
        if self._too_big:
            raise Refused(413, "The request is too large")
        if not self._server.authorised(self._headers.get(b"authorization", b"")):
            raise Refused(401, "Insufficient authorization to perform request.")

    def _dispatch(
        self, method: str, path: str, query: dict[str, str], request_id: str
    ) -> Answer | None:
        parts = path.strip("/").split("/")
        if parts[:2] == ["v3", "accounts"] and parts[-1:] == ["stream"]:
            return self._open_stream(method, parts, query, request_id)
        route, books, rest = self._server.route(method, path)
        kind = self._headers.get(b"content-type", b"application/json").lower()
        if self._body and not kind.startswith(b"application/json"):
            raise Refused(415, "The Content-Type of the request is not supported")
        call = Call(
            market=self._server.market,
            books=books,
            method=method,
            path=path,
            rest=rest,
            query=query,
            body=self._body,
            request_id=request_id,
            host=self._headers.get(b"host", b"").decode("latin-1"),
        )
        return route(call)

    def _open_stream(
        self, method: str, parts: list[str], query: dict[str, str], request_id: str
    ) -> Answer | None:
        market, books = self._server.market, self._server.books(parts[2])
        kind = parts[3] if len(parts) == 5 else ""  # noqa: PLR2004
        if kind not in {"pricing", "transactions"}:
            raise Refused(404, "The path requested does not exist")
        if method != "GET":
            raise Refused(405, "The method is not supported on this path")
        call = Call(
            market=market, books=books, method=method, path="", rest=(), query=query, body=b"",
            request_id=request_id,
        )  # fmt: skip
        if kind == "transactions":
            self._start_stream(request_id)
            self._stream = TransactionStream(market, self._chunk, books)
            return None
        wanted = instruments_of(call)
        if not wanted:
            raise bad("instruments")
        snapshot = yes(call, "snapshot", default=True)
        self._start_stream(request_id)
        lines = self._server.lines
        self._stream = PriceStream(market, self._chunk, wanted, lines, snapshot=snapshot)
        market.release()
        return None

    def _start_stream(self, request_id: str) -> None:
        assert self._transport is not None
        head = (
            "HTTP/1.1 200 OK\r\nContent-Type: application/octet-stream\r\n"
            f"Transfer-Encoding: chunked\r\nRequestID: {request_id}\r\n\r\n"
        )
        self._unix = self._headers.get(b"accept-datetime-format", b"").upper() == b"UNIX"
        self._transport.write(head.encode())

    def _chunk(self, lines: bytes) -> None:
        transport = self._transport
        if not lines or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > BUFFER_MAX:
            transport.abort()
            return
        if self._unix:
            lines = _unix(lines)
        transport.write(b"%x\r\n%b\r\n" % (len(lines), lines))

    def _send(self, answer: Answer, request_id: str = "", *, close: bool = False) -> None:
        if self._transport is None:
            return
        if self._held is not None:
            self._held.append((answer, request_id, close))
            return
        reason = _REASONS.get(answer.status, "")
        head = (
            f"HTTP/1.1 {answer.status} {reason}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(answer.body)}\r\nRequestID: {request_id}\r\n{answer.headers}"
            f"{'Connection: close' + chr(13) + chr(10) if close else ''}\r\n"
        )
        self._transport.write(head.encode("latin-1", "replace") + answer.body)
        if close:
            self._transport.close()

    def _note(self, method: str, request_id: str, answer: Answer) -> None:
        assert self._server.log is not None
        client_id = self._headers.get(b"clientrequestid", b"").decode("latin-1")
        self._server.log.note(
            received_ns=self._began_ns,
            market_ns=self._server.market.time.now(),
            method=method,
            path=self._url.decode("latin-1"),
            client_request_id=client_id,
            request_id=request_id,
            status=answer.status,
        )


def _query(text: str) -> dict[str, str]:
    """Names and values; a name given twice joins with a comma, as lists are sent."""
    found: dict[str, str] = {}
    for name, value in parse_qsl(text, keep_blank_values=True):
        found[name] = f"{found[name]},{value}" if name in found else value
    return found


def _unix(body: bytes) -> bytes:
    def change(match: re.Match[bytes]) -> bytes:
        return b'"%b"' % format_time_unix(parse_time(match[1].decode())).encode()

    return _RFC3339.sub(change, body)

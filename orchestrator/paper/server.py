"""OANDA v20 over HTTP/1.1: one protocol object a connection, each answer in one write."""

from __future__ import annotations

import asyncio
import sys
import time
import traceback
from collections import deque
from collections.abc import Callable

import httptools
import msgspec

from orchestrator.paper.call import Answer, Call, Refused, bad, instruments_of, refused, yes
from orchestrator.paper.exchange.requests import BadBody
from orchestrator.paper.faults import Disturbance, Fault, spoilt
from orchestrator.paper.past import books_before
from orchestrator.paper.rendering import (
    date_header,
    query_of,
    rendered,
    stream_head,
    with_unix_times,
)
from orchestrator.paper.shared import Server
from orchestrator.paper.streams import PriceStream, TransactionStream

__all__ = ["Connection", "Server"]

BODY_MAX = 1_000_000
URL_MAX = 65_536
HEADERS_MAX = 200
HEAD_MAX = 1_000_000  # a head that goes on longer than this is not read to its end
CONNECTIONS_MAX = 4096  # more are cut at once, so that files do not run out
QUEUE_MAX = 1000  # requests that wait behind a delayed one
BUFFER_MAX = 64_000_000  # a stream that nobody reads is cut off here

_BY_HAND = frozenset({"POST", "PUT", "PATCH", "DELETE"})
_STREAM_PARTS = 5


class Request(msgspec.Struct, frozen=True, gc=False):
    """A request as it was read."""

    method: str
    url: bytes
    headers: dict[bytes, bytes]
    body: bytes
    too_big: bool
    keep_alive: bool
    began_ns: int

    @property
    def unix(self) -> bool:
        return self.headers.get(b"accept-datetime-format", b"").upper() == b"UNIX"

    @property
    def path(self) -> str:
        return self.url.decode("latin-1")


class Connection(asyncio.Protocol):
    """One TCP connection: requests are answered in order, a stream takes it over for good."""

    def __init__(self, server: Server) -> None:
        self._server = server
        self._transport: asyncio.Transport | None = None
        self._address = ""
        self._scheme = "http"
        self._admitted = True
        self._parser = httptools.HttpRequestParser(self)
        self._stream: PriceStream | TransactionStream | None = None
        self._disturbance: Disturbance | None = None
        self._busy = False  # a delayed request is under way
        self._queue: deque[Request] = deque()
        self._unix = False
        self._in_head = False
        self._head_bytes = 0  # received since a head began that has not ended yet
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
        if len(self._server.connections) >= CONNECTIONS_MAX:
            transport.close()
            return
        self._transport = transport  # pyright: ignore[reportAttributeAccessIssue]  # uvloop's own class
        self._server.connections.add(self)
        if transport.get_extra_info("sslcontext") is not None:
            self._scheme = "https"
        if self._server.limits is not None:
            peer = transport.get_extra_info("peername")
            self._address = str(peer[0]) if peer else ""
            self._admitted = self._server.limits.admits_connection(self._address, time.monotonic())

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio's signature
        self._server.connections.discard(self)
        self._transport = None
        if self._stream is not None:
            self._stream.close()
            self._stream = None
            if self._server.limits is not None:
                self._server.limits.stream_ended(self._address)

    def data_received(self, data: bytes) -> None:
        if self._stream is not None:
            return  # nothing more is expected on a stream's connection
        try:
            self._parser.feed_data(data)
            self._head_bytes = self._head_bytes + len(data) if self._in_head else 0
            if self._head_bytes > HEAD_MAX:
                self._give_up(413, "The request is too large")
        except httptools.HttpParserUpgrade:
            self.abort()
        except httptools.HttpParserError:
            self._give_up(400, "The request could not be parsed")

    def _give_up(self, status: int, why: str) -> None:
        """Answer what cannot be read, and read no more."""
        if self._transport is None or self._transport.is_closing():
            return
        said = refused(status, why)
        self._write(rendered(said, self._server.next_request_id(), close=True))
        self._close()

    def abort(self) -> None:
        """Cut the connection."""
        if self._transport is not None:
            self._transport.abort()

    # --- httptools ---------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._reset()
        self._in_head, self._head_bytes = True, 0
        self._began_ns = time.time_ns()

    def on_url(self, url: bytes) -> None:
        if len(self._url) + len(url) > URL_MAX:
            self._too_big = True
        else:
            self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        if len(self._headers) < HEADERS_MAX:
            self._headers[name.lower()] = value
        else:
            self._too_big = True

    def on_headers_complete(self) -> None:
        """Some clients wait for a word before they send a body (.NET's, curl for long ones)."""
        self._in_head = False
        if self._headers.get(b"expect", b"").lower() == b"100-continue" and not self._busy:
            self._write(b"HTTP/1.1 100 Continue\r\n\r\n")

    def on_body(self, body: bytes) -> None:
        if len(self._body) + len(body) > BODY_MAX:
            self._too_big = True
        else:
            self._body += body

    def on_message_complete(self) -> None:
        if self._stream is not None or self._transport is None:
            return
        method = self._parser.get_method().decode("ascii", "replace")
        request = Request(
            method, self._url, self._headers, self._body, self._too_big,
            self._parser.should_keep_alive(), self._began_ns,
        )  # fmt: skip
        if not self._busy:
            self._serve(request)
        elif len(self._queue) < QUEUE_MAX:
            self._queue.append(request)
        else:
            self.abort()

    # --- one request after the other -----------------------------------------------------------

    def _serve(self, request: Request) -> None:
        fault = self._fault(request)
        if fault is None:
            self._perform(request, None)
        elif fault.drop == "before":
            self.abort()
        elif fault.delay_ms and fault.when == "before":
            self._later(fault.delay_ms, lambda: self._perform(request, fault))
        else:
            self._perform(request, fault)

    def _fault(self, request: Request) -> Fault | None:
        if not self._server.faults.waiting:
            return None
        operation = self._server.operation(request.method, request.path)
        return self._server.faults.take(operation, request.method, request.path)

    def _later(self, delay_ms: int, do: Callable[[], None]) -> None:
        """Do it after the delay; what was asked meanwhile on this connection waits behind it."""
        self._busy = True

        def resume() -> None:
            self._busy = False
            do()
            while self._queue and not self._busy:
                self._serve(self._queue.popleft())

        asyncio.get_running_loop().call_later(delay_ms / 1000, resume)

    def _perform(self, request: Request, fault: Fault | None) -> None:
        request_id = self._server.next_request_id()
        if fault is not None and fault.status and fault.when == "before":
            answer = fault.answer()
        else:
            answer = self._answer(request, request_id, fault)
        if answer is None:
            return
        if fault is not None and fault.status:
            answer = fault.answer()
        if request.unix:
            answer = msgspec.structs.replace(answer, body=with_unix_times(answer.body))
        if request.method in _BY_HAND and self._server.log is not None:
            self._note(request, request_id, answer)
        self._send(request, request_id, answer, fault)

    def _send(self, request: Request, request_id: str, answer: Answer, fault: Fault | None) -> None:
        if fault is not None and fault.drop == "after":
            self.abort()
            return
        zipped = b"gzip" in request.headers.get(b"accept-encoding", b"")
        close = not request.keep_alive or not self._admitted
        kind = "text/html" if fault is not None and fault.body == "html" else "application/json"
        dated = date_header(self._server.market.time.now()) + answer.headers
        answer = msgspec.structs.replace(answer, headers=dated)
        text = rendered(answer, request_id, close=close, zipped=zipped, kind=kind)
        if request.method == "HEAD":  # the same head as for GET, and nothing after it
            text = text[: text.index(b"\r\n\r\n") + 4]
        elif fault is not None and fault.body:
            text = spoilt(text, fault.body)
            close = close or fault.body == "cut"

        def finish() -> None:
            self._write(text)
            if close:
                self._close()

        if fault is not None and fault.delay_ms and fault.when == "after":
            self._later(fault.delay_ms, finish)
        else:
            finish()

    def _write(self, text: bytes) -> None:
        if self._transport is not None:
            self._transport.write(text)

    def _close(self) -> None:
        if self._transport is not None:
            self._transport.close()

    # --- answering ---------------------------------------------------------------------------

    def _answer(self, request: Request, request_id: str, fault: Fault | None) -> Answer | None:
        """None when a stream has taken the connection over."""
        try:
            self._admit(request)
            path, _, query = request.url.decode("ascii").partition("?")
            parts = path.strip("/").split("/")
            if parts[:2] == ["v3", "accounts"] and parts[-1:] == ["stream"]:
                self._unix = request.unix
                return self._open_stream(request.method, parts, query_of(query), request_id)
            return self._dispatch(request, path, query_of(query), request_id, fault)
        except Refused as error:
            return refused(error.status, error.message, error.code, error.headers)
        except BadBody as error:
            return refused(400, str(error))
        except UnicodeDecodeError:
            return refused(400, "The request could not be parsed")
        except Exception:  # noqa: BLE001  # the last door: a fault of ours, shown and answered
            sys.stderr.write(f"{request.method} {request.url!r}\n{traceback.format_exc()}")
            return refused(500, "Internal server error", "INTERNAL_SERVER_ERROR")

    def _admit(self, request: Request) -> None:
        limits = self._server.limits
        if limits is not None and not request.url.startswith(b"/control"):
            if not self._admitted:
                raise Refused(429, "The rate of new connections is too high")
            if not limits.admits_request(self._address, time.monotonic()):
                raise Refused(429, "The rate of requests is too high", headers="Retry-After: 1\r\n")
        if request.too_big:
            raise Refused(413, "The request is too large")
        if not self._server.authorised(request.headers.get(b"authorization", b"")):
            raise Refused(401, "Insufficient authorization to perform request.")

    def _dispatch(
        self,
        request: Request,
        path: str,
        query: dict[str, str],
        request_id: str,
        fault: Fault | None,
    ) -> Answer:
        route, books, rest = self._server.route(request.method, path)
        kind = request.headers.get(b"content-type", b"application/json").lower()
        if request.body and not kind.startswith(b"application/json"):
            raise Refused(415, "The Content-Type of the request is not supported")
        if fault is not None and fault.stale and books is not None and request.method == "GET":
            books = books_before(books, fault.stale)
        call = Call(
            market=self._server.market,
            books=books,
            method=request.method,
            path=path,
            rest=rest,
            query=query,
            body=request.body,
            request_id=request_id,
            base=f"{self._scheme}://{request.headers.get(b'host', b'').decode('latin-1')}",
        )
        return route(call)

    def _note(self, request: Request, request_id: str, answer: Answer) -> None:
        assert self._server.log is not None
        self._server.log.note(
            received_ns=request.began_ns,
            market_ns=self._server.market.time.now(),
            method=request.method,
            path=request.path,
            client_request_id=request.headers.get(b"clientrequestid", b"").decode("latin-1"),
            request_id=request_id,
            status=answer.status,
        )

    # --- streams -----------------------------------------------------------------------------

    def _open_stream(
        self, method: str, parts: list[str], query: dict[str, str], request_id: str
    ) -> Answer | None:
        market, books = self._server.market, self._server.books(parts[2])
        kind = parts[3] if len(parts) == _STREAM_PARTS else ""
        if kind not in {"pricing", "transactions"}:
            raise Refused(404, "The path requested does not exist")
        if method != "GET":
            raise Refused(405, "The method is not supported on this path", headers="Allow: GET\r\n")
        call = Call(
            market=market, books=books, method=method, path="", rest=(), query=query, body=b"",
            request_id=request_id,
        )  # fmt: skip
        wanted = instruments_of(call) if kind == "pricing" else ()
        if kind == "pricing" and not wanted:
            raise bad("instruments")
        snapshot = yes(call, "snapshot", default=True)
        converting = yes(call, "includeHomeConversions", default=False)
        if self._transport is None:
            return None  # the client left while its request was held back
        if self._server.limits is not None and not self._server.limits.opens_stream(self._address):
            raise Refused(429, "Too many streams are open")
        self._write(stream_head(request_id))
        self._disturbance = Disturbance(self._server.faults, f"{kind}.stream", "/".join(parts))
        if kind == "transactions":
            self._stream = TransactionStream(market, self._chunk, books)
            return None
        lines = self._server.lines
        self._stream = PriceStream(
            market, self._chunk, wanted, lines, snapshot=snapshot,
            convert_for=books if converting else None,
        )  # fmt: skip
        market.release()
        return None

    def _chunk(self, lines: bytes) -> None:
        transport = self._transport
        if not lines or transport is None or transport.is_closing():
            return
        if transport.get_write_buffer_size() > BUFFER_MAX:
            transport.abort()
            return
        trouble = self._disturbance
        if trouble is not None and (self._server.faults.on_streams or not trouble.idle):
            left = trouble.lines(lines, time.monotonic())
            if left is None:
                transport.abort()
                return
            lines = left
        if self._unix:
            lines = with_unix_times(lines)
        if lines:
            transport.write(b"%x\r\n%b\r\n" % (len(lines), lines))

"""One HTTP/1.1 connection: a request out, its answer in, nothing else on the line."""

from __future__ import annotations

import asyncio
import select
import zlib
from collections.abc import Callable
from typing import Protocol, TypeAlias, cast

import httptools
import msgspec

_HEAD_BYTES_MAX = 64 * 1024
_OK_INFORMATIONAL = 200
_REFUSED = 300
_GZIP_WINDOW = 31  # zlib's number for the gzip format


class Answer(msgspec.Struct, frozen=True, gc=False):
    """A whole answer. Header names are lower case; `body` is as it came (see `plain_body`)."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes


class Lost(msgspec.Struct, frozen=True, gc=False):
    """The request went out, and no whole, readable answer came."""

    reason: str


End: TypeAlias = Answer | Lost
Ended: TypeAlias = Callable[[End], None]


class Bounds(msgspec.Struct, frozen=True, gc=False):
    """`silence_s`: without a byte. `total_s`: from the request to the answer's last byte.

    `nameless_ends`: a refusal that names no transaction ends the connection. Told twice, it would
    be taken for the answer to the next request, and nothing could tell.
    """

    silence_s: float
    total_s: float
    body_max: int
    nameless_ends: bool = False


class Owner(Protocol):
    """Who keeps the connection."""

    def freed(self, connection: Connection) -> None:
        """An answer is complete; the connection may be used again."""
        ...

    def lost(self, connection: Connection, reason: str) -> None:
        """It is closed for good."""
        ...


class Connection(asyncio.Protocol):
    """States: not connected, idle (`usable`), claimed (a request is under way), closed."""

    def __init__(self, owner: Owner) -> None:
        self._owner = owner
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._poll: select.poll | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._ended: Ended | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._why = "closed by the venue"
        self._reset()

    def _reset(self) -> None:
        self._headers: dict[bytes, bytes] = {}
        self._parts: list[bytes] = []
        self._size = 0
        self._head_bytes = 0
        self._in_body = False
        self._complete = False
        self._status = 0
        self._keep_alive = False

    # being used

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        sock = transport.get_extra_info("socket")
        if sock is not None and hasattr(select, "poll"):
            self._poll = select.poll()
            self._poll.register(sock.fileno(), select.POLLIN)

    @property
    def closed(self) -> bool:
        return self._transport is None or self._transport.is_closing()

    @property
    def usable(self) -> bool:
        """Idle, open, and with nothing waiting to be read (a close that we have not seen yet)."""
        if self._ended is not None or self._transport is None or self._transport.is_closing():
            return False
        return self._poll is None or not self._poll.poll(0)

    def claim(self, ended: Ended, bounds: Bounds) -> asyncio.Transport:
        """Everything that can be done before the gate is asked; then write, or `release`."""
        assert self._transport is not None and self._ended is None  # noqa: PT018
        self._reset()
        self._ended = ended
        self._bounds = bounds
        started = self._loop.time()
        self._heard = started
        self._end_by = started + bounds.total_s
        if self._timer is None:
            self._timer = self._loop.call_at(self._due(), self._watch)
        return self._transport

    def release(self) -> None:
        """Claimed, and nothing was written."""
        self._ended = None

    def abandon(self, why: str) -> None:
        """Close, and tell at once who waits for an answer."""
        self._fail(why)

    def close(self, why: str) -> None:
        self._why = why
        if self._transport is not None:
            self._transport.abort()

    # time

    def _due(self) -> float:
        return min(self._heard + self._bounds.silence_s, self._end_by)

    def _watch(self) -> None:
        # One timer lives as long as there is something to watch, instead of one a request.
        self._timer = None
        if self._ended is None or self.closed:
            return
        due = self._due()
        if self._loop.time() < due:
            self._timer = self._loop.call_at(due, self._watch)
            return
        what = "half an answer" if self._head_bytes else "no answer"
        self._fail(f"{what} in {self._bounds.silence_s:g} s")

    # what arrives

    def data_received(self, data: bytes) -> None:
        if self._ended is None:
            return self.close("the venue spoke unasked")
        self._heard = self._loop.time()
        if not self._in_body:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            if not self._complete:
                return self._fail(f"unreadable answer: {error.__context__ or error}")
            self._keep_alive = False
        if self._complete:
            return self._finish()
        if not self._in_body and self._head_bytes > _HEAD_BYTES_MAX:
            return self._fail("endless header")
        return None

    def on_message_begin(self) -> None:
        if self._complete:  # a second answer to one request: whose would the next one be?
            self._keep_alive = False

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._complete:
            return
        self._in_body = True
        self._status = self._parser.get_status_code()
        if self._status < _OK_INFORMATIONAL:
            return
        if b"content-length" not in self._headers and b"transfer-encoding" not in self._headers:
            raise ValueError("no length: it cannot be told from a cut one")

    def on_body(self, part: bytes) -> None:
        if self._complete:
            return
        self._size += len(part)
        if self._size > self._bounds.body_max:
            raise ValueError(f"longer than {self._bounds.body_max} bytes")
        self._parts.append(part)

    def on_message_complete(self) -> None:
        if self._complete:
            return
        if self._status < _OK_INFORMATIONAL:  # "100 Continue" and its like: the answer follows
            self._reset()
            return
        self._keep_alive = self._parser.should_keep_alive()
        self._complete = True

    def connection_lost(self, exc: Exception | None) -> None:
        why = f"{self._why}: {exc}" if exc else self._why
        self._transport = None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._owner.lost(self, why)
        self._end(Lost(f"connection {why}" if not self._head_bytes else f"cut answer: {why}"))

    # the end of a request

    def _finish(self) -> None:
        answer = Answer(self._status, self._headers, b"".join(self._parts))
        if self._bounds.nameless_ends and self._status >= _REFUSED:
            self._keep_alive = self._keep_alive and b'Transaction":{' in answer.body
        if not self._keep_alive:
            self.close("after its answer")
        self._end(answer)
        if self._keep_alive:
            self._owner.freed(self)

    def _fail(self, reason: str) -> None:
        self.close(reason)
        self._end(Lost(reason))

    def _end(self, end: End) -> None:
        ended, self._ended = self._ended, None
        if ended is not None:
            ended(end)


def plain_body(answer: Answer, body_max: int) -> bytes:
    """The body without its gzip; ValueError when it is cut, too long or of another coding."""
    coding = answer.headers.get(b"content-encoding", b"identity").strip().lower()
    if coding in {b"identity", b""}:
        return answer.body
    if coding not in {b"gzip", b"x-gzip"}:
        raise ValueError(f"content coding {coding[:20]!r}")
    unpacker = zlib.decompressobj(_GZIP_WINDOW)
    try:
        plain = unpacker.decompress(answer.body, body_max)
    except zlib.error as error:
        raise ValueError(f"gzip: {error}") from error
    if not unpacker.eof:
        raise ValueError("gzip: cut, or too long")
    return plain

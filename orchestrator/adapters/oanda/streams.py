"""A stream: connect, read lines, watch for silence, connect again; runs until it is cancelled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import NoReturn, TypeAlias, cast

import httptools
import msgspec

from orchestrator.adapters.oanda.address import connect
from orchestrator.adapters.oanda.answers import retry_after_s
from orchestrator.adapters.oanda.http import Answer
from orchestrator.adapters.oanda.pool import Backoff, ClientStats, Dialer
from orchestrator.adapters.oanda.turns import ConnectRank
from orchestrator.adapters.oanda.wire import ErrorBody, read
from orchestrator.model.errors import VenueUnreachable
from orchestrator.model.market import StreamDown, StreamUp
from orchestrator.model.money import AccountId
from orchestrator.model.ports import StreamItem, StreamSink
from orchestrator.model.time import Instant

# A line becomes an item, or None (nothing to tell); ValueError: it cannot be read.
ReadLine: TypeAlias = Callable[[bytes, Instant], StreamItem | None]

_OK = 200
_HEAD_BYTES_MAX = 64 * 1024
_ERROR_BODY_MAX = 16 * 1024
_SLOW_S = 30.0  # between tries that the venue refused: they will not do better soon


class StreamPlan(msgspec.Struct, frozen=True, kw_only=True):
    """What one stream is. `bad_lines_max`: so many in a row, and it is connected anew."""

    name: str  # "prices" | "transactions"
    account_id: AccountId
    request: bytes
    read_line: ReadLine
    bad_lines_max: int
    silence_s: float = 10.0
    answer_s: float = 5.0
    line_max: int = 1_000_000


class _End(Exception):
    """Why a connection ended; `wait_s`: at least so long before the next."""

    def __init__(self, reason: str, wait_s: float = 0.0) -> None:
        super().__init__(reason)
        self.reason = reason
        self.wait_s = wait_s


class _Lines(asyncio.Protocol):
    """One connection of a stream. `heard`: loop time of the last readable line."""

    def __init__(
        self, plan: StreamPlan, sink: StreamSink, now: Callable[[], int], stats: ClientStats
    ) -> None:
        self._plan = plan
        self._sink = sink
        self._now = now
        self._stats = stats
        self._loop = asyncio.get_running_loop()
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self._headers: dict[bytes, bytes] = {}
        self._head_bytes = 0
        self._parts: list[bytes] = []
        self._size = 0
        self._items: list[StreamItem] = []
        self._bad_in_row = 0
        self.up = False
        self.heard = self._loop.time()
        self.ended: asyncio.Future[NoReturn] = self._loop.create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self.heard = self._loop.time()
        self._transport.write(self._plan.request)

    def abort(self) -> None:
        if self._transport is not None:
            self._transport.abort()
        self._end(_End("closed"))
        self.ended.exception()  # taken, so that nobody is told of it again

    def _end(self, error: Exception) -> None:
        if not self.ended.done():
            self.ended.set_exception(error)

    # what arrives

    def data_received(self, data: bytes) -> None:
        if self.ended.done():
            return
        try:
            self._feed(data)
        except Exception as error:  # noqa: BLE001 - ends the stream's task, which raises it
            self._end(error)

    def _feed(self, data: bytes) -> None:
        if not self.up:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
            cause = error.__context__
            self._end(cause if isinstance(cause, _End) else _End(f"unreadable answer: {error}"))
        if self._head_bytes > _HEAD_BYTES_MAX:
            self._end(_End("endless header"))
        if self._items:
            items, self._items = tuple(self._items), []
            self._sink(items)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        if self._parser.get_status_code() != _OK:
            return
        coding = self._headers.get(b"content-encoding", b"identity")
        if coding != b"identity":
            raise _End(f"content coding {coding[:20]!r}")
        self.up = True
        self._head_bytes = 0
        self.heard = self._loop.time()
        plan = self._plan
        up = StreamUp(stream=plan.name, account_id=plan.account_id, seen_ns=self._now())
        self._items.append(up)

    def on_body(self, part: bytes) -> None:
        self._size += len(part)
        if not self.up:
            if self._size <= _ERROR_BODY_MAX:
                self._parts.append(part)
            return
        if b"\n" not in part:
            self._parts.append(part)
            self._check_size()
            return
        *lines, rest = b"".join((*self._parts, part)).split(b"\n")
        self._parts = [rest]
        self._size = len(rest)
        self._check_size()
        seen_ns = self._now()
        for line in lines:
            self._take(line, seen_ns)

    def _check_size(self) -> None:
        if self._size > self._plan.line_max:
            self._stats.bad_lines += 1
            self._parts = []
            raise _End(f"a line longer than {self._plan.line_max} bytes")

    def _take(self, line: bytes, seen_ns: Instant) -> None:
        if not line.strip():
            self._stats.blank_lines += 1
            return
        try:
            item = self._plan.read_line(line, seen_ns)
        except ValueError as error:
            self._stats.bad_lines += 1
            self._bad_in_row += 1
            if self._bad_in_row >= self._plan.bad_lines_max:
                raise _End(f"{self._bad_in_row} bad lines, the last: {str(error)[:200]}") from error
            return
        self._bad_in_row = 0
        self.heard = self._loop.time()
        if item is not None:
            self._items.append(item)

    def on_message_complete(self) -> None:
        status = self._parser.get_status_code()
        if status == _OK:
            raise _End("ended by the venue")
        if status > _OK:  # below: "100 Continue" and its like
            raise self._refused(status)

    def _refused(self, status: int) -> _End:
        try:
            message = read(b"".join(self._parts), ErrorBody).error_message or ""
        except ValueError:
            message = ""
        wait_s = _SLOW_S if status < 500 else 0.0  # noqa: PLR2004
        if status in {429, 503}:
            wait_s = min(_SLOW_S, retry_after_s(Answer(status, self._headers, b"")))
        return _End(f"HTTP {status} {message[:200]}".strip(), wait_s)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.up and self._size and not self.ended.done():
            self._stats.bad_lines += 1  # the line that the loss cut
        self._end(_End(f"connection lost: {exc}" if exc else "connection closed by the venue"))


class Stream:
    """One stream for ever: tells StreamUp, its items and StreamDown to the sink."""

    def __init__(
        self,
        plan: StreamPlan,
        sink: StreamSink,
        *,
        dialer: Dialer,
        backoff: Backoff,
        now: Callable[[], int],
    ) -> None:
        self._plan = plan
        self._sink = sink
        self._dialer = dialer
        self._backoff = backoff
        self._now = now
        self._stats = dialer.stats
        self._last_reason: str | None = None

    async def run(self) -> None:
        """Until cancelled. Raises only what the sink raised."""
        while True:
            lines = _Lines(self._plan, self._sink, self._now, self._stats)
            try:
                await self._live(lines)
            except _End as end:
                self._down(lines.up, end.reason)
                wait_s = max(end.wait_s * 0.75, self._backoff.next_s())
            finally:
                lines.abort()
            await asyncio.sleep(wait_s)

    async def _live(self, lines: _Lines) -> NoReturn:
        try:
            await self._dialer.turns.wait(self, ConnectRank.STREAM)
            await connect(self._dialer.where, lines, self._dialer.timeout_s)
        except VenueUnreachable as error:
            raise _End(str(error)) from error
        self._count(self._stats.stream_connects)
        loop = asyncio.get_running_loop()
        connected = loop.time()
        while True:
            patience_s = self._plan.silence_s if lines.up else self._plan.answer_s
            left_s = lines.heard + patience_s - loop.time()
            if left_s <= 0:
                raise _End(f"silent for {patience_s:g} s")
            await asyncio.wait({lines.ended}, timeout=left_s)
            if loop.time() - connected > self._plan.silence_s:
                self._backoff.reset()  # it lived; the next loss is a new story
            if lines.ended.done():
                lines.ended.result()

    def _down(self, was_up: bool, reason: str) -> None:
        if was_up:
            self._count(self._stats.stream_losses)
        elif reason == self._last_reason:
            return  # told already; the tries go on
        self._last_reason = reason
        plan = self._plan
        down = StreamDown(
            stream=plan.name, account_id=plan.account_id, seen_ns=self._now(), reason=reason
        )
        self._sink((down,))

    def _count(self, counter: dict[str, int]) -> None:
        counter[self._plan.name] = counter.get(self._plan.name, 0) + 1

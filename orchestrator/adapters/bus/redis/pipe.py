"""One connection to a Redis: commands out at once, replies in their order, nothing ever sent twice.

A command whose connection broke before its reply has an unknown fate (BrokerSilent): whoever sent
it decides what that means. That is why no ready-made client is used here: it would send it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import cast

import hiredis

from orchestrator.adapters.bus.redis.words import Reply, Word, packed, text
from orchestrator.model.errors import BrokerAway, BrokerRefused, BrokerSilent, BusError

WAITING_MAX = 10_000
UNSENT_BYTES_MAX = 16_000_000
# Of one reply: the largest that is asked for is a page of messages of at most a megabyte each.
REPLY_BYTES_MAX = 64_000_000

# The server at this address is not, or is no longer, the one to talk to: look it up again.
_ELSEWHERE = ("READONLY", "LOADING", "MASTERDOWN", "NOREPLICAS", "CLUSTERDOWN")
_NOT_YET = object()

Pushed = Callable[[list[Reply]], None]


class _One:
    """Who waits for one reply. An error of the server's is its exception."""

    __slots__ = ("future",)

    def __init__(self, future: asyncio.Future[Reply]) -> None:
        self.future = future

    def take(self, reply: Reply) -> bool:
        if not self.future.done():
            if isinstance(reply, hiredis.ReplyError):
                self.future.set_exception(BrokerRefused(str(reply)))
            else:
                self.future.set_result(reply)
        return True

    def fail(self, error: BusError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class _Many:
    """Who waits for several replies together; the server's errors stand among them."""

    __slots__ = ("future", "left", "replies")

    def __init__(self, future: asyncio.Future[list[Reply]], count: int) -> None:
        self.future = future
        self.left = count
        self.replies: list[Reply] = []

    def take(self, reply: Reply) -> bool:
        self.replies.append(reply)
        self.left -= 1
        if not self.left and not self.future.done():
            self.future.set_result(self.replies)
        return not self.left

    def fail(self, error: BusError) -> None:
        if not self.future.done():
            self.future.set_exception(error)


class Pipe(asyncio.Protocol):
    """Made by `Dialer`; to be used in its event loop's thread only.

    `pushed`: where everything goes that comes in, on a connection that subscribes.
    """

    def __init__(self, waiting_max: int = WAITING_MAX) -> None:
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(notEnoughData=_NOT_YET)
        self._waiting: deque[_One | _Many] = deque()
        self._waiting_max = waiting_max
        self._transport: asyncio.WriteTransport | None = None
        self._unread = 0
        self._held = False  # the other side takes nothing more for now
        self.pushed: Pushed | None = None
        self.closed: asyncio.Future[str] = self._loop.create_future()
        self.heard_at = self._loop.time()
        self.errors = 0

    # -- sending --------------------------------------------------------------------------------

    def call(self, *words: Word) -> asyncio.Future[Reply]:
        """Sent before this returns, or BrokerAway. The future: BrokerSilent, BrokerRefused."""
        future: asyncio.Future[Reply] = self._loop.create_future()
        self._send(packed(words), _One(future))
        return future

    def batch(self, commands: Sequence[tuple[Word, ...]]) -> asyncio.Future[list[Reply]]:
        """As `call`, many in one write; errors of the server's are among the replies."""
        future: asyncio.Future[list[Reply]] = self._loop.create_future()
        if not commands:
            future.set_result([])
            return future
        self._send(b"".join(map(packed, commands)), _Many(future, len(commands)))
        return future

    def _send(self, data: bytes, waiter: _One | _Many) -> None:
        self._write(data)
        # Its reply cannot come before this: it would be heard in a later turn of the loop.
        self._waiting.append(waiter)

    def _write(self, data: bytes) -> None:
        if self._transport is None or self.closed.done():
            raise BrokerAway("the connection to the broker is closed")
        if self._held or len(self._waiting) >= self._waiting_max:
            raise BrokerAway("the broker takes too long: too much waits for it already")
        self._transport.write(data)

    def say(self, *words: Word) -> None:
        """Without waiting for its reply; BrokerAway where it cannot be sent. See `errors`."""
        if self.pushed is None:
            self.call(*words).add_done_callback(self._count)
        else:
            self._write(packed(words))

    def _count(self, future: asyncio.Future[Reply]) -> None:
        if not future.cancelled() and future.exception() is not None:
            self.errors += 1

    @property
    def waiting(self) -> int:
        """How many replies are owed."""
        return len(self._waiting)

    def silent_s(self) -> float:
        """Since anything was heard."""
        return self._loop.time() - self.heard_at

    def close(self, reason: str = "closed") -> None:
        """At once; who waits is told. Idempotent."""
        if self._transport is not None:
            self._transport.abort()
        self._end(reason)

    # -- asyncio.Protocol -----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        # uvloop's transports are of no class of asyncio's.
        self._transport = cast("asyncio.WriteTransport", transport)
        # What one turn of the loop says (all that an agent must know) is more than a socket holds.
        self._transport.set_write_buffer_limits(high=UNSENT_BYTES_MAX)
        self.heard_at = self._loop.time()

    def data_received(self, data: bytes) -> None:
        self.heard_at = self._loop.time()
        self._unread += len(data)
        try:
            self._reader.feed(data)
            while (reply := self._reader.gets()) is not _NOT_YET:
                self._unread = 0
                self._take(reply)
        except hiredis.ProtocolError as exc:
            self.close(f"the broker sent what is no Redis protocol: {exc}")
        if self._unread > REPLY_BYTES_MAX:
            self.close(f"a reply of the broker is longer than {REPLY_BYTES_MAX} bytes")

    def _take(self, reply: Reply) -> None:
        if self.closed.done():
            return
        if self.pushed is not None and isinstance(reply, list):
            self.pushed(reply)
        elif not self._waiting:
            self.close(f"the broker answered what nobody asked: {text(reply)[:100]}")
            return
        elif self._waiting[0].take(reply):
            self._waiting.popleft()
        if isinstance(reply, hiredis.ReplyError) and str(reply).startswith(_ELSEWHERE):
            self.close(f"the broker answered {reply}")

    def pause_writing(self) -> None:
        self._held = True

    def resume_writing(self) -> None:
        self._held = False

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._end("the broker closed the connection" if exc is None else str(exc))

    def _end(self, reason: str) -> None:
        if not self.closed.done():
            self.closed.set_result(reason)
        lost = BrokerSilent(f"no answer of the broker: {reason}")
        while self._waiting:
            self._waiting.popleft().fail(lost)

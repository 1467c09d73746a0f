"""The bus within one process: every listener has a bounded queue of its own."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Self, TypeAlias

from orchestrator.model.errors import BusError, ListenerTooSlow

if TYPE_CHECKING:
    from types import TracebackType

    from orchestrator.model.events import BusSeen
    from orchestrator.model.facts import Fact
    from orchestrator.model.journal import Record

Entry: TypeAlias = "tuple[Record, Fact]"

LISTENERS_MAX = 256


class Listener:
    """An async iterator over what is published from its making on; for one reader.

    One that falls behind by its limit is cut off: it is still given what was waiting, in order and
    without a hole, and then ListenerTooSlow, whose `last_seq` tells from where to read on.
    """

    def __init__(self, bus: InProcessBus, limit: int, types: frozenset[str]) -> None:
        self._bus = bus
        self._limit = limit
        self._types = types
        self._queue: deque[Entry] = deque()
        self._waiter: asyncio.Future[None] | None = None
        self._last_seq = 0
        self._cut = False
        self._closed = False

    def take(self, entry: Entry) -> bool:
        """False when the queue is full: the listener is cut off from now on."""
        if self._types and entry[0].type not in self._types:
            return True
        if len(self._queue) >= self._limit:
            self._cut = True
            return False
        self._queue.append(entry)
        self._wake()
        return True

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Entry:
        while not self._queue:
            if self._cut:
                self._cut = False
                self._closed = True
                raise ListenerTooSlow(self._limit, self._last_seq)
            if self._closed:
                raise StopAsyncIteration
            await self._wait()
        entry = self._queue.popleft()
        self._last_seq = entry[0].seq
        return entry

    async def _wait(self) -> None:
        if self._waiter is not None:
            raise BusError("a listener is for one reader")
        self._waiter = asyncio.get_running_loop().create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def close(self) -> None:
        """No more is taken; what waits is still given. Idempotent."""
        self._closed = True
        self._bus.forget(self)
        self._wake()

    async def aclose(self) -> None:
        """As `close`, for those who hold it as any async iterator."""
        self.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)


class InProcessBus:
    """Meets `ports.Bus`; to be used in the event loop's thread only."""

    def __init__(self, listeners_max: int = LISTENERS_MAX) -> None:
        self._listeners_max = listeners_max
        self._listeners: dict[Listener, None] = {}  # in order of their coming
        self.published = 0
        self.cut = 0

    def condition(self) -> BusSeen | None:
        """Nothing that could be away (S6)."""
        return None

    def publish(self, record: Record, fact: Fact) -> None:
        self.published += 1
        slow = [listener for listener in self._listeners if not listener.take((record, fact))]
        for listener in slow:
            self.cut += 1
            self.forget(listener)

    def listen(self, limit: int = 1000, types: frozenset[str] = frozenset()) -> Listener:
        """From now on. BusError when there are too many already, ValueError for a limit below 1."""
        if limit < 1:
            raise ValueError(f"a listener's limit is at least 1, not {limit}")
        if len(self._listeners) >= self._listeners_max:
            raise BusError(f"there are {self._listeners_max} listeners already")
        listener = Listener(self, limit, types)
        self._listeners[listener] = None
        return listener

    def forget(self, listener: Listener) -> None:
        """Tell it nothing more. Idempotent."""
        self._listeners.pop(listener, None)

    @property
    def listeners(self) -> int:
        """How many are told of each fact now."""
        return len(self._listeners)

    def close(self) -> None:
        """Every listener ends after what is waiting for it."""
        for listener in tuple(self._listeners):
            listener.close()

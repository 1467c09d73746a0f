"""A thread with an event loop of its own, for a driver that only speaks asyncio.

Plain calls hand over and wait, with a bound; who must not wait is called back.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from orchestrator.model.errors import StoreError

T = TypeVar("T")
_END_S = 2.0  # for what runs at the end to hear of it
Work = Callable[[], Coroutine[Any, Any, T]]


class NotWaitedFor(StoreError):
    """It took too long; what it had asked of the server may still happen."""


class LoopThread:
    """Starts with its first work. Ends with `close`, or with the process."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._mutex = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._thread: threading.Thread | None = None
        self._closed = False

    def call(self, work: Work[T], timeout_s: float) -> T:
        """The outcome of `work()`, run in the thread. It is cancelled when it takes too long."""
        return self.wait(self.start(work), timeout_s)

    def wait(self, future: concurrent.futures.Future[T], timeout_s: float) -> T:
        """For the outcome of what was started. It is cancelled when it takes too long."""
        assert threading.current_thread() is not self._thread, "would wait for itself"
        try:
            return future.result(timeout_s)
        except concurrent.futures.TimeoutError as exc:
            if future.cancel() or not future.done():
                raise NotWaitedFor(f"the database did not answer within {timeout_s:g} s") from exc
            return future.result()

    def start(self, work: Work[T]) -> concurrent.futures.Future[T]:
        """Without waiting. StoreError when closed."""
        loop = self._running()
        return asyncio.run_coroutine_threadsafe(work(), loop)

    def now_s(self) -> float:
        """By the machine's monotonic clock; in any thread."""
        return self._running().time()

    def close(self) -> None:
        """Cancels what runs; waits a few seconds. Idempotent."""
        with self._mutex:
            self._closed = True
            loop, thread = self._loop, self._thread
        if loop is not None and thread is not None and thread.is_alive():
            loop.call_soon_threadsafe(loop.stop)
            thread.join(2 * _END_S)

    def _running(self) -> asyncio.AbstractEventLoop:
        with self._mutex:
            if self._closed:
                raise StoreError("the store is closed")
            if self._loop is None:
                # Not uvloop: a second one, in a thread, would gain nothing here.
                self._loop = asyncio.SelectorEventLoop()
                self._thread = threading.Thread(
                    target=_live, args=(self._loop,), name=self._name, daemon=True
                )
                self._thread.start()
            return self._loop


def _live(loop: asyncio.AbstractEventLoop) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left, timeout=_END_S))
    finally:
        loop.close()

"""A blocking call with an end: it is waited for so long, and left to itself afterwards."""

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from orchestrator.model.errors import SecretsAway

T = TypeVar("T")


class Bounded(Generic[T]):
    """Runs one call at a time in a thread that keeps no process alive.

    One that does not end holds up the next: it is said to be still running, and no second one is
    started, so that a server which never answers costs one thread and not a thousand.
    """

    def __init__(self) -> None:
        self._running = False

    def wait(self, call: Callable[[], T], limit_s: float) -> T:
        """The call's value or error; SecretsAway when it takes longer. Blocks the caller."""
        box = self._start(call, lambda: None)
        try:
            value, error = box.get(timeout=limit_s)
        except queue.Empty:
            raise SecretsAway(f"no answer in {limit_s:g} s") from None
        return _out(value, error)

    async def soon(self, call: Callable[[], T], limit_s: float) -> T:
        """The same, without blocking the loop."""
        loop, done = asyncio.get_running_loop(), asyncio.Event()

        def ended() -> None:
            if not loop.is_closed():
                loop.call_soon_threadsafe(done.set)

        box = self._start(call, ended)
        try:
            async with asyncio.timeout(limit_s):
                await done.wait()
        except TimeoutError:
            raise SecretsAway(f"no answer in {limit_s:g} s") from None
        return _out(*box.get_nowait())

    def _start(
        self, call: Callable[[], T], ended: Callable[[], None]
    ) -> "queue.SimpleQueue[tuple[list[T], BaseException | None]]":
        if self._running:
            raise SecretsAway("the last question is still without an answer")
        box: queue.SimpleQueue[tuple[list[T], BaseException | None]] = queue.SimpleQueue()

        def work() -> None:
            answer: tuple[list[T], BaseException | None]
            try:
                answer = ([call()], None)
            except BaseException as exc:  # noqa: BLE001 -- raised again where it is waited for
                answer = ([], exc)
            self._running = False  # before the answer is seen: the next question may follow at once
            box.put(answer)
            ended()

        self._running = True
        threading.Thread(target=work, name="secrets", daemon=True).start()
        return box


def _out(value: list[T], error: BaseException | None) -> T:
    if error is not None:
        raise error
    return value[0]

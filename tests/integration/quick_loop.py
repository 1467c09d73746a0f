"""An event loop on which waits pass quicker: real sockets, and many seconds in one."""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")

SPEED = 120.0


class _QuickSelector(selectors.DefaultSelector):  # type: ignore[misc, valid-type]
    """Waits a part of the time that the loop asks for."""

    def __init__(self, speed: float) -> None:
        super().__init__()
        self._speed = speed

    def select(self, timeout=None):
        return super().select(None if timeout is None else timeout / self._speed)


class QuickLoop(asyncio.SelectorEventLoop):
    """`time()` runs `speed` times as fast as the machine's; all time-outs keep their proportion.

    Whoever is slow because the machine is busy looks that much slower: a test on it must hold
    whatever times out.
    """

    def __init__(self, speed: float = SPEED) -> None:
        self._began = time.monotonic()  # noqa: TID251 - the seam of this loop
        self._speed = speed
        super().__init__(_QuickSelector(speed))

    def time(self) -> float:
        return (time.monotonic() - self._began) * self._speed  # noqa: TID251 - as above


def in_quick_time(main: Callable[[], Awaitable[T]], speed: float = SPEED) -> T:
    """Run a story to its end."""

    async def story() -> T:
        return await main()

    with asyncio.Runner(loop_factory=lambda: QuickLoop(speed)) as runner:
        return runner.run(story())

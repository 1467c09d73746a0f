"""Who waits, with a bound, for something to become true in the engine."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class Promises:
    """`wake` looks at all that are waited for; it costs nothing while nobody waits."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], bool], asyncio.Future[None]]] = []

    def __len__(self) -> int:
        return len(self._waiting)

    async def until(self, true: Callable[[], bool], bound_s: float) -> bool:
        """Whether it has become true in time; without a pause where it is true already."""
        if true():
            return True
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        entry = (true, woken)
        self._waiting.append(entry)
        try:
            async with asyncio.timeout(bound_s):
                await woken
        except TimeoutError:
            return False
        finally:
            if entry in self._waiting:
                self._waiting.remove(entry)
        return True

    def wake(self) -> None:
        """Something has changed."""
        for entry in [each for each in self._waiting if each[0]()]:
            self._waiting.remove(entry)
            if not entry[1].done():
                entry[1].set_result(None)

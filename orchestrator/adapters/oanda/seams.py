"""The one place of the client that makes tasks: those that keep connections warm.

Writes are synchronous and may need a connection at any time, so no caller's TaskGroup can be the
parent; the nest is, from the first connect until the client's `close` has awaited the last one.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any


class Nest:
    """The parent of the client's background tasks; leaving it cancels and awaits them."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()
        self.closed = False

    def spawn(self, work: Coroutine[Any, Any, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if error is not None:  # a bug of ours: make it loud
            context = {"message": f"task {task.get_name()} failed", "exception": error}
            task.get_loop().call_exception_handler(context)

    async def close(self) -> None:
        self.closed = True
        for task in tuple(self._tasks):
            task.cancel()
        if self._tasks:
            await asyncio.wait(tuple(self._tasks))

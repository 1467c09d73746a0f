"""Waiting for what other processes do, and running what runs for ever, in tests of the real."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import Any


async def until(what: Callable[[], object], limit_s: float = 20.0) -> None:
    """Looks again and again; TimeoutError when it never comes."""
    async with asyncio.timeout(limit_s):
        while not what():  # noqa: ASYNC110 -- another process tells us nothing
            await asyncio.sleep(0.005)


@contextlib.asynccontextmanager
async def at_work(*jobs: Callable[[], Coroutine[Any, Any, None]]) -> AsyncIterator[None]:
    """The jobs run as long as the block does."""
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(job()) for job in jobs]
        try:
            yield
        finally:
            for task in running:
                task.cancel()

"""A wire between a program and a server on this machine, which a test may cut, and make longer.

Cut, it passes no byte and closes nothing: what a cable that was pulled looks like to both ends.
"""

from __future__ import annotations

import asyncio
import threading
from contextlib import suppress
from typing import Self

_PIECE = 65_536


class Wire:
    """Listens on `port` of loopback for as long as the `with` lasts, in a thread of its own."""

    def __init__(self, to_port: int, answer_late_s: float = 0.0) -> None:
        """`answer_late_s`: what the server says takes so long on its way, as on a longer cable."""
        self._to_port = to_port
        self._late_s = answer_late_s
        self.port = 0
        self._loop = asyncio.new_event_loop()
        self._whole = asyncio.Event()
        self._ready = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wire", daemon=True)
        self._tasks: set[asyncio.Task[None]] = set()

    def cut(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.clear)

    def mend(self) -> None:
        self._loop.call_soon_threadsafe(self._whole.set)

    def __enter__(self) -> Self:
        self._thread.start()
        assert self._ready.wait(20)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(20)
        self._loop.close()

    def _run(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._whole.set()
        server = self._loop.run_until_complete(
            asyncio.start_server(self._serve, "127.0.0.1", self.port)
        )
        self.port = server.sockets[0].getsockname()[1]
        self._ready.set()
        self._loop.run_forever()
        server.close()
        for task in tuple(self._tasks):
            task.cancel()
            with suppress(BaseException):
                self._loop.run_until_complete(task)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            await self._whole.wait()
            there = await asyncio.open_connection("127.0.0.1", self._to_port)
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pass(reader, there[1]))
                tasks.create_task(self._pass(there[0], writer, self._late_s))
        except (OSError, ExceptionGroup, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.transport.abort()

    async def _pass(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, late_s: float = 0.0
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(_PIECE):
                if late_s:
                    await asyncio.sleep(late_s)
                await self._whole.wait()
                writer.write(piece)
                await writer.drain()
        writer.transport.abort()

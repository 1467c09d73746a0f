"""The floor of the signals' rows: write a record durably, post an order, and nothing else."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from multiprocessing.connection import Connection
from pathlib import Path

import asyncpg
import msgspec
import uvloop

from benchmarks.scripts import Orders, journal, order_body

_FLAT_S = 1.5


class Bare(msgspec.Struct):
    """`given`: order -> instant before its record was written; what an order costs flat out."""

    given: dict[str, int]
    per_min: float
    cpu_ms: float


class _Answered(Orders):
    """Knows when the venue has answered; its answers are small and come in one piece."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()

    def data_received(self, data: bytes) -> None:
        del data
        self.answered.set()


def bare(pipe: Connection, port: int, folder: str, sync: str, count: int, per_min: int) -> None:
    """Child."""
    pipe.send(uvloop.run(_bare(port, Path(folder), sync, count, per_min)))


async def _writer(path: Path, sync: str) -> Callable[[bytes], Awaitable[object] | None]:
    """One row, durable when it returns; on PostgreSQL when what it gives back was awaited."""
    if not sync.startswith("postgresql://"):
        return journal(path, sync)
    connection = await asyncpg.connect(sync)
    await connection.execute("CREATE TABLE IF NOT EXISTS bare (n bigserial, body bytea)")
    insert = await connection.prepare("INSERT INTO bare (body) VALUES ($1)")
    return insert.fetch


async def _bare(port: int, folder: Path, sync: str, count: int, per_min: int) -> Bare:
    write = await _writer(folder / "bare.db", sync)
    loop = asyncio.get_running_loop()
    _, orders = await loop.create_connection(_Answered, "127.0.0.1", port)
    given: dict[str, int] = {}

    async def send(name: str) -> None:
        orders.answered.clear()
        given[name] = time.monotonic_ns()
        body = order_body(name)
        waits = write(body)
        if waits is not None:
            await waits
        orders.send(body)
        await orders.answered.wait()

    began = time.monotonic_ns()
    for number in range(count):
        due = began + number * 60_000_000_000 // per_min
        await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
        await send(f"bare-{number}")
    paced = dict(given)
    began, cpu = time.monotonic_ns(), time.process_time()
    while time.monotonic_ns() - began < _FLAT_S * 1e9:
        await send(f"flat-{len(given)}")
    flat = len(given) - len(paced)
    return Bare(
        given=paced, per_min=flat / (time.monotonic_ns() - began) * 60e9,
        cpu_ms=(time.process_time() - cpu) / flat * 1000,
    )  # fmt: skip

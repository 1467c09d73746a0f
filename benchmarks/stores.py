"""What the store costs on an order's way: SQLite in the loop's thread, PostgreSQL beside the loop.

`python -m benchmarks --only stores`. The server is one of its own, with fsync on, or the one that
DATABASE_URL_TEST names; it listens on loopback, so a network's way comes on top.
"""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Callable, Iterator
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from benchmarks.children import Child
from benchmarks.figures import Row, Section, spread
from benchmarks.house import House
from benchmarks.signals import flat_out, floor_of, measure, missing, paced, parts, to_first_byte
from benchmarks.venue import VenueProcess
from orchestrator.service.views import StopReceipt
from tests.servers.postgres import PostgresServer

_DURABLE = ("fsync=on", "synchronous_commit=on")


def run(quick: bool) -> Section:
    """Signal to first byte at an even pace and flat out, over each store, beside its floor."""
    rows: list[Row] = []
    notes: list[str] = []
    with PostgresServer(*_DURABLE) as server:
        rows += _rows("SQLite full", lambda: "full", notes, quick=quick)
        rows += _rows("PostgreSQL", server.create, notes, quick=quick)
        rows.append(_stops(server, 50 if quick else 200))
    title = "The store on an order's way (1000 signals a minute, then flat out)"
    return Section(title=title, rows=tuple(rows), notes=tuple(notes))


def _stops(server: PostgresServer, count: int) -> Row:
    """An emergency stop while the database answers nothing: asked of the desk, to its receipt."""
    with (
        VenueProcess() as venue,
        tempfile.TemporaryDirectory(prefix="tso-bench-") as folder,
        Child(stop_frozen, venue.port, folder, server.create(), count) as child,
    ):
        assert child.hear(120) == "up"
        server.freeze()
        try:
            took = child.ask("frozen")
        finally:
            server.thaw()
    found = spread(took)
    met = bool(found and found.max < 100_000)
    return Row(name="stop -> answer, PostgreSQL frozen", spread=found, must="max < 100 ms",
               must_met=met)  # fmt: skip


def stop_frozen(pipe: Connection, port: int, folder: str, journal: str, count: int) -> None:
    """Child."""
    uvloop.run(_stop_frozen(pipe, port, Path(folder), journal, count))


async def _stop_frozen(pipe: Connection, port: int, folder: Path, journal: str, count: int) -> None:
    took: list[int] = []
    async with House(folder, port, journal) as house:
        pipe.send("up")
        await asyncio.to_thread(pipe.recv)
        for _ in range(count):
            began = time.monotonic_ns()
            receipt = await house.system.desk.emergency_stop("benchmark", "frozen")
            took.append(time.monotonic_ns() - began)
            assert isinstance(receipt, StopReceipt)
            await asyncio.sleep(0.02)
        assert not house.system.engine.durable
        pipe.send(took)


def _rows(name: str, fresh: Callable[[], str], notes: list[str], *, quick: bool) -> Iterator[Row]:
    """`fresh`: an empty journal, as the house is told of it."""
    count = 80 if quick else 240
    lone, took = floor_of(fresh(), count // 3)
    floor = spread(took)
    yield Row(name=f"floor: {name} + POST", spread=floor)
    told, stamps = measure(paced, fresh(), count)
    found = spread(to_first_byte(told.given, stamps))
    ratio = f"x {found.p50 / floor.p50:.1f} of its floor" if found and floor else ""
    yield Row(
        name=f"signal -> order read, {name}", spread=found, floor=ratio,
        must="p99 < 100 ms", must_met=bool(found and found.p99 < 100_000),
        goal="p99 < 5 ms", goal_met=bool(found and found.p99 < 5_000),
    )  # fmt: skip
    notes.append(f"{name}: {parts(told)}")
    notes.extend(missing(told, found.n if found else 0))
    told, stamps = measure(flat_out, fresh(), 3 if quick else 5)
    per_min = len(told.given) / told.seconds * 60
    yield Row(
        name=f"sustained signals/min, {name}", value=f"{per_min:,.0f}",
        floor=f"x {per_min / lone.per_min:.2f} of its floor's {lone.per_min:,.0f}",
        must="1,000", must_met=per_min >= 1_000,
    )  # fmt: skip
    yield Row(name="  signal -> order read then", spread=spread(to_first_byte(told.given, stamps)))

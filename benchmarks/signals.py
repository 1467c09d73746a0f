"""Rows of signals: to the order's first byte at 1000 a minute, flat out, and what they cost."""

from __future__ import annotations

import asyncio
import tempfile
import time
from collections.abc import Iterable, Mapping
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvloop

from benchmarks.bare import Bare, bare
from benchmarks.children import Child
from benchmarks.figures import Row, Section, Spread, spread, us
from benchmarks.house import House
from benchmarks.venue import OURS, Stamps, VenueProcess
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.model.facts import SignalEnded

PER_MIN = 1_000
_TICKS_S = 20
_WARM_UP = 30
_WINDOW = 8  # signals in flight when flat out: the venue is never waited for with idle hands
_MUST_US, _GOAL_US = 100_000, 5_000
_FLAT_MUST, _FLAT_GOAL = 1_000, 60_000


class Told(msgspec.Struct):
    """What the system's process says at its end. `given`: signal -> instant before it was taken."""

    given: dict[str, int]
    seconds: float
    cpu_s: float
    idle_cpu_s: float
    reasons: list[str]
    parts: dict[str, dict[str, float | int]]


def paced(pipe: Connection, port: int, folder: str, sync: str, count: int) -> None:
    """Child: signals at the even pace of SPEC 14."""
    pipe.send(uvloop.run(_paced(port, folder, sync, count)))


async def _paced(port: int, folder: str, sync: str, count: int) -> Told:
    async with House(Path(folder), port, sync) as house:
        await warm_up(house)
        idle = await _idle(1.0)
        given: dict[str, int] = {}
        began, cpu = time.monotonic_ns(), time.process_time()
        for number in range(count):
            due = began + number * 60_000_000_000 // PER_MIN
            await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
            given[f"s-{number}"] = house.give(f"s-{number}")
        seconds = (time.monotonic_ns() - began) / 1e9
        used = time.process_time() - cpu
        await asyncio.sleep(0.3)
        return _told(house, given, seconds, used, idle)


def flat_out(pipe: Connection, port: int, folder: str, sync: str, seconds: float) -> None:
    """Child: the next signal as soon as an earlier one has ended."""
    pipe.send(uvloop.run(_flat_out(port, folder, sync, seconds)))


async def _flat_out(port: int, folder: str, sync: str, seconds: float) -> Told:
    async with House(Path(folder), port, sync) as house:
        await warm_up(house)
        free = asyncio.Semaphore(_WINDOW)
        left: dict[str, int] = {}

        def ended(fact: SignalEnded) -> None:
            # A signal ends once for each account.
            left[fact.signal_id] = left.get(fact.signal_id, len(OURS)) - 1
            if not left[fact.signal_id]:
                del left[fact.signal_id]
                free.release()

        house.on_end = ended
        given: dict[str, int] = {}
        began, cpu = time.monotonic_ns(), time.process_time()
        while time.monotonic_ns() - began < seconds * 1e9:
            await asyncio.wait_for(free.acquire(), 5.0)
            name = f"s-{len(given)}"
            given[name] = house.give(name)
            await asyncio.sleep(0)  # the venue's answers get their turn
        took = (time.monotonic_ns() - began) / 1e9
        used = time.process_time() - cpu
        await asyncio.sleep(0.3)
        return _told(house, given, took, used, 0.0)


async def warm_up(house: House) -> None:
    """First calls import, compile and connect; they are not the ones that are counted."""
    for number in range(_WARM_UP):
        house.give(f"warm-{number}")
        await asyncio.sleep(0.02)
    await asyncio.sleep(0.2)


async def _idle(seconds: float) -> float:
    """Processor seconds a second with prices only."""
    cpu = time.process_time()
    await asyncio.sleep(seconds)
    return (time.process_time() - cpu) / seconds


def _told(house: House, given: dict[str, int], seconds: float, used: float, idle: float) -> Told:
    parts = {name: kept.summary() for name, kept in house.system.telemetry.latency.items()}
    return Told(given, seconds, used, idle, house.reasons(), parts)


def to_first_byte(given: Mapping[str, int], stamps: Stamps) -> list[int]:
    """From each signal to each of its orders, as the venue read it."""
    began = {intent_id(name, account, "1"): at for name, at in given.items() for account in OURS}
    return [at - began[order] for order, at in stamps.orders if order in began]


def measure(work: object, sync: str, amount: float) -> tuple[Told, Stamps]:
    assert callable(work)
    with VenueProcess() as venue, tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        venue.ask("calm", _TICKS_S)
        with Child(work, venue.port, folder, sync, amount) as child:
            told = child.hear(amount * 0.1 + 60)
        assert isinstance(told, Told)
        return told, venue.take()


def floor_of(sync: str, count: int) -> tuple[Bare, list[int]]:
    """The same pace and the same venue, with a durable record and an order only."""
    with VenueProcess() as venue, tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        venue.ask("calm", _TICKS_S)
        with Child(bare, venue.port, folder, sync, count, PER_MIN) as child:
            told = child.hear(count * 0.1 + 60)
        assert isinstance(told, Bare)
        read = venue.take().orders
    return told, [at - told.given[name] for name, at in read if name in told.given]


def _times(found: Spread | None, floor: Spread | None) -> str:
    return f"x {found.p50 / floor.p50:.1f} of its floor" if found and floor else ""


def run(quick: bool) -> Section:
    """Signal to first byte at SPEC 14's pace, and the processor it takes."""
    count = 80 if quick else 240
    rows: list[Row] = []
    notes: list[str] = []
    for sync in ("full", "normal"):
        lone, took = floor_of(sync, count // 3)
        floor = spread(took)
        rows.append(Row(name=f"floor: SQLite {sync} + POST", spread=floor))
        told, stamps = measure(paced, sync, count)
        found = spread(to_first_byte(told.given, stamps))
        p99 = found.p99 if found else float("inf")
        rows.append(
            Row(
                name=f"signal -> order read, journal {sync}", spread=found,
                floor=_times(found, floor),
                must="p99 < 100 ms", must_met=p99 < _MUST_US,
                goal="p99 < 5 ms", goal_met=p99 < _GOAL_US,
            )
        )  # fmt: skip
        rows.append(_processor(told, lone, sync))
        notes.append(f"{sync}: {len(told.given)} signals, {parts(told)}")
        notes += missing(told, found.n if found else 0)
    title = f"Signals at {PER_MIN} a minute, two accounts, all shipped agents, real HTTP"
    return Section(title=title, rows=tuple(rows), notes=tuple(notes))


def _processor(told: Told, lone: Bare, sync: str) -> Row:
    share = told.cpu_s / told.seconds
    each = (share - told.idle_cpu_s) * told.seconds / len(told.given)
    return Row(
        name=f"processor at that rate, journal {sync}",
        value=f"{share:.1%}", floor=f"{each * 1000:.2f} s/1000 signals, floor {lone.cpu_ms:.2f} s",
        must="< 50 %", must_met=share < 0.5, goal="< 10 %", goal_met=share < 0.1,
    )  # fmt: skip


def parts(told: Told) -> str:
    wanted = ("disagreement", "strategy_analysis", "parameter_optimization", "learning_safety",
              "journal")  # fmt: skip
    words = (f"{name} {us(float(told.parts[name]['p50_us']))}" for name in wanted
             if told.parts.get(name, {}).get("n"))  # fmt: skip
    return "p50 of parts: " + ", ".join(words)


def missing(told: Told, orders: int) -> Iterable[str]:
    if orders < len(told.given):
        yield f"only {orders} orders of {len(told.given)} signals: {'; '.join(told.reasons)}"


def run_flat_out(quick: bool) -> Section:
    """How many signals a minute one core sustains, and how late their orders are then."""
    rows: list[Row] = []
    notes: list[str] = []
    for sync in ("full", "normal"):
        lone, _ = floor_of(sync, 20)
        told, stamps = measure(flat_out, sync, 3 if quick else 5)
        found = spread(to_first_byte(told.given, stamps))
        per_min = len(told.given) / told.seconds * 60
        p99 = found.p99 if found else float("inf")
        rows.append(
            Row(
                name=f"sustained signals/min, journal {sync}", value=f"{per_min:,.0f}",
                floor=f"x {per_min / lone.per_min:.2f} of its floor's {lone.per_min:,.0f}",
                must="1,000", must_met=per_min >= _FLAT_MUST,
                goal="60,000, 2 cores", goal_met=per_min >= _FLAT_GOAL and p99 < _MUST_US,
            )
        )  # fmt: skip
        rows.append(Row(name=f"  signal -> order read then, {sync}", spread=found,
                        goal="p99 < 100 ms", goal_met=p99 < _MUST_US))  # fmt: skip
        notes.append(
            f"{sync}: {told.cpu_s / len(told.given) * 1e3:.2f} ms of processor for a signal, "
            f"{told.cpu_s / told.seconds:.0%} of a core used: a whole core would do "
            f"{60 * len(told.given) / told.cpu_s:,.0f} a minute, if the venue kept up"
        )
        notes += missing(told, found.n if found else 0)
    return Section(title=f"Flat out, {_WINDOW} signals in flight", rows=tuple(rows),
                   notes=tuple(notes))  # fmt: skip

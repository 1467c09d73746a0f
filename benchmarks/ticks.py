"""Tick in to order out: our whole path against bare scripts, same venue, same minute."""

from __future__ import annotations

import asyncio
import importlib.util
import statistics
import tempfile
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from benchmarks import scripts
from benchmarks.children import Child
from benchmarks.figures import Row, Section, Spread, spread
from benchmarks.house import House, tick_name
from benchmarks.tracing import attach
from benchmarks.venue import OURS, Stamps, VenueProcess
from orchestrator.kernel.orders.identity import intent_id
from orchestrator.model.time import format_time

_TICKS_S = 100.0
_GAP_S = 0.0003  # hot: the next tick comes so soon after the last order
_BREATH_S = 0.01  # our own hot run with time to finish what follows an order
_LIFE_S = 600.0


def ours(pipe: Connection, port: int, folder: str, sync: str, traced: bool) -> None:
    """Child: our system with the trigger agent; ends when the pipe does, then tells its parts."""
    uvloop.run(_ours(pipe, port, folder, sync, traced=traced))


async def _ours(pipe: Connection, port: int, folder: str, sync: str, *, traced: bool) -> None:
    async with House(Path(folder), port, sync, trigger=True) as house:
        tracer = attach(house) if traced else None
        asked = asyncio.Event()
        loop = asyncio.get_running_loop()
        loop.add_reader(pipe.fileno(), asked.set)
        pipe.send("ready")
        await asyncio.wait_for(asked.wait(), _LIFE_S)
        loop.remove_reader(pipe.fileno())
        pipe.recv()
        pipe.send((house.reasons(), tracer.medians() if tracer else []))


def latencies(stamps: Stamps) -> list[int]:
    """From each trigger tick's writing to the whole order's arrival."""
    written: dict[str, int] = {}
    for venue_ns, at in stamps.ticks:
        written[scripts.order_name(format_time(venue_ns))] = at
        written[intent_id(tick_name(venue_ns), OURS[0], "1")] = at
    return [at - written[order] for order, at in stamps.orders if order in written]


class Contestants:
    """All on one venue, one after the other, in rounds, so that a slow spell hits them all."""

    def __init__(self, venue: VenueProcess, folder: Path) -> None:
        self._venue = venue
        self._folder = folder
        self._number = 0
        self.found: dict[tuple[str, str], list[int]] = {}
        self.rounds: dict[tuple[str, str], list[float]] = {}
        self.notes: list[str] = []

    def let(self, name: str, modes: tuple[str, ...], orders: int, *start: object) -> None:
        """One contestant's turn: a child of its own, warmed by ticks that do not count."""
        self._number += 1
        folder = self._folder / f"{self._number}"
        folder.mkdir()
        work, *more = start
        assert callable(work)
        with Child(work, self._venue.port, str(folder), *more) as child:
            self._venue.ask("calm", _TICKS_S)
            child.hear()
            self._venue.ask("paced", 25, _TICKS_S)
            self._venue.take()
            for mode in modes:
                self._measure(name, mode, orders)
            if work is ours:
                reasons, _ = child.ask("end")
                self.notes += [f"{name}: {reason}" for reason in reasons]

    def _measure(self, name: str, mode: str, orders: int) -> None:
        if mode == "paced":
            self._venue.ask("paced", orders, _TICKS_S, wait_s=120)
        else:
            gap = _BREATH_S if mode == "hot, breathing" else _GAP_S
            self._venue.ask("hot", orders, gap, wait_s=120)
        took = latencies(self._venue.take())
        if len(took) < orders:
            self.notes.append(f"{name}, {mode}: {orders - len(took)} of {orders} without an order")
        if took:
            self.found.setdefault((name, mode), []).extend(took)
            self.rounds.setdefault((name, mode), []).append(statistics.median(took))


_SCRIPTS: tuple[tuple[str, Callable[..., None], str], ...] = (
    ("raw script", scripts.raw, ""),
    ("raw script + SQLite normal", scripts.raw, "normal"),
    ("raw script + SQLite full", scripts.raw, "full"),
    ("aiohttp script", scripts.aiohttp, ""),
)


def run(quick: bool) -> Section:
    rounds, orders = (1, 60) if quick else (2, 150)
    with VenueProcess() as venue, tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        contest = Contestants(venue, Path(folder))
        for _ in range(rounds):
            for name, work, sync in _SCRIPTS:
                if work is not scripts.aiohttp or importlib.util.find_spec("aiohttp"):
                    contest.let(name, ("paced", "hot"), orders, work, sync)
            for sync in ("normal", "full"):
                modes = ("paced", "hot, breathing", "hot")
                contest.let(f"ours, journal {sync}", modes, orders, ours, sync, False)
        parts = _explain(venue, Path(folder), 50 if quick else 150)
    rows = [row for mode in ("paced", "hot", "hot, breathing") for row in _rows(contest, mode)]
    notes = [*dict.fromkeys(contest.notes), *parts]
    if not importlib.util.find_spec("aiohttp"):
        notes.append("aiohttp is not installed here: its row is left out")
    title = f"Tick written -> whole order read; paced: {_TICKS_S:g} ticks/s, every second a trigger"
    return Section(title=title, rows=tuple(rows), notes=tuple(notes))


def _rows(contest: Contestants, mode: str) -> list[Row]:
    floor = spread(contest.found.get(("raw script", "hot" if "hot" in mode else mode), ()))
    names = [name for name, of in contest.found if of == mode]
    rows: list[Row] = []
    for name in names:
        found = spread(contest.found[name, mode])
        times = f"x {found.p50 / floor.p50:.2f} of raw" if found and floor else ""
        medians = [each / 1000 for each in contest.rounds[name, mode]]
        text = f"{times} (rounds {min(medians):.0f}-{max(medians):.0f})"
        durable = _durable_floor(contest, name, mode)
        if found and durable:
            text += f", x {found.p50 / durable.p50:.1f} of raw + SQLite"
        rows.append(_judged(Row(name=f"{mode}: {name}", spread=found, floor=text), floor))
    return rows


def _durable_floor(contest: Contestants, name: str, mode: str) -> Spread | None:
    """For our rows: the raw script that writes one durable row, in the same journal mode."""
    if "ours" not in name:
        return None
    script = f"raw script + SQLite {name.rpartition(' ')[2]}"
    return spread(contest.found.get((script, "hot" if "hot" in mode else mode), ()))


def _judged(row: Row, floor: Spread | None) -> Row:
    """The goals of FLOORS' yardstick, for our own rows."""
    most = 2 if row.name.endswith("normal") else 3
    if "ours" not in row.name or row.spread is None or floor is None:
        return row
    return Row(
        name=row.name, spread=row.spread, floor=row.floor, goal=f"<= {most} x raw",
        goal_met=row.spread.p50 <= most * floor.p50,
    )  # fmt: skip


def _explain(venue: VenueProcess, folder: Path, orders: int) -> list[str]:
    """Medians of the parts between the price's hearing and the gate's answer."""
    kept = folder / "traced"
    kept.mkdir()
    with Child(ours, venue.port, str(kept), "full", True) as child:
        venue.ask("calm", _TICKS_S)
        child.hear()
        venue.ask("paced", 25 + orders, _TICKS_S, wait_s=120)
        venue.take()
        _, parts = child.ask("end")
    lines = [f"{part:<34}{took:>9.1f} us" for part, took in parts if took >= 0.5]
    return ["", "Our parts, p50 of an order, paced, journal full, traced (the timers cost too):",
            *lines]  # fmt: skip

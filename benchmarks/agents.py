"""Agents here and elsewhere: what it costs that an opinion comes from another process.

The floor is a bare hop: one message there by hand, without anything that checks or waits.
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import uvloop

from benchmarks.bus import hops_by_hand
from benchmarks.children import Child
from benchmarks.figures import Row, Section, Spread, spread, us
from benchmarks.house import House
from benchmarks.signals import PER_MIN, Told, to_first_byte, warm_up
from benchmarks.venue import OURS, Stamps, VenueProcess
from orchestrator.model.facts import SignalEnded
from orchestrator.model.signals import STAGES
from orchestrator.service.gauges import BLOCKING
from tests.servers.redis import RedisServer

_HOPS = 800
_TICKS_S = 20
_STAGES_IN_TURN = 4  # each one question there and one answer back
_AT_ONCE = 8
_MUST_US, _GOAL_US = 100_000, 5_000


def _tables(where: str, instances: int) -> str:
    if where == "service":
        return ""
    lines = f"instances = {instances}\n" if where == "process" else ""
    return "".join(f'\n[agents.{r.value}]\nwhere = "{where}"\n{lines}' for r in STAGES)


def _environment(broker: str) -> dict[str, str]:
    return {"MESSAGE_BROKER_URL": broker} if broker else {}


def paced(pipe: Connection, port: int, folder: str, kind: tuple[str, int, str], count: int) -> None:
    """Child: signals at an even pace."""
    pipe.send(uvloop.run(_given(port, folder, kind, count, flat_s=0.0)))


def flat_out(
    pipe: Connection, port: int, folder: str, kind: tuple[str, int, str], seconds: float
) -> None:
    """Child: the next signal as soon as an earlier one has ended."""
    pipe.send(uvloop.run(_given(port, folder, kind, 0, flat_s=seconds)))


async def _given(
    port: int, folder: str, kind: tuple[str, int, str], count: int, flat_s: float
) -> Told:
    where, instances, broker = kind
    more = _tables(where, instances)
    async with House(Path(folder), port, "normal", more=more, **_environment(broker)) as house:
        await _all_here(house, where, instances)
        await warm_up(house)
        given: dict[str, int] = {}
        began, cpu = time.monotonic_ns(), time.process_time()
        if flat_s:
            await _flat(house, given, flat_s)
        else:
            for number in range(count):
                due = began + number * 60_000_000_000 // PER_MIN
                await asyncio.sleep(max(0.0, (due - time.monotonic_ns()) / 1e9))
                given[f"s-{number}"] = house.give(f"s-{number}")
        took = (time.monotonic_ns() - began) / 1e9
        used = time.process_time() - cpu
        await asyncio.sleep(0.5)
        return Told(given, took, used, 0.0, house.reasons(), {})


async def _all_here(house: House, where: str, instances: int) -> None:
    wanted = 0 if where == "service" else instances * len(STAGES)

    def missing() -> bool:
        views = house.system.agents.views()
        away = [v for v in views if v.where != "in-process" and v.state == "healthy"]
        # S9 clears some seconds after the last role is served.
        held = [b for b in house.system.kernel.breakers(house.clock.now()) if b.breaker == "S9"]
        return len(away) < wanted or any(b.state in BLOCKING for b in held)

    async with asyncio.timeout(60):
        while missing():  # noqa: ASYNC110 -- nothing tells us
            await asyncio.sleep(0.05)


async def _flat(house: House, given: dict[str, int], seconds: float) -> None:
    free = asyncio.Semaphore(_AT_ONCE)
    left: dict[str, int] = {}

    def ended(fact: SignalEnded) -> None:
        left[fact.signal_id] = left.get(fact.signal_id, len(OURS)) - 1
        if not left[fact.signal_id]:
            del left[fact.signal_id]
            free.release()

    house.on_end = ended
    began = time.monotonic_ns()
    while time.monotonic_ns() - began < seconds * 1e9:
        await asyncio.wait_for(free.acquire(), 10.0)
        name = f"s-{len(given)}"
        given[name] = house.give(name)
        await asyncio.sleep(0)


@contextmanager
def _programs(where: str, instances: int, broker: str) -> Generator[None]:
    """Agents that are started by hand, where they come over Redis; ended by their ids."""
    running: list[subprocess.Popen[bytes]] = []
    with tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        try:
            for role in STAGES if where == "remote" else ():
                running += [
                    subprocess.Popen(  # noqa: S603 -- our own words
                        (sys.executable, "-m", "orchestrator", "agent", role.value, "--instance",
                         str(number)),
                        cwd=folder, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                        env={
                            "PATH": "/usr/bin:/bin", "MESSAGE_BROKER_URL": broker,
                            "PYTHONPATH": ":".join(filter(None, sys.path)),
                            "INSTRUMENTS": "EUR_USD",
                        },
                    )
                    for number in range(1, instances + 1)
                ]  # fmt: skip
            yield
        finally:
            for process in running:
                process.kill()
                process.wait()


def _measure(work: object, kind: tuple[str, int, str], amount: float) -> tuple[Told, Stamps]:
    assert callable(work)
    with (
        VenueProcess() as venue,
        tempfile.TemporaryDirectory(prefix="tso-bench-") as folder,
        _programs(*kind),
    ):
        venue.ask("calm", _TICKS_S)
        with Child(work, venue.port, folder, kind, amount) as child:
            told = child.hear(amount * 0.1 + 120)
        assert isinstance(told, Told)
        return told, venue.take()


def run(quick: bool) -> Section:
    """Signal to first byte with agents here, in child processes and over Redis; throughput."""
    count, seconds = (60, 2.0) if quick else (200, 4.0)
    rows: list[Row] = []
    notes: list[str] = []
    with (
        tempfile.TemporaryDirectory(prefix="tso-bench-") as name,
        RedisServer(Path(name) / "redis") as server,
    ):
        hop = hops_by_hand(server, _HOPS // (4 if quick else 1))
        rows.append(Row(name="floor: one hop over Redis by hand", spread=hop))
        here: Spread | None = None
        for words, kind in (
            ("here", ("service", 1, "")),
            ("in processes of their own, two each", ("process", 2, "")),
            ("over Redis, two each", ("remote", 2, server.url)),
        ):
            told, stamps = _measure(paced, kind, count)
            found = spread(to_first_byte(told.given, stamps))
            here = here or found
            rows.append(_latency_row(words, found, here, hop))
            notes += _missing(words, told, found)
        for where, broker in (("process", ""), ("remote", server.url)):
            for instances in (1, 2, 4):
                told, _ = _measure(flat_out, (where, instances, broker), seconds)
                rows.append(_rate_row(where, instances, told))
    notes.append(f"at {PER_MIN} a minute, two accounts, journal normal; {_STAGES_IN_TURN} stages: "
                 f"{2 * _STAGES_IN_TURN} hops, one after the other")  # fmt: skip
    return Section(title="Agents elsewhere", rows=tuple(rows), notes=tuple(notes))


def _latency_row(words: str, found: Spread | None, here: Spread | None, hop: Spread | None) -> Row:
    floor = ""
    if found and here and hop and found is not here:
        more = (found.p50 - here.p50) / (2 * _STAGES_IN_TURN)
        floor = (
            f"x {found.p50 / here.p50:.1f} of here; a hop {us(more)} = {more / hop.p50:.1f} bare"
        )
    return Row(
        name=f"signal -> order read, agents {words}", spread=found, floor=floor,
        must="p99 < 100 ms", must_met=found is not None and found.p99 < _MUST_US,
        goal="p99 < 5 ms", goal_met=found is not None and found.p99 < _GOAL_US,
    )  # fmt: skip


def _rate_row(where: str, instances: int, told: Told) -> Row:
    words = "in processes" if where == "process" else "over Redis"
    per_min = len(told.given) / told.seconds * 60
    share = told.cpu_s / told.seconds
    return Row(name=f"signals/min, {words}, {instances} of each role", value=f"{per_min:,.0f}",
               floor=f"{share:.0%} of a core in the service")  # fmt: skip


def _missing(words: str, told: Told, found: Spread | None) -> list[str]:
    orders = found.n if found else 0
    if orders >= len(told.given):
        return []
    return [f"{words}: {orders} orders of {len(told.given)} signals: {'; '.join(told.reasons)}"]

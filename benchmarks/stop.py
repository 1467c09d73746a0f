"""Emergency stop under load: how soon the gate is closed, and that no order leaves after it."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import tempfile
import time
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from benchmarks.children import Child
from benchmarks.figures import Row, Section, spread
from benchmarks.house import House
from benchmarks.venue import VenueProcess
from orchestrator.model.safety import StopState, SystemMode
from orchestrator.service.api import create_api
from orchestrator.service.gate import Gate
from orchestrator.service.views import Done

WAYS = ("in the service", "local word, another process", "POST /emergency-stop")
FLOOR = "a byte in its own memory, another process"
_SIGNALS_S = 100
_SETTLE_S = 0.15
_RESUME_S = 10.0
_TOKEN = "benchmark"  # noqa: S105 -- of an API that lives for seconds on loopback
_MUST_US, _GOAL_US = 100_000, 5_000


class Drill(msgspec.Struct):
    """One stop: monotonic nanoseconds of the wish and of the closed word."""

    way: str
    wished: int
    closed: int
    noticed: int  # the service knows that it is stopped
    given: int  # signals handed in so far, so that the load is real


class Told(msgspec.Struct):
    drills: list[Drill]
    floors: list[int]
    asked: dict[str, int]  # order -> when its gate let it pass, right before its first byte


def stopped_again_and_again(pipe: Connection, port: int, folder: str, rounds: int) -> None:
    """Child: a loaded system that is stopped in each way, and resumed, `rounds` times."""
    pipe.send(uvloop.run(_drills(pipe, port, Path(folder), rounds)))


class _Loaded:
    """A house under a stream of signals, its gate's closings and askings stamped."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.given = 0
        self.asked: dict[str, int] = {}
        self.closings: list[int] = []
        close, may_send = house.gate.close, house.system.kernel.may_send

        def closed() -> None:
            close()
            self.closings.append(time.monotonic_ns())

        def asking(intent_id: str, now: int) -> str | None:
            objection = may_send(intent_id, now)
            if objection is None:
                self.asked[intent_id] = time.monotonic_ns()
            return objection

        vars(house.gate)["close"] = closed
        vars(house.system.kernel)["may_send"] = asking

    async def load(self) -> None:
        """Signals go on whether they are wanted or not; until cancelled."""
        while True:
            self.house.give(f"s-{self.given}")
            self.given += 1
            await asyncio.sleep(1 / _SIGNALS_S)

    async def resume(self) -> None:
        """Flat, resumed and trading again; RuntimeError when that takes too long."""
        desk, system = self.house.system.desk, self.house.system
        until = time.monotonic() + _RESUME_S
        said: object = None
        while system.mode is not SystemMode.RUNNING:
            if time.monotonic() > until:
                raise RuntimeError(f"not running again after a stop: {said}")
            await asyncio.sleep(0.05)
            receipt = desk.stop_receipt()
            if receipt is not None and receipt.state is StopState.FLAT:
                said = await desk.resume("benchmark", receipt.stop_id, "drill is over")
            if receipt is None or isinstance(said, Done):
                said = await desk.start("benchmark", "drill is over")


async def _drills(pipe: Connection, port: int, folder: Path, rounds: int) -> Told:
    dice = random.Random(1)
    drills: list[Drill] = []
    floors: list[int] = []
    async with House(folder, port, "full") as house:
        loaded = _Loaded(house)
        loop = asyncio.get_running_loop()
        load = loop.create_task(loaded.load())
        server, api_port = await _api(house)
        pipe.send(api_port)
        ready = asyncio.Event()
        loop.add_reader(pipe.fileno(), ready.set)
        for way in WAYS * rounds:
            await asyncio.sleep(0.15 + dice.random() * 0.1)
            began, ended = await _ask(FLOOR, pipe, ready)
            floors.append(ended - began)
            drills.append(await _drill(loaded, way, pipe, ready))
            await asyncio.sleep(_SETTLE_S)
            await loaded.resume()
        load.cancel()
        server.should_exit = True
        await asyncio.sleep(0.2)
        loop.remove_reader(pipe.fileno())
    return Told(drills, floors, loaded.asked)


async def _api(house: House) -> tuple[uvicorn.Server, int]:
    """The real API in the same loop, as the service has it."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = create_api(lambda: house.system.desk, lambda token: token == _TOKEN, "benchmark")
    server = uvicorn.Server(uvicorn.Config(app, log_config=None, lifespan="off"))
    task = asyncio.get_running_loop().create_task(server.serve(sockets=[listener]))
    while not server.started:
        if task.done():
            await task
        await asyncio.sleep(0.01)
    return server, int(listener.getsockname()[1])


async def _ask(way: str, pipe: Connection, ready: asyncio.Event) -> tuple[int, int]:
    """The person's process is told to act; when it did."""
    pipe.send(way)
    await ready.wait()
    ready.clear()
    wished, closed = pipe.recv()
    return wished, closed


async def _drill(loaded: _Loaded, way: str, pipe: Connection, ready: asyncio.Event) -> Drill:
    house = loaded.house
    if way == WAYS[0]:
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.01
        wished = time.monotonic_ns() + 10_000_000
        # From when the wish was due, so that a busy loop counts against us.
        await asyncio.sleep(due - loop.time())
        await house.system.desk.emergency_stop("benchmark", "drill")
        closed = loaded.closings[-1]
    else:
        wished, closed = await _ask(way, pipe, ready)
    while not house.system.safety.stopped:  # noqa: ASYNC110 -- nothing tells us; a look each ms
        await asyncio.sleep(0.001)
    noticed = time.monotonic_ns()
    return Drill(way, wished, closed or loaded.closings[-1], noticed, loaded.given)


def press(pipe: Connection, folder: str, api_port: int) -> None:
    """Child: a person elsewhere on this machine. Answers (wish, closed; 0: the service knows)."""
    gate, own = Gate(Path(folder)), bytearray(1)
    api = http.client.HTTPConnection("127.0.0.1", api_port, timeout=5)
    head = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    while True:
        (way,) = pipe.recv()
        wished = time.monotonic_ns()
        if way in {WAYS[1], FLOOR}:
            if way == WAYS[1]:
                gate.close()
            else:
                own[0] = 1
            pipe.send((wished, time.monotonic_ns()))
            continue
        api.request("POST", "/emergency-stop", b'{"reason": "drill"}', head)
        answer = api.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"POST /emergency-stop: {answer.status}")
        pipe.send((wished, 0))


def run(quick: bool) -> Section:
    rounds = 4 if quick else 7
    with VenueProcess() as venue, tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        venue.ask("calm", 20)
        with Child(stopped_again_and_again, venue.port, folder, rounds) as child:
            port = child.hear()
            with Child(press, folder, port) as person:
                told = _carry(child, person)
        stamps = venue.take()
    rows = [Row(name=f"floor: {FLOOR}", spread=spread(told.floors))]
    for way in WAYS:
        drills = [drill for drill in told.drills if drill.way == way]
        rows += _rows(way, drills)
    load = told.drills[-1].given
    rows.append(_after(told, dict(stamps.orders)))
    note = f"{len(told.drills)} stops with positions closed, {load:,} signals handed in meanwhile"
    return Section(title=f"Emergency stop under {_SIGNALS_S} signals/s, journal full",
                   rows=tuple(rows), notes=(note,))  # fmt: skip


def _carry(child: Child, person: Child) -> Told:
    """Words from the house to the person and back, until the house has its result."""
    while True:
        said = child.hear(60)
        if isinstance(said, Told):
            return said
        child.pipe.send(person.ask(said))


def _rows(way: str, drills: list[Drill]) -> list[Row]:
    closed = spread(d.closed - d.wished for d in drills)
    worst = closed.max if closed else float("inf")
    rows = [
        Row(
            name=f"wish -> gate closed: {way}", spread=closed,
            must="< 100 ms", must_met=worst < _MUST_US,
            goal="p99.9 < 5 ms", goal_met=worst < _GOAL_US,
        )
    ]  # fmt: skip
    if way == WAYS[1]:
        rows.append(
            Row(
                name="  and the service knows",
                spread=spread(d.noticed - d.closed for d in drills),
            )
        )
    return rows


def _after(told: Told, read: dict[str, int]) -> Row:
    """The venue's witness: what it read after a close, and whether that had left before it."""
    late = wire = 0
    for drill in told.drills:
        end = drill.closed + int(_SETTLE_S * 1e9)
        came = [name for name, at in read.items() if drill.closed < at <= end]
        after = [name for name in came if told.asked.get(name, end) > drill.closed]
        late += len(after)
        wire += len(came) - len(after)
    return Row(
        name="orders that left after the close", value=f"{late}",
        floor=f"{wire} were on the wire when it closed", must="0", must_met=late == 0,
        goal="0", goal_met=late == 0,
    )  # fmt: skip

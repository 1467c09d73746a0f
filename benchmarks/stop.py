"""Emergency stop under load: how soon the gate is closed, and that no order leaves after it."""

from __future__ import annotations

import asyncio
import http.client
import random
import socket
import tempfile
import time
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import msgspec
import uvicorn
import uvloop

from benchmarks.children import Child
from benchmarks.figures import Row, Section, spread, us
from benchmarks.house import House
from benchmarks.venue import VenueProcess
from orchestrator.model.safety import Alert, StopState, SystemMode
from orchestrator.service.api import create_api
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.views import Done

WAYS = ("in the service", "local word, another process", "POST /emergency-stop")
BLOCKED = "local word, while the loop is blocked"
TRIP = "a trip inside the process"
_BLOCKED_S = 0.03
FLOOR = "a byte in its own memory, another process"
_SIGNALS_S = 100
_SETTLE_S = 0.15
_RESUME_S = 30.0
_NOTICED_S = 30.0  # what a loaded machine may need; beyond, something is wrong
_SILENCE_S = 60.0  # of the house: it says something at each step, however many there are
_ALIVE = "alive"
_TOKEN = "benchmark"  # noqa: S105 -- of an API that lives for seconds on loopback
_MUST_US, _GOAL_US = 100_000, 5_000
# SAFETY 13: the trip inside the process; over HTTP with the loop loaded; all else.
_GOALS_US = {TRIP: 200, WAYS[2]: 15_000}
_ALERT_MUST_US, _ALERT_GOAL_US = 1_000_000, 250_000


class Drill(msgspec.Struct):
    """One stop: monotonic nanoseconds of the wish and of the closed word."""

    way: str
    wished: int
    closed: int
    noticed: int  # the service knows that it is stopped
    answered: int  # the person has the whole answer; 0: there is none
    alerted: int  # the first alert of it
    given: int  # signals handed in so far, so that the load is real


class Told(msgspec.Struct):
    """`trouble`: why there are no more of them."""

    drills: list[Drill]
    floors: list[int]
    asked: dict[str, int]  # order -> when its gate let it pass, right before its first byte
    trouble: str = ""


def stopped_again_and_again(
    pipe: Connection, port: int, folder: str, ways: tuple[str, ...], liquidate: bool
) -> None:
    """Child: a loaded system that is stopped in each of these ways, and resumed."""
    pipe.send(uvloop.run(_drills(pipe, port, Path(folder), ways, liquidate=liquidate)))


class _Loaded:
    """A house under a stream of signals, its gate's closings and askings stamped."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.given = 0
        self.asked: dict[str, int] = {}
        self.closings: list[int] = []
        self.alerts: list[int] = []
        close, may_send = house.gate.close, house.system.kernel.may_send

        def closed() -> None:
            close()
            self.closings.append(time.monotonic_ns())

        def alerted(said: Alert) -> None:
            del said  # a run prints its table and nothing else
            self.alerts.append(time.monotonic_ns())

        def asking(intent_id: str, now: int) -> str | None:
            objection = may_send(intent_id, now)
            if objection is None:
                self.asked[intent_id] = time.monotonic_ns()
            return objection

        house.system.engine.hooks.alert = alerted
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
            await asyncio.sleep(0.02)
            receipt = desk.stop_receipt()
            if receipt is not None and receipt.state in (StopState.FLAT, StopState.STOPPED):
                said = await desk.resume("benchmark", receipt.stop_id, "drill is over")
            if receipt is None or isinstance(said, Done):
                said = await desk.start("benchmark", "drill is over")


async def _drills(
    pipe: Connection, port: int, folder: Path, ways: tuple[str, ...], *, liquidate: bool
) -> Told:
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
        trouble = ""
        for way in ways:
            await asyncio.sleep(0.05 + dice.random() * 0.1)
            began, ended, _ = await _ask(FLOOR, pipe, ready)
            try:
                drills.append(await _drill(loaded, way, pipe, ready, liquidate=liquidate))
                pipe.send(_ALIVE)
                await asyncio.sleep(_SETTLE_S)
                await loaded.resume()
            except RuntimeError as exc:
                trouble = f"ended after {len(drills)} of {len(ways)} stops: {way}: {exc}"
                break
            floors.append(ended - began)
            pipe.send(_ALIVE)
        load.cancel()
        server.should_exit = True
        await asyncio.sleep(0.2)
        loop.remove_reader(pipe.fileno())
    return Told(drills, floors, loaded.asked, trouble)


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


async def _ask(way: str, pipe: Connection, ready: asyncio.Event) -> tuple[int, int, int]:
    """The person's process is told to act; when it wished, had closed, and had an answer."""
    pipe.send(way)
    if way == BLOCKED:
        time.sleep(_BLOCKED_S)  # noqa: ASYNC251 -- this is what is measured
    await ready.wait()
    ready.clear()
    wished, closed, answered = pipe.recv()
    return wished, closed, answered


async def _drill(
    loaded: _Loaded, way: str, pipe: Connection, ready: asyncio.Event, *, liquidate: bool
) -> Drill:
    house = loaded.house
    if way == TRIP:
        wished = time.monotonic_ns()
        await house.system.desk.emergency_stop("benchmark", "drill", liquidate=liquidate)
        closed, answered = loaded.closings[-1], 0
    elif way == WAYS[0]:
        loop = asyncio.get_running_loop()
        due = loop.time() + 0.01
        wished = time.monotonic_ns() + 10_000_000
        # From when the wish was due, so that a busy loop counts against us.
        await asyncio.sleep(due - loop.time())
        wished = min(wished, time.monotonic_ns())  # a timer may ring a little early, too
        await house.system.desk.emergency_stop("benchmark", "drill", liquidate=liquidate)
        closed, answered = loaded.closings[-1], 0
    else:
        wished, closed, answered = await _ask(way, pipe, ready)
    await _until(lambda: house.system.safety.stopped, "the service has not noticed")
    noticed = time.monotonic_ns()
    await _until(lambda: any(at > wished for at in loaded.alerts), "no alert was raised")
    alerts = [at for at in loaded.alerts if at > wished]
    closed = closed or min(at for at in loaded.closings if at > wished)
    return Drill(way, wished, closed, noticed, answered, alerts[0], loaded.given)


async def _until(true: Callable[[], bool], else_: str) -> None:
    """Nothing tells us: a look each millisecond. RuntimeError when it takes too long."""
    until = time.monotonic() + _NOTICED_S
    while not true():
        if time.monotonic() > until:
            raise RuntimeError(f"{else_} within {_NOTICED_S:g} s")
        await asyncio.sleep(0.001)


def press(pipe: Connection, folder: str, api_port: int, liquidate: bool) -> None:
    """Child: a person elsewhere on this machine. Answers (wish, closed; 0: the service knows,
    answered).
    """
    gate, own = Gate(Path(folder)), bytearray(1)
    api = http.client.HTTPConnection("127.0.0.1", api_port, timeout=5)
    body = msgspec.json.encode({"reason": "drill", "liquidate": liquidate})
    head = {"Authorization": f"Bearer {_TOKEN}", "Content-Type": "application/json"}
    while True:
        (way,) = pipe.recv()
        if way == BLOCKED:
            time.sleep(_BLOCKED_S / 3)
        elif way == WAYS[2]:
            api.close()  # the server ends one that was idle for five seconds
            api.connect()
        wished = time.monotonic_ns()
        if way != WAYS[2]:
            if way == FLOOR:
                own[0] = 1
            else:
                gate.close()
            pipe.send((wished, time.monotonic_ns(), 0))
            if way != FLOOR and not liquidate:
                gate.latch(_latch())  # as the local command; without it all is closed
            continue
        api.request("POST", "/emergency-stop", body, head)
        answer = api.getresponse()
        answer.read()
        if answer.status >= 300:
            raise RuntimeError(f"POST /emergency-stop: {answer.status}")
        pipe.send((wished, 0, time.monotonic_ns()))


def _latch() -> Latch:
    return Latch(
        stop_id=f"stop-{time.monotonic_ns()}", actor="benchmark", reason="drill", liquidate=False,
        closed_ns=time.time_ns(),
    )  # fmt: skip


def run(quick: bool) -> Section:
    return measure(WAYS * (4 if quick else 7), liquidate=True)


def measure(ways: tuple[str, ...], *, liquidate: bool) -> Section:
    """Each way as often as it is named, in that order."""
    with VenueProcess() as venue, tempfile.TemporaryDirectory(prefix="tso-bench-") as folder:
        venue.ask("calm", 20)
        with Child(stopped_again_and_again, venue.port, folder, ways, liquidate) as child:
            port = child.hear()
            with Child(press, folder, port, liquidate) as person:
                told = _carry(child, person)
        stamps = venue.take()
    if not told.drills:
        raise RuntimeError(told.trouble)
    rows = [Row(name=f"floor: {FLOOR}", spread=spread(told.floors))]
    for way in dict.fromkeys(ways):
        drills = [drill for drill in told.drills if drill.way == way]
        rows += _rows(way, drills)
    load = told.drills[-1].given
    rows.append(_after(told, dict(stamps.orders)))
    closing = "positions closed" if liquidate else "positions kept"
    notes = [told.trouble] if told.trouble else []
    note = f"{len(told.drills)} stops with {closing}, {load:,} signals handed in meanwhile"
    return Section(title=f"Emergency stop under {_SIGNALS_S} signals/s, journal full",
                   rows=tuple(rows), notes=(note, *notes))  # fmt: skip


def _carry(child: Child, person: Child) -> Told:
    """Words from the house to the person and back, until the house has its result."""
    while True:
        said = child.hear(_SILENCE_S)
        if isinstance(said, Told):
            return said
        if said != _ALIVE:
            child.pipe.send(person.ask(said))


def _rows(way: str, drills: list[Drill]) -> list[Row]:
    closed = spread(d.closed - d.wished for d in drills)
    worst = closed.max if closed else float("inf")
    goal_us = _GOALS_US.get(way, _GOAL_US)
    rows = [
        Row(
            name=f"wish -> gate closed: {way}", spread=closed,
            must="< 100 ms", must_met=worst < _MUST_US,
            goal=f"p99.9 < {us(goal_us)}", goal_met=closed is not None and closed.p999 < goal_us,
        )
    ]  # fmt: skip
    if way in {WAYS[1], BLOCKED}:
        knows = spread(d.noticed - d.closed for d in drills)
        rows.append(Row(name="  and the service knows", spread=knows))
    answered = spread(d.answered - d.wished for d in drills if d.answered)
    if answered:
        rows.append(Row(name="  and the person has the whole answer", spread=answered,
                        must="< 100 ms", must_met=answered.max < _MUST_US))  # fmt: skip
    alerted = spread(d.alerted - d.wished for d in drills)
    if alerted:
        rows.append(Row(name="  and the alert is raised", spread=alerted, must="< 1 s",
                        must_met=alerted.max < _ALERT_MUST_US, goal="< 250 ms",
                        goal_met=alerted.max < _ALERT_GOAL_US))  # fmt: skip
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

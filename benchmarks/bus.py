"""The bus over a real Redis on this machine: what a hop costs, beside the same words by hand.

The floor is a bare script: blocking sockets, hiredis, nothing checked, nothing watched.
"""

from __future__ import annotations

import asyncio
import socket
import tempfile
import time
from collections.abc import Callable, Coroutine
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import hiredis
import uvloop

from benchmarks.children import Child
from benchmarks.figures import Row, Section, Spread, spread
from orchestrator.adapters.bus.redis.address import parse
from orchestrator.adapters.bus.redis.bus import RedisBus
from orchestrator.adapters.bus.redis.entries import Entry
from orchestrator.adapters.bus.redis.group import GroupReader
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.owner import Owner
from orchestrator.adapters.bus.redis.stops import StopLine
from orchestrator.adapters.bus.redis.tail import TailReader
from orchestrator.kernel.audit import AuditChain
from orchestrator.main.logs import set_up_logs
from orchestrator.model.facts import ChecksDecided
from orchestrator.model.money import AccountId
from orchestrator.service.gate import Gate
from tests.servers.redis import RedisServer

_HOPS, _WARM = 2_000, 200
_RECORDS = 20_000
_STOPS = 400
_DATA = b"x" * 340  # a question to a stage, about
_MUST_US, _GOAL_US = 1_000_000, 20_000

Job = Callable[[], Coroutine[Any, Any, None]]


def run(quick: bool) -> Section:
    """Hops, rates and stops on a server of its own, which ends with this."""
    set_up_logs("error")
    part = 4 if quick else 1
    with tempfile.TemporaryDirectory(prefix="orchestrator-bench-") as name:
        folder = Path(name)
        with RedisServer(folder / "redis") as server:
            raw = hops_by_hand(server, _HOPS // part)
            tail = _hops(server, _HOPS // part, grouped=False)
            group = _hops(server, _HOPS // part, grouped=True)
            floor_rate = _rate_by_hand(server, _RECORDS // part)
            single = _rate_single(server, _RECORDS // part // 10)
            batched = _rate_batched(server, _RECORDS // part)
            stops = _stops(server, folder, _STOPS // part)
    return Section(
        title="Bus over Redis",
        rows=(
            Row(name="floor: one hop by hand (XADD to XREAD, blocking sockets)", spread=raw),
            _hop_row("one hop, reader from a position", tail, raw),
            _hop_row("one hop, consumer group with acknowledgement", group, raw),
            Row(name="floor: XADD by hand, 256 in one write", value=f"{floor_rate:,.0f}/s"),
            _rate_row("messages, one awaited after the other", single, floor_rate),
            _rate_row("records into the history, encoding included", batched, floor_rate),
            _stop_row(stops),
        ),
        notes=(
            f"Redis by TCP on loopback, {len(_DATA)} bytes; a hop is half of there and back",
            "a stop counts from the call in one process to the closed word of the other's gate",
        ),
    )


def _hop_row(name: str, took: Spread | None, floor: Spread | None) -> Row:
    told = f"{took.p50 / floor.p50:.1f} x" if took and floor else ""
    return Row(name=name, spread=took, floor=told)


def _rate_row(name: str, rate: float, floor: float) -> Row:
    return Row(name=name, value=f"{rate:,.0f}/s", floor=f"{floor / rate:.1f} x its time")


def _stop_row(took: Spread | None) -> Row:
    return Row(
        name="a stop called out to another node, its gate closed", spread=took,
        must="< 1 s", must_met=took is not None and took.max < _MUST_US,
        goal="p99.9 < 20 ms", goal_met=took is not None and took.p999 < _GOAL_US,
    )  # fmt: skip


# -- by hand ----------------------------------------------------------------------------------


class _Socket:
    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port))
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._reader = hiredis.Reader()

    def ask(self, *words: bytes | str | int) -> Any:  # noqa: ANN401 -- what Redis says
        self.send(hiredis.pack_command(words))
        return self.hear()

    def send(self, data: bytes) -> None:
        self._socket.sendall(data)

    def hear(self) -> Any:  # noqa: ANN401 -- as above
        while (reply := self._reader.gets()) is False:
            self._reader.feed(self._socket.recv(65536))
        return reply

    def read_one(self, stream: str, after: bytes) -> bytes:
        """The id of the next message."""
        found = self.ask("XREAD", "COUNT", 1, "BLOCK", 10_000, "STREAMS", stream, after)
        return found[0][1][0][0]


def _add(stream: str, number: int) -> tuple[bytes | str | int, ...]:
    return ("XADD", stream, "MAXLEN", "~", 1000, "*", "id", number, "src", "n", "d", _DATA)


def answer_by_hand(pipe: Connection, port: int, count: int) -> None:
    """Child: each message that comes is answered by one."""
    link, after = _Socket(port), b"0-0"
    pipe.send("ready")
    for number in range(count):
        after = link.read_one("b:there", after)
        link.ask(*_add("b:back", number))


def hops_by_hand(server: RedisServer, count: int) -> Spread | None:
    link, after = _Socket(server.port), b"0-0"
    took: list[int] = []
    with Child(answer_by_hand, server.port, count + _WARM) as child:
        child.hear()
        for number in range(count + _WARM):
            began = time.monotonic_ns()
            link.ask(*_add("b:there", number))
            after = link.read_one("b:back", after)
            took.append((time.monotonic_ns() - began) // 2)
    return spread(took[_WARM:])


def _rate_by_hand(server: RedisServer, count: int) -> float:
    link = _Socket(server.port)
    began = time.monotonic()
    for start in range(0, count, 256):
        batch = range(start, min(start + 256, count))
        link.send(b"".join(hiredis.pack_command(_add("b:rate", number)) for number in batch))
        for _ in batch:
            link.hear()
    return count / (time.monotonic() - began)


# -- ours -------------------------------------------------------------------------------------


async def _while(jobs: tuple[Job, ...], work: Coroutine[Any, Any, Any]) -> Any:  # noqa: ANN401
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(job()) for job in jobs]
        try:
            return await work
        finally:
            for task in running:
                task.cancel()


def answer(pipe: Connection, url: str, grouped: bool) -> None:
    """Child: as `answer_by_hand`, with the parts that agents use; until it is ended."""
    set_up_logs("error")
    uvloop.run(_answer(pipe, url, grouped=grouped))


async def _answer(pipe: Connection, url: str, *, grouped: bool) -> None:
    def where() -> Any:  # noqa: ANN401 -- an Address
        return parse(url)

    link = Link(where, "agent")

    def handle(entry: Entry) -> None:
        link.add_soon("b:from", entry.event_id, "agent", _DATA, length_max=1000)

    group = GroupReader(where, "b:ask", "g", "1", handle)
    tail = TailReader(where, handle)
    tail.follow("b:ask", "0-0")
    reader = group if grouped else tail

    async def stand_by() -> None:
        await link.up.wait()
        await reader.ready.wait()
        pipe.send("ready")
        await asyncio.Event().wait()

    await _while((link.run, reader.run), stand_by())


def _hops(server: RedisServer, count: int, *, grouped: bool) -> Spread | None:
    server.flush()
    return uvloop.run(_measure_hops(server.url, count, grouped=grouped))


async def _measure_hops(url: str, count: int, *, grouped: bool) -> Spread | None:
    def where() -> Any:  # noqa: ANN401 -- an Address
        return parse(url)

    link = Link(where, "node")
    owner = Owner(link, "b", "mark", lost=lambda _: None, alarm=lambda *_: None)
    owner.own("b:ask", "g")
    back = asyncio.Event()
    tail = TailReader(where, lambda _: back.set())
    tail.follow("b:from", "0-0")
    took: list[int] = []

    async def ask() -> None:
        await link.up.wait()
        await tail.ready.wait()
        with Child(answer, url, grouped) as child:
            await asyncio.to_thread(child.hear)
            for number in range(count + _WARM):
                back.clear()
                began = time.monotonic_ns()
                link.add_soon("b:ask", str(number), "node", _DATA, length_max=1000)
                await back.wait()
                took.append((time.monotonic_ns() - began) // 2)

    await _while((link.run, owner.run, tail.run), ask())
    return spread(took[_WARM:])


def _rate_single(server: RedisServer, count: int) -> float:
    async def add() -> float:
        link = Link(lambda: parse(server.url), "node")

        async def work() -> float:
            await link.up.wait()
            began = time.monotonic()
            for number in range(count):
                await link.add("b:single", str(number), "node", _DATA)
            return count / (time.monotonic() - began)

        return await _while((link.run,), work())

    return uvloop.run(add())


def _rate_batched(server: RedisServer, count: int) -> float:
    fact = ChecksDecided(
        signal_id="signal-1", account_id=AccountId("101-001-1000001-001"), passed=True,
        checks=tuple(f"C{n:02d}" for n in range(1, 21)), objections=(),
    )  # fmt: skip
    records = AuditChain("bench").link([fact] * count, ts=1, node="bench", epoch=1)

    async def write() -> float:
        bus = RedisBus(
            lambda: parse(server.url), node="n", mark="m", alarm=lambda *_: None, hours=24
        )
        bus.history._waiting_max = count  # noqa: SLF001 -- all at once, to see the rate

        async def work() -> float:
            await bus.link.up.wait()
            began = time.monotonic()
            for record in records:
                bus.publish(record, fact)
            while bus.history.written < count:  # noqa: ASYNC110 -- a benchmark may look
                await asyncio.sleep(0.001)
            return count / (time.monotonic() - began)

        return await _while((bus.run,), work())

    return uvloop.run(write())


# -- stops ------------------------------------------------------------------------------------


def close_when_told(pipe: Connection, url: str, folder: str) -> None:
    """Child: a node that closes its gate when another calls out a stop."""
    Path(folder).mkdir(exist_ok=True)
    set_up_logs("error")
    uvloop.run(_close_when_told(pipe, url, Path(folder)))


async def _close_when_told(pipe: Connection, url: str, folder: Path) -> None:
    gate = Gate(folder)
    line = StopLine(lambda: parse(url), node="n2", namespace="tso", alarm=lambda *_: None)

    def heard(_: bytes) -> None:
        gate.close()
        pipe.send(time.monotonic_ns())
        gate.reopen("")

    line.on_stop(heard)

    async def stand_by() -> None:
        await _ready(line)
        pipe.send("ready")
        await asyncio.Event().wait()

    await _while((line.run,), stand_by())


async def _ready(line: StopLine) -> None:
    while not line.ready:  # noqa: ASYNC110 -- before anything is measured
        await asyncio.sleep(0.01)


def _stops(server: RedisServer, folder: Path, count: int) -> Spread | None:
    async def call_out() -> Spread | None:
        line = StopLine(
            lambda: parse(server.url), node="n1", namespace="tso", alarm=lambda *_: None
        )
        took: list[int] = []

        async def work() -> None:
            await _ready(line)
            with Child(close_when_told, server.url, str(folder / "node")) as child:
                await asyncio.to_thread(child.hear)
                for _ in range(count):
                    began = time.monotonic_ns()
                    line.broadcast(b"{}")
                    took.append(await asyncio.to_thread(child.hear) - began)
                    await asyncio.sleep(0.002)

        await _while((line.run,), work())
        return spread(took)

    return uvloop.run(call_out())

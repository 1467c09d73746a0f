"""The paper venue at its full size: 50 accounts, 70 instruments, 500 ticks/s, and orders on top.

`python -m benchmarks.paper_venue [--quick]`, beside the rows of `python -m benchmarks`.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import json
import os
import sys
import time
from collections.abc import Callable
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe

import httptools
import uvloop

from benchmarks.children import Child, resident_mb
from benchmarks.figures import Row, Section, spread, table
from orchestrator.model.market import Tick
from orchestrator.model.money import AccountId, Currency, InstrumentName, Price
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.instruments import USUAL
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.server import Connection, Server

TOKEN = "benchmark"  # noqa: S105 -- of a venue that lives for seconds on loopback
ACCOUNTS = tuple(AccountId(f"101-001-1000001-{n:03d}") for n in range(1, 51))
INSTRUMENTS = 70
TICKS_A_SECOND = 500
CONNECTIONS = 8
_SLICE_S = 0.01
_MUST, _GOAL = 1000, 3000
_BALANCE = Decimal(1_000_000)
_BARE_BODY = b'{"orderFillTransaction":{"x":"%b"}}' % (b"y" * 1500)  # as long as an order's
_BARE_ANSWER = (
    b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\n"
    b"Content-Length: %d\r\n\r\n%b" % (len(_BARE_BODY), _BARE_BODY)
)
_HELD = 4  # instruments that each account has a trade and two resting orders in


def names() -> tuple[InstrumentName, ...]:
    """The venue's own instruments, and pairs of made-up currencies against the dollar."""
    letters = ("".join(pair) for pair in itertools.product("ABCDEFGH", repeat=2))
    made = (InstrumentName(f"X{two}_USD") for two in letters)
    return (*USUAL, *itertools.islice(made, INSTRUMENTS - len(USUAL)))


class _Ticker:
    """Each slice of time a few instruments move by a step, up and down in turn."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self._names = itertools.cycle(market.instruments)
        self._turn = 0
        for name in market.instruments:
            market.publish([self._tick(name)])

    def _tick(self, name: InstrumentName) -> Tick:
        self._turn += 1
        spec, now = self._market.spec(name), self._market.time.now()
        bid = Price(spec.round_price(Decimal(1) + spec.tick * (self._turn // INSTRUMENTS % 7)))
        ask = Price(bid + 2 * spec.tick)
        return Tick(instrument=name, bid=bid, ask=ask, venue_ns=now, seen_ns=now)

    async def run(self) -> None:
        """For ever, TICKS_A_SECOND of them."""
        began, told = time.monotonic(), 0
        while True:
            await asyncio.sleep(_SLICE_S)
            due = int((time.monotonic() - began) * TICKS_A_SECOND)
            self._market.publish([self._tick(next(self._names)) for _ in range(due - told)])
            told = due


def venue(pipe: Pipe) -> None:
    """The child: a whole venue on one core; tells its port, then its CPU time when asked."""
    uvloop.run(_venue(pipe))


async def _venue(pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    clock = VenueTime(time.time_ns(), 1.0, time.monotonic_ns)
    market = Market(ManualFeed(clock.now(), names()), clock, calendar="always")
    configs = [
        AccountConfig(account_id=each, currency=Currency("USD"), balance=_BALANCE)
        for each in ACCOUNTS
    ]
    open_accounts(market, configs, None)
    ticker, server = _Ticker(market), Server(market, TOKEN)
    listening = await loop.create_server(lambda: Connection(server), "127.0.0.1", 0)
    pipe.send(listening.sockets[0].getsockname()[1])
    async with asyncio.TaskGroup() as tasks:
        ticking = tasks.create_task(ticker.run())
        while await loop.run_in_executor(None, pipe.recv) != ("end",):
            pipe.send((time.process_time(), market.ticks, resident_mb()))
        ticking.cancel()
    listening.close()


class _Bare(asyncio.Protocol):
    """The floor: reads a whole request, and answers what it always answers."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self._parser.feed_data(data)

    def on_message_complete(self) -> None:
        self._transport.write(_BARE_ANSWER)


def floor(pipe: Pipe) -> None:
    """The child: a server that does nothing; tells its port, then its CPU time when asked."""
    uvloop.run(_floor(pipe))


async def _floor(pipe: Pipe) -> None:
    loop = asyncio.get_running_loop()
    listening = await loop.create_server(_Bare, "127.0.0.1", 0)
    pipe.send(listening.sockets[0].getsockname()[1])
    while await loop.run_in_executor(None, pipe.recv) != ("end",):
        pipe.send((time.process_time(), 0, resident_mb()))
    listening.close()


class _Load(asyncio.Protocol):
    """A keep-alive connection that asks again as soon as it was answered."""

    def __init__(self, ask: Callable[[], bytes], run: _Run) -> None:
        self._ask = ask
        self._run = run
        self._read = b""
        self._sent_ns = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def _send(self) -> None:
        if time.monotonic() < self._run.ends:
            self._sent_ns = time.monotonic_ns()
            self._transport.write(self._ask())
        else:
            self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if found and len(body) >= int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]):
            self._run.took.append(time.monotonic_ns() - self._sent_ns)
            good = head.startswith(b"HTTP/1.1 200") or b'"orderFillTransaction"' in body
            self._run.failed += not good
            self._read = b""
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._run.gone(exc)


class _Run:
    """A spell of one kind of request over several connections."""

    def __init__(self, seconds: float) -> None:
        self.ends = time.monotonic() + seconds
        self.took: list[int] = []
        self.failed = 0
        self._left = CONNECTIONS
        self.done = asyncio.Event()

    def gone(self, exc: Exception | None) -> None:
        self.failed += exc is not None
        self._left -= 1
        if not self._left:
            self.done.set()


def _request(method: str, path: str, body: object = None) -> bytes:
    data = json.dumps(body).encode() if body is not None else b""
    return (
        f"{method} /v3/accounts/{path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n"
    ).encode() + data


def _order(account: AccountId, name: InstrumentName, units: int, **fields: object) -> bytes:
    order = {"type": "MARKET", "instrument": name, "units": str(units)} | fields
    return _request("POST", f"{account}/orders", {"order": order})


def _kinds() -> dict[str, list[bytes]]:
    """Requests of each kind; a round of market orders opens and closes what it opened."""
    pairs = [(a, n) for a in ACCOUNTS for n in names()[-2:]]
    market = [_order(a, n, units) for a, n in pairs for units in (100, -100)]
    guarded = {"stopLossOnFill": {"distance": "0.05"}, "takeProfitOnFill": {"price": "1.5"}}
    protected = [
        request for a, n in pairs for request in (_order(a, n, 100, **guarded), _order(a, n, -100))
    ]
    reads = [_request("GET", f"{a}/summary") for a in ACCOUNTS]
    prices = [_request("GET", f"{a}/pricing?instruments=EUR_USD,USD_JPY") for a in ACCOUNTS]
    return {
        "market order, opened and closed": market,
        "market order with stop and target": protected,
        "account summary": reads,
        "prices of two instruments": prices,
    }


def _holdings() -> list[bytes]:
    """What every account has before the measuring: trades, and orders that rest."""
    asked: list[bytes] = []
    for number, account in enumerate(ACCOUNTS):
        for step in range(_HELD):
            name = names()[(number + step * 7) % (INSTRUMENTS - 2)]
            stop = {"stopLossOnFill": {"distance": "0.500"}}
            asked.append(_order(account, name, 1000, **stop))
            asked.append(_order(account, name, 1000, type="LIMIT", price="0.500"))
    return asked


async def _load(port: int, requests: list[bytes], seconds: float) -> _Run:
    """Each connection has accounts of its own, so that no order meets another's half."""
    run, loop = _Run(seconds), asyncio.get_running_loop()
    size = len(requests) // CONNECTIONS // 4 * 4
    for number in range(CONNECTIONS):
        turn = itertools.cycle(requests[number * size : (number + 1) * size])
        await loop.create_connection(lambda t=turn: _Load(t.__next__, run), "127.0.0.1", port)
    await run.done.wait()
    return run


def _per_request(child: Child, port: int, requests: list[bytes], seconds: float) -> float:
    """CPU seconds of the server for each request."""
    before, _, _ = child.ask("figures")
    run = uvloop.run(_load(port, requests, seconds))
    after, _, _ = child.ask("figures")
    return (after - before) / len(run.took)


def _row(
    child: Child, port: int, name: str, requests: list[bytes], seconds: float, bare: float
) -> Row:
    cpu_before, ticks_before, _ = child.ask("figures")
    began = time.monotonic()
    run = uvloop.run(_load(port, requests, seconds))
    took_s = time.monotonic() - began
    cpu, ticks, _ = child.ask("figures")
    if run.failed:
        raise RuntimeError(f"{name}: {run.failed} requests failed")
    rate, busy = len(run.took) / took_s, (cpu - cpu_before) / took_s
    return Row(
        name=f"{name}: {rate:,.0f}/s, {(ticks - ticks_before) / took_s:.0f} ticks/s beside",
        spread=spread(run.took),
        floor=f"x {(cpu - cpu_before) / len(run.took) / bare:.1f} of a bare server's CPU, "
        f"{rate / busy:,.0f}/s of a whole core",
        must=f"{_MUST:,}/s",
        must_met=rate / busy >= _MUST,
        goal=f"{_GOAL:,}/s",
        goal_met=rate / busy >= _GOAL,
    )


def run(quick: bool) -> Section:
    """Requests a second of a venue that has all its accounts, instruments and ticks."""
    seconds = 1.5 if quick else 5.0
    with Child(venue) as child:
        port = child.hear()
        holdings = _holdings()
        uvloop.run(_once(port, holdings))
        with Child(floor) as bare:
            least = _per_request(bare, bare.hear(), next(iter(_kinds().values())), seconds / 2)
            bare.pipe.send(("end",))
        rows = [_row(child, port, name, asked, seconds, least) for name, asked in _kinds().items()]
        cpu_before, ticks_before, _ = child.ask("figures")
        time.sleep(seconds)
        cpu, ticks, memory = child.ask("figures")
        child.pipe.send(("end",))
    idle = (cpu - cpu_before) / seconds
    told = (ticks - ticks_before) / seconds
    held = f"{len(ACCOUNTS)} accounts, {INSTRUMENTS} instruments, {len(holdings)} orders before"
    where = f"{CONNECTIONS} connections, {os.cpu_count()} cores"
    return Section(
        title=f"Paper venue at full size ({held}; {where})",
        rows=tuple(rows),
        notes=(
            f"{told:.0f} ticks/s alone take {idle:.0%} of a core; {memory:.0f} MB at the end",
            f"bare server (asyncio, httptools, a constant answer): {least * 1e6:.0f} us a request",
            "must and goal are of one core: requests for each second of the venue's own CPU time",
        ),
    )


async def _once(port: int, requests: list[bytes]) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    for request in requests:
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.partition(b"Content-Length: ")[2].split(b"\r\n")[0]))
        assert head.startswith(b"HTTP/1.1 201"), head
    writer.close()


if __name__ == "__main__":
    words = argparse.ArgumentParser(prog="python -m benchmarks.paper_venue", description=__doc__)
    words.add_argument("--quick", action="store_true", help="less than half the time")
    print(table([run(words.parse_args().quick)]))
    sys.exit(0)

"""An order over keep-alive, submit to done: our client and our venue, each beside a bare one.

`python -m benchmarks.order_path [orders]`. A bare client is a raw protocol on the same loop that
writes ready bytes and reads until the answer is whole; a bare server answers every request with the
same 201. The four pairs take turns in rounds, so that a slow spell of the machine hits all of them.
Beside the wall's time stands the processor's, which a busy machine disturbs less.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import statistics
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from decimal import Decimal
from multiprocessing.connection import Connection as Pipe
from typing import cast

import httptools
import msgspec
import uvloop

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.model.money import AccountId, Currency, InstrumentName
from orchestrator.model.orders import Answered, WriteKind, WriteOutcome, WriteRequest
from orchestrator.paper.clock import VenueTime
from orchestrator.paper.exchange.config import AccountConfig
from orchestrator.paper.feeds.manual import ManualFeed
from orchestrator.paper.main import open_accounts
from orchestrator.paper.market import Market
from orchestrator.paper.server import Connection, Server

ACCOUNT = AccountId("101-001-1000001-001")
TOKEN = "benchmark"  # noqa: S105 -- of a venue that lives for seconds on loopback
EUR_USD = InstrumentName("EUR_USD")


def _body(units: int) -> str:
    """Bought with its stop, as the house orders; then sold, so that nothing piles up."""
    stop = '"stopLossOnFill":{"price":"1.09000"},' if units > 0 else ""
    return (
        f'{{"order":{{"type":"MARKET","instrument":"EUR_USD","units":"{units}","timeInForce":"FOK",'
        f'"positionFill":"DEFAULT",{stop}"clientExtensions":{{"id":"i-1","tag":"1"}}}}}}'
    )


BODIES = (_body(1000), _body(-1000))
ANSWER = (
    b'{"orderCreateTransaction":{"id":"10","type":"MARKET_ORDER","accountID":"101-001-1000001-001",'
    b'"time":"2014-05-08T12:00:00.000000000Z","batchID":"10","instrument":"EUR_USD","units":"1000",'
    b'"clientExtensions":{"id":"i-1"}},"orderFillTransaction":{"id":"11","type":"ORDER_FILL",'
    b'"accountID":"101-001-1000001-001","time":"2014-05-08T12:00:00.000000000Z","orderID":"10",'
    b'"instrument":"EUR_USD","units":"1000","price":"1.10010","pl":"0.0000",'
    b'"accountBalance":"100000.0000","tradeOpened":{"tradeID":"11","units":"1000"}},'
    b'"relatedTransactionIDs":["10","11"],"lastTransactionID":"11"}'
)
SAID = b"HTTP/1.1 201 Created\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%b" % (
    len(ANSWER),
    ANSWER,
)
ROUNDS = 5


class Bare(asyncio.Protocol):
    """A server that answers each request; httptools finds where one ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(SAID)


def _ours() -> Callable[[], asyncio.Protocol]:
    time_ = VenueTime(time.time_ns(), 1.0, time.monotonic_ns)
    market = Market(ManualFeed(time_.now(), (EUR_USD,)), time_, calendar="always")
    home = Currency("USD")
    config = AccountConfig(account_id=ACCOUNT, currency=home, balance=Decimal(10_000_000))
    open_accounts(market, [config], None)
    market.put_price(EUR_USD, Decimal("1.10000"), Decimal("1.10001"))
    server = Server(market, TOKEN)
    return lambda: Connection(server)


def serve(told: Pipe, kind: str) -> None:
    """A child's work."""

    async def run() -> None:
        make = Bare if kind == "bare" else _ours()
        server = await asyncio.get_running_loop().create_server(make, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


@contextmanager
def server(kind: str) -> Iterator[int]:
    """Its port, while it lives."""
    ours, theirs = multiprocessing.Pipe()
    spawn = multiprocessing.get_context("spawn")
    child = spawn.Process(target=serve, args=(theirs, kind), daemon=True)
    child.start()
    try:
        yield ours.recv()
    finally:
        child.terminate()
        child.join()


class Took(msgspec.Struct):
    """Nanoseconds of each order, and the processor's microseconds for one."""

    whole: list[int] = msgspec.field(default_factory=list[int])
    first_byte: list[int] = msgspec.field(default_factory=list[int])
    cpu_us: list[float] = msgspec.field(default_factory=list[float])


class RawClient(asyncio.Protocol):
    """Writes ready bytes; an answer is whole when its length is there."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self._left = -1

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)

    def data_received(self, data: bytes) -> None:
        if self._left < 0:
            head, _, body = data.partition(b"\r\n\r\n")
            start = head.index(b"Content-Length: ") + 16
            self._left = int(head[start:].split(b"\r", 1)[0]) - len(body)
        else:
            self._left -= len(data)
        if self._left == 0:
            self._left = -1
            self.answered.set()


async def bare_round(port: int, orders: int, took: Took) -> None:
    head = (
        f"POST /v3/accounts/{ACCOUNT}/orders HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {TOKEN}"
    )
    requests = [
        f"{head}\r\nContent-Type: application/json\r\nContent-Length: {len(b)}\r\n\r\n{b}".encode()
        for b in BODIES
    ]
    loop = asyncio.get_running_loop()
    _, client = await loop.create_connection(RawClient, "127.0.0.1", port)
    cpu = time.process_time_ns()
    for number in range(orders):
        client.answered.clear()
        started = time.perf_counter_ns()
        client.transport.write(requests[number % 2])
        await client.answered.wait()
        took.whole.append(time.perf_counter_ns() - started)
    took.cpu_us.append((time.process_time_ns() - cpu) / orders / 1000)
    client.transport.close()


async def client_round(port: int, orders: int, took: Took) -> None:
    """Submit to done, and submit to first byte."""
    url = f"http://127.0.0.1:{port}"
    venue = OandaVenue(
        [ACCOUNT], TOKEN, rest_url=url, stream_url=url, now=time.perf_counter_ns,
        mono=time.perf_counter_ns, dice=random.Random(1).random,
        limits=ClientLimits(requests_per_s=1e9, request_burst=1e9),
    )  # fmt: skip
    requests = [
        WriteRequest(kind=WriteKind.ORDER, account_id=ACCOUNT, body=b, client_request_id="i-1")
        for b in BODIES
    ]
    ended, started = asyncio.Event(), 0

    def done(outcome: WriteOutcome, first_byte_ns: int) -> None:
        assert isinstance(outcome, Answered), outcome
        took.whole.append(time.perf_counter_ns() - started)
        took.first_byte.append(first_byte_ns - started)
        ended.set()

    async def order(number: int) -> None:
        nonlocal started
        ended.clear()
        started = time.perf_counter_ns()
        venue.submit(requests[number % 2], lambda: None, done)
        await ended.wait()

    for number in range(2):  # connects
        await order(number)
    del took.whole[-2:], took.first_byte[-2:]
    cpu = time.process_time_ns()
    for number in range(orders):
        await order(number)
    took.cpu_us.append((time.process_time_ns() - cpu) / orders / 1000)
    await venue.close()


def quantiles(values: list[int]) -> str:
    cuts = statistics.quantiles(values, n=1000)
    p50, p99, p999 = (cuts[at] / 1000 for at in (499, 989, 998))
    return f"n {len(values):>6}  p50 {p50:7.1f}  p99 {p99:8.1f}  p99.9 {p999:8.1f} us"


PAIRS = {
    "bare client, bare server": (bare_round, "bare"),
    "our client, bare server": (client_round, "bare"),
    "bare client, our venue": (bare_round, "ours"),
    "our client, our venue": (client_round, "ours"),
}


def main(orders: int = 2000) -> None:
    found = {name: Took() for name in PAIRS}
    with server("bare") as bare, server("ours") as ours:
        ports = {"bare": bare, "ours": ours}
        for _ in range(ROUNDS):
            for name, (play, kind) in PAIRS.items():
                uvloop.run(play(ports[kind], orders, found[name]))
    floor = found["bare client, bare server"]
    base = statistics.median(floor.whole)
    for name, took in found.items():
        times = statistics.median(took.whole) / base
        cpu = min(took.cpu_us)
        print(f"{name:26}{quantiles(took.whole)}  x {times:4.1f}  cpu of the client {cpu:5.1f} us")
        if took.first_byte:
            print(f"{'  submit to first byte':26}{quantiles(took.first_byte)}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

"""An order through the client, submit to done, beside a bare raw-socket client in the same run.

`python -m benchmarks.order_path [orders]`. The server is a process of its own that answers every
request with the same 201. Rounds of the two alternate, so a slow spell of the machine hits both.
"""

from __future__ import annotations

import asyncio
import multiprocessing
import random
import socket
import statistics
import sys
import time
from multiprocessing.connection import Connection
from typing import cast

import httptools
import uvloop

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.model.money import AccountId
from orchestrator.model.orders import Answered, WriteKind, WriteOutcome, WriteRequest

ACCOUNT = AccountId("101-001-1000001-001")
BODY = (
    '{"order":{"type":"MARKET","instrument":"EUR_USD","units":"1000","timeInForce":"FOK",'
    '"positionFill":"DEFAULT","priceBound":"1.10100","stopLossOnFill":{"price":"1.09000"},'
    '"clientExtensions":{"id":"i-1","tag":"1"}}}'
)
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


class Server(asyncio.Protocol):
    """Answers each request; httptools finds where one ends."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast("asyncio.WriteTransport", transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(SAID)


def serve(told: Connection) -> None:
    async def run() -> None:
        server = await asyncio.get_running_loop().create_server(Server, "127.0.0.1", 0)
        told.send(server.sockets[0].getsockname()[1])
        await server.serve_forever()

    uvloop.run(run())


def raw_round(port: int, orders: int) -> list[int]:
    """A blocking socket that writes the same request and reads until the answer is whole."""
    request = (
        f"POST /v3/accounts/{ACCOUNT}/orders HTTP/1.1\r\nHost: 127.0.0.1\r\n"
        f"Content-Length: {len(BODY)}\r\n\r\n{BODY}"
    ).encode()
    took: list[int] = []
    with socket.create_connection(("127.0.0.1", port)) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for _ in range(orders):
            started = time.perf_counter_ns()
            sock.sendall(request)
            left = len(SAID)
            while left:
                left -= len(sock.recv(65536))
            took.append(time.perf_counter_ns() - started)
    return took


async def client_round(port: int, orders: int) -> tuple[list[int], list[int]]:
    """Nanoseconds submit -> done, and submit -> first byte."""
    url = f"http://127.0.0.1:{port}"
    venue = OandaVenue(
        [ACCOUNT],
        "token",
        rest_url=url,
        stream_url=url,
        now=time.perf_counter_ns,
        mono=time.perf_counter_ns,
        dice=random.Random(1).random,
        limits=ClientLimits(requests_per_s=1e9, request_burst=1e9),
    )
    request = WriteRequest(
        kind=WriteKind.ORDER, account_id=ACCOUNT, body=BODY, client_request_id="i-1"
    )
    whole: list[int] = []
    first_byte: list[int] = []
    ended = asyncio.Event()

    def done(outcome: WriteOutcome, first_byte_ns: int) -> None:
        assert isinstance(outcome, Answered), outcome
        whole.append(time.perf_counter_ns() - started)
        first_byte.append(first_byte_ns - started)
        ended.set()

    for _ in range(orders):
        ended.clear()
        started = time.perf_counter_ns()
        venue.submit(request, lambda: None, done)
        await ended.wait()
    await venue.close()
    return whole[1:], first_byte[1:]  # the first one connected


def quantiles(values: list[int]) -> str:
    cuts = statistics.quantiles(values, n=1000)
    p50, p99, p999 = (cuts[at] / 1000 for at in (499, 989, 998))
    return f"n {len(values):>6}  p50 {p50:8.1f}  p99 {p99:8.1f}  p99.9 {p999:8.1f} µs"


def main(orders: int = 2000) -> None:
    ours, theirs = multiprocessing.Pipe()
    server = multiprocessing.get_context("spawn").Process(target=serve, args=(theirs,), daemon=True)
    server.start()
    port = ours.recv()
    raw: list[int] = []
    whole: list[int] = []
    first_byte: list[int] = []
    raw_round(port, 200)
    for _ in range(ROUNDS):
        raw += raw_round(port, orders)
        one_whole, one_first = uvloop.run(client_round(port, orders))
        whole += one_whole
        first_byte += one_first
    server.terminate()
    print(f"raw socket, request -> answer    {quantiles(raw)}")
    print(f"client, submit -> done           {quantiles(whole)}")
    print(f"client, submit -> first byte     {quantiles(first_byte)}")
    print(f"client / raw, p50: {statistics.median(whole) / statistics.median(raw):.2f}")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:2]))

"""A small HTTP server that does what a test tells it, and remembers what it was sent."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec

from orchestrator.adapters.oanda.client import ClientLimits, OandaVenue
from orchestrator.model.money import AccountId
from orchestrator.model.orders import WriteKind, WriteOutcome, WriteRequest

ACCOUNT = AccountId("101-001-1000001-001")
OTHER = AccountId("101-001-1000001-002")
TOKEN = "a-token"


class Request:
    def __init__(self, head: bytes, body: bytes) -> None:
        first, *lines = head.decode().split("\r\n")
        self.method, self.path, _ = first.split(" ")
        self.headers = {k.lower(): v for k, v in (line.split(": ", 1) for line in lines)}
        self.body = body

    @property
    def line(self) -> str:
        return f"{self.method} {self.path}"


class Peer:
    """The server's end of one connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> Request:
        head = (await self.reader.readuntil(b"\r\n\r\n"))[:-4]
        found = [x for x in head.lower().split(b"\r\n") if x.startswith(b"content-length:")]
        size = int(found[0].split(b":")[1]) if found else 0
        return Request(head, await self.reader.readexactly(size))

    async def say(self, data: bytes) -> None:
        self.writer.write(data)
        await self.writer.drain()

    def hang_up(self) -> None:
        """At once, not in the loop's next round."""
        self.writer.get_extra_info("socket").shutdown(socket.SHUT_RDWR)

    def reset(self) -> None:
        sock = self.writer.get_extra_info("socket")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.writer.transport.abort()


Answering = Callable[[Peer, Request], Awaitable[None]]


class Script:
    """The server. `answer` is asked for each request; `requests` is everything that arrived."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.peers: list[Peer] = []
        self.answer: Answering = say_filled
        self.greet: Callable[[Peer], Awaitable[bool]] | None = None
        self.url = ""
        self._tasks: set[asyncio.Task] = set()
        self.connected = asyncio.Event()
        self.heard = asyncio.Event()

    @property
    def lines(self) -> list[str]:
        return [request.line for request in self.requests]

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._tasks.add(asyncio.current_task())
        peer = Peer(reader, writer)
        self.peers.append(peer)
        self.connected.set()
        try:
            if self.greet is not None and not await self.greet(peer):
                return
            while True:
                request = await peer.request()
                self.requests.append(request)
                self.heard.set()
                await self.answer(peer, request)
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass
        finally:
            writer.close()

    async def stop(self) -> None:
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)


def answer(status: int, body: object, headers: str = "", reason: str = "X") -> bytes:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    head = f"HTTP/1.1 {status} {reason}\r\nContent-Length: {len(raw)}\r\n{headers}\r\n"
    return head.encode() + raw


def filled(request: Request, first: int = 10) -> dict:
    order_id = request.headers.get("clientrequestid", "")
    create = {
        "id": str(first), "type": "MARKET_ORDER", "accountID": request.path.split("/")[3],
        "batchID": str(first), "time": "2014-05-08T12:00:00.000000000Z",
        "instrument": "EUR_USD", "units": "100", "clientExtensions": {"id": order_id},
    }  # fmt: skip
    fill = {**create, "id": str(first + 1), "type": "ORDER_FILL", "orderID": str(first)}
    return {
        "orderFillTransaction": fill,
        "orderCreateTransaction": create,
        "relatedTransactionIDs": [str(first), str(first + 1)],
        "lastTransactionID": str(first + 1),
    }


async def say_filled(peer: Peer, request: Request) -> None:
    await peer.say(answer(201, filled(request)))


def saying(*chunks: bytes) -> Answering:
    """The same bytes for each request; each chunk is its own write."""

    async def say(peer: Peer, request: Request) -> None:
        del request
        for chunk in chunks:
            await peer.say(chunk)

    return say


@asynccontextmanager
async def serving(script: Script, tls: ssl.SSLContext | None = None) -> AsyncIterator[Script]:
    server = await asyncio.start_server(script.serve, "127.0.0.1", 0, ssl=tls, limit=2**24)
    port = server.sockets[0].getsockname()[1]
    script.url = f"{'https' if tls else 'http'}://127.0.0.1:{port}"
    try:
        yield script
    finally:
        server.close()
        await script.stop()


class Outcomes:
    """Collects what `done` was told, per request."""

    def __init__(self) -> None:
        self.all: list[tuple[str, WriteOutcome, int]] = []
        self._more = asyncio.Event()

    def done(self, name: str = "") -> Callable[[WriteOutcome, int], None]:
        def tell(outcome: WriteOutcome, first_byte_ns: int) -> None:
            self.all.append((name, outcome, first_byte_ns))
            self._more.set()

        return tell

    async def wait(self, count: int = 1) -> list[WriteOutcome]:
        async with asyncio.timeout(60):
            while len(self.all) < count:
                self._more.clear()
                await self._more.wait()
        return [outcome for _, outcome, _ in self.all]

    @property
    def names(self) -> list[str]:
        return [name for name, _, _ in self.all]


def mono_ns() -> int:
    """The machine's monotonic clock, as the loop tells it."""
    return round(asyncio.get_running_loop().time() * 1e9)


def market_ns() -> int:
    return 1_400_000_000_000_000_000 + mono_ns()


async def until(true: Callable[[], bool]) -> None:
    """Wait for something that another task brings about."""
    async with asyncio.timeout(60):
        while not true():  # noqa: ASYNC110 - conditions of all kinds, no event to wait for
            await asyncio.sleep(0.001)


# Patient with a busy machine; a test of silence says that it is in a hurry.
QUICK = ClientLimits(
    backoff_first_s=0.01, backoff_most_s=0.05, read_total_s=10.0, requests_per_s=0.0
)
IN_A_HURRY = msgspec.structs.replace(QUICK, answer_s=0.2, stream_silence_s=0.2)


@asynccontextmanager
async def venue_at(
    url: str,
    limits: ClientLimits = QUICK,
    accounts: tuple[AccountId, ...] = (ACCOUNT, OTHER),
    stream_url: str | None = None,
    **more,
) -> AsyncIterator[OandaVenue]:
    venue = OandaVenue(
        accounts, TOKEN, rest_url=url, stream_url=stream_url or url, now=market_ns, mono=mono_ns,
        dice=random.Random(1).random, limits=limits, **more,
    )  # fmt: skip
    try:
        yield venue
    finally:
        await venue.close()


def order(name: str = "i-1", account: AccountId = ACCOUNT) -> WriteRequest:
    body = json.dumps({"order": {"units": "100", "clientExtensions": {"id": name}}})
    return WriteRequest(kind=WriteKind.ORDER, account_id=account, body=body, client_request_id=name)


def cancel(target: str = "7", account: AccountId = ACCOUNT) -> WriteRequest:
    return WriteRequest(kind=WriteKind.CANCEL, account_id=account, target=target)


def open_gate() -> None:
    return None


async def send(venue: OandaVenue, request: WriteRequest | None = None) -> WriteOutcome:
    outcomes = Outcomes()
    venue.submit(request or order(), open_gate, outcomes.done())
    return (await outcomes.wait())[0]


async def warm(venue: OandaVenue, connections: int = 4) -> None:
    """Connect the lanes, and wait until the client knows it."""
    venue.warm_up()
    await until(lambda: venue.stats.connects >= connections)

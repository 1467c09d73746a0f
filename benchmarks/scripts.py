"""The floors: bare scripts that read a tick and post an order, and check nothing.

`raw` is uvloop, two protocols and msgspec; `raw+full` and `raw+normal` write the intent durably
before the order, as we must; `aiohttp` is what a careful user writes.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import closing
from multiprocessing.connection import Connection
from pathlib import Path
from typing import cast

import msgspec
import uvloop

from benchmarks.venue import EUR_USD, SCRIPT, TOKEN, TRIGGER

_TRIGGER = str(TRIGGER)
_STREAM = f"/v3/accounts/{SCRIPT}/pricing/stream?instruments={EUR_USD}"
_ORDERS = f"/v3/accounts/{SCRIPT}/orders"
_LIFE_S = 600.0


class _Level(msgspec.Struct):
    price: str


class _Price(msgspec.Struct):
    time: str
    bids: list[_Level]


_read = msgspec.json.Decoder(_Price).decode


def order_name(time_text: str) -> str:
    """The client id of the order that answers a tick."""
    return f"raw-{time_text}"


def order_body(name: str) -> bytes:
    """A market order with this client id."""
    return (
        '{"order":{"type":"MARKET","instrument":"EUR_USD","units":"1000","timeInForce":"FOK",'
        f'"positionFill":"DEFAULT","clientExtensions":{{"id":"{name}"}}}}}}'
    ).encode()


def journal(path: Path, sync: str) -> Callable[[bytes], None]:
    """A durable insert into SQLite, as FLOORS measured it: WAL, checkpoints left to the end."""
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute(f"PRAGMA synchronous={sync}")
    db.execute("PRAGMA wal_autocheckpoint=0")
    db.execute("CREATE TABLE intent (body BLOB)")

    def write(body: bytes) -> None:
        db.execute("BEGIN IMMEDIATE")
        db.execute("INSERT INTO intent VALUES (?)", (body,))
        db.execute("COMMIT")

    return write


class Orders(asyncio.Protocol):
    """A connection for orders; what the venue answers is not even read."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._write = cast("asyncio.WriteTransport", transport).write
        self._head = (
            f"POST {_ORDERS} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n"
            "Content-Type: application/json\r\nContent-Length: "
        ).encode()

    def send(self, body: bytes) -> None:
        self._write(b"%b%d\r\n\r\n%b" % (self._head, len(body), body))


class _Ticks(asyncio.Protocol):
    """The price stream: lines out of chunks, an order for each trigger."""

    def __init__(self, orders: Orders, journal: Callable[[bytes], None] | None) -> None:
        self._orders = orders
        self._journal = journal
        self._rest = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        cast("asyncio.WriteTransport", transport).write(
            f"GET {_STREAM} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {TOKEN}\r\n\r\n"
            .encode()
        )  # fmt: skip

    def data_received(self, data: bytes) -> None:
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(b'{"type":"PRICE"'):
                continue
            price = _read(line)
            if price.bids[0].price == _TRIGGER:
                body = order_body(order_name(price.time))
                if self._journal is not None:
                    self._journal(body)
                self._orders.send(body)


def raw(pipe: Connection, port: int, folder: str, sync: str) -> None:
    """Child: runs until it is ended. `sync`: "", "full" or "normal"."""
    uvloop.run(_raw(pipe, port, journal(Path(folder) / "raw.db", sync) if sync else None))


async def _raw(pipe: Connection, port: int, journal: Callable[[bytes], None] | None) -> None:
    loop = asyncio.get_running_loop()
    _, orders = await loop.create_connection(Orders, "127.0.0.1", port)
    await loop.create_connection(lambda: _Ticks(orders, journal), "127.0.0.1", port)
    await _until_ended(pipe)


def aiohttp(pipe: Connection, port: int, folder: str, sync: str) -> None:
    """Child: the same with aiohttp's client, where it is installed."""
    del folder, sync
    uvloop.run(_aiohttp(pipe, port))


async def _aiohttp(pipe: Connection, port: int) -> None:
    from aiohttp import ClientSession  # noqa: PLC0415 -- optional, and only of this child

    headers = {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"}
    base = f"http://127.0.0.1:{port}"
    loop = asyncio.get_running_loop()
    async with ClientSession(base, headers=headers) as session:

        async def work() -> None:
            async with session.get(_STREAM) as stream:
                async for line in stream.content:
                    if not line.startswith(b'{"type":"PRICE"'):
                        continue
                    price = _read(line)
                    if price.bids[0].price == _TRIGGER:
                        body = order_body(order_name(price.time))
                        async with session.post(_ORDERS, data=body) as answer:
                            await answer.read()

        working = loop.create_task(work())
        await _until_ended(pipe)
        working.cancel()


async def _until_ended(pipe: Connection) -> None:
    """Says "ready", and lives until the pipe's other end closes, or for ten minutes."""
    ended = asyncio.Event()
    pipe.send("ready")
    asyncio.get_running_loop().add_reader(pipe.fileno(), ended.set)
    with closing(pipe):
        await asyncio.wait_for(ended.wait(), _LIFE_S)
        asyncio.get_running_loop().remove_reader(pipe.fileno())

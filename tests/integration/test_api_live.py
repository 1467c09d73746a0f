"""The API behind a real server on a real port: live events, heartbeats, and who is cut off."""

import asyncio
import json
from contextlib import asynccontextmanager

import pytest
import uvicorn
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from tests.unit.service.api.fake_desk import TOKEN, FakeDesk, api_of, record

BEAT_S = 0.2
HANDSHAKE = (
    "GET /ws HTTP/1.1\r\nHost: h\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
    f"Authorization: Bearer {TOKEN}\r\n\r\n"
)


async def until(holds):
    """Something outside of this test's hands has come about; TimeoutError after a minute."""
    async with asyncio.timeout(60):
        while not holds():  # noqa: ASYNC110 -- a server's state has no event to wait for
            await asyncio.sleep(0.01)


@asynccontextmanager
async def serving(desk):
    """The address of a server that runs meanwhile."""
    config = uvicorn.Config(
        api_of(desk, beat_s=BEAT_S), port=0, log_config=None, lifespan="off", ws="websockets-sansio"
    )
    server = uvicorn.Server(config)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(server.serve())
        await until(lambda: server.started)
        port = server.servers[0].sockets[0].getsockname()[1]
        try:
            yield f"127.0.0.1:{port}"
        finally:
            server.should_exit = True


@pytest.fixture
def desk():
    return FakeDesk(asyncio.Event)


def with_token(address, path="/ws", **more):
    headers = {"Authorization": f"Bearer {TOKEN}"}
    return connect(f"ws://{address}{path}", additional_headers=headers, **more)


async def hear(socket):
    """The next event; heartbeats are passed over."""
    async with asyncio.timeout(60):
        while True:
            found = json.loads(await socket.recv())
            if found["type"] != "heartbeat":
                return found


async def test_a_listener_hears_what_happens_from_its_first_heartbeat_on(desk):
    async with serving(desk) as address, with_token(address) as socket:
        first = json.loads(await socket.recv())
        assert first["type"] == "heartbeat"
        assert first["ts"].endswith("Z")
        desk.publish(record(101))
        desk.publish(record(102))
        assert [(await hear(socket))["seq"], (await hear(socket))["seq"]] == [101, 102]


async def test_only_the_types_that_were_asked_for_are_heard(desk):
    path = "/ws?types=stop.raised,stop.step"
    async with serving(desk) as address, with_token(address, path) as socket:
        await socket.recv()
        desk.publish(record(101))
        desk.publish(record(102, "stop.raised", "system"))
        event = await hear(socket)
    assert (event["seq"], event["type"], event["subject"]) == (102, "stop.raised", "system")


async def test_heartbeats_come_by_themselves(desk):
    async with serving(desk) as address, with_token(address) as socket, asyncio.timeout(60):
        for _ in range(3):
            assert json.loads(await socket.recv())["type"] == "heartbeat"


@pytest.mark.parametrize("first", [TOKEN, json.dumps({"token": TOKEN})], ids=["plain", "json"])
async def test_the_token_may_be_the_first_message(desk, first):
    async with serving(desk) as address, connect(f"ws://{address}/ws") as socket:
        assert desk.listeners == []
        await socket.send(first)
        assert json.loads(await socket.recv())["type"] == "heartbeat"
        assert len(desk.listeners) == 1


async def test_the_token_may_stand_in_the_address_and_then_in_no_log(desk, caplog):
    caplog.set_level("INFO")
    async with serving(desk) as address, connect(f"ws://{address}/ws?token={TOKEN}") as socket:
        assert json.loads(await socket.recv())["type"] == "heartbeat"
    lines = [line for line in caplog.messages if "WebSocket" in line]
    assert lines
    assert not [line for line in lines if TOKEN in line]


@pytest.mark.parametrize("first", ["guessed", "{", '{"token": 7}', "", "[" * 5000, b"\xff"])
async def test_a_wrong_first_message_ends_it(desk, first):
    async with serving(desk) as address, connect(f"ws://{address}/ws") as socket:
        await socket.send(first)
        with pytest.raises(ConnectionClosed) as end:
            await socket.recv()
    assert end.value.rcvd.code == 1008
    assert desk.listeners == []


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/ws", {"Authorization": "Bearer guessed"}, 401),
        ("/ws?token=guessed", {}, 401),
        ("/ws", {"Authorization": f"Bearer {TOKEN}", "Origin": "http://elsewhere.example"}, 403),
        ("/other", {"Authorization": f"Bearer {TOKEN}"}, 404),
        ("/ws?types=" + "a," * 60 + "b" * 70, {"Authorization": f"Bearer {TOKEN}"}, 422),
    ],
)
async def test_who_may_not_listen_is_told_by_a_problem(desk, path, headers, status):
    async with serving(desk) as address:
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"ws://{address}{path}", additional_headers=headers):
                pass
    assert refused.value.response.status_code == status
    assert json.loads(refused.value.response.body)["status"] == status


async def test_while_nothing_is_built_nobody_listens():
    async with serving(None) as address:
        with pytest.raises(InvalidStatus) as refused:
            async with with_token(address):
                pass
    assert refused.value.response.status_code == 503


async def test_a_listener_whom_the_bus_cut_off_is_closed_with_1013(desk):
    async with serving(desk) as address, with_token(address) as socket:
        await socket.recv()
        desk.publish(record(101))
        desk.cut_listeners()
        assert (await hear(socket))["seq"] == 101
        with pytest.raises(ConnectionClosed) as end:
            await hear(socket)
    assert end.value.rcvd.code == 1013
    assert desk.listeners == []


async def test_a_listener_that_leaves_frees_its_place(desk):
    async with serving(desk) as address:
        for _ in range(15):  # more than one client may hold at a time
            async with with_token(address) as socket:
                await socket.recv()
        await until(lambda: not desk.listeners)


async def test_a_client_holds_ten_sockets_and_no_more(desk):
    async with serving(desk) as address:
        held = []
        for _ in range(10):
            socket = await with_token(address)
            await socket.recv()
            held.append(socket)
        with pytest.raises(InvalidStatus) as refused:
            async with with_token(address):
                pass
        assert refused.value.response.status_code == 429
        for socket in held:
            await socket.close()


async def test_a_listener_that_reads_nothing_is_cut_off_and_costs_nobody_else(desk, monkeypatch):
    monkeypatch.setattr("orchestrator.service.api.live._SEND_S", 0.3)
    monkeypatch.setattr("orchestrator.service.api.live._CLOSE_S", 0.1)
    async with serving(desk) as address, with_token(address) as quick:
        await quick.recv()
        reader, slow = await asyncio.open_connection(*address.split(":"), limit=1024)
        slow.write(HANDSHAKE.encode())
        assert b" 101 " in await reader.readline()  # and nothing is ever read after this
        await until(lambda: len(desk.listeners) == 2)
        for number in range(20_000):
            desk.publish(record(number + 1))
        last = 0
        while last < 20_000:
            last = (await hear(quick))["seq"]
        await until(lambda: len(desk.listeners) == 1)
        slow.transport.abort()
        await asyncio.sleep(0)

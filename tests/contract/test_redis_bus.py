"""The bus over a real Redis: history, live views, stops, and every trouble a broker can have."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from orchestrator.adapters.bus.redis.address import parse
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.bus import RedisBus
from orchestrator.adapters.bus.redis.dialer import meet
from orchestrator.adapters.bus.redis.stops import StopLine
from orchestrator.model.errors import BusError
from orchestrator.model.journal import from_line
from orchestrator.service.gate import Gate, Latch
from orchestrator.service.stop_calls import StopCalls
from tests.servers.redis import RedisServer, free_port
from tests.servers.waiting import at_work, until
from tests.unit.adapters.store import samples

FACTS = [samples.note(str(number)) for number in range(300)]
ENTRIES = list(zip(samples.chained(FACTS), FACTS, strict=True))
OTHER = b"another-node\n"


class Told:
    """A bus, and what it told a person."""

    def __init__(self, url: str, node: str = "n1", **how: Any) -> None:
        self.alarms: list[tuple[str, str]] = []
        self.url = url
        self.bus = RedisBus(
            lambda: parse(self.url), node=node, mark=f"mark-{node}",
            alarm=lambda title, text: self.alarms.append((title, text)), **{"hours": 1} | how,
        )  # fmt: skip

    async def up(self) -> None:
        await until(lambda: self.bus.link.connected)


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


def written(server: RedisServer) -> list[int]:
    """Sequence numbers of the records in the history, in its order."""
    found = server.ask("XRANGE", "tso:history", "-", "+")
    return [from_line(fields[1]).seq for _, fields in found]


async def test_the_history_holds_every_record_in_order(server):
    told = Told(server.url)
    async with at_work(told.bus.run):
        await told.up()
        for entry in ENTRIES:
            told.bus.publish(*entry)
        await until(lambda: told.bus.history.written == 300)
    assert written(server) == list(range(1, 301))
    assert not told.bus.history.lost


async def test_what_was_published_while_the_broker_was_away_follows_when_it_is_back(tmp_path):
    server = RedisServer(tmp_path / "redis")
    told = Told(server.url)
    async with at_work(told.bus.run):
        for entry in ENTRIES:
            told.bus.publish(*entry)
        with server:
            await until(lambda: told.bus.history.written == 300)
            assert written(server) == list(range(1, 301))


async def test_the_end_of_a_life_waits_for_its_last_records(server):
    told = Told(server.url)
    async with at_work(told.bus.run):
        await told.up()
        for entry in ENTRIES:
            told.bus.publish(*entry)
    assert written(server) == list(range(1, 301))


async def test_too_much_waiting_gives_way_is_counted_and_told_once():
    told = Told(f"redis://127.0.0.1:{free_port()}")
    told.bus.history._waiting_max = 100
    async with at_work(told.bus.run):
        for entry in ENTRIES:
            told.bus.publish(*entry)
        assert told.bus.history.lost == {"overflow": 200}
    assert len(told.alarms) == 1
    assert "hole" in told.alarms[0][0]


async def test_the_history_forgets_what_is_older_than_its_hours(server):
    told = Told(server.url, hours=1)
    old_ms = int(server.ask("TIME")[0]) * 1000 - 3 * 3_600_000
    for number in range(200):
        server.ask("XADD", "tso:history", f"{old_ms}-{number}", "r", "old")
    async with at_work(told.bus.run):
        await told.up()
        for entry in ENTRIES[:150]:
            told.bus.publish(*entry)
            await asyncio.sleep(0)
        await until(lambda: told.bus.history.written == 150)
        # Whole blocks of a hundred are cut off, which is what makes it cheap.
        told.bus.publish(*ENTRIES[150])
        await until(lambda: told.bus.history.written == 151)
        await until(lambda: server.ask("XLEN", "tso:history") < 300)


async def test_whoever_subscribes_hears_the_records_live(server):
    leader, heard = Told(server.url), list[bytes]()
    ear = Subscriber(
        lambda: parse(server.url), lambda _, data: heard.append(data), channels=("tso:live",)
    )
    async with at_work(leader.bus.run, ear.run):
        await leader.up()
        await until(ear.ready.is_set)
        # Whether anybody listens is tried once a second: the first ones may be missed.
        while not heard:
            leader.bus.publish(*ENTRIES[0])
            await asyncio.sleep(0.05)
        leader.bus.publish(*ENTRIES[1])
        await until(lambda: from_line(heard[-1].splitlines()[-1]) == ENTRIES[1][0])
    node, *lines = heard[0].splitlines()
    assert node == b"n1"
    assert from_line(lines[0]) == ENTRIES[0][0]


def line(url: str, node: str, told: list[Any]) -> StopLine:
    return StopLine(
        lambda: parse(url), node=node, namespace="tso", alarm=lambda *words: told.append(words)
    )


async def test_a_stop_is_heard_by_every_other_node_and_not_by_its_own(server):
    heard: list[tuple[str, bytes]] = []
    one, two = line(server.url, "n1", []), line(server.url, "n2", [])
    one.on_stop(lambda data: heard.append(("one", data)))
    two.on_stop(lambda data: heard.append(("two", data)))
    async with at_work(one.run, two.run):
        await until(lambda: one.ready and two.ready)
        one.broadcast(b"stop!")
        await until(lambda: heard)
        two.broadcast(b"mine")
        await until(lambda: len(heard) == 2)
    assert heard == [("two", b"stop!"), ("one", b"mine")]


async def test_a_stop_without_a_broker_is_no_trouble():
    away = line(f"redis://127.0.0.1:{free_port()}", "n1", [])
    async with at_work(away.run):
        away.broadcast(b"stop!")


async def test_stops_go_round_once_and_close_every_gate(server, tmp_path):
    """Goal: calls come to rest. Method: three nodes, two of which stop at the same time."""
    gates = [Gate(tmp_path / name) for name in "abc"]
    lines = [line(server.url, f"n{number}", []) for number in range(3)]
    calls = [StopCalls(each, gate) for each, gate in zip(lines, gates, strict=True)]
    taken: list[str] = []
    for each in calls:
        each.hear_by(lambda latch, each=each: (taken.append(latch.stop_id), each.call_out(latch)))
    stops = [
        Latch(stop_id=f"stop-{n}", actor="a", reason="r", liquidate=True, closed_ns=1)
        for n in range(2)
    ]
    async with at_work(*(each.run for each in lines)):
        await until(lambda: all(each.ready for each in lines))
        calls[0].call_out(stops[0])
        calls[1].call_out(stops[1])
        await until(lambda: len(taken) == 4)
        await until(lambda: all(gate.stopped for gate in gates[2:]))
        await asyncio.sleep(0.1)
    assert sorted(taken) == ["stop-0", "stop-0", "stop-1", "stop-1"]


@pytest.mark.parametrize(
    "data",
    [b"no node", b"", OTHER, OTHER + b"\xff", OTHER + b"{}", OTHER + b"[]", OTHER + b'"resume"',
     OTHER + b'{"stop_id":"","actor":"a","reason":"r","liquidate":true,"closed_ns":1}',
     OTHER + b'{"stop_id":"s","actor":"a","reason":"r","liquidate":true,"closed_ns":0}',
     OTHER + b'{"stop_id":"s","actor":1,"reason":"r","liquidate":true,"closed_ns":1}',
     OTHER + b'{"type":"c.resume","stop_id":"s","actor":"a","reason":"r"}'],
)  # fmt: skip
async def test_what_is_no_stop_stops_nothing_is_counted_and_told(server, tmp_path, data):
    gate, told = Gate(tmp_path), []
    hears = line(server.url, "n1", told)
    StopCalls(hears, gate)
    async with at_work(hears.run):
        await until(lambda: hears.ready)
        for _ in range(20):
            server.ask("PUBLISH", "tso:stop", data.decode("latin-1"))
        await until(lambda: hears.foreign == 20)
    assert not gate.stopped
    assert [title for title, _ in told] == ["A message on tso:stop is not ours"]


async def test_a_broker_that_is_silent_is_seen_and_seen_again_when_it_is_back(server, monkeypatch):
    monkeypatch.setattr("orchestrator.adapters.bus.redis.link.SILENT_S", 1.2)
    monkeypatch.setattr("orchestrator.adapters.bus.redis.link._FRESH_S", 0.6)
    told = Told(server.url)
    async with at_work(told.bus.run):
        await told.up()
        with server.frozen():
            await until(lambda: told.bus.condition().silent_ms > 1_000)
            for entry in ENTRIES[:10]:
                told.bus.publish(*entry)
            await until(lambda: told.bus.condition().lag_ms > 100 or told.bus.history.lost)
        await until(lambda: told.bus.condition().silent_ms == 0)
        told.bus.publish(*ENTRIES[10])
        await until(lambda: 11 in written(server))
        told.bus.needed = lambda: False
        assert told.bus.condition().silent_ms == 0
    numbers = written(server)
    assert numbers == sorted(set(numbers)), "nothing is ever written twice"


async def test_a_broker_that_nothing_needs_blocks_nobody():
    told = Told(f"redis://127.0.0.1:{free_port()}", needed=lambda: False)
    async with at_work(told.bus.run):
        told.bus.link._heard_at = -1e9
        assert told.bus.condition().silent_ms == 0
        told.bus.needed = lambda: True
        assert told.bus.condition().silent_ms > 2_000


# -- brokers of no use ---------------------------------------------------------------------------


async def why(url: str, limit_s: float = 4.0) -> str:
    with pytest.raises(BusError) as refused:
        async with asyncio.timeout(6):
            await meet(lambda: parse(url), limit_s)
    return str(refused.value)


async def test_a_broker_that_is_away_is_said_in_plain_words():
    port = free_port()
    assert await why(f"redis://127.0.0.1:{port}") == (
        f"no Redis answers at 127.0.0.1:{port}: connection refused"
    )


async def test_a_socket_that_is_not_there_is_said_in_plain_words(tmp_path):
    assert "no such file" in (await why(f"unix://{tmp_path}/none.sock")).lower()


async def test_a_wrong_password_is_said_without_the_password(tmp_path):
    with RedisServer(tmp_path / "redis", password="right") as server:
        told = await why(f"redis://:verywrong@127.0.0.1:{server.port}")
        assert told == f"the Redis at 127.0.0.1:{server.port} refuses this user or password"
        assert "refuses" in await why(f"redis://127.0.0.1:{server.port}")
        await meet(lambda: parse(server.url))


async def test_a_replica_is_refused(tmp_path, server):
    words = ["--replicaof", "127.0.0.1", str(server.port)]
    with RedisServer(tmp_path / "replica", words=words) as replica:
        assert "read-only slave; give its master's address" in await why(replica.url)


async def test_a_cluster_is_refused_with_a_clear_word(tmp_path):
    words = ["--cluster-enabled", "yes", "--cluster-port", str(free_port())]
    with RedisServer(tmp_path / "cluster", words=words) as cluster:
        assert "is a cluster, which this bus does not use" in await why(cluster.url)


async def test_a_frozen_broker_is_refused_in_time(server):
    with server.frozen():
        assert "within 0.5 s" in await why(server.url, 0.5)


async def test_what_is_no_redis_is_refused_in_time():
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(babble, "127.0.0.1", 0) as door:
        port = door.sockets[0].getsockname()[1]
        assert "no Redis protocol" in await why(f"redis://127.0.0.1:{port}")


async def test_a_unix_socket_does_as_well(server):
    await meet(lambda: parse(server.unix_url))


# -- trouble meanwhile -----------------------------------------------------------------------------


async def test_after_a_flush_the_history_begins_anew_and_a_person_is_told(server):
    told = Told(server.url)
    async with at_work(told.bus.run):
        await told.up()
        await until(lambda: server.ask("EXISTS", "tso:mark"))
        told.bus.publish(*ENTRIES[0])
        await until(lambda: told.bus.history.written == 1)
        await until(lambda: told.bus.owner._known)
        server.flush()
        told.bus.publish(*ENTRIES[1])
        await until(lambda: told.alarms)
        await until(lambda: told.bus.history.written == 2)
    assert written(server) == [2]
    assert told.alarms == [
        ("The broker has lost its data", "what was under way there is asked anew")
    ]


async def test_a_broker_that_evicts_everything_stops_nothing(tmp_path):
    words = ["--maxmemory", "3mb", "--maxmemory-policy", "allkeys-lru"]
    with RedisServer(tmp_path / "redis", words=words) as server:
        told = Told(server.url)
        async with at_work(told.bus.run):
            await told.up()
            for _ in range(20):
                for entry in ENTRIES:
                    told.bus.publish(*entry)
                for number in range(20):
                    server.ask("SET", f"fill:{number}", "x" * 100_000)
                await asyncio.sleep(0.01)
            await until(lambda: told.bus.history.lag_s(asyncio.get_running_loop().time()) == 0)
            assert told.bus.condition().silent_ms == 0


async def test_a_full_broker_costs_the_history_and_is_told(tmp_path):
    words = ["--maxmemory", "1mb", "--maxmemory-policy", "noeviction"]
    with RedisServer(tmp_path / "redis", words=words) as server:
        told = Told(server.url)
        async with at_work(told.bus.run):
            await told.up()
            for number in range(50):
                server.ask("SET", f"fill:{number}", "x" * 100_000)
            for entry in ENTRIES:
                told.bus.publish(*entry)
            await until(lambda: told.bus.history.lost["refused"] == 300)
        assert any("hole" in title for title, _ in told.alarms)


async def test_a_master_that_became_a_replica_is_left_for_the_new_one(tmp_path, server):
    with RedisServer(tmp_path / "second") as second:
        told = Told(server.url)
        async with at_work(told.bus.run):
            await told.up()
            server.ask("REPLICAOF", "127.0.0.1", str(second.port))
            told.url = second.url  # what a name or a sentinel would tell from now on
            told.bus.publish(*ENTRIES[0])
            await until(lambda: told.bus.link.connects >= 2 and told.bus.link.connected)
            told.bus.publish(*ENTRIES[1])
            await until(lambda: 2 in written(second))


async def test_sentinels_tell_where_the_master_is_and_where_it_has_gone(tmp_path):
    with (
        RedisServer(tmp_path / "one") as one,
        RedisServer(tmp_path / "two", words=["--replicaof", "127.0.0.1", str(one.port)]) as two,
        RedisServer(
            tmp_path / "sentinel",
            sentinel=f"sentinel monitor mine 127.0.0.1 {one.port} 1\n"
            "sentinel down-after-milliseconds mine 500\nsentinel failover-timeout mine 2000",
        ) as sentinel,
    ):
        nobody = free_port()
        told = Told(f"redis+sentinel://127.0.0.1:{nobody},127.0.0.1:{sentinel.port}/mine")
        async with at_work(told.bus.run):
            await told.up()
            told.bus.publish(*ENTRIES[0])
            await until(lambda: told.bus.history.written == 1)
            assert written(one) == [1]
            await until(lambda: "slave0" in sentinel_says(sentinel))
            one.kill()
            await until(lambda: two.ask("ROLE")[0] == b"master", 60)
            await until(lambda: told.bus.link.connected, 60)
            told.bus.publish(*ENTRIES[1])
            await until(lambda: 2 in written(two), 60)


async def test_a_silent_sentinel_does_not_keep_the_others_from_being_asked(tmp_path, server):
    async def silent(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()  # until the other side has had enough
        writer.close()
        await writer.wait_closed()

    monitor = f"sentinel monitor mine 127.0.0.1 {server.port} 1"
    with RedisServer(tmp_path / "sentinel", sentinel=monitor) as sentinel:
        async with await asyncio.start_server(silent, "127.0.0.1", 0) as door:
            dumb = door.sockets[0].getsockname()[1]
            url = f"redis+sentinel://127.0.0.1:{dumb},127.0.0.1:{sentinel.port}/mine"
            await meet(lambda: parse(url), 1.5)
            told = await why(f"redis+sentinel://127.0.0.1:{sentinel.port}/other", 1.5)
            assert "knows no master other" in told


def sentinel_says(sentinel: RedisServer) -> str:
    replicas = sentinel.ask("SENTINEL", "REPLICAS", "mine")
    return f"slave0 {replicas}" if replicas else ""

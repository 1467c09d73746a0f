"""Work streams on a real Redis: shared, taken over, acknowledged after the effect, never lost."""

from __future__ import annotations

import asyncio
import contextlib
from typing import Any

import pytest

from orchestrator.adapters.bus.redis.address import parse
from orchestrator.adapters.bus.redis.broadcast import Subscriber
from orchestrator.adapters.bus.redis.dialer import dial
from orchestrator.adapters.bus.redis.entries import Entry
from orchestrator.adapters.bus.redis.group import GroupReader
from orchestrator.adapters.bus.redis.link import Link
from orchestrator.adapters.bus.redis.owner import Owner
from orchestrator.adapters.bus.redis.tail import TailReader
from orchestrator.model.errors import BrokerAway, BrokerSilent
from tests.servers.redis import RedisServer
from tests.servers.waiting import at_work, until

STREAM = "t:ask:role"
ROOM = "orchestrator.adapters.bus.redis"


@pytest.fixture
def impatient(monkeypatch):
    """Silence is noticed sooner than in earnest."""
    monkeypatch.setattr(f"{ROOM}.link.SILENT_S", 0.8)
    monkeypatch.setattr(f"{ROOM}.group.SILENT_S", 0.8)


@pytest.fixture
def server(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        yield server


class House:
    """A node: its link, the owner of one stream, and what was told to a person."""

    def __init__(self, server: RedisServer, **how: Any) -> None:
        self.where = lambda: parse(server.url)
        self.link = Link(self.where, "node")
        self.lost: list[str] = []
        self.alarms: list[tuple[str, str]] = []
        self.owner = Owner(
            self.link, "t", "mark-1", lost=self.lost.append,
            alarm=lambda title, text: self.alarms.append((title, text)), **how,
        )  # fmt: skip
        self.owner.own(STREAM, "role")
        self.jobs = (self.link.run, self.owner.run)

    def worker(self, name: str, handle: Any, **how: Any) -> GroupReader:
        return GroupReader(self.where, STREAM, "role", name, handle, **how)

    async def add(self, event_id: str, data: bytes = b"{}") -> str:
        return await self.link.add(STREAM, event_id, "node", data)


async def test_instances_of_a_group_share_the_work_and_each_message_is_done_once(server):
    house, done = House(server), []
    workers = [house.worker(name, lambda e, n=name: done.append((n, e.event_id))) for name in "ab"]
    async with at_work(*house.jobs, *(w.run for w in workers)):
        await until(lambda: all(w.ready.is_set() for w in workers))
        for number in range(40):
            await house.add(str(number))
        await until(lambda: len(done) >= 40)
        await until(lambda: server.ask("XPENDING", STREAM, "role")[0] == 0)
    assert sorted(int(event) for _, event in done) == list(range(40))
    assert {name for name, _ in done} == {"a", "b"}


async def test_what_a_dead_worker_took_is_taken_over_by_another(server):
    house, done = House(server), []
    async with at_work(*house.jobs):
        await until(lambda: house.link.connected)
        await until(lambda: server.ask("EXISTS", STREAM))
        await house.add("e1")
        server.ask("XREADGROUP", "GROUP", "role", "dead", "STREAMS", STREAM, ">")
        worker = house.worker("b", done.append, claim_after_ms=50)
        async with at_work(worker.run):
            await until(lambda: done)
    assert [(e.event_id, e.deliveries) for e in done] == [("e1", 2)]


async def test_nothing_is_acknowledged_before_its_effect(server):
    house, begun, go_on = House(server), [], asyncio.Event()

    async def slow(entry: Entry) -> None:
        begun.append(entry)
        await go_on.wait()

    async with at_work(*house.jobs, house.worker("a", slow).run):
        await until(lambda: house.link.connected)
        await house.add("e1")
        await until(lambda: begun)
        assert server.ask("XPENDING", STREAM, "role")[0] == 1
        go_on.set()
        await until(lambda: server.ask("XPENDING", STREAM, "role")[0] == 0)


async def test_a_message_that_nobody_can_handle_goes_to_the_dead_letters_with_an_alarm(server):
    house, tries = House(server, dead_after_ms=20), []

    def poisoned(entry: Entry) -> None:
        tries.append(entry.deliveries)
        if entry.event_id == "poison":
            raise RuntimeError("cannot")

    worker = house.worker("a", poisoned, claim_after_ms=20)
    async with at_work(*house.jobs, worker.run):
        await until(lambda: house.link.connected)
        await house.add("poison", b"what it was")
        await until(lambda: house.alarms)
        await house.add("good")
        await until(lambda: worker.counts.handled)
        await until(lambda: server.ask("XPENDING", STREAM, "role")[0] == 0)
    assert tries[:5] == [1, 2, 3, 4, 5]
    assert tries.count(1) == 2
    assert len(tries) == 6
    [[_, fields]] = server.ask("XRANGE", "t:dead:ask:role", "-", "+")
    named = dict(zip(fields[::2], fields[1::2], strict=True))
    assert named[b"id"] == b"poison"
    assert named[b"d"] == b"what it was"
    assert b"given 5 times, last to a" in named[b"reason"]
    assert "cannot be handled" in house.alarms[0][0]


async def test_after_a_flush_the_owner_is_told_and_the_work_goes_on(server):
    house, done = House(server), []
    worker = house.worker("a", lambda e: done.append(e.event_id))
    async with at_work(*house.jobs, worker.run):
        await until(lambda: house.link.connected)
        await house.add("before")
        await until(lambda: done == ["before"])
        server.flush()
        await house.add("between")  # before anybody has noticed
        await until(lambda: house.lost)
        await until(lambda: "between" in done)
        await house.add("after")
        await until(lambda: "after" in done)
    assert done == ["before", "between", "after"]
    assert house.lost == ["the broker has lost its data"]


@pytest.mark.parametrize("empty", [True, False])
async def test_a_restart_of_the_broker_costs_a_moment(tmp_path, empty):
    with RedisServer(tmp_path / "redis", persist=True) as server:
        house, done = House(server), []
        worker = house.worker("a", lambda e: done.append(e.event_id))
        async with at_work(*house.jobs, worker.run):
            await until(lambda: house.link.connected)
            await house.add("before")
            await until(lambda: done)
            await asyncio.to_thread(server.restart, empty=empty)
            await until(lambda: house.link.connects == 2 and house.link.connected)
            await house.add("after")
            await until(lambda: "after" in done)
            await until(lambda: house.owner.losses == int(empty))
        assert done == ["before", "after"]


async def test_an_evicted_stream_is_made_anew(server):
    house, done = House(server), []
    worker = house.worker("a", lambda e: done.append(e.event_id))
    async with at_work(*house.jobs, worker.run):
        await until(worker.ready.is_set)
        server.ask("DEL", STREAM)
        await house.add("e1")
        await until(lambda: done == ["e1"])
    assert house.lost == []  # the mark is still there


async def test_a_foreign_message_is_counted_and_put_aside(server):
    house, done = House(server), []
    worker = house.worker("a", lambda e: done.append(e.event_id))
    async with at_work(*house.jobs, worker.run):
        await until(worker.ready.is_set)
        server.ask("XADD", STREAM, "*", "what", "is this")
        await house.add("e1")
        await until(lambda: done == ["e1"])
        await until(lambda: server.ask("XPENDING", STREAM, "role")[0] == 0)
    assert worker.counts.foreign == 1


async def test_a_stream_stays_bounded(server):
    house = House(server)
    async with at_work(*house.jobs):
        await until(lambda: house.link.connected)
        for number in range(2_000):
            await house.link.add(STREAM, str(number), "node", b"{}", length_max=100)
        assert server.ask("XLEN", STREAM) <= 300


@pytest.mark.usefixtures("impatient")
async def test_a_message_without_an_answer_is_never_sent_twice(server):
    house = House(server)
    async with at_work(house.link.run):
        await until(lambda: house.link.connected)
        server.freeze()
        try:
            waiting = house.link.add_soon(STREAM, "e1", "node", b"{}")
            with pytest.raises(BrokerSilent):
                await asyncio.wait_for(waiting, 20)
            with pytest.raises(BrokerAway):
                house.link.add_soon(STREAM, "e2", "node", b"{}")
            assert house.link.condition().silent_ms > 700
        finally:
            server.thaw()
        await until(lambda: house.link.connected)
        assert house.link.condition().silent_ms == 0
    assert server.ask("XLEN", STREAM) == 1


async def test_every_tail_reader_reads_everything_and_goes_on_where_it_was(server):
    house, one, two = House(server), [], []
    readers = [TailReader(house.where, lambda e, to=to: to.append(e.event_id)) for to in (one, two)]
    async with at_work(house.link.run, *(r.run for r in readers)):
        await until(lambda: house.link.connected)
        await house.link.add("t:feed", "0", "node", b"{}")
        readers[0].follow("t:feed")
        readers[1].follow("t:feed", "0-0")
        await asyncio.gather(*(r.following("t:feed") for r in readers))  # noqa: TID251
        for number in range(1, 50):
            await house.link.add("t:feed", str(number), "node", b"{}")
        await until(lambda: len(one) == 49 and len(two) == 50)
    assert one == [str(n) for n in range(1, 50)]
    assert two == [str(n) for n in range(50)]


async def test_a_tail_reader_is_told_when_its_stream_begins_anew(server):
    house, heard, lost = House(server), [], []
    reader = TailReader(house.where, lambda e: heard.append(e.event_id), lost=lost.append)
    reader.follow("t:feed", "99999999999999-0")  # of a life whose clock went ahead
    async with at_work(house.link.run, reader.run):
        await until(lambda: house.link.connected)
        await house.link.add("t:feed", "1", "node", b"{}")
        await until(lambda: heard)
    assert (heard, lost) == (["1"], ["t:feed"])


async def test_a_subscriber_hears_channels_and_patterns_and_comes_back_after_a_restart(tmp_path):
    with RedisServer(tmp_path / "redis") as server:
        house, heard = House(server), []
        subscriber = Subscriber(
            house.where, lambda channel, data: heard.append((channel, data)),
            channels=("t:stop",), patterns=("t:hello:*",),
        )  # fmt: skip
        async with at_work(house.link.run, subscriber.run):
            await until(lambda: house.link.connected and subscriber.ready.is_set())
            await house.link.publish("t:stop", b"1")
            await house.link.publish("t:hello:role:a", b"2")
            await house.link.publish("t:other", b"3")
            await until(lambda: len(heard) == 2)
            await asyncio.to_thread(server.restart)
            await until(lambda: house.link.connects == 2 and house.link.connected)
            await until(lambda: subscriber.connects == 2 and subscriber.ready.is_set())
            await house.link.publish("t:stop", b"4")
            await until(lambda: len(heard) == 3)
    assert heard == [("t:stop", b"1"), ("t:hello:role:a", b"2"), ("t:stop", b"4")]


@pytest.mark.usefixtures("impatient")
async def test_a_frozen_broker_is_noticed_by_whoever_waits_for_it(server):
    house, heard = House(server), []
    worker = house.worker("a", lambda e: heard.append(e.event_id))
    async with at_work(*house.jobs, worker.run):
        await until(worker.ready.is_set)
        with server.frozen():
            await until(lambda: not worker.ready.is_set())
        await until(lambda: house.link.connected)
        await house.add("after")
        await until(lambda: heard == ["after"])


async def test_a_burst_that_no_socket_holds_is_sent_all_the_same(server):
    """A unix socket takes some hundred kilobytes; an agent's memory of the market is more."""
    pipe = await dial(lambda: parse(server.unix_url), "burst")
    with contextlib.closing(pipe):
        sent = [pipe.call("XADD", STREAM, "*", "d", b"x" * 2_000) for _ in range(1_500)]
        async with asyncio.timeout(60):
            for future in sent:
                await future
        assert await pipe.call("XLEN", STREAM) == 1_500


async def test_what_is_refused_at_once_is_not_tried_without_a_pause(server):
    """A subscription that the broker forbids: connected and refused, again and again."""
    server.ask("ACL", "SETUSER", "poor", "on", ">pw", "+@all", "resetchannels")
    subscriber = Subscriber(
        lambda: parse(f"redis://poor:pw@127.0.0.1:{server.port}"), lambda *_: None,
        channels=("t:stop",),
    )  # fmt: skip
    async with at_work(subscriber.run):
        await until(lambda: "NOPERM" in subscriber.trouble)
        await asyncio.sleep(1.0)
        assert subscriber.connects < 10
        assert not subscriber.ready.is_set()

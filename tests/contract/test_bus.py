"""What every bus must do: one suite, run against each implementation of the port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest

from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.adapters.bus.redis.address import parse
from orchestrator.adapters.bus.redis.bus import RedisBus
from orchestrator.model.errors import BusError, ListenerTooSlow
from tests.servers.redis import RedisServer
from tests.servers.waiting import at_work, until
from tests.unit.adapters.store import samples

FACTS = [samples.note("a"), samples.tripped(), samples.note("b"), samples.alert()]
ENTRIES = list(zip(samples.chained(FACTS), FACTS, strict=True))


@pytest.fixture(params=["in_process", "redis"])
async def bus(request: pytest.FixtureRequest) -> AsyncIterator[Any]:
    """Over Redis: at work, and connected."""
    if request.param == "in_process":
        yield InProcessBus()
        return
    folder = request.getfixturevalue("tmp_path")
    with RedisServer(folder / "redis") as server:
        bus = RedisBus(
            lambda: parse(server.url), node="n1", mark="m1", alarm=lambda *_: None, hours=1
        )
        async with at_work(bus.run):
            await until(lambda: bus.link.connected)
            yield bus


async def some(listener: Any, count: int) -> list[Any]:
    async with asyncio.timeout(60):
        return [await anext(listener) for _ in range(count)]


def publish(bus: Any, entries: list[Any]) -> None:
    for entry in entries:
        bus.publish(*entry)


async def test_every_listener_hears_everything_in_order(bus: Any) -> None:
    one, two = bus.listen(), bus.listen()
    publish(bus, ENTRIES)
    assert await some(one, 4) == ENTRIES
    assert await some(two, 4) == ENTRIES


async def test_a_listener_hears_from_its_coming_on(bus: Any) -> None:
    bus.publish(*ENTRIES[0])
    late = bus.listen()
    publish(bus, ENTRIES[1:])
    assert await some(late, 3) == ENTRIES[1:]


async def test_a_waiting_listener_is_woken(bus: Any) -> None:
    listener = bus.listen()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(some(listener, 1))
        await asyncio.sleep(0)
        bus.publish(*ENTRIES[0])
    assert waiting.result() == ENTRIES[:1]


async def test_a_slow_listener_is_cut_off_and_told_and_the_others_go_on(bus: Any) -> None:
    slow, quick = bus.listen(limit=2), bus.listen()
    publish(bus, ENTRIES)
    assert await some(slow, 2) == ENTRIES[:2]
    with pytest.raises(ListenerTooSlow) as cut:
        await anext(slow)
    assert cut.value.last_seq == 2
    with pytest.raises(StopAsyncIteration):
        await anext(slow)
    assert await some(quick, 4) == ENTRIES


async def test_a_listener_that_was_cut_has_no_hole_in_what_it_got(bus: Any) -> None:
    slow = bus.listen(limit=1)
    publish(bus, ENTRIES[:2])
    assert await some(slow, 1) == ENTRIES[:1]
    publish(bus, ENTRIES[2:])  # there would be room again, but its place is lost
    with pytest.raises(ListenerTooSlow):
        await anext(slow)


async def test_a_listener_may_choose_types(bus: Any) -> None:
    chosen = bus.listen(limit=1, types=frozenset({"breaker.tripped"}))
    publish(bus, ENTRIES)
    assert await some(chosen, 1) == [ENTRIES[1]]


async def test_publishing_to_nobody_is_no_trouble(bus: Any) -> None:
    publish(bus, ENTRIES)


async def test_closing_ends_the_listeners_after_what_waits(bus: Any) -> None:
    listener = bus.listen()
    publish(bus, ENTRIES[:1])
    bus.close()
    async with asyncio.timeout(60):
        assert [entry async for entry in listener] == ENTRIES[:1]


async def test_there_is_a_bound_to_listeners_and_a_limit_makes_sense(bus: Any) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        bus.listen(limit=0)
    listeners = [bus.listen() for _ in range(256)]
    with pytest.raises(BusError, match="256 listeners already"):
        bus.listen()
    listeners[0].close()
    bus.listen()


async def test_a_closed_listener_is_told_nothing_more(bus: Any) -> None:
    listener = bus.listen()
    publish(bus, ENTRIES[:1])
    listener.close()
    publish(bus, ENTRIES[1:])
    async with asyncio.timeout(60):
        assert [entry async for entry in listener] == ENTRIES[:1]


async def test_a_listener_is_for_one_reader(bus: Any) -> None:
    listener = bus.listen()
    async with asyncio.TaskGroup() as tasks:
        waiting = tasks.create_task(some(listener, 1))
        await asyncio.sleep(0)
        with pytest.raises(BusError, match="one reader"):
            await anext(listener)
        bus.publish(*ENTRIES[0])
    assert waiting.result() == ENTRIES[:1]


async def test_a_reachable_broker_blocks_nothing(bus: Any) -> None:
    publish(bus, ENTRIES)
    condition = bus.condition()
    assert condition is None or (condition.silent_ms == 0 and condition.lag_ms < 1_000)

"""The in-process bus: bounds, and what becomes of listeners that go away."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.adapters.bus.in_process import InProcessBus
from orchestrator.model.errors import BusError
from tests.unit.adapters.store import samples

FACTS = [samples.note(str(number)) for number in range(5)]
ENTRIES = list(zip(samples.chained(FACTS), FACTS, strict=True))


async def test_a_listener_nobody_reads_is_forgotten_when_full() -> None:
    bus = InProcessBus()
    bus.listen(limit=2)
    for entry in ENTRIES:
        bus.publish(*entry)
    assert (bus.listeners, bus.cut, bus.published) == (0, 1, 5)


async def test_a_closed_listener_is_told_nothing_more() -> None:
    bus = InProcessBus()
    with bus.listen() as listener:
        bus.publish(*ENTRIES[0])
    bus.publish(*ENTRIES[1])
    assert bus.listeners == 0
    assert [entry async for entry in listener] == ENTRIES[:1]


async def test_closing_wakes_a_waiting_reader() -> None:
    bus = InProcessBus()
    listener = bus.listen()

    async def read_all() -> list[object]:
        return [entry async for entry in listener]

    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read_all())
        await asyncio.sleep(0)
        await listener.aclose()
    assert reading.result() == []


async def test_a_cancelled_reader_loses_nothing() -> None:
    bus = InProcessBus()
    listener = bus.listen()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await anext(listener)
    bus.publish(*ENTRIES[0])
    assert await anext(listener) == ENTRIES[0]


async def test_a_second_reader_of_one_listener_is_refused() -> None:
    listener = InProcessBus().listen()
    async with asyncio.timeout(60), asyncio.TaskGroup() as tasks:
        first = tasks.create_task(anext_of(listener))
        await asyncio.sleep(0)
        with pytest.raises(BusError, match="one reader"):
            await anext(listener)
        listener.close()
    assert first.result() is None


async def anext_of(listener: object) -> object:
    return await anext(listener, None)


async def test_there_is_a_bound_on_listeners() -> None:
    bus = InProcessBus(listeners_max=1)
    bus.listen()
    with pytest.raises(BusError, match="already"):
        bus.listen()


async def test_a_limit_below_one_is_a_mistake() -> None:
    with pytest.raises(ValueError, match="at least 1"):
        InProcessBus().listen(limit=0)

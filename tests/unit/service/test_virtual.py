"""The virtual-time loop: time jumps to the next timer, never waits, never runs backwards."""

from __future__ import annotations

import asyncio

import pytest

from orchestrator.service import virtual
from orchestrator.service.seams import block_s
from orchestrator.service.virtual import Pace, Stalled, VirtualLoop, run_virtual


def test_an_hour_passes_at_once_and_the_loop_says_so():
    async def story() -> float:
        await asyncio.sleep(3600)
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(3600)


def test_timers_ring_in_order_of_time_and_those_of_one_instant_as_they_were_set():
    async def story() -> list[str]:
        rung: list[str] = []
        loop = asyncio.get_running_loop()
        for name, at in (("c", 3.0), ("a", 1.0), ("b1", 2.0), ("b2", 2.0), ("b3", 2.0)):
            loop.call_at(at, rung.append, name)
        await asyncio.sleep(4)
        return rung

    assert run_virtual(story()) == ["a", "b1", "b2", "b3", "c"]


def test_what_is_ready_is_done_before_time_moves():
    async def story() -> float:
        loop = asyncio.get_running_loop()
        loop.call_later(5, lambda: None)
        for _ in range(1000):
            await asyncio.sleep(0)
        return loop.time()

    assert run_virtual(story()) == 0.0


def test_a_deadline_passes_in_virtual_time():
    async def story() -> float:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(30):
                await asyncio.Event().wait()
        return asyncio.get_running_loop().time()

    assert run_virtual(story()) == pytest.approx(30)


def test_waiting_for_what_can_never_come_is_an_error_and_not_a_hang():
    async def story() -> None:
        await asyncio.Event().wait()

    loop = VirtualLoop()
    task = loop.create_task(story())
    with pytest.raises(Stalled):
        loop.run_until_complete(task)
    task.cancel()
    loop.call_later(0, lambda: None)
    with pytest.raises(asyncio.CancelledError):
        loop.run_until_complete(task)
    loop.close()


def test_two_runs_of_a_busy_story_are_the_same():
    def run() -> list[tuple[float, int]]:
        async def worker(name: int, seen: list[tuple[float, int]]) -> None:
            for step in range(20):
                await asyncio.sleep(0.01 * ((name * 7 + step * 3) % 11))
                seen.append((asyncio.get_running_loop().time(), name))

        async def story() -> list[tuple[float, int]]:
            seen: list[tuple[float, int]] = []
            async with asyncio.TaskGroup() as tasks:
                for name in range(5):
                    tasks.create_task(worker(name, seen))
            return seen

        return run_virtual(story())

    assert run() == run()


def test_a_loop_without_a_pause_ends_by_itself(monkeypatch):
    async def spin():
        while True:  # noqa: ASYNC110 -- the very mistake
            await asyncio.sleep(0)

    monkeypatch.setattr(virtual, "_TURNS_AT_AN_INSTANT_MAX", 1_000)
    with pytest.raises(Stalled, match="turns of the loop at one instant"):
        run_virtual(spin())


def test_turns_are_counted_anew_when_time_goes_on(monkeypatch):
    async def walk():
        for _ in range(3_000):
            await asyncio.sleep(0.01)

    monkeypatch.setattr(virtual, "_TURNS_AT_AN_INSTANT_MAX", 1_000)
    run_virtual(walk())


def test_a_paced_loop_waits_for_each_jump_no_faster_than_asked_and_a_hurry_ends_it():
    waited: list[float] = []

    async def story() -> float:
        loop = asyncio.get_running_loop()
        assert isinstance(loop, VirtualLoop)
        loop.pause_by(Pace(1e6, waited.append, lambda: len(waited) > 3))
        await asyncio.sleep(3_600_000)  # 3.6 s at this pace, were it not for the hurry
        loop.pause_by(None)
        await asyncio.sleep(1)
        return loop.time()

    assert run_virtual(story()) == pytest.approx(3_600_001)
    assert len(waited) == 4
    assert all(0 < each <= 0.05 for each in waited)


def test_who_fell_behind_the_pace_does_not_run_after_it():
    waited: list[float] = []
    pace = Pace(1.0, waited.append, lambda: len(waited) > 0)
    block_s(0.3)  # so much late, of which a tenth of a second is made up at most
    pace(0.2)
    assert waited
